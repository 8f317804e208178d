"""Do two families of backbones differ? Asked twice, because no one test serves both ways in which they may not.

A permutation of the backbone labels is exact where families make no difference at all. Where they differ in spread but
not in mean it is not, not even for C over its standard error, which is right only with many backbones (Janssen 1997;
Chung and Romano 2013): with 5 CNNs and 6 others that vary a fifth as much, 8 % of its tests call equal means
different. Welch's (1947) t is made for unequal spreads, but takes d for normal. The p of a claim is the larger of both:
it is small only if both are, so it errs no more often than the one whose assumption holds (Berger 1982).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations
from typing import Any, Literal

import numpy as np
import scipy.stats as _scipy_stats  # pyright: ignore[reportMissingTypeStubs] - scipy has none
from numpy.typing import NDArray

from bocb_hf.coupling.statistics import LEVEL, Interval, t_quantile

_stats: Any = _scipy_stats
ENOUGH_BACKBONES = 5  # fewest backbones of each family for a statement about other backbones
MAX_LABELINGS = 200_000
_PART = 10_000  # labelings that are summed at once
RANDOM_LABELINGS = 20_000  # labelings that are drawn where there are too many to try all

PermutationStatistic = Literal["mean", "median", "t"]


@dataclass(frozen=True)
class Permutation:
    """Exact test over all ways to call as many of the backbones CNN as are; cells are never permuted.

    Attributes:
        labelings: Number of distinct labelings, the true one included; a random sample of all where not ``exact``.
        p: Two-sided p: the share of labelings with |C| at least as large as the observed one.
        smallest: The smallest p that any data could reach with so many backbones, or with so many random labelings.
        exact: Whether all labelings were tried.
        statistic: What was compared: C itself, C of medians, or C over its standard error.
    """

    labelings: int
    p: float
    smallest: float
    exact: bool = True
    statistic: PermutationStatistic = "mean"


@dataclass(frozen=True)
class Welch:
    """Welch's t test of equal means of two families that may differ in spread.

    Attributes:
        difference: The contrast C.
        error: Standard error of the contrast.
        df: Degrees of freedom.
        p: Two-sided p-value.
    """

    difference: float
    error: float
    df: float
    p: float

    def interval(self) -> Interval:
        """95 % interval for further backbones of these families."""
        half = t_quantile(0.5 + LEVEL / 2, self.df) * self.error
        return Interval(self.difference - half, self.difference + half)


@dataclass(frozen=True)
class FamilyTest:
    """Both tests of one difference between families.

    Attributes:
        permutation: Test of 'families make no difference at all'.
        welch: Test of 'the means are equal, whatever the spreads'; None for medians, and when a family has one
            backbone, since nothing then tells its spread.
    """

    permutation: Permutation
    welch: Welch | None

    @property
    def p(self) -> float | None:
        """The p of 'the means differ': the larger p of the two tests; None where only the permutation test is there."""
        return None if self.welch is None else max(self.permutation.p, self.welch.p)


def compare_families(
    cnn: Sequence[float], modern: Sequence[float], statistic: PermutationStatistic | None = None
) -> FamilyTest:
    """Runs both tests on the values of two families, but not Welch's when the statistic is the median."""
    return FamilyTest(permute(cnn, modern, statistic), None if statistic == "median" else welch(cnn, modern))


def welch(cnn: Sequence[float], modern: Sequence[float]) -> Welch | None:
    """Welch's t test; None when a family has fewer than two backbones.

    Its degrees of freedom are those of Satterthwaite (1946) with five backbones in each family, otherwise those of the
    smaller family: with those, the test never errs in more than 5 % of normal samples, however unequal the spreads are
    (Mickey and Brown 1966), while Satterthwaite's err in 10 % with two backbones against five.
    """
    m, n = len(cnn), len(modern)
    if min(m, n) < 2:
        return None
    difference = float(np.mean(cnn) - np.mean(modern))
    first, second = float(np.var(cnn, ddof=1)) / m, float(np.var(modern, ddof=1)) / n
    error, df = math.sqrt(first + second), float(min(m, n) - 1)
    rounding = 1e-9 * max(1.0, float(np.abs([*cnn, *modern]).max()))
    if error <= rounding:  # families without any spread: no difference is none, any other is beyond all measure
        return Welch(difference, 0.0, df, float(abs(difference) <= rounding))
    if min(m, n) >= ENOUGH_BACKBONES:
        df = (first + second) ** 2 / (first**2 / (m - 1) + second**2 / (n - 1))
    return Welch(difference, error, df, float(2 * _stats.t.sf(abs(difference) / error, df)))


