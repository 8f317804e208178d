"""Cells of a sweep, and its jobs: one run of a cell, or one floor."""

from __future__ import annotations

from dataclasses import dataclass, field

from bocb_hf.runs.config import RunConfig
from bocb_hf.sweep.executors.work import Floor
from bocb_hf.sweep.plan import Trial


@dataclass
class Cell:
    """One cell of a plan (backbone × optimizer), its finished trials, and whether a trial of it failed."""

    backbone: str
    optimizer: str
    centre: float
    trials: dict[float, Trial] = field(default_factory=dict[float, Trial])
    failed: bool = False

    def __str__(self) -> str:
        return f"{self.backbone} × {self.optimizer}"


@dataclass(frozen=True)
class Job:
    """One run of a cell; a job without a cell is a floor of the data, from pixels or from features of a backbone.

    Attributes:
        is_extension: Whether it is a trial beyond the grid of the plan.
    """

    cell: Cell | None
    config: RunConfig
    floor: Floor = "logistic_regression"
    is_extension: bool = False

    def __str__(self) -> str:
        return f"{self.cell} seed {self.config.seed}" if self.cell else f"floor {self.floor}"
