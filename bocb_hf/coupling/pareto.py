"""Pareto fronts of the score against its cost: time of a run, memory, and tuning.

A cell is on the front when no other of the same backbone is at least as good in both and better in one. Equal cells
are on it together. Only cells whose every run completed have a place; diverged and partial ones are listed beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from bocb_hf.coupling.reading import GIVEN
from bocb_hf.coupling.row import Row
from bocb_hf.coupling.statistics import Interval
from bocb_hf.coupling.table import Table

Axis = Literal["seconds", "memory", "tuning"]
AXES: Mapping[Axis, str] = {
    "seconds": "wall time of one run in seconds",
    "memory": "peak memory in MiB",
    "tuning": "wall time of all tuning trials in seconds",
}


@dataclass(frozen=True)
class Point:
    """One cell with its cost.

    Attributes:
        mean: Test score in points.
        interval: 95 % interval over seeds, where noise can be separated.
        n: Completed final runs.
        cost: Cost on the axis of the front.
        on_front: Whether no other cell dominates it.
        dominated_by: Optimizers whose cells dominate this one, cheapest first.
    """

    optimizer: str
    mean: float
    interval: Interval | None
    n: int
    cost: float
    on_front: bool
    dominated_by: tuple[str, ...]


@dataclass(frozen=True)
class Front:
    """All cells of one backbone on one cost axis.

    Attributes:
        points: Cells by rising cost, then falling score.
        left_out: Optimizers without a place on the front's axes, with the reason.
        caveats: Why costs may not be comparable.
        reading: What the intervals of the points are over, in words.
    """

    backbone: str
    axis: Axis
    points: tuple[Point, ...]
    left_out: Mapping[str, str]
    caveats: tuple[str, ...]
    reading: str = GIVEN


def pareto(table: Table, backbone: str, axis: Axis = "seconds") -> Front:
    """Computes the front of one backbone.

    Raises:
        KeyError: The table has no such backbone.
    """
    placed: list[tuple[Row, float, float]] = []
    left_out: dict[str, str] = {}
    for row in table.column(backbone):
        cost = _cost(row, axis)
        if row.mean is None:
            left_out[row.cell.optimizer] = row.status
        elif cost is None:
            left_out[row.cell.optimizer] = "no tuning trial"
        else:
            placed.append((row, row.mean, cost))
    placed.sort(key=lambda p: (p[2], -p[1], p[0].cell.optimizer))
    on_front = non_dominated([(mean, cost) for _, mean, cost in placed])
    points = [
        Point(
            optimizer=row.cell.optimizer,
            mean=mean,
            interval=row.interval,
            n=row.n,
            cost=cost,
            on_front=front,
            dominated_by=tuple(r.cell.optimizer for r, m, c in placed if dominates((m, c), (mean, cost))),
        )
        for (row, mean, cost), front in zip(placed, on_front, strict=True)
    ]
    caveats = _caveats([row for row, _, _ in placed], axis)
    return Front(backbone, axis, tuple(points), left_out, caveats, table.reading.text)


def dominates(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Returns whether one (score, cost) is at least as good as another in both and better in one."""
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def non_dominated(points: Sequence[tuple[float, float]]) -> list[bool]:
    """For each (score, cost), whether no other dominates it; equal points share their answer."""
    return [not any(dominates(other, point) for other in points) for point in points]


def _cost(row: Row, axis: Axis) -> float | None:
    if axis == "seconds":
        return row.wall_seconds
    if axis == "memory":
        peaks = [r.cost.peak_memory_bytes for r in row.completed]
        return max(peaks) / 2**20 if peaks else None
    return sum(t.cost.wall_seconds for t in row.trials) if row.trials else None


def _caveats(rows: Sequence[Row], axis: Axis) -> tuple[str, ...]:
    """Differences between the machines that the costs were measured on."""
    records = [r for row in rows for r in (row.trials if axis == "tuning" else row.completed)]
    found: list[str] = []
    devices = sorted({r.environment.hardware() for r in records})
    if len(devices) > 1:
        found.append(f"measured on different devices ({'; '.join(devices)})")
    kinds = sorted({r.cost.memory_kind for r in records})
    if axis == "memory" and len(kinds) > 1:
        found.append(f"memory is counted in different ways ({', '.join(kinds)})")
    if axis == "memory" and kinds == ["process_rss"]:
        found.append("memory is the process's resident set, libraries included, so optimizers differ little in it")
    if axis != "memory" and len({r.environment.threads for r in records}) > 1:
        found.append("measured with different numbers of threads")
    return tuple(found)
