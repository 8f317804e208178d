"""How far a sweep is, read from its plan and its store alone, by any process that sees them, while others train."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bocb_hf.runs.record import RunRecord
from bocb_hf.store.lease import running
from bocb_hf.sweep.executors.protocol import Executor, Task
from bocb_hf.sweep.plan import SweepPlan
from bocb_hf.sweep.run import Sweep

T = TypeVar("T")


@dataclass(frozen=True)
class CellStatus:
    """How far one cell is.

    Attributes:
        name: The cell.
        planned: Trials of the plan, without extensions.
        trials: Trials that have ended.
        finals: Final runs that have ended.
        diverged: How many of both diverged.
        running: Runs of the cell that are trained into the store now, as ``<role> <run id>``.
    """

    name: str
    planned: int
    trials: int
    finals: int
    diverged: int
    running: list[str]


@dataclass(frozen=True)
class SweepStatus:
    """How far a sweep is.

    Attributes:
        planned: Number of runs of the plan, without extensions of a grid.
        seeds: Final runs of a cell.
        cells: Every cell of the plan.
        records: Records of the runs that have ended.
    """

    planned: int
    seeds: int
    cells: list[CellStatus]
    records: list[RunRecord]

    def lines(self) -> list[str]:
        """The status in lines: all cells together, then each cell that has begun."""
        ended = sum(cell.trials + cell.finals for cell in self.cells)
        now = sum(len(cell.running) for cell in self.cells)
        whole = sum(cell.finals >= self.seeds for cell in self.cells)
        extra = sum(max(0, cell.trials - cell.planned) for cell in self.cells)
        first = f"{ended - extra} of {self.planned} planned runs done"
        first += f", and {extra} that extend a grid" if extra else ""
        lines = [f"{first}; {now} running; {whole} of {len(self.cells)} cells complete"]
        for cell in self.cells:
            if cell.trials or cell.finals or cell.running:
                text = f"  {cell.name}: {cell.trials} trials, {cell.finals} of {self.seeds} final runs"
                text += f", {cell.diverged} of them diverged" if cell.diverged else ""
                lines.append(text + (f"; running: {', '.join(cell.running)}" if cell.running else ""))
        return lines


def read_status(plan: SweepPlan, overrides: list[str]) -> SweepStatus:
    """Reads how far a sweep is; runs that others train into the same folder now are seen by their leases.

    Args:
        plan: The plan.
        overrides: The pairs ``section.key=value`` that the sweep was given.

    Raises:
        InputError: The plan or an override is wrong, or the store cannot be read.
    """
    sweep = Sweep(plan, _Nobody(), overrides)
    held: dict[str, list[str]] = {}
    for repository, run_id, role in running(Path(sweep.store)):
        held.setdefault(repository, []).append(f"{role} {run_id}")
    cells, found = list[CellStatus](), list[RunRecord]()
    for cell, repository, records in sweep.stored():
        found += records
        trials = sum(record.role == "trial" for record in records)
        diverged = sum(record.status == "diverged" for record in records)
        planned = plan.trials(cell.place.optimizer)
        finals = len(records) - trials
        cells.append(CellStatus(str(cell), planned, trials, finals, diverged, held.get(repository, [])))
    return SweepStatus(sweep.planned_runs(), len(plan.final_seeds), cells, found)


class _Nobody(Executor):
    """Does no work: a status only reads."""

    name, workers, threads = "nobody", 0, 1

    def start(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        raise NotImplementedError("a status starts no work")

    def tasks(self) -> list[Task]:
        return []

    def stop(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing runs."""
