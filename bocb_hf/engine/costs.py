"""Measures what a session costs (time and energy) and adds it to the progress of the run."""

from __future__ import annotations

import logging
from typing import Any

import torch
from accelerate import Accelerator

from bocb_hf.data.source import TrainSource
from bocb_hf.engine.progress import Progress
from bocb_hf.engine.timing import EnergyMeter, EnergySource, StepTimer

log = logging.getLogger(__name__)

WAITED_TOO_LONG = 0.2  # waiting for images above this share of the training time is logged as a warning


class Costs:
    """The meters of one session.

    Args:
        accelerator: Device and processes.
        source: The training images; it counts how long the loop waited for them.
        progress: Progress of the run over all of its sessions; the measurements are added to it.

    Attributes:
        timer: Measures the time of the parts of a step.
        energy_source: Name of the energy counter that is read, or None where there is none.
    """

    def __init__(self, accelerator: Accelerator, source: TrainSource, progress: Progress) -> None:
        self._accelerator, device = accelerator, accelerator.device
        self.timer, self._energy = StepTimer(device), EnergyMeter(device)
        self.energy_source: EnergySource | None = self._energy.source
        self._source, self._progress = source, progress

    def collect(self) -> None:
        """Adds what was measured since the last call to the progress; all processes must call it at the same steps."""
        progress = self._progress
        self.timer.collect()
        for part, seconds in self.timer.seconds.items():
            progress.seconds[part] = progress.seconds.get(part, 0.0) + seconds
            self.timer.seconds[part] = 0.0
        progress.waited_seconds += self._source.waited_seconds
        self._source.waited_seconds = 0.0
        joules = self._joules()
        if joules is not None:
            progress.energy_joules = (progress.energy_joules or 0.0) + joules

    def _joules(self) -> float | None:
        """Energy of all devices in joules since the last call, or None if one of them cannot be read.

        Each process has its own GPU. The processes of one machine share its processors, so only one of them counts
        those.
        """
        accelerator, own = self._accelerator, self._energy.joules()
        counts = accelerator.device.type == "cuda" or accelerator.is_local_main_process
        part = (own or 0.0, float(own is None)) if counts else (0.0, 0.0)
        found: Any = accelerator.reduce(torch.tensor(part, device=accelerator.device), "sum")
        total, unread = found.tolist()
        return None if unread else total

    def say_waited(self) -> None:
        """Says in the log what share of the time the device had to wait for images."""
        progress = self._progress
        if progress.train_seconds:
            share = progress.waited_seconds / progress.train_seconds
            level = logging.WARNING if share > WAITED_TOO_LONG else logging.INFO
            advice = "; raise runtime.workers or runtime.memory_budget_gb" if level == logging.WARNING else ""
            log.log(level, "waited for images: %.1f %% of the training time%s", 100 * share, advice)
