"""Tables whose cells are of several kinds, and how often their intervals hold the truth, kind by kind."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from covered import Share, shares_of
from numpy.typing import NDArray
from simulated import Regime, table_of, world

from bocb_hf.coupling.cells import half_widths, moderate_table
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.winners import winners
from bocb_hf.runs.record import wilson_interval

# what each noise is beside the spreads of its regime
NOISES: dict[str, Regime] = {
    "equal": "equal",
    "factor 5": "factor 5",
    "factor 50": "factor 50",
    "collapsed": "collapsed",
    "t3": "equal",
    "flaky": "equal",
    "flaky, factor 5": "factor 5",
    "unequal n": "factor 5",
    "divergence": "factor 5",
}
LOSS, RATE, FLAKY = 10.0, 0.1, 0.3  # points that a flaky cell loses in some of its runs, and the share of such cells
UNSTABLE, DIVERGES = 0.1, 0.5  # share of cells whose runs diverge, and how often they do


@dataclass(frozen=True, eq=False)
class Known:
    """A table with what is true of it.

    Attributes:
        table: The scores.
        truth: Mean of each cell over all runs that complete, rare losses included, shape (B, O).
        collapsed: Cells that collapsed, shape (B, O).
        flaky: Cells that lose points in some runs, shape (B, O).
        diverges: Probability of a run to diverge, shape (B, O).
    """

    table: ScoreTable
    truth: NDArray[np.float64]
    collapsed: NDArray[np.bool_]
    flaky: NDArray[np.bool_]
    diverges: NDArray[np.float64]


def simulate_kinds(generator: np.random.Generator, backbones: int, optimizers: int, seeds: int, noise: str) -> Known:
    """Draws a table with one of ``NOISES``.

    ``t3``: t with three degrees of freedom and the same variance. ``flaky``: 30 % of cells lose 10 points in one run
    of ten. ``unequal n``: 2 to 2·seeds − 1 runs a cell. ``divergence``: the runs of 10 % of cells diverge half of the
    time.
    """
    truth, sigma, collapsed = world(generator, backbones, optimizers, NOISES[noise])
    runs = 2 * seeds - 1 if noise == "unequal n" else seeds
    size = (*truth.shape, runs)
    z = generator.standard_t(3, size) / 3**0.5 if noise == "t3" else generator.normal(size=size)
    values = truth[..., None] + sigma[..., None] * z
    flaky = np.zeros(truth.shape, np.bool_)
    diverges: NDArray[np.float64] = np.zeros(truth.shape)
    if noise.startswith("flaky"):
        flaky = generator.random(truth.shape) < FLAKY
        values -= LOSS * ((generator.random(size) < RATE) & flaky[..., None])
        truth = truth - LOSS * RATE * flaky
    if noise == "unequal n":
        n = generator.integers(2, runs + 1, truth.shape)
        values[np.arange(runs) >= n[..., None]] = np.nan
    if noise == "divergence":
        diverges = np.where(generator.random(truth.shape) < UNSTABLE, DIVERGES, 0.0)
        values[generator.random(size) < diverges[..., None]] = np.nan
    return Known(_with_status(np.clip(values, 0, 100), noise), truth, collapsed, flaky, diverges)


def _with_status(values: NDArray[np.float64], noise: str) -> ScoreTable:
    table = table_of(values)
    if noise != "divergence":
        return table
    lost = np.isnan(values).sum(axis=2)
    status = np.where(lost == 0, "completed", np.where(lost < values.shape[2], "partial", "diverged"))
    return replace(table, status=status, diverged=lost.astype(np.int64))


def kind_coverage(
    noise: str, seeds: int, tables: int, winner: bool = False, size: tuple[int, int] = (10, 8)
) -> dict[str, Share]:
    """How often the intervals of cells hold the truth, by kind of cell; with the best of each backbone apart.

    Args:
        noise: One of ``NOISES``.
        seeds: Runs of a cell.
        tables: Tables to draw.
        winner: Whether the best is corrected for having been chosen as well, which takes most of the time.
        size: Backbones and optimizers.
    """
    generator = np.random.default_rng(8)
    hits: dict[str, list[float]] = defaultdict(list)
    for _ in range(tables):
        known = simulate_kinds(generator, *size, seeds, noise)
        table, truth = known.table, known.truth
        ranked = table.ranked
        cells = moderate_table(table.values, ranked)
        half = half_widths(cells, table.n)
        means = np.where(ranked, table.means, -np.inf)
        held = (means - half - cells.below <= truth) & (truth <= means + half)
        kinds = {"ordinary": ~known.collapsed & ~known.flaky, "collapsed": known.collapsed, "flaky": known.flaky}
        for name, kind in kinds.items():
            if (ranked & kind).any():
                hits[name].append(float(held[ranked & kind].mean()))
        best = (np.arange(len(means)), means.argmax(axis=1))
        hits["best"].append(float(held[best].mean()))
        hits["best too high"].append(float((means[best] > truth[best]).mean()))
        if winner:
            found = [(w, b) for b, w in enumerate(winners(table)) if w is not None]
            hits["corrected"].append(float(np.mean([w.interval.holds(float(truth[b, w.place])) for w, b in found])))
            hits["corrected too high"].append(float(np.mean([w.estimate > truth[b, w.place] for w, b in found])))
            wide = [w.interval.half_width / (half + cells.below / 2)[b, w.place] for w, b in found]
            hits["longer"].append(float(np.median(wide)) - 1)
        if known.diverges.any():
            failed = table.diverged[known.diverges > 0].tolist()
            ends = [wilson_interval(count, seeds) for count in failed]
            inside = [low <= 100 * DIVERGES <= high for low, high in ends]
            hits["probability"].append(float(np.mean(inside)))
        hits["rare"].append(float(cells.rare is not None))
        hits["wider"].append(float(np.mean((cells.below / half)[ranked])) / 2)
    return shares_of(hits)
