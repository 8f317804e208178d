"""The jobs of a sweep: one run of a cell, or one floor."""

from __future__ import annotations

from dataclasses import dataclass

from bocb_hf.runs.config import RunConfig
from bocb_hf.sweep.cells import Cell
from bocb_hf.sweep.executors.work import Floor
from bocb_hf.sweep.protocols import Place


@dataclass(frozen=True)
class Job:
    """One run of a cell; a job without a cell is a floor of the data, from pixels or from features of a backbone.

    Attributes:
        place: Of a trial, its configuration and seed.
        is_extension: Whether it is a trial beyond what the plan counts.
    """

    cell: Cell | None
    config: RunConfig
    floor: Floor = "logistic_regression"
    place: Place | None = None
    is_extension: bool = False

    def __str__(self) -> str:
        return f"{self.cell} seed {self.config.seed}" if self.cell else f"floor {self.floor}"
