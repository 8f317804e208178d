"""Measures where the time of a run goes, and reads the energy that its device reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch

Part = Literal["data", "forward_backward", "optimizer", "other"]
EnergySource = Literal["nvml", "rapl"]


class StepTimer:
    """Adds up the time of the parts of a step, as laps: each lap ends one part and begins the next.

    On a GPU, work is queued and finished later. There the laps are measured by events of the GPU's own clock, which are
    read when the losses are read, so that no lap makes the host wait.

    Attributes:
        seconds: Time of each part so far.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(("data", "forward_backward", "optimizer", "other"), 0.0)
        self._cuda = device.type == "cuda"
        self._last: Any = None
        self._open: list[tuple[str, Any, Any]] = []

    def start(self) -> None:
        """Begins the first lap of a step; time before it belongs to no part."""
        self._last = self._now()

    def lap(self, part: Part) -> None:
        """Ends the lap of a part, and begins the next lap."""
        now = self._now()
        if self._cuda:
            self._open.append((part, self._last, now))
        else:
            self.seconds[part] += now - self._last
        self._last = now

    def collect(self) -> None:
        """Reads the events of a GPU, and waits for those that it has not reached."""
        for part, first, last in self._open:
            last.synchronize()
            self.seconds[part] += first.elapsed_time(last) / 1e3
        self._open = []

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


class EnergyMeter:
    """Reads the energy counter of the device: NVML of a GPU, or RAPL of an Intel or AMD processor.

    The counter belongs to the whole device, so that on a shared machine it counts what others do, too.

    Attributes:
        source: ``nvml``, ``rapl``, or None where nothing can be read (most containers hide RAPL).
    """

    def __init__(self, device: torch.device) -> None:
        self._read = _nvml_counter(device) if device.type == "cuda" else _rapl_counter()
        self.source: EnergySource | None = None
        if self._read is not None:
            self.source = "nvml" if device.type == "cuda" else "rapl"
        self._before = self._read() if self._read is not None else 0.0

    def joules(self) -> float | None:
        """Energy in joules since the last call, or since this meter was made; None where nothing can be read."""
        if self._read is None:
            return None
        before, self._before = self._before, self._read()
        return max(0.0, self._before - before)


def _nvml_counter(device: torch.device) -> Callable[[], float] | None:
    try:
        import pynvml
    except ImportError:
        return None
    nvml: Any = pynvml
    try:
        nvml.nvmlInit()
        handle = nvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:  # the GPU is older than Volta, or hidden from this container
        return None
    return lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3


def _rapl_counter(root: Path = Path("/sys/class/powercap")) -> Callable[[], float] | None:
    packages = sorted(root.glob("*-rapl:[0-9]")) if root.is_dir() else []
    try:
        ranges = [int((package / "max_energy_range_uj").read_text()) for package in packages]
        last = [int((package / "energy_uj").read_text()) for package in packages]
    except (OSError, ValueError):  # only root may read the counter on most systems
        return None
    total = 0

    def read() -> float:
        nonlocal last, total
        now = [int((package / "energy_uj").read_text()) for package in packages]
        total += sum((b - a) % span for a, b, span in zip(last, now, ranges, strict=True))  # counters wrap
        last = now
        return total / 1e6

    return read if packages else None
