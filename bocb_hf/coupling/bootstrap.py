"""Intervals of what is no plain mean: shares of variance, indices, cost of coupling, family contrast.

Each draw makes a whole table again, seeds and test images, and computes every statistic anew, noise removed as in the
original; ``population.py`` draws backbones. Three things make the intervals hold with two or three seeds:

- *Truth of the draws.* Observed means hold noise already; drawn around them, an interaction would carry it twice. The
  interaction of every cell is first shrunk by √(τ²/(τ² + σ²/n)) to what is left when noise is removed.
- *Spread of the draws.* Each cell's σ is drawn from its posterior (``spread.py``) and its noise from a normal
  distribution. Resampling the residuals, rescaled by √(n/(n−1)) because resampling n seeds shrinks the variance by
  (n−1)/n, is there as ``kind="residual"``; it takes each cell's own two or three seeds for the whole truth, and its
  intervals are too narrow where spreads differ (benchmarks/coverage.txt).
- *Intervals.* With δ = draw − truth of the draws: estimate − 2·mean(δ) + quantiles of δ, so that the estimator's bias
  (the best of noisy means is partly luck) is taken off, and a skewed estimator gets its long side where it belongs. A
  maximum has its long side where its rivals are, and the data do not tell which those are: observed means lie too far
  apart, shrunken ones too close. So its interval is symmetric about the estimate without bias (as in Hall 1988), with
  the longer side on both, and holds those of both kinds of draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.additive import fit_additive, noise_coefficients
from bocb_hf.coupling.contrast import contrast_weights
from bocb_hf.coupling.holes import fillable
from bocb_hf.coupling.indices import kappa_squares
from bocb_hf.coupling.noise import block_noise
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable, image_slope
from bocb_hf.coupling.spread import chunks
from bocb_hf.coupling.statistics import LEVEL
from bocb_hf.coupling.whole_table import Statistic, WholeTable, cost_statistic
from bocb_hf.coupling.world import Kind, World, image_shifts

BOUNDS = {  # bounds of the truth; estimates without bias may lie beyond them
    "variances": (0.0, np.inf),
    "shares": (0.0, 100.0),
    "backbone": (0.0, np.inf),
    "optimizer": (0.0, np.inf),
    "cost": (0.0, np.inf),
}
MAXIMA = frozenset({"cost"})  # statistics that depend on which mean is highest


@dataclass(frozen=True, eq=False)
class Estimates:
    """An estimate with a 95 % interval; arrays of one shape.

    Attributes:
        estimate: Estimate from the table, its bias taken off.
        plain: Estimate from the table as it is.
        low: Lower ends.
        high: Upper ends.
    """

    estimate: Floats
    plain: Floats
    low: Floats
    high: Floats

    def inside(self, least: float, most: float) -> Estimates:
        """Returns the interval cut to the bounds of the truth; an interval that held the truth still does."""
        estimate, low, high = (np.clip(x, least, most) for x in (self.estimate, self.low, self.high))
        return Estimates(estimate, self.plain, low, high)

    def at(self, place: int) -> Estimates:
        """Returns the interval in one place of the arrays."""
        return Estimates(*(np.asarray(x[place]) for x in (self.estimate, self.plain, self.low, self.high)))

    def hull(self, other: Estimates) -> Estimates:
        """Returns the interval that holds both intervals, with the mean of their estimates."""
        middle = (self.estimate + other.estimate) / 2
        return Estimates(middle, self.plain, np.minimum(self.low, other.low), np.maximum(self.high, other.high))


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """All intervals of one run of draws.

    Attributes:
        scale: Points or logit.
        draws: Number of tables that were drawn.
        sources: The sources of variation that were drawn: ``seeds``, ``tuning``, ``test images``, ``backbones``.
        conditional: Whether statements hold for these backbones only.
        intervals: Intervals by the name of the statistic.
    """

    scale: Scale
    draws: int
    sources: tuple[str, ...]
    conditional: bool
    intervals: Mapping[str, Estimates]


def bootstrap(
    scores: ScoreTable,
    scale: Scale = "points",
    *,
    draws: int = 2000,
    seed: int = 0,
    kind: Kind = "parametric",
    images: bool = True,
    shifts: NDArray[np.float32] | None = None,
    statistics: Mapping[str, Statistic] | None = None,
) -> Bootstrap | None:
    """Draws tables and gives every statistic its 95 % interval.

    Args:
        scores: The table; cells that are not ranked are left out.
        scale: Points or logit.
        draws: Tables to draw.
        seed: Seed of the draws.
        kind: How seeds are drawn.
        images: Whether test images are drawn as well, the same for all runs of a draw, where the correctness bits are
            there. The part of the noise between seeds that images explain (``image_luck``) is then left out of the
            seeds.
        shifts: ``image_shifts`` with as many draws, where several bootstraps share them; drawn when None.
        statistics: ``standard_statistics`` of the table when None.

    Returns:
        The intervals, or None when nothing can vary: n = 1 everywhere, and no bits.

    Raises:
        InputError: There is nothing to decompose.
    """
    images = images and scores.packed is not None
    world = World(scores, scale, kind, images=images)
    if not world.has_seeds and not images:
        return None
    wanted = dict(standard_statistics(scores, scale) if statistics is None else statistics)
    generator = np.random.default_rng(seed)
    if not images:
        shifts = None
    elif shifts is None:
        shifts = image_shifts(scores, draws, seed)
    slope = image_slope(scores, scale)
    whole = WholeTable.of(scores, scale, world, wanted, seed)
    plain = {name: f(world.means[None], world.noise)[0] for name, f in wanted.items()}
    drawn: dict[str, list[Floats]] = {name: [] for name in wanted}
    apart: dict[str, list[Floats]] = {name: [] for name in wanted if name in MAXIMA}
    start = 0
    for chunk in chunks(draws, world.means.size * 4):
        means, noise = world.draw(generator, chunk)
        if shifts is not None:
            means = means + shifts[start : start + chunk] * slope
        for name, f in wanted.items():
            drawn[name].append(f(means, noise) - whole.truth(name, f, world.truth, chunk))
            if name in MAXIMA:
                moved = f(means + (world.means - world.truth), noise)
                apart[name].append(moved - whole.truth(name, f, world.means, chunk))
        start += chunk
    intervals: dict[str, Estimates] = {}
    for name in wanted:
        deviations = np.concatenate(drawn[name])
        intervals[name] = make_interval(deviations, plain[name], symmetric=name in MAXIMA)
        if name in MAXIMA:
            deviations = np.concatenate(apart[name])
            intervals[name] = intervals[name].hull(make_interval(deviations, plain[name], symmetric=True))
    varied = {"seeds": world.has_seeds, "tuning": world.has_tuning, "test images": shifts is not None}
    return Bootstrap(scale, draws, tuple(k for k, v in varied.items() if v), True, within_bounds(intervals))


def standard_statistics(scores: ScoreTable, scale: Scale) -> dict[str, Statistic]:
    """Returns the statistics of a report.

    ``variances`` and ``shares`` (optimizer, backbone, interaction), κ² of ``backbone`` and ``optimizer``, the naive
    ``cost`` of coupling (whose bias the bootstrap takes off) and, where there are both, the family ``contrast``.
    """
    kept = scores.ranked
    n = np.where(kept, scores.n, 1)
    weights = None if len(np.unique(n[kept])) < 2 else n.astype(np.float64)
    coefficients = noise_coefficients(kept, weights)
    values = np.where(kept[:, :, None], scores.on(scale), np.nan)
    shared = block_noise(values)

    def variances(means: Floats, noise: Floats | None) -> Floats:
        fit = fit_additive(means, kept, weights)
        cells = float(kept.sum())
        squares = np.stack(
            [
                np.nansum(np.square(fit.optimizer) * kept.sum(axis=0), axis=-1) / cells,
                np.nansum(np.square(fit.backbone) * kept.sum(axis=1), axis=-1) / cells,
                np.nansum(np.square(fit.interaction), axis=(-2, -1)) / cells,
            ],
            axis=-1,
        )
        if noise is None:
            return squares
        return squares - noise[..., kept] @ coefficients.T - np.array([0.0, shared, 0.0])

    def shares(means: Floats, noise: Floats | None) -> Floats:
        found = np.maximum(variances(means, noise), 0)
        total = found.sum(axis=-1, keepdims=True)
        return 100 * found / np.where(total > 0, total, np.nan)

    def kappas(means: Floats, noise: Floats | None) -> tuple[Floats, Floats]:
        return kappa_squares(fit_additive(means, kept).interaction, noise, kept)

    found: dict[str, Statistic] = {
        "variances": variances,
        "shares": shares,
        "backbone": lambda means, noise: kappas(means, noise)[0],
        "optimizer": lambda means, noise: kappas(means, noise)[1],
    }
    cost = cost_statistic(scores, fillable(scores))
    if cost is not None:
        found["cost"] = cost
    weighted = contrast_weights(scores)
    if weighted is not None:
        used = weighted != 0
        found["contrast"] = lambda means, noise: means[:, used] @ weighted[used]
    return found


def make_interval(deviations: Floats, plain: Floats, wider: float = 1.0, symmetric: bool = False) -> Estimates:
    """Returns the interval of an estimate from the deviations, draw − truth.

    Quantiles are those of (draws + 1), so that few draws do not make it too narrow (Davison and Hinkley 1997, 5.2).

    Args:
        deviations: Draw − truth of the draws, shape (draws, ...).
        plain: The estimate as it is, shape (...).
        wider: Factor on the length of both sides.
        symmetric: Whether both sides get the length of the longer one.
    """
    blank = np.where(np.isnan(deviations).all(axis=0), np.nan, 0.0)  # an optimizer without cells has no index
    deviations = np.where(np.isnan(blank), 0.0, deviations)
    bias = np.asarray(np.nanmean(deviations, axis=0), np.float64)
    ends = np.nanquantile(deviations, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0, method="weibull")
    low, high = wider * (ends - bias) + blank
    if symmetric:
        high = np.maximum(-low, high)
        low = -high
    centre = plain - bias
    return Estimates(centre, plain, centre + low, centre + high)


def within_bounds(intervals: Mapping[str, Estimates]) -> dict[str, Estimates]:
    """Cuts intervals to ``BOUNDS``, and lets that of a share begin at 0 where the interval of its variance does.

    Variances without noise that come out below 0 count as 0 in a share, so its draws never lie below: without this,
    10 to 20 % of tables without interaction had a share of it above 0.
    """
    guarded = {name: i.inside(*BOUNDS[name]) if name in BOUNDS else i for name, i in intervals.items()}
    if "variances" in guarded and "shares" in guarded:
        shares, may_be_none = guarded["shares"], guarded["variances"].low <= 0
        guarded["shares"] = replace(shares, low=np.where(may_be_none, np.minimum(shares.low, 0.0), shares.low))
    return guarded
