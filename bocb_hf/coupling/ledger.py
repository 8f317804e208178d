"""The fairness ledger: what tuning and training each cell got, printed beside every comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bocb_hf.coupling.robustness import at_edge
from bocb_hf.coupling.row import Row, Selection
from bocb_hf.coupling.table import Table
from bocb_hf.optim.row import Grid
from bocb_hf.runs.record import RunRecord


@dataclass(frozen=True)
class Entry:
    """One cell of the ledger.

    Attributes:
        trials: Tuning runs of any outcome.
        diverged: Trials that diverged.
        rates: Distinct learning rates tried, ascending.
        decays: Distinct weight decays tried, ascending.
        lr: Chosen learning rate; None without a final run.
        weight_decay: Chosen weight decay; None without a final run.
        extensions: Number of learning rates beyond the first three: the grid was extended, or larger from the start.
        edge: Whether the chosen learning rate is the outermost that was tried, or a positive weight decay the outermost
            of several; None when untuned.
        selection: How the shown configuration was chosen.
        epochs: Distinct numbers of epochs of trials and final runs, ascending; more than one is an unequal budget.
        steps: Distinct numbers of update steps of a whole run, ascending.
        tuning_seconds: Wall time of all trials.
        final_seconds: Wall time of all final runs of the shown configuration.
        finals: Number of final runs of the shown configuration.
        grids: Grids whose centres the learning rates and weight decays were taken from or tuned around, sorted; records
            that name none are of the study's (``released``).
        grid_named: Whether any record names its grid; older ones do not.
    """

    backbone: str
    optimizer: str
    trials: int
    diverged: int
    rates: tuple[float, ...]
    decays: tuple[float, ...]
    lr: float | None
    weight_decay: float | None
    extensions: int
    edge: bool | None
    selection: Selection | None
    epochs: tuple[int, ...]
    steps: tuple[int, ...]
    tuning_seconds: float
    final_seconds: float
    finals: int
    grids: tuple[Grid, ...] = ()
    grid_named: bool = False


@dataclass(frozen=True)
class Summary:
    """The ledger of one optimizer over all its backbones, each figure as (smallest, largest) over the cells."""

    optimizer: str
    cells: int
    trials: tuple[int, int]
    rates: tuple[int, int]
    decays: tuple[int, int]
    epochs: tuple[int, int]
    steps: tuple[int, int]
    diverged: int
    extended: int
    edges: int
    tuning_seconds: float
    final_seconds: float


def ledger(table: Table) -> list[Entry]:
    """Returns one entry for each shown cell, in the order of the table; cells without any run have no entry."""
    return [_entry(row) for row in table.rows if row.shown and row.runs]


def summarize(entries: Sequence[Entry]) -> list[Summary]:
    """Returns one line for each optimizer, in the order of their first entry."""
    return [
        Summary(
            optimizer=optimizer,
            cells=len(own),
            trials=_ends(e.trials for e in own),
            rates=_ends(len(e.rates) for e in own),
            decays=_ends(len(e.decays) for e in own),
            epochs=_ends(value for e in own for value in e.epochs),
            steps=_ends(value for e in own for value in e.steps),
            diverged=sum(e.diverged for e in own),
            extended=sum(e.extensions > 0 for e in own),
            edges=sum(e.edge is True for e in own),
            tuning_seconds=sum(e.tuning_seconds for e in own),
            final_seconds=sum(e.final_seconds for e in own),
        )
        for optimizer in dict.fromkeys(e.optimizer for e in entries)
        for own in [[e for e in entries if e.optimizer == optimizer]]
    ]


def unequal(entries: Sequence[Entry]) -> list[str]:
    """Names what the cells did not get alike, each as a short clause; empty when tuning and budget were equal."""
    found: list[str] = []
    tuned = [e for e in entries if e.finals]
    for what, values in (
        ("trials", {e.trials for e in tuned}),
        ("learning rates tried", {len(e.rates) for e in tuned}),
        ("weight decays tried", {len(e.decays) for e in tuned}),
        ("epochs", {value for e in entries for value in e.epochs}),
    ):
        if len(values) > 1:
            found.append(f"{what} {min(values)} to {max(values)}")
    if len({e.grids for e in entries}) > 1:
        found.append(f"grids {' and '.join(grids(entries))}")
    steps = {b: {v for e in entries if e.backbone == b for v in e.steps} for b in {e.backbone for e in entries}}
    if any(len(values) > 1 for values in steps.values()):
        found.append("update steps differ between the cells of a backbone")
    return found


def grids(entries: Iterable[Entry]) -> tuple[Grid, ...]:
    """Returns the grids of all cells, sorted."""
    return tuple(sorted({grid for entry in entries for grid in entry.grids}))


def _entry(row: Row) -> Entry:
    decays = {t.identity.optimizer.weight_decay for t in row.trials}
    by_decay = row.weight_decay is not None and row.weight_decay > 0 and at_edge(row.weight_decay, decays)
    return Entry(
        backbone=row.cell.backbone,
        optimizer=row.cell.optimizer,
        trials=len(row.trials),
        diverged=sum(t.status == "diverged" for t in row.trials),
        rates=row.trial_lrs,
        decays=tuple(sorted(decays)),
        lr=row.lr,
        weight_decay=row.weight_decay,
        extensions=row.extensions,
        edge=None if row.edge is None else row.edge or by_decay,
        selection=row.selection,
        epochs=tuple(sorted({r.identity.training.epochs for r in row.runs})),
        steps=tuple(sorted({r.total_steps for r in row.runs})),
        tuning_seconds=_seconds(row.trials),
        final_seconds=_seconds(row.finals),
        finals=len(row.finals),
        grids=tuple(sorted({r.grid or "released" for r in row.runs})),
        grid_named=any(r.grid for r in row.runs),
    )


def _seconds(records: Sequence[RunRecord]) -> float:
    return sum(r.cost.wall_seconds for r in records)


def _ends(values: Iterable[int]) -> tuple[int, int]:
    found = list(values)
    return (min(found), max(found)) if found else (0, 0)
