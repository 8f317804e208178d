"""Time to target: after how many steps and seconds a run first reaches a stated validation score.

As in AlgoPerf (Dahl et al. 2023, Section 4.1), a run that never reaches the target is censored: it counts as slower
than every run that does, never as a number. What is compared is the share of runs within a factor of the fastest
optimizer of the backbone (Dolan and Moré 2002).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bocb_hf.backbones import CNN_FAMILIES
from bocb_hf.coupling.family_test import ENOUGH_BACKBONES
from bocb_hf.coupling.population import resample
from bocb_hf.coupling.profiles import widen
from bocb_hf.coupling.scores import Floats
from bocb_hf.coupling.statistics import LEVEL, Interval
from bocb_hf.coupling.table import Table
from bocb_hf.runs.record import RunRecord, wilson_interval

FACTORS = (1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)  # times the steps of the fastest optimizer


@dataclass(frozen=True)
class CellTime:
    """When the final runs of one cell reach the target of their backbone.

    Attributes:
        runs: Number of final runs that ended, diverged ones among them.
        reached: How many of these runs reach the target.
        steps: Median over the runs of the first validated step at or above the target; None when the median run never
            gets there.
        seconds: Seconds of training at that step, without evaluation; None likewise.
    """

    backbone: str
    optimizer: str
    runs: int
    reached: int
    steps: float | None
    seconds: float | None


@dataclass(frozen=True, eq=False)
class OptimizerTime:
    """One optimizer over all backbones with a target.

    Attributes:
        runs: Number of its runs.
        reached: How many of them reach their target.
        reaching: 95 % Wilson interval of the probability to reach it, in percent.
        share: Share of the runs that reach the target within each of ``FACTORS`` times the steps of the backbone's
            fastest optimizer (by median), shape (F,).
        low: Lower ends of 95 % intervals by bootstrap (``profiles.widen``), shape (F,).
        high: Upper ends, shape (F,).
    """

    optimizer: str
    runs: int
    reached: int
    reaching: Interval
    share: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class Times:
    """Time to target of one table.

    Attributes:
        targets: Validation score in percent for each backbone.
        stated: Whether the user named the target; else it is the median over optimizers of the mean last score.
        cells: Cells with a run that has a validation curve.
        optimizers: Optimizers with such a cell, in the order of the table.
        varied: What the intervals draw again: ``runs``, and ``backbones`` too where each family has enough.
        every: The largest number of steps between two validations: what a time is uncertain by.
    """

    targets: Mapping[str, float]
    stated: bool
    cells: tuple[CellTime, ...]
    optimizers: tuple[OptimizerTime, ...]
    varied: str
    every: int


def times_to_target(table: Table, target: float | None = None, draws: int = 1000, seed: int = 0) -> Times | None:
    """Finds when the final runs of the shown configurations first reach a validation score.

    Args:
        table: The table; only runs that completed or diverged count, and only those with a validation curve.
        target: Validation score in percent, the same for all backbones; None takes for each backbone the score that the
            median optimizer ends with, so that about half of the optimizers get there.
        draws: Draws of the bootstrap.
        seed: Seed of the draws.

    Returns:
        The times, or None when no run has a validation curve.
    """
    runs = {
        (b, o): found
        for b in table.backbones
        for o in table.optimizers
        if (found := [r for r in table.shown(b, o).finals if r.status != "interrupted" and r.curve.val_step])
    }
    targets: dict[str, float] = {}
    for b in table.backbones:
        last = [_last(found) for (backbone, _), found in runs.items() if backbone == b]
        ends = [score for score in last if score is not None]
        if ends:
            targets[b] = median(ends) if target is None else target
    runs = {key: found for key, found in runs.items() if key[0] in targets}
    if not runs:
        return None
    reached = {key: [_first(record, targets[key[0]]) for record in found] for key, found in runs.items()}
    cells = tuple(_cell_time(key, times) for key, times in reached.items())
    fastest = {b: _fastest([c for c in cells if c.backbone == b], reached) for b in targets}
    ratios = {key: [_ratio(steps, fastest[key[0]]) for steps, _ in times] for key, times in reached.items()}
    families = {row.cell.backbone: row.family for row in table.rows}
    optimizers, varied = _optimizers(table, targets, ratios, families, draws, seed)
    gaps = [step for found in runs.values() for r in found for step in np.diff([0, *r.curve.val_step]).tolist()]
    return Times(targets, target is not None, cells, optimizers, varied, max(gaps))


def _last(records: list[RunRecord]) -> float | None:
    """Mean last validation score of a cell's completed runs."""
    ends = [record.curve.validated[-1] for record in records if record.status == "completed"]
    return sum(ends) / len(ends) if ends else None


