"""Performance profiles: on which share of the backbones an optimizer comes within some points of the best.

Dolan and Moré 2002 count the problems that a solver solves within a factor of the fastest; for scores the factor
becomes a distance in points (Agarwal et al. 2021, ``rliable``, plot the share of runs above a score in the same way). A
profile depends on the set of optimizers through the best alone, never on how the others are ordered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.backbones import CNN_FAMILIES
from bocb_hf.coupling.family_test import ENOUGH_BACKBONES
from bocb_hf.coupling.population import resample
from bocb_hf.coupling.scores import Floats, ScoreTable
from bocb_hf.coupling.spread import chunks
from bocb_hf.coupling.statistics import LEVEL
from bocb_hf.coupling.world import World
from bocb_hf.runs.record import wilson_interval

STEPS = tuple(float(t) for t in np.round(np.concatenate([np.arange(0, 2, 0.1), np.geomspace(2, 100, 41)]), 3))
CLOSE = 1.0  # the distance in points that sentences name


@dataclass(frozen=True, eq=False)
class Profiles:
    """A profile of each optimizer; T distances.

    Attributes:
        distances: Points below the best of the backbone, ascending, shape (T,).
        share: Share of the known backbones on which an optimizer is at most so far below the best, shape (O, T); NaN
            for an optimizer without a known cell. A diverged cell is infinitely far below.
        low: Lower ends of 95 % intervals, shape (O, T); NaN where nothing can vary.
        high: Upper ends, shape (O, T).
        n: Number of known backbones of each optimizer, shape (O,).
        varied: What the intervals vary: ``backbones``, with all that their scores hold, or ``seeds`` when backbones are
            too few to be drawn again, so that the profile is of these backbones; empty without an interval.
    """

    distances: Floats
    share: Floats
    low: Floats
    high: Floats
    n: NDArray[np.int64]
    varied: str

    def at(self, distance: float) -> int:
        """Returns the place of the largest distance that is no more than the one given."""
        return int(np.searchsorted(self.distances, distance + 1e-9, side="right")) - 1


def performance_profiles(scores: ScoreTable, draws: int = 1000, seed: int = 0) -> Profiles:
    """Computes the profiles of a table with 95 % percentile intervals.

    Args:
        scores: The table; missing cells and survivors of partial failures are left out of their optimizer's profile.
        draws: Tables that are drawn.
        seed: Seed of the draws.
    """
    lost, means = scores.status == "diverged", scores.means
    known = scores.ranked | lost
    distances = np.array(STEPS)

    def profile(values: Floats, rows: NDArray[np.int64] | None = None) -> Floats:
        """Share of backbones, shape (D, O, T), from means (D, B, O), or from rows of the table, (D, B)."""
        there = known if rows is None else known[rows]
        gap = np.where(np.isfinite(values), values, -np.inf)
        best = gap.max(axis=-1, keepdims=True)
        gap = np.where(np.isfinite(gap), np.where(np.isfinite(best), best, 0.0) - gap, np.inf)
        count = np.maximum(there.sum(axis=-2), 1)
        inside = [((gap <= t + 1e-9) & there).sum(axis=-2) / count for t in distances]
        return np.stack(inside, axis=-1)

    n = known.sum(axis=0)
    blank = np.where(n > 0, 0.0, np.nan)[:, None]
    share = profile(means[None])[0] + blank
    low, high, varied = _ends(scores, profile, draws, seed)
    if not varied:
        return Profiles(distances, share, share + np.nan, share + np.nan, n, varied)
    low, high = widen(share, low + blank, high + blank, n if varied == "backbones" else 0 * n)
    return Profiles(distances, share, low, high, n, varied)


def _ends(scores: ScoreTable, profile: Callable[..., Floats], draws: int, seed: int) -> tuple[Floats, Floats, str]:
    """Returns lower and upper ends and what was varied; backbones are drawn again only where there are enough."""
    generator = np.random.default_rng(seed)
    is_cnn = np.array([family in CNN_FAMILIES for family in scores.families])
    modern = np.array([family == "modern" for family in scores.families])
    drawn: list[Floats] = []
    size = scores.means.size * len(STEPS) // 8
    if min(int(is_cnn.sum()), int(modern.sum())) >= ENOUGH_BACKBONES:
        for chunk in chunks(draws, size):
            rows = resample((is_cnn, modern), generator, chunk)
            drawn.append(profile(scores.means[rows], rows))
        varied = "backbones"
    else:
        world = World(scores, "points", "parametric")
        if not world.has_seeds:
            return np.empty(0), np.empty(0), ""
        for chunk in chunks(draws, size):
            drawn.append(profile(world.draw(generator, chunk)[0]))
        varied = "seeds"
    ends = np.quantile(np.concatenate(drawn), [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
    return ends[0], ends[1], varied


def widen(share: Floats, low: Floats, high: Floats, n: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Returns intervals of shares that are never narrower than Wilson's of k of n.

    A bootstrap of few is too narrow; and where all or none count, every draw gives the same share again, as if that
    were known for certain.

    Args:
        share: Shares k/n, shape (O, T).
        low: Lower ends of a bootstrap, shape (O, T).
        high: Upper ends, shape (O, T).
        n: Number of backbones or runs behind the shares, shape (O,); 0 leaves the ends of the bootstrap.
    """
    low, high = np.minimum(low, share), np.maximum(high, share)
    for o in np.nonzero(n)[0].tolist():
        ends = np.array([wilson_interval(round(k), int(n[o])) for k in (share[o] * n[o]).tolist()]) / 100
        low[o], high[o] = np.minimum(low[o], ends[:, 0]), np.maximum(high[o], ends[:, 1])
    return low, high
