"""Weighted sums of cell means, such as the family contrast, with an interval over seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bocb_hf.coupling.scores import Floats, Scale, ScoreTable
from bocb_hf.coupling.spread import cell_spread, chunks
from bocb_hf.coupling.statistics import LEVEL, Interval


@dataclass(frozen=True)
class Combination:
    """Σ c·ȳ of independent cells.

    Attributes:
        mean: The sum.
        error: Its standard error over seeds; None when noise cannot be separated.
        critical: With 95 % probability |estimate − truth|/error does not exceed it; None without an error.
    """

    mean: float
    error: float | None
    critical: float | None

    @property
    def interval(self) -> Interval | None:
        """95 % over seeds; None when noise cannot be separated."""
        if self.error is None or self.critical is None:
            return None
        half = self.critical * self.error
        return Interval(self.mean - half, self.mean + half)


def combine(
    scores: ScoreTable, weights: Floats, scale: Scale = "points", draws: int = 4000, seed: int = 0
) -> Combination:
    """The weighted sum of cell means, with the error that the spread over seeds gives it.

    The error is √Σ c²·E σ²/n; the critical value is simulated with each cell's σ from its posterior (``spread.py``). A
    t distribution has no number of degrees of freedom for it: with those of the moderated variance of a single cell,
    the interval of a contrast of 80 cells of two scores held the truth in 98.9 % of tables whose spreads differ by a
    factor of 50, and with the formula of Satterthwaite (1946), for which moderated variances err too much together, in
    85 % of such tables of 20 cells.

    Args:
        scores: The table; cells with a weight must be ranked.
        weights: c of each cell, shape (B, O).
        scale: Points or logit.
        draws: Of the simulation.
        seed: Of the simulation.
    """
    used = weights != 0
    c = weights[used]
    mean = float(c @ scores.cell_means(scale)[used])
    spread = cell_spread(scores, scale)
    if spread is None:
        return Combination(mean, None, None)
    root = np.sqrt(scores.n[used])
    error = float(np.sqrt(np.square(c / root) @ spread.mean_square[used]))
    generator = np.random.default_rng(seed)
    sums = [
        (generator.standard_normal((chunk, len(c))) * spread.draw(generator, chunk, used) / root) @ c
        for chunk in chunks(draws, len(c))
    ]
    # as in ``bootstrap.py``, a quantile of (draws + 1)
    return Combination(mean, error, float(np.quantile(np.abs(np.concatenate(sums)), LEVEL, method="weibull")) / error)
