"""Ranks of optimizers where backbones lack cells: the test of Skillings and Mack (1981), with exact ties.

A backbone with k ranked cells gives each of them w·(rank − (k + 1)/2), w = √(12/(k + 1)); A sums these for each
optimizer. Where optimizers make no difference, the ranks of a backbone are a random order of those that it has, so A
has the covariance V = Σ w²·s²·k·(I − J/k) over backbones, s² being the variance of its ranks with divisor k − 1, which
knows ties exactly. A'V⁻A follows χ². In a complete table it is Friedman's statistic, corrected for ties.

What an optimizer is worth by it is V₀⁻A, V₀ being V without ties: the mean rank in a complete table, and otherwise one
that knows which others an optimizer was ranked against. The differences have the covariance V₀⁻VV₀⁻. The largest of all
differences over their errors is compared with that of normal numbers of this covariance: Nemenyi's test, whose one
critical difference holds only where every pair has the same error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats as _scipy_stats  # pyright: ignore[reportMissingTypeStubs] - scipy has none
from numpy.typing import NDArray

from bocb_hf.coupling.additive import Mask, joined
from bocb_hf.coupling.scores import Floats
from bocb_hf.coupling.statistics import LEVEL

_stats: Any = _scipy_stats
DRAWS = 10_000  # of the largest difference


@dataclass(frozen=True, eq=False)
class SkillingsMack:
    """Ranks of one incomplete table.

    Attributes:
        ranks: Ranks within each backbone's known cells, of which 1 is best; NaN elsewhere; shape (B, O).
        mean_ranks: Adjusted mean ranks, within 1 to O, shape (O,).
        chi2: The statistic A'V⁻A.
        df: Its degrees of freedom.
        p: p-value of χ².
        agreement: The statistic over the largest that these ranks allow, Σ (k − 1); Kendall's W in a complete table.
        apart: Pairs that are told apart at 95 %, all pairs together, shape (O, O): whether o is better than p.
    """

    ranks: Floats
    mean_ranks: Floats
    chi2: float
    df: int
    p: float
    agreement: float
    apart: NDArray[np.bool_]


def rankable(known: Mask, ranked: Mask) -> Mask:
    """Finds the cells that have a rank: known, on a backbone with two known cells and one mean; shape (B, O)."""
    rows = (known.sum(axis=1) > 1) & ranked.any(axis=1)
    return known & rows[:, None]


def skillings_mack(height: Floats, known: Mask, level: float = LEVEL, seed: int = 0) -> SkillingsMack | str:
    """Ranks optimizers on the known cells.

    Args:
        height: What is ranked, the highest first, shape (B, O); −∞ where diverged.
        known: Cells to rank (``rankable``), shape (B, O); every optimizer has one.
        level: Of the statements about pairs.
        seed: Seed of the critical value.

    Returns:
        The ranks, or the reason why there are none.
    """
    optimizers = known.shape[1]
    if not joined(known.T, 0).all():
        return "some optimizers share no backbone with the others, directly or by steps; run a cell that joins them"
    ranks = np.full(known.shape, np.nan)
    total, covariance, untied = np.zeros(optimizers), np.zeros((optimizers, optimizers)), np.zeros((optimizers,) * 2)
    for b in np.flatnonzero(known.any(axis=1)):
        places = np.flatnonzero(known[b])
        k = len(places)
        ranks[b, places] = _stats.rankdata(-height[b, places])
        centred = ranks[b, places] - (k + 1) / 2
        total[places] -= centred * (12 / (k + 1)) ** 0.5
        block = np.ix_(places, places)
        projection = k * np.eye(k) - 1
        covariance[block] += 12 / (k + 1) * float(np.square(centred).sum()) / (k - 1) / k * projection
        untied[block] += projection
    inverse, back = np.linalg.pinv(covariance, hermitian=True), np.linalg.pinv(untied, hermitian=True)
    df = int(np.linalg.matrix_rank(covariance, hermitian=True))
    if df == 0:
        return "all cells of each backbone tie"
    chi2 = float(total @ inverse @ total)
    worth = back @ total
    mean_ranks = (optimizers + 1) / 2 - worth * optimizers * ((optimizers + 1) / 12) ** 0.5
    agreement = chi2 / float((known.sum(axis=1) - 1)[known.any(axis=1)].sum())
    return SkillingsMack(
        ranks,
        np.clip(mean_ranks, 1, optimizers),
        chi2,
        df,
        float(_stats.chi2.sf(chi2, df)),
        agreement,
        _apart(worth, back @ covariance @ back, level, seed),
    )


def _apart(worth: Floats, covariance: Floats, level: float, seed: int) -> NDArray[np.bool_]:
    """Finds the pairs that differ by more than all pairs together do by chance, shape (O, O)."""
    variance = np.diag(covariance)
    error = np.sqrt(np.maximum(variance[:, None] + variance - 2 * covariance, 0.0))
    error = np.where(error > 1e-9, error, np.inf)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T  # the one root that no choice of the vectors changes
    generator = np.random.default_rng(seed)
    largest = np.zeros(DRAWS)
    drawn = generator.standard_normal((DRAWS, len(worth))) @ root
    for o in range(len(worth) - 1):
        gap = np.abs(drawn[:, o + 1 :] - drawn[:, o, None]) / error[o, o + 1 :]
        largest = np.maximum(largest, gap.max(axis=1))
    critical = float(np.quantile(largest, level, method="weibull"))
    return (worth[:, None] - worth) / error > critical
