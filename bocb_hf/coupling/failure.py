"""Which cells failed, which collapsed, and what the study's own rule flags.

Three words, three meanings: *diverged* is the status of a run, by the rule of its configuration; *failed* is a cell
clearly below what most optimizers reach on its backbone; *collapsed* is a cell that lost more than half of the way
from guessing to the best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.cells import half_widths, moderate_table
from bocb_hf.coupling.noise import tuning_part
from bocb_hf.coupling.scores import Floats, ScoreTable, resolution

GAMMA = 2.0  # points below the median from which a cell fails
STUDY_GAMMA = {"cifar100": 3.0, "imagenet1k": 1.0, "coco_pose": 3.0, "coco_detection": 3.0}
TOP = 4
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Failures:
    """The cells that the default rule of failure flags.

    Attributes:
        failed: Diverged, or ȳ + h < median_o − γ; shape (B, O).
        below: The rule without the interval, ȳ < median_o − γ; shape (B, O).
        collapsed: (y − c)/(max − c) < ½ with c = chance; shape (B, O), all False without a known chance.
        half_width: h, half of the 95 % interval, shape (B, O); 0 where ``marked``.
        marked: Cells with n = 1, whose h is 0 because nothing is known; shape (B, O).
        partial: Some seeds diverged: never ranked, so never counted here; shape (B, O).
    """

    failed: Mask
    below: Mask
    collapsed: Mask
    half_width: Floats
    marked: Mask
    partial: Mask


def find_failures(scores: ScoreTable, gamma: float = GAMMA) -> Failures:
    """Applies the default rule to every cell; medians and maxima are over the backbone's ranked cells.

    Args:
        scores: The table.
        gamma: γ, the points below the median from which a cell fails.
    """
    means, ranked = scores.means, scores.ranked
    median, best = column_statistics(scores)
    noise, tuning = (
        moderate_table(scores.values, ranked, resolution(scores, "points"), scores.chance),
        tuning_part(scores, "points"),
    )
    halves = half_widths(noise, scores.n, None if tuning is None else (tuning.variance, tuning.df))
    half = np.where(scores.n > 1, np.nan_to_num(halves), 0.0)
    with np.errstate(invalid="ignore"):  # comparisons with NaN are false, so a cell without a mean is below nothing
        below = means < (median - gamma)[:, None]
        failed = means + half < (median - gamma)[:, None]
        collapsed = np.zeros_like(below)
        if scores.chance is not None:
            height = (best - scores.chance)[:, None]
            collapsed = (height > 0) & (means - scores.chance < height / 2)
    diverged = scores.status == "diverged"
    return Failures(failed | diverged, below, collapsed, half, ranked & (scores.n == 1), scores.status == "partial")


def column_statistics(scores: ScoreTable) -> tuple[Floats, Floats]:
    """Median and maximum over each backbone's ranked cells, shape (B,) each; NaN for a backbone without one."""
    means = scores.means
    empty: Mask = np.asarray(~np.isfinite(means).any(axis=1), np.bool_)
    filled = np.where(empty[:, None], 0.0, means)
    blank = np.where(empty, np.nan, 0.0)
    return np.nanmedian(filled, axis=1) + blank, np.nanmax(filled, axis=1) + blank


def equation_1(scores: ScoreTable, gamma: float | None = None) -> Mask:
    """Applies the study's Eq. 1 as printed: r < max(R) − min(Q75(R) − Q25(R), γ), with R all scores of a backbone.

    It compares with the best, not with the middle, so it flags most cells: 258 of 400 on CIFAR-100, of which the
    project page greys 51. Diverged cells are flagged.

    Args:
        scores: The table.
        gamma: γ in points; None takes the study's own for its data sets, and 3 for others.
    """
    gamma = STUDY_GAMMA.get(scores.dataset, 3.0) if gamma is None else gamma
    _, best = column_statistics(scores)
    means = scores.means
    filled = np.where(np.isfinite(best)[:, None], means, 0.0)
    upper, lower = np.nanquantile(filled, [0.75, 0.25], axis=1)
    with np.errstate(invalid="ignore"):
        return (means < (best - np.minimum(upper - lower, gamma))[:, None]) | (scores.status == "diverged")


def top(scores: ScoreTable, k: int = TOP) -> Mask:
    """Finds the k highest means of each backbone, with all that tie with the last of them; shape (B, O)."""
    means = scores.means
    better = (means[:, None, :] > means[:, :, None]).sum(axis=2)  # number of optimizers that are better, shape (B, O)
    return scores.ranked & (better < k)
