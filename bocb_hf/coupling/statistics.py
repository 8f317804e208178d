"""The uncertainty of a cell's mean that rests on two or three seeds.

The spread over seeds differs by a factor of 50 between cells, so one pooled standard deviation is wrong; and two seeds
alone would need a t quantile of 12.7. The moderated variance of Smyth (2004) stands between the two: every cell keeps
its own variance, drawn towards what the other cells show, as far as the cells agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.special as _scipy_special  # pyright: ignore[reportMissingTypeStubs] - scipy has none
from numpy.typing import NDArray

from bocb_hf.coupling.depth import slope

LEVEL = 0.95
CAUTION = 0.75  # standard errors by which the slope of the prior over depth is raised
# scipy has no types; the functions below give types to the few of its functions that are used here
_special: Any = _scipy_special


@dataclass(frozen=True)
class Interval:
    """A two-sided interval, in the unit of its estimate."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def holds(self, value: float) -> bool:
        """Whether the value lies inside, ends included."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Prior:
    """The prior of the variance over seeds, from all cells of a table: a scaled inverse χ² distribution.

    Attributes:
        variance: s₀², its location, in squared units of the scores.
        df: d₀, how many degrees of freedom it is worth; infinite when the cells differ no more than chance makes them.
        residual_df: Σ(n − 1) over the cells that it was fitted to; nothing can be known better than that.
        cells: Number of cells that it was fitted to.
        slope: What log s₀² gains per unit of depth below the backbone's median (``depth.py``); ``variance`` is that at
            depth 0.
    """

    variance: float
    df: float
    residual_df: float
    cells: int
    slope: float = 0.0

    def at(self, depth: float) -> float:
        """Returns s₀² at a depth."""
        return self.variance * math.exp(self.slope * depth)


@dataclass(frozen=True)
class Estimate:
    """The mean of one cell's scores with its moderated variance.

    Attributes:
        mean: Mean ȳ of the scores.
        n: Number of scores behind the mean.
        variance: s̃² of one score; None when it cannot be estimated.
        df: Degrees of freedom of ``variance``; 0 when that is None.
        below: Points by which the interval reaches further down, for losses that rare runs of this table show and that
            these few runs need not show (``rare.py``).
        tuning: τ² of the mean from tuning (``tuning_noise.py``), with its degrees of freedom; None where it is not
            known, so that every statement is given the tuned rates.
    """

    mean: float
    n: int
    variance: float | None
    df: float
    below: float = 0.0
    tuning: tuple[float, float] | None = None

    @property
    def given(self) -> Estimate:
        """The same given the tuned rates."""
        return self if self.tuning is None else replace(self, tuning=None)

    @property
    def error(self) -> tuple[float, float] | None:
        """Standard error of the mean and its degrees of freedom; None when noise cannot be separated from the mean.

        s̃/√n; with tuning √(s̃²/n + τ²), with the degrees of freedom of Satterthwaite (1946).
        """
        if self.variance is None:
            return None
        own = self.variance / self.n
        if self.tuning is None or self.tuning[0] == 0:
            return math.sqrt(own), self.df
        more, df = self.tuning
        both = own + more
        return math.sqrt(both), both**2 / (own**2 / self.df + more**2 / df)

    def interval(self, level: float = LEVEL) -> Interval | None:
        """95 % interval ȳ ± t · error, longer downwards by ``below``; None when noise cannot be told from the mean.

        With tuning it is never narrower than given the tuned rates, which it would be where τ² is small but its degrees
        of freedom are many.
        """
        if self.error is None:
            return None
        half = max(
            t_quantile(0.5 + level / 2, df) * error for error, df in filter(None, (self.error, self.given.error))
        )
        return Interval(self.mean - half - self.below, self.mean + half)


def t_quantile(probability: float, df: float) -> float:
    """Returns a quantile of Student's t, or of the normal distribution when ``df`` is infinite."""
    return float(_special.ndtri(probability) if math.isinf(df) else _special.stdtrit(df, probability))


