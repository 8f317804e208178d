"""Short runs inside a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from bocb_hf.engine.interrupt import StopSignal
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.runs.record import RunRecord


def make(sections: dict[str, Any], *overrides: str) -> RunConfig:
    """A configuration from the fixture ``sections``."""
    return build_run_config(sections, overrides)


def folder_of(config: RunConfig, record: RunRecord) -> Path:
    """Where the run's repository lies."""
    return Path(config.runtime.store) / "models" / config.runtime.namespace / record.repository()


def weights_of(config: RunConfig, record: RunRecord) -> dict[str, torch.Tensor]:
    """What a completed run saved."""
    return load_file(folder_of(config, record) / "seeds" / str(record.seed) / "model.safetensors")


class StopAfter(StopSignal):
    """Asks for a stop after so many steps, as a signal would."""

    def __init__(self, steps: int) -> None:
        super().__init__(())
        self.left = steps

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left <= 0


def assert_identical(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """The same tensors, bit for bit."""
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
