"""Energy of several devices, and the counter of a GPU."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bocb_hf.engine import timing
from bocb_hf.engine.costs import Costs
from bocb_hf.engine.progress import Progress

Shares = tuple[float, float]  # of another process: joules, and 1 where it cannot read them


def collected(monkeypatch: pytest.MonkeyPatch, kind: str, other: Shares, counter: Any, local_main: bool = True) -> Any:
    """Energy in the progress of a process beside another one."""
    monkeypatch.setattr("bocb_hf.engine.timing._nvml_counter", lambda device: counter)
    monkeypatch.setattr("bocb_hf.engine.timing._rapl_counter", lambda: counter)
    accelerator: Any = SimpleNamespace(
        device=SimpleNamespace(type=kind),
        is_local_main_process=local_main,
        reduce=lambda t, how: t + torch.Tensor(other),
    )
    monkeypatch.setattr("bocb_hf.engine.costs.torch.tensor", lambda values, device: torch.Tensor(values))  # no GPU
    progress, source = Progress(), SimpleNamespace(waited_seconds=0.0)
    # stand-ins with what it reads
    costs = Costs(accelerator, source, progress)  # type: ignore[arg-type] - stand-ins
    costs.collect()
    costs.collect()
    return progress.energy_joules


def rising(step: float) -> Any:
    """A counter that rises by so much whenever it is read."""
    state = [0.0]

    def read() -> float:
        state[0] += step
        return state[0]

    return read


def test_the_energy_of_all_gpus_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert collected(monkeypatch, "cuda", (20.0, 0.0), rising(10.0), local_main=False) == 2 * (10 + 20)


def test_the_processors_of_a_machine_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert collected(monkeypatch, "cpu", (0.0, 0.0), rising(10.0)) == 2 * 10
    assert collected(monkeypatch, "cpu", (20.0, 0.0), rising(10.0), local_main=False) == 2 * 20


def test_a_part_of_the_energy_is_not_given_for_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert collected(monkeypatch, "cuda", (0.0, 1.0), rising(10.0)) is None
    assert collected(monkeypatch, "cpu", (0.0, 0.0), None) is None


def test_nvml_counts_the_gpu_of_this_process_in_joules(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its UUID: NVML does not know CUDA_VISIBLE_DEVICES, and its own order is another one."""
    millijoules = {"GPU-1a2b": 5000}
    nvml: Any = SimpleNamespace(
        NVMLError=OSError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: millijoules[handle],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1a2b"))
    meter = timing.EnergyMeter(torch.device("cuda", 1))
    millijoules["GPU-1a2b"] = 12500
    assert (meter.source, meter.joules(), meter.joules()) == ("nvml", 7.5, 0.0)

    def hidden(handle: str) -> int:
        raise OSError

    nvml.nvmlDeviceGetTotalEnergyConsumption = hidden
    assert timing.EnergyMeter(torch.device("cuda", 1)).source is None
