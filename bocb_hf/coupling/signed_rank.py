"""Two optimizers compared over backbones: Wilcoxon's signed ranks, exactly, and Bayesian with practical equivalence.

What is said of a pair depends on nothing but its own differences, unlike Nemenyi's test, whose verdict changes with the
other optimizers that were ranked beside it (Benavoli, Corani and Mangili 2016, JMLR 17(5)).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.stats as _scipy_stats  # pyright: ignore[reportMissingTypeStubs] - scipy has none
from numpy.typing import NDArray

from bocb_hf.coupling.scores import Floats
from bocb_hf.coupling.statistics import LEVEL, Interval

_stats: Any = _scipy_stats
PRIOR = 0.5  # weight of the pseudo-observation 0, where each backbone weighs 1


@dataclass(frozen=True)
class SignedRank:
    """Wilcoxon's signed-rank test of differences, with the Hodges-Lehmann estimate of their centre.

    Attributes:
        n: Number of differences.
        zeros: Differences of 0, which the test leaves out.
        p: Exact two-sided p-value.
        smallest: The smallest p that so many differences can reach.
        estimate: Median of the Walsh averages (d_i + d_j)/2.
        interval: 95 % interval of the centre, by inversion of the exact test; None when so few differences have none.
    """

    n: int
    zeros: int
    p: float
    smallest: float
    estimate: float
    interval: Interval | None


def signed_rank(differences: Floats) -> SignedRank:
    """Tests whether differences are symmetric about 0 (Wilcoxon 1945), with every p-value exact, ties included.

    Zeros are left out, and tied sizes share their mean rank; the null distribution is then that of the signs of these
    very ranks. The interval holds the Walsh averages between the k-th smallest and the k-th largest (Hollander, Wolfe
    and Chicken 2014, 3.3).

    Args:
        differences: One for each backbone, finite, shape (n,), n ≥ 1.

    Raises:
        ValueError: There is no difference, or one is not finite.
    """
    d = np.asarray(differences, np.float64)
    if not len(d) or not np.isfinite(d).all():
        raise ValueError("a signed-rank test needs at least one difference, and each must be finite")
    kept = d[d != 0]
    p, smallest = 1.0, 1.0
    if len(kept):
        doubled = np.rint(2 * np.asarray(_stats.rankdata(np.abs(kept)))).astype(np.int64)  # mean ranks end in 0 or ½
        chance = _null(tuple(np.sort(doubled).tolist()))
        w = int(doubled[kept > 0].sum())
        p = min(1.0, 2 * min(float(chance[: w + 1].sum()), float(chance[w:].sum())))
        smallest = min(1.0, 2 * float(chance[0]))
    walsh = np.sort(((d[:, None] + d[None, :]) / 2)[np.triu_indices(len(d))])
    cumulative = np.cumsum(_null(tuple(range(2, 2 * len(d) + 1, 2)))[::2])
    k = int(np.searchsorted(cumulative, (1 - LEVEL) / 2, side="right"))  # largest k with P(W ≤ k − 1) ≤ 2.5 %
    interval = Interval(float(walsh[k - 1]), float(walsh[-k])) if k else None
    return SignedRank(len(d), len(d) - len(kept), p, smallest, float(np.median(walsh)), interval)


@lru_cache(maxsize=256)
def _null(doubled_ranks: tuple[int, ...]) -> Floats:
    """Computes the probability of each sum of doubled positive ranks when every sign is a fair coin."""
    chance = np.zeros(sum(doubled_ranks) + 1)
    chance[0] = 1.0
    for rank in doubled_ranks:
        chance[rank:] = (chance[rank:] + chance[:-rank]) / 2
        chance[:rank] /= 2
    return chance


def holm(p: Floats) -> Floats:
    """Adjusts p-values for making all their comparisons at once (Holm 1979), shape (m,) to (m,)."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


@dataclass(frozen=True)
class Equivalence:
    """Posterior probabilities that on a further backbone the first is worse, practically equal, or better."""

    worse: float
    equal: float
    better: float


def dirichlet_weights(n: int, draws: int, seed: int) -> NDArray[np.float32]:
    """Draws weights of the pseudo-observation and of n differences, shape (draws, n + 1)."""
    gamma = np.random.default_rng((seed, n)).standard_gamma([PRIOR, *[1.0] * n], (draws, n + 1))
    return (gamma / gamma.sum(axis=1, keepdims=True)).astype(np.float32)


def bayesian_signed_rank(differences: Floats, rope: float, weights: NDArray[np.float32]) -> Equivalence:
    """Computes the Bayesian signed-rank test with a region of practical equivalence.

    The differences have a Dirichlet process as prior, with one pseudo-observation of 0 of weight ½. A draw gives each
    difference a weight; θ of a region is the weight of the pairs (i, j) whose average lies in it, pairs on its edge by
    half; the probability of a region is the share of draws in which its θ is largest, ties shared. Benavoli, Mangili,
    Corani, Zaffalon and Ruggeri, ICML 2014; Benavoli, Corani, Demšar and Zaffalon 2017, JMLR 18(77), Section 4.2. (The
    library ``baycomp`` computes the same, one pair at a time; a table of 60 optimizers has 1,770.)

    Args:
        differences: Score of the first minus that of the second on each backbone, shape (n,).
        rope: Half width of the region, in the unit of the differences; not negative.
        weights: From ``dirichlet_weights`` of n; pairs of one table share the draws.
    """
    z = np.concatenate([[0.0], np.asarray(differences, np.float64)])
    sums = z[:, None] + z[None, :]

    def above(values: Floats) -> NDArray[np.float32]:
        return np.asarray((values > 2 * rope) + 0.5 * (values == 2 * rope), np.float32)

    better = ((weights @ above(sums)) * weights).sum(axis=1)
    worse = ((weights @ above(-sums)) * weights).sum(axis=1)
    theta = np.stack([worse, 1 - worse - better, better], axis=1)
    largest = theta >= theta.max(axis=1, keepdims=True)
    share = (largest / largest.sum(axis=1, keepdims=True)).mean(axis=0)
    return Equivalence(*(float(s) for s in share))
