"""Expected best score against the number of trials: what an optimizer costs to tune.

A cell that tried N configurations tells what any k ≤ N of them would have given: the best of k drawn from the N
*without replacement*, averaged over all draws (the unbiased U-statistic). Dodge et al., "Show Your Work", EMNLP 2019,
equation 7, draw with replacement instead, which is biased downwards: with k = N the same configuration may be drawn
twice, so their curve never reaches the best that was found (Tang et al., "Showing Your Work Doesn't Always Work", ACL
2020, Section 3). A grid is searched without repeating a point, so without replacement is also what a user does.

A diverged trial is a trial spent without a score. It never counts as a number: the expectation is over draws with at
least one completed trial, and the share of draws without any stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.statistics import Interval, t_quantile
from bocb_hf.coupling.table import Table
from bocb_hf.runs.record import RunRecord


@dataclass(frozen=True)
class BestOf:
    """The best validation score of ``k`` trials of one cell.

    Attributes:
        mean: Expected best over all draws with a completed trial; None when no draw has one.
        range: The range that holds the best of at least 95 % of these draws. It shows the luck of the draw, not the
            noise of training.
        no_result: Share of draws in which every trial diverged.
        trials: N, the number of trials of the cell.
    """

    k: int
    mean: float | None
    range: Interval | None
    no_result: float
    trials: int


@dataclass(frozen=True)
class Expected:
    """``k`` trials on each backbone, averaged over backbones.

    Attributes:
        shortfall: Points below the best validation score that any optimizer reached on the same backbone.
        interval: 95 % interval by Student's t over backbones; None with one backbone.
        no_result: Share of draws in which every trial diverged, averaged over backbones; they are not in ``shortfall``.
        backbones: Number of backbones behind the average.
    """

    k: int
    shortfall: float
    interval: Interval | None
    no_result: float
    backbones: int


@dataclass(frozen=True)
class TrialCurve:
    """One optimizer: expected shortfall for k = 1, 2, … as far as every one of its tuned backbones has trials.

    Attributes:
        left_out: Backbones without a completed trial of this optimizer.
    """

    optimizer: str
    points: tuple[Expected, ...]
    left_out: tuple[str, ...]


def expected_best(scores: Sequence[float], failed: int = 0) -> list[BestOf]:
    """Computes the best of k = 1 … N trials drawn without replacement.

    With x sorted ascending among N trials, of which ``failed`` have no score and rank below all:
    P(best ≤ x_(i)) = C(i, k)/C(N, k), i counted from the failed ones on.

    Args:
        scores: Validation scores of the completed trials.
        failed: Number of trials that diverged.
    """
    x: NDArray[np.float64] = np.sort(np.asarray(scores, np.float64))
    total = len(x) + failed
    found: list[BestOf] = []
    i = np.arange(failed, total + 1)
    below = np.ones(len(i))
    for k in range(1, total + 1):
        # C(i, k)/C(N, k) follows from that of k − 1; the binomials themselves have hundreds of digits at 1,000 trials
        below = below * np.maximum(i - k + 1, 0) / (total - k + 1)
        no_result = float(below[0])
        if no_result >= 1:
            found.append(BestOf(k, None, None, 1.0, total))
            continue
        weights = np.diff(below) / (1 - no_result)
        cumulative = np.cumsum(weights)
        low = x[int(np.searchsorted(cumulative, 0.025 + 1e-12))]
        high = x[min(int(np.searchsorted(cumulative, 0.975 - 1e-12)), len(x) - 1)]
        found.append(BestOf(k, float(weights @ x), Interval(float(low), float(high)), no_result, total))
    return found


def trial_scores(trials: Sequence[RunRecord]) -> tuple[list[float], int]:
    """Returns the last validation top-1 in points of completed trials, and how many diverged; others are left out."""
    scores = [
        m.last for t in trials if t.status == "completed" and (m := t.metrics.val) is not None and m.last is not None
    ]
    return scores, sum(t.status == "diverged" for t in trials)


def trial_curves(table: Table) -> list[TrialCurve]:
    """Returns one curve for each optimizer that has a completed trial, in the order of the table."""
    cells = {
        (row.cell.backbone, row.cell.optimizer): trial_scores(row.trials)
        for row in table.rows
        if row.shown and row.trials
    }
    best = {b: max(s) for b in table.backbones if (s := [x for (c, _), (v, _) in cells.items() if c == b for x in v])}
    curves: list[TrialCurve] = []
    for optimizer in table.optimizers:
        own = {b: expected_best(*cell) for (b, o), cell in cells.items() if o == optimizer and cell[0]}
        if not own:
            continue
        points: list[Expected] = []
        for k in range(1, min(map(len, own.values())) + 1):
            drawn = {b: curve[k - 1] for b, curve in own.items()}
            shortfalls = [best[b] - d.mean for b, d in drawn.items() if d.mean is not None]
            no_result = fmean(d.no_result for d in drawn.values())
            points.append(Expected(k, fmean(shortfalls), _interval(shortfalls), no_result, len(shortfalls)))
        left_out = tuple(b for b in table.backbones if b not in own)
        curves.append(TrialCurve(optimizer, tuple(points), left_out))
    return curves


def _interval(values: Sequence[float]) -> Interval | None:
    """Returns the 95 % interval of the mean by Student's t."""
    n = len(values)
    if n < 2:
        return None
    mean, half = fmean(values), t_quantile(0.975, n - 1) * stdev(values) / math.sqrt(n)
    return Interval(mean - half, mean + half)