def permute(
    cnn: Sequence[float], modern: Sequence[float], statistic: PermutationStatistic | None = None, seed: int = 0
) -> Permutation:
    """Tests C against all relabelings of the backbones, or a random 20,000 of them.

    With B backbones of which m are CNNs there are L = B!/(m!(B−m)!) labelings. When both groups are equally large, a
    labeling and its mirror image give C and −C, so p cannot fall below 2/L; otherwise not below 1/L. Two against two
    give 6 labelings and a smallest p of 1/3. Beyond 200,000, random ones with the true one among them.

    Args:
        cnn: d of each CNN.
        modern: d of each modern backbone.
        statistic: What to compare. When None, ``t`` with five backbones in each group, otherwise ``mean``: the spread
            of two backbones is no yardstick. Every choice is exact for 'families make no difference at all'. Where they
            differ in spread but not in mean, ``t`` errs less than C itself (``benchmarks/coverage.txt``).
        seed: Seed of the random labelings.
    """
    if statistic is None:
        statistic = "t" if min(len(cnn), len(modern)) >= ENOUGH_BACKBONES else "mean"
    d: NDArray[np.float64] = np.array([*cnn, *modern], np.float64)
    chosen, exact = _labelings(len(cnn), len(modern), seed)
    smallest = (2 if exact and len(cnn) == len(modern) else 1) / len(chosen)
    if statistic == "median":
        every = np.broadcast_to(d, chosen.shape)
        sides = (every[labels].reshape(len(chosen), -1) for labels in (chosen, ~chosen))
        first, second = (np.median(side, axis=1) for side in sides)
        contrasts = np.abs(first - second)
    else:
        centred = d - d.mean()
        powers = np.stack([centred, centred**2], axis=1)
        parts = np.array_split(chosen, -(-len(chosen) // _PART))
        sums: NDArray[np.float64] = np.concatenate([part.astype(np.float64) @ powers for part in parts])
        m, n = len(cnn), len(modern)
        # d sums to 0, so the sum over the other group is the negative of this one
        contrasts = np.abs(sums[:, 0]) * (1 / m + 1 / n)
        if statistic == "t":
            first = (sums[:, 1] - sums[:, 0] ** 2 / m) / (m * (m - 1))
            second = (np.square(centred).sum() - sums[:, 1] - sums[:, 0] ** 2 / n) / (n * (n - 1))
            # groups without any spread: no difference is none, any other is beyond all measure
            rounding = max(1e-14 * float(np.square(centred).max()), 1e-300)
            contrasts = contrasts / np.sqrt(np.maximum(first + second, rounding))
    # equal sums that were added in another order differ in the last digits
    tolerance = 1e-9 * max(1.0, float(contrasts.max()))
    as_large = int(np.count_nonzero(contrasts >= contrasts[0] - tolerance))
    return Permutation(len(chosen), as_large / len(chosen), smallest, exact, statistic)


@lru_cache(maxsize=1)  # the variants of one table share these labelings
def _labelings(cnn: int, modern: int, seed: int) -> tuple[NDArray[np.bool_], bool]:
    """Which backbones each labeling calls CNN, shape (labelings, B), the true one first; and whether these are all."""
    exact = math.comb(cnn + modern, cnn) <= MAX_LABELINGS
    if exact:
        every = chain.from_iterable(combinations(range(cnn + modern), cnn))
        inside = np.fromiter(every, np.intp, math.comb(cnn + modern, cnn) * cnn).reshape(-1, cnn)
    else:
        order = np.tile(np.arange(cnn + modern), (RANDOM_LABELINGS, 1))
        order = np.random.default_rng(seed).permuted(order, axis=1)
        inside = np.vstack([np.arange(cnn), order[:, :cnn]])
    chosen = np.zeros((len(inside), cnn + modern), np.bool_)
    np.put_along_axis(chosen, inside, True, axis=1)
    chosen.setflags(write=False)
    return chosen, exact
