"""Weighted sums of cell means, such as the family contrast, with an interval over seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize as _scipy_optimize  # pyright: ignore[reportMissingTypeStubs] - scipy has none
import scipy.special as _scipy_special  # pyright: ignore[reportMissingTypeStubs] - scipy has none

from bocb_hf.coupling.noise import tuning_part
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable
from bocb_hf.coupling.spread import cell_spread, chunks
from bocb_hf.coupling.statistics import LEVEL, Interval

_optimize: Any = _scipy_optimize
_special: Any = _scipy_special


@dataclass(frozen=True)
class Unseen:
    """What the interaction of cells that are missing adds to the variance of a sum.

    Attributes:
        variance: Estimated variance that it adds.
        draws: Variances that it could add, shape (draws,).
    """

    variance: float
    draws: Floats


@dataclass(frozen=True)
class Combination:
    """A weighted sum of cell means, Σ c·ȳ, of independent cells.

    Attributes:
        mean: The sum.
        error: Its standard error over seeds; None when noise cannot be separated, or too few cells tell of it.
        critical: The value that |estimate − truth|/error does not exceed with 95 % probability; None without an error.
    """

    mean: float
    error: float | None
    critical: float | None

    @property
    def interval(self) -> Interval | None:
        """95 % interval over seeds; None without an error."""
        if self.error is None or self.critical is None:
            return None
        half = self.critical * self.error
        return Interval(self.mean - half, self.mean + half)


def combine(
    scores: ScoreTable,
    weights: Floats,
    scale: Scale = "points",
    draws: int = 4000,
    seed: int = 0,
    unseen: Unseen | None = None,
) -> Combination:
    """Computes the weighted sum of cell means, with the error that the spread over seeds gives it.

    The error is √Σ c²·E σ²/n; the critical value is that of normal errors with each cell's σ from its posterior
    (``spread.py``). A t distribution has no number of degrees of freedom for it: those of a single moderated variance
    are too few for a sum of many cells, and the formula of Satterthwaite (1946) supposes that variances err one by one,
    where moderated ones err together.

    Args:
        scores: The table; cells with a weight must be ranked.
        weights: c of each cell, shape (B, O).
        scale: Points or logit.
        draws: How many times every σ is drawn.
        seed: Seed of the draws.
        unseen: What cells that are missing add to the variance of the sum, where it speaks of them too.
    """
    used = weights != 0
    c = weights[used]
    mean = float(c @ scores.cell_means(scale)[used])
    spread = cell_spread(scores, scale)
    if spread is None or (scores.n[used] < 2).all():  # no cell vouches for itself
        return Combination(mean, None, None)
    root = np.sqrt(scores.n[used])
    tuning = tuning_part(scores, scale)
    part = np.zeros(1) if tuning is None else tuning.of_sum(np.where(used, weights, 0.0))
    variance = float(np.square(c / root) @ spread.mean_square[used] + part.mean())
    error = float(np.sqrt(variance + (unseen.variance if unseen is not None else 0.0)))
    generator = np.random.default_rng(seed)
    sigma = (spread.draw_cells(generator, chunk, used) for chunk in chunks(draws, len(c)))
    # given every σ the sum is normal: with 95 % probability its error is below the q that solves this
    variances = np.concatenate([np.square(s) @ np.square(c / root) for s in sigma])
    variances += part[np.arange(draws) % len(part)]
    deviations = np.sqrt(variances if unseen is None else variances + np.resize(unseen.draws, len(variances)))

    def beyond(q: float) -> float:
        return float(2 * _special.ndtr(-q / deviations).mean()) - (1 - LEVEL)

    return Combination(mean, error, float(_optimize.brentq(beyond, 0.0, 10 * float(deviations.max()))) / error)
