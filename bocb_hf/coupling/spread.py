"""The spread over seeds that each cell could have, given two to five scores: draws of σ for simulations.

Intervals for one cell take the moderated variance of Smyth (2004), which supposes that the variances of all cells
follow a scaled inverse χ² distribution. For the largest of 400 cells, or a sum that three loud cells rule, that tail
is too heavy: with two seeds and spreads that differ by a factor of 50, simultaneous intervals built on it hold the
truth in every table. Here log σ² follows a normal or a nearly uniform distribution instead; which of them, its location
and its width are not plugged in but drawn from what all cells leave possible, which matters in a table of 20 cells; and
each cell's σ is drawn from what they and its own s² leave possible.

The bootstrap also takes what the cell's residual of the additive fit tells: a mean that lies where its backbone and its
optimizer lead to expect hardly belongs to a loud cell. Without that, s² alone decides both how wide an interval is and
where it lies, since noise is taken off; with two seeds and spreads that differ by a factor of 50, intervals of the
interaction's variance were always wide where they lay low, and held the truth in 99 % of tables. What asks whether
residuals differ from 0 must not learn σ from them: the test of interaction would then be wrong in 9 % of tables without
one. ``benchmarks/coverage.txt`` shows how often intervals and tests are right.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.additive import fit_additive, leverages
from bocb_hf.coupling.depth import depths, slope
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable, resolution
from bocb_hf.coupling.statistics import digamma, trigamma
from bocb_hf.errors import InputError

POINTS = 96  # points of the grid of log σ²
LEVELS = 128  # quantiles in which each cell's posterior is tabulated for drawing
HYPER = 24  # draws of location and width
MIN_CELLS = 4  # fewest cells that a distribution is estimated from: a table of two backbones and two optimizers
EQUAL = 0.5  # the prior probability that all cells spread alike, but for their depth
NARROW = 0.25  # where cells do not spread alike, the prior density of a width w of log σ² is 1/(w + NARROW)
CHI2_MEDIAN = 0.455  # median of χ² with one degree of freedom
# equally likely sizes of an interaction, as multiples of a typical one, so that collapse is not taken for noise
SCALES = (1.0, 3.0, 9.0, 27.0)


@dataclass(frozen=True, eq=False)
class Spread:
    """The posterior of σ in each cell.

    Attributes:
        table: Quantiles of σ of one score for each draw of location and width, shape (HYPER, cells, LEVELS); cells in
            the order of ``np.nonzero(kept)``.
        kept: Cells that have a posterior, shape (B, O).
    """

    table: NDArray[np.float32]
    kept: NDArray[np.bool_]

    @property
    def mean_square(self) -> Floats:
        """Expected variance E σ² of each cell, shape (B, O); NaN outside ``kept``."""
        found = np.full(self.kept.shape, np.nan)
        squares = np.stack([np.square(part, dtype=np.float64).mean(axis=1) for part in self.table])
        found[self.kept] = squares.mean(axis=0)
        return found

    def draw_cells(self, generator: np.random.Generator, draws: int, cells: NDArray[np.bool_]) -> Floats:
        """Draws σ of some kept cells, shape (draws, cells). Each draw has one location and width for all cells.

        Args:
            generator: Source of the random draws.
            draws: Number of draws.
            cells: The cells to draw σ of, shape (B, O).
        """
        places = np.flatnonzero(cells[self.kept])
        hyper = generator.integers(0, HYPER, (draws, 1))
        level = generator.integers(0, LEVELS, (draws, len(places)))
        return self.table[hyper, places, level].astype(np.float64)

    def draw_table(self, generator: np.random.Generator, draws: int) -> Floats:
        """Draws σ of each cell, shape (draws, B, O); 0 outside ``kept``."""
        drawn = np.zeros((draws, *self.kept.shape))
        drawn[:, self.kept] = self.draw_cells(generator, draws, self.kept)
        return drawn


@lru_cache(maxsize=4)  # the cache holds points and logits of one table, with residuals and without
def cell_spread(scores: ScoreTable, scale: Scale, residuals: bool = False) -> Spread | None:
    """Estimates the standard deviations that each ranked cell could have; the resolution of a score is one image."""
    values = np.where(scores.ranked[:, :, None], scores.on(scale), np.nan)
    return fit_spread(values, scores.ranked, resolution(scores, scale), residuals)


def fit_spread(
    values: Floats, kept: NDArray[np.bool_], resolution: float | Floats = 0.0, residuals: bool = False
) -> Spread | None:
    """Estimates the distribution of σ² over the kept cells, and each cell's posterior.

    Collapsed cells spread more than others and rule many statistics; so the location of log σ² follows how deep a cell
    lies below its backbone's median (``depth.py``), with a slope that the cells decide, as in limma's trend for
    intensity. A cell with one score has what the others say as its posterior. Variances are raised to that of rounding
    to a countable score, resolution²/12, as in ``fit_prior``.

    Args:
        values: Scores, shape (B, O, S), NaN where there is no score.
        kept: Cells to use, shape (B, O).
        resolution: Smallest difference that two scores can have, shape (B, O) or for all.
        residuals: Whether to learn from the residuals of the additive fit as well.

    Returns:
        The posterior; None when fewer than ``MIN_CELLS`` kept cells have two scores, or none of these varies.
    """
    cells = values[kept]
    n = np.isfinite(cells).sum(axis=-1)
    mean = np.nansum(cells, axis=-1) / np.maximum(n, 1)
    own = np.nansum(np.square(cells - mean[:, None]), axis=-1) / np.maximum(n - 1, 1)
    informing = n > 1
    if informing.sum() < MIN_CELLS or not (own[informing] > 0).any():
        return None
    rounding = np.square(np.broadcast_to(np.asarray(resolution, np.float64), kept.shape)[kept]) / 12
    own = np.maximum(own, np.maximum(rounding, 1e-5 * float(np.median(own[informing & (own > 0)]))))
    d = (n[informing] - 1) / 2
    unbiased = np.log(own[informing]) - digamma(d) + np.log(d)  # grid of log σ²
    means = np.full(kept.shape, np.nan)
    means[kept] = mean
    depth = depths(means)[kept]
    trend_slope, error = slope(depth[informing], unbiased)
    residual = _Residual.of(means, kept, n) if residuals else None
    drawn: list[NDArray[np.float32]] = []
    # three-point quadrature of a normal distribution
    for part, z in ((HYPER // 4, -1.22), (HYPER // 2, 0.0), (HYPER // 4, 1.22)):
        trend = (trend_slope + z * error) * depth
        sigma = _posterior(np.log(own), unbiased, n, informing, trend, residual, part)
        drawn.append(sigma.astype(np.float32))
    return Spread(np.concatenate(drawn), kept)


@dataclass(frozen=True, eq=False)
class _Residual:
    """The residual of each cell's mean from the additive fit, and what it says of the cell's σ.

    Attributes:
        square: Squared residuals r², shape (cells,).
        typical: Typical r², which includes the noise of a typical cell.
        own: What the noise of a mean adds to r² per unit of σ² where all cells spread alike, shape (cells,).
    """

    square: Floats
    typical: float
    own: Floats

    @classmethod
    def of(cls, means: Floats, kept: NDArray[np.bool_], n: NDArray[np.int64]) -> _Residual | None:
        """Computes the residuals of cell means, shape (B, O); None where they have none."""
        try:
            square = np.square(fit_additive(means, kept).interaction[kept])
        except InputError:  # the cells lie in blocks that share nothing
            return None
        typical = float(np.median(square)) / CHI2_MEDIAN
        if typical <= 1e-20 * float(np.nanmax(np.abs(means))) ** 2:  # the residuals are nothing but rounding
            return None
        return cls(square, typical, (1 - leverages(kept)) / np.maximum(n, 1))

    def log_likelihood(self, log_variance: Floats) -> Floats:
        """Returns the log density of r given log σ², both of shape (cells, POINTS), up to a constant."""
        density = np.zeros_like(log_variance)
        noise = self.own[:, None] * np.exp(log_variance)
        for scale in SCALES:
            variance = scale**2 * self.typical + noise
            density += np.exp(-self.square[:, None] / (2 * variance)) / np.sqrt(variance)
        return np.log(np.maximum(density, 1e-300))


def _posterior(
    log_own: Floats,
    unbiased: Floats,
    n: NDArray[np.int64],
    informing: NDArray[np.bool_],
    trend: Floats,
    residual: _Residual | None,
    hyper: int,
) -> NDArray[np.float64]:
    """Returns quantiles of σ for several draws of location and width of log σ² − trend, shape (hyper, cells, LEVELS).

    Args:
        log_own: log s² of each cell, shape (cells,).
        unbiased: Unbiased estimates of log σ² of the informing cells.
        n: Number of scores of each cell.
        informing: Cells with at least two scores.
        trend: How far log σ² of each cell lies above the location.
        residual: Residuals of the additive fit, which say something about σ as well.
        hyper: Number of draws of location and width.
    """
    unbiased = unbiased - trend[informing]
    location, variance = float(unbiased.mean()), float(unbiased.var(ddof=1))
    sampling = float(trigamma((n[informing] - 1) / 2).mean())
    error = (max(variance, sampling) / len(unbiased)) ** 0.5
    # Var has a relative error of about √(2/cells), more for such skewed logarithms
    widest = (max(variance - sampling, 0.0) + 4 * variance / len(unbiased) ** 0.5) ** 0.5
    locations = location + error * np.linspace(-3, 3, 13)
    edge = 3 * error + 3 * widest
    grid: Floats = location + edge * np.linspace(-1, 1, POINTS)
    ratio: Floats = (log_own - trend)[:, None] - grid
    # log density of s² given σ², up to terms that do not depend on σ²; 0 where n = 1
    log_likelihood: Floats = np.maximum(n - 1, 0)[:, None] / 2 * (ratio - np.exp(ratio))
    if residual is not None:
        log_likelihood += residual.log_likelihood(grid + trend[:, None])
    likelihood: Floats = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))  # (cells, POINTS)
    # every pair of location and width, but none narrower than the grid can tell
    widths = np.maximum(widest * np.linspace(0.02, 1, 25), 0.7 * float(grid[1] - grid[0]))
    pairs = np.array([(location, width) for location in locations for width in widths])
    z: Floats = np.abs(grid - pairs[:, :1]) / pairs[:, 1:]
    # normal, or nearly uniform with the same standard deviation: the cells decide
    prior: Floats = np.exp(-np.concatenate([z**2 / 2, (z / 1.77) ** 6]))  # (2 · pairs, POINTS)
    prior /= prior.sum(axis=1, keepdims=True)
    evidence = np.log(np.maximum(likelihood[informing] @ prior.T, 1e-300)).sum(axis=0)
    # two seeds leave any width possible; without even odds for equal spreads every interval would be too wide there
    weights = 1 / (widths + NARROW)
    weights *= (1 - EQUAL) / weights.sum()
    weights[0] += EQUAL
    evidence += np.log(np.tile(weights, len(prior) // len(weights)))
    share = np.cumsum(np.exp(evidence - evidence.max()))
    picked = np.searchsorted(share / share[-1], (np.arange(hyper) + 0.5) / hyper)
    levels = (np.arange(LEVELS) + 0.5) / LEVELS
    half = trend[:, None] / 2
    return np.stack([np.exp(_quantiles(likelihood * prior[pair], grid, levels) / 2 + half) for pair in picked])


def chunks(draws: int, size: int, numbers: int = 4_000_000) -> list[int]:
    """Divides draws of ``size`` numbers each into parts of at most ``numbers``, so that memory stays bounded."""
    part = max(1, min(draws, numbers // max(size, 1)))
    return [part] * (draws // part) + ([draws % part] if draws % part else [])


def _quantiles(mass: Floats, grid: Floats, levels: Floats) -> Floats:
    """Returns quantiles of distributions on points, shape (cells, POINTS) to (cells, LEVELS), linear in between."""
    cumulative = np.cumsum(mass, axis=1)
    cumulative /= cumulative[:, -1:]
    # one search for all cells: cell i's distribution function runs from i to i + 1
    offset = np.arange(len(mass))[:, None]
    flat = (cumulative + offset).ravel()
    place = np.searchsorted(flat, (levels + offset).ravel()).reshape(len(mass), -1) - offset * len(grid)
    place = np.clip(place, 0, len(grid) - 1)
    high = np.take_along_axis(cumulative, place, 1)
    low = np.where(place > 0, np.take_along_axis(cumulative, np.maximum(place - 1, 0), 1), 0.0)
    inside = (levels - low) / np.maximum(high - low, 1e-300)
    return grid[place] + (np.clip(inside, 0, 1) - 0.5) * (grid[1] - grid[0])
