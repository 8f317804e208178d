"""What the trials of a cell tell of their noise, and which of its configurations could be chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.losses import NUMBERS, Floats
from bocb_hf.coupling.statistics import fit_prior
from bocb_hf.coupling.tuning import CellTuning

CANDIDATES = 8  # most configurations of a cell that are drawn among: those of the highest means
NEAR = 6.0  # those further below the best one, in standard errors of a difference, are never chosen
IMAGE_DRAWS = 256  # sets of validation images


def trial_errors(trials: Sequence[CellTuning]) -> tuple[Floats, float]:
    """Standard deviation of one trial beside what a cell's trials share in a seed, in points, moderated; (cells,).

    First of the two best configurations, then of all that are near the best by this measure. The two best are in both:
    cells that happen to vary little would otherwise drop out. The second result is the degrees of freedom of all cells.
    """
    error, freedom = np.zeros(len(trials)), 0.0
    for first in (True, False):
        squares, df = np.zeros(len(trials)), np.zeros(len(trials))
        for i, cell in enumerate(trials):
            some = highest(cell, 2, cell.full)
            if not first:
                some = np.union1d(some, [c for c in near_best(cell, error[i]) if cell.full[c]]).astype(np.intp)
            values = cell.top1[some]
            values = values[:, np.isfinite(values).all(axis=0)]
            if min(values.shape, default=0) < 2:
                continue
            rest = values - values.mean(axis=1, keepdims=True)
            rest = rest - rest.mean(axis=0)
            df[i] = (values.shape[0] - 1) * (values.shape[1] - 1)
            squares[i] = float(np.square(rest).sum())
        known = df > 0
        own = squares / np.maximum(df, 1)
        steps = np.array([100 / max(cell.images, 1) for cell in trials])
        prior = fit_prior(own[known], df[known], steps[known])
        if prior is None:
            variance = own
        elif math.isinf(prior.df):
            variance = np.full(len(trials), prior.variance)
        else:
            variance = (prior.df * prior.variance + squares) / (prior.df + df)
        error, freedom = np.sqrt(variance), float(df.sum())
    return error, freedom


def highest(cell: CellTuning, most: int, among: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Places of the configurations with the highest means among some, at most so many, in rising order."""
    means = np.where(among, means_of(cell), -np.inf)
    order = np.argsort(-means, kind="stable")[: min(most, int(among.sum()))]
    return np.sort(order)


def near_best(cell: CellTuning, error: float) -> NDArray[np.intp]:
    """Places of the configurations that could be chosen, in rising order."""
    some = highest(cell, CANDIDATES, cell.possible)
    means, seeds = means_of(cell)[some], int(seeds_of(cell)[some].min())
    near = some[means >= means.max() - NEAR * error * math.sqrt(2 / seeds) - 1e-9]
    return np.union1d(near, [cell.chosen]).astype(np.intp)


def seeds_of(cell: CellTuning) -> NDArray[np.int64]:
    """Number of scores of each configuration, shape (C,)."""
    return np.isfinite(cell.top1).sum(axis=1)


def means_of(cell: CellTuning) -> Floats:
    """Mean score of each configuration, shape (C,); 0 where it has none."""
    return np.nan_to_num(cell.top1).sum(axis=1) / np.maximum(seeds_of(cell), 1)


@dataclass(frozen=True, eq=False)
class ValidationShifts:
    """How candidates' validation scores move when the images are drawn again.

    Attributes:
        shifts: Of each candidate's mean in points, shape (IMAGE_DRAWS, cells, C).
        luck: Variance of one score from its own luck with images, in points², shape (cells,).
        apart: Variance of a candidate's shift beside what the cell's candidates share, shape (cells,).
    """

    shifts: NDArray[np.float32]
    luck: Floats
    apart: Floats


def validation_shifts(
    trials: Sequence[CellTuning], chosen: Sequence[NDArray[np.intp]], generator: np.random.Generator
) -> ValidationShifts | None:
    """Draws validation images again; None unless every trial of one validation split tells its bits."""
    sizes = {cell.images for cell in trials}
    if len(sizes) != 1 or any(cell.packed is None for cell in trials):
        return None
    n = sizes.pop()
    counts = np.stack([np.bincount(generator.integers(0, n, n), minlength=n) for _ in range(IMAGE_DRAWS)])
    counts = (counts - 1).astype(np.float32)
    width = max(map(len, chosen))
    shifts = np.zeros((IMAGE_DRAWS, len(trials), width), np.float32)
    luck, apart = np.zeros(len(trials)), np.zeros(len(trials))
    part = max(1, NUMBERS // (4 * n * width))
    for start in range(0, len(trials), part):
        block = np.zeros((len(trials[start : start + part]), width, n), np.float32)
        for i, (cell, some) in enumerate(zip(trials[start : start + part], chosen[start : start + part], strict=True)):
            assert cell.packed is not None
            seeds = seeds_of(cell)[some][:, None]
            # trials that did not complete have no bit set
            right = np.unpackbits(cell.packed[some], axis=2, count=n).sum(axis=1, dtype=np.float32) / seeds
            block[i, : len(some)] = right
            several = seeds[:, 0] > 1
            each = (right * (1 - right)).mean(axis=1)[several] / (1 - 1 / seeds[several, 0])
            luck[start + i] = 1e4 * float(each.mean()) / n
            own = right - right.mean(axis=0)
            apart[start + i] = 1e4 * float(own.var(axis=1).sum()) / (len(some) - 1) / n
        moved = counts @ block.reshape(-1, n).T
        shifts[:, start : start + part] = (100 / n * moved).reshape(IMAGE_DRAWS, -1, width)
    return ValidationShifts(shifts, luck, apart)