def digamma(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the digamma function ψ, elementwise."""
    return np.asarray(_special.digamma(x), np.float64)


def trigamma(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the trigamma function ψ′, elementwise."""
    return np.asarray(_special.polygamma(1, x), np.float64)


def trigamma_inverse(value: float) -> float:
    """Solves ψ′(y) = value for y > 0.

    Newton's method on 1/ψ′, which is nearly linear: from y = ½ + 1/value, always on the same side of the solution
    (Smyth 2004, appendix).

    Args:
        value: The value of ψ′, positive and finite.
    """
    if value > 1e7:  # ψ′(y) → 1/y² for small y
        return 1 / math.sqrt(value)
    if value < 1e-6:  # ψ′(y) → 1/y for large y
        return 1 / value
    y = 0.5 + 1 / value
    for _ in range(50):
        current = float(_special.polygamma(1, y))
        step = current * (1 - current / value) / float(_special.polygamma(2, y))
        y += step
        if -step < 1e-10 * y:
            break
    return y


def fit_prior(
    variances: Sequence[float] | NDArray[np.float64],
    df: Sequence[float] | NDArray[np.float64],
    resolution: float | Sequence[float] | NDArray[np.float64] = 0.0,
    depth: NDArray[np.float64] | None = None,
) -> Prior | None:
    """Fits s₀² and d₀ to sample variances by the moments of their logarithms.

    With z = log s² and e = z − ψ(d/2) + log(d/2): Var(e) = ψ′(d/2) + ψ′(d₀/2), so what Var(e) has beyond the first
    term gives d₀, and the mean of e then gives s₀². Smyth, "Linear models and empirical Bayes methods for assessing
    differential expression in microarray experiments", 2004, Section 6.2.

    A logarithm needs a positive variance. Equal scores are common where a score counts images: a variance is raised to
    that of rounding to the nearest countable score (resolution²/12), at least to 1e-5 of the median variance, or, when
    the median is 0, to the smallest positive variance. Without that, one tie among 20 cells would make d₀ tiny.

    Where depths are given, log s₀² follows a line over them, as over the intensity in limma's ``eBayes(trend=TRUE)``
    (Law, Chen, Shi and Smyth 2014, "voom", Genome Biology 15:R29): without it, intervals of collapsed cells, which
    vary most, hold the truth in 85 to 91 %. The line never falls, and is raised by ``CAUTION`` of its standard errors,
    since a table has few collapsed cells and these are the ones that an underestimated slope hurts.

    Args:
        variances: Sample variances s² of cells with at least two scores, shape (cells,).
        df: Degrees of freedom n − 1 of the variances, shape (cells,).
        resolution: Smallest difference that two scores of a cell can have, for each cell or for all.
        depth: Depth of each cell below its backbone's median, shape (cells,).

    Returns:
        The prior, or None when it cannot be estimated: fewer than two cells, or no cell varies at all.
    """
    s2, d = np.asarray(variances, np.float64), np.asarray(df, np.float64)
    if len(s2) < 2 or not (s2 > 0).any():
        return None
    median = float(np.median(s2))
    floor = 1e-5 * median if median > 0 else float(s2[s2 > 0].min())
    s2 = np.maximum(np.maximum(s2, floor), np.square(np.asarray(resolution, np.float64)) / 12)
    e = np.log(s2) - digamma(d / 2) + np.log(d / 2)
    rise, error = (0.0, 0.0) if depth is None else slope(depth, e)
    if rise > 0 and depth is not None:
        e = e - rise * depth
    excess = float(np.var(e, ddof=2 if rise > 0 else 1) - np.mean(trigamma(d / 2)))
    mean = float(np.mean(e))
    rise = rise + CAUTION * error if rise > 0 else 0.0
    if excess <= 0:
        return Prior(math.exp(mean), math.inf, float(d.sum()), len(s2), rise)
    half = trigamma_inverse(excess)
    location = math.exp(mean + float(_special.digamma(half)) - math.log(half))
    return Prior(location, 2 * half, float(d.sum()), len(s2), rise)


def estimate(scores: Sequence[float] | NDArray[np.float64], prior: Prior | None, depth: float = 0.0) -> Estimate:
    """Estimates mean and moderated variance s̃² = (d₀s₀² + (n−1)s²)/(d₀ + n − 1) of one cell.

    The degrees of freedom are d₀ + n − 1, but never more than Σ(n − 1) over all cells: s₀² is itself estimated from
    those (as in limma's ``eBayes``). One degree of freedom or less gives no variance: an interval of ±12.7 standard
    errors says nothing. A single score borrows s₀² with d₀ degrees of freedom where d₀ is finite; where it is infinite,
    nothing says that this cell would spread like the others, and no cell vouches for itself.

    Args:
        scores: Scores of the cell, shape (n,), n ≥ 1.
        prior: The prior from the other cells; None leaves the cell's own variance with n − 1 degrees of freedom.
        depth: Depth of the cell below its backbone's median.

    Raises:
        ValueError: There is no score.
    """
    y = np.asarray(scores, np.float64)
    n = len(y)
    if n == 0:
        raise ValueError("a mean needs at least one score")
    mean = float(y.mean())
    own = float(y.var(ddof=1)) if n > 1 else 0.0
    if prior is None:
        variance, df = own, float(n - 1)
    elif math.isinf(prior.df):
        variance, df = prior.at(depth), prior.residual_df if n > 1 else 0.0
    else:
        variance = (prior.df * prior.at(depth) + (n - 1) * own) / (prior.df + n - 1)
        df = min(prior.df + n - 1, prior.residual_df)
    if not (df > 1 and variance > 0):
        return Estimate(mean, n, None, 0.0)
    return Estimate(mean, n, variance, df)