def _first(record: RunRecord, target: float) -> tuple[float, float]:
    """First validated step at or above the target, and the seconds of training until then; infinite when never."""
    step = next(
        (s for s, score in zip(record.curve.val_step, record.curve.validated, strict=True) if score >= target), None
    )
    if step is None:
        return inf, inf
    # time is spent evenly over the steps that the run took
    return float(step), step * record.cost.train_seconds / max(record.stopped_step or record.total_steps, 1)


def _fastest(cells: list[CellTime], reached: Mapping[tuple[str, str], list[tuple[float, float]]]) -> float:
    """Steps of a backbone's fastest optimizer by its median run, or of the fastest run where no median gets there."""
    medians = [cell.steps for cell in cells if cell.steps is not None]
    single = [steps for cell in cells for steps, _ in reached[cell.backbone, cell.optimizer]]
    return min(medians or single, default=inf)


def _ratio(steps: float, fastest: float) -> float:
    """Times the steps of the fastest; a score that is there before the first step counts as one step."""
    return max(steps, 1.0) / max(fastest, 1.0) if isfinite(steps) else inf


def _cell_time(key: tuple[str, str], times: list[tuple[float, float]]) -> CellTime:
    steps, seconds = (_median([time[i] for time in times]) for i in (0, 1))
    return CellTime(*key, len(times), sum(isfinite(s) for s, _ in times), steps, seconds)


def _median(values: list[float]) -> float | None:
    """The upper median, so that of two runs both must get there; None when it is censored."""
    middle = sorted(values)[len(values) // 2]
    return middle if isfinite(middle) else None


def _optimizers(
    table: Table,
    targets: Mapping[str, float],
    ratios: Mapping[tuple[str, str], list[float]],
    families: Mapping[str, str],
    draws: int,
    seed: int,
) -> tuple[tuple[OptimizerTime, ...], str]:
    """Sums up over backbones: runs of each cell are drawn again, and backbones where each family has enough."""
    generator = np.random.default_rng(seed)
    names = list(targets)
    is_cnn = np.array([families[b] in CNN_FAMILIES for b in names])
    modern = np.array([families[b] == "modern" for b in names])
    enough = min(int(is_cnn.sum()), int(modern.sum())) >= ENOUGH_BACKBONES
    rows = resample((is_cnn, modern), generator, draws) if enough else np.tile(np.arange(len(names)), (draws, 1))
    found: list[OptimizerTime] = []
    for optimizer in table.optimizers:
        own = [ratios.get((b, optimizer), []) for b in names]
        flat = [ratio for each in own for ratio in each]
        if not flat:
            continue
        # numbers of runs within each factor by backbone, in every draw: shape (draws, backbones, F)
        inside = np.stack([_draw_cell(np.array(each), generator, draws) for each in own], axis=1)
        inside = np.take_along_axis(inside, rows[:, :, None], axis=1).sum(axis=1)
        count = np.array([len(each) for each in own])[rows].sum(axis=1)
        shares = inside[count > 0] / count[count > 0][:, None]
        ends = np.quantile(shares, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
        share = np.array([sum(ratio <= f + 1e-9 for ratio in flat) for f in FACTORS]) / len(flat)
        low, high = widen(share[None], ends[:1], ends[1:], np.array([len(flat)]))
        reached = sum(map(isfinite, flat))
        reaching = Interval(*wilson_interval(reached, len(flat)))
        found.append(OptimizerTime(optimizer, len(flat), reached, reaching, share, low[0], high[0]))
    return tuple(found), "runs and backbones" if enough else "runs"


def _draw_cell(ratios: Floats, generator: np.random.Generator, draws: int) -> NDArray[np.int64]:
    """Draws the runs of a cell again and counts those within each factor, shape (draws, F)."""
    if not len(ratios):
        return np.zeros((draws, len(FACTORS)), np.int64)
    drawn = ratios[generator.integers(0, len(ratios), (draws, len(ratios)))]
    return np.stack([(drawn <= f + 1e-9).sum(axis=1) for f in FACTORS], axis=1)
