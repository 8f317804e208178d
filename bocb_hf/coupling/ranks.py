"""Optimizers by rank over backbones, and which of a backbone's optimizers may be its best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats as _scipy_stats  # pyright: ignore[reportMissingTypeStubs] - scipy has none
from numpy.typing import NDArray

from bocb_hf.coupling.incomplete_ranks import rankable, skillings_mack
from bocb_hf.coupling.noise import tuning_part
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable
from bocb_hf.coupling.spread import cell_spread, chunks
from bocb_hf.coupling.statistics import LEVEL

_NUMBERS = 250_000  # differences of errors that are made at once

_stats: Any = _scipy_stats


@dataclass(frozen=True, eq=False)
class Ranking:
    """Friedman's test with Nemenyi's critical difference, or that of Skillings and Mack where cells lack a rank.

    Attributes:
        backbones: Those that are ranked: with two cells that completed or diverged, not all of them diverged.
        ranks: Ranks, of which 1 is best, ties share their mean rank, diverged cells share the last; shape (backbones,
            O); NaN for a cell without one.
        mean_ranks: Ranks averaged over backbones, shape (O,); adjusted for the cells that are there where some are not,
            NaN for an optimizer without any.
        kendall_w: Agreement of the backbones, 0 to 1.
        chi2: The statistic, corrected for ties.
        p: p-value of χ².
        critical_difference: Mean ranks that differ by less are not told apart (95 %, all pairs); None where cells lack
            a rank, since then every pair has its own.
        cells: Cells that have a rank; None in tables made before they were counted.
        apart: Pairs (better, worse) that are told apart where there is no critical difference (95 %, all pairs).
    """

    backbones: tuple[str, ...]
    ranks: Floats
    mean_ranks: Floats
    kendall_w: float
    chi2: float
    p: float
    critical_difference: float | None
    cells: int | None = None
    apart: tuple[tuple[str, str], ...] = ()


def rank_optimizers(scores: ScoreTable) -> Ranking | None:
    """Runs ``try_ranking``; None where it gives a reason instead of a ranking."""
    found = try_ranking(scores)
    return found if isinstance(found, Ranking) else None


def try_ranking(scores: ScoreTable) -> Ranking | str:
    """Ranks the optimizers on each backbone, on the cells that completed or diverged.

    Where all cells of each ranked backbone are there, by Friedman's test; otherwise by ``incomplete_ranks.py``. A
    partly diverged cell has no rank, and a backbone on which nothing completed ranks nothing.

    Returns:
        The ranking, or why there is none: fewer than 2 backbones or 3 optimizers that can be ranked, all ties, or
        optimizers that nothing joins.
    """
    diverged = scores.status == "diverged"
    known = rankable(scores.ranked | diverged, scores.ranked)
    whole, there = np.flatnonzero(known.any(axis=1)), np.asarray(known.any(axis=0))
    if len(whole) < 2 or there.sum() < 3:
        return (
            f"{len(whole)} backbone(s) have two cells that can be ranked, and {int(there.sum())} optimizer(s) stand on "
            "them; it takes two and three"
        )
    height = np.where(diverged, -np.inf, scores.means)[whole]
    names = tuple(scores.backbones[int(i)] for i in whole)
    if not known[whole].all():
        # in the order of their names, so that what is drawn is the same in whatever order the table has them
        places = np.array(sorted(np.flatnonzero(there).tolist(), key=lambda o: scores.optimizers[o]))
        found = skillings_mack(height[:, places], known[whole][:, places])
        if isinstance(found, str):
            return found
        ranks, mean_ranks = np.full(height.shape, np.nan), np.full(len(there), np.nan)
        ranks[:, places], mean_ranks[places] = found.ranks, found.mean_ranks
        inside = [scores.optimizers[int(o)] for o in places]
        apart = tuple((inside[o], inside[p]) for o, p in np.argwhere(found.apart).tolist())
        cells = int(known.sum())
        return Ranking(names, ranks, mean_ranks, found.agreement, found.chi2, found.p, None, cells, apart)
    optimizers = len(scores.optimizers)
    ranks: Floats = np.asarray(_stats.rankdata(-height, axis=1), np.float64)
    blocks = len(whole)
    squares = float(np.square(ranks).sum() - blocks * optimizers * (optimizers + 1) ** 2 / 4)
    if squares <= 0:
        return "all cells of each backbone tie"
    mean_ranks = ranks.mean(axis=0)
    between = blocks * float(np.square(mean_ranks - (optimizers + 1) / 2).sum())
    # with ties, Σ(rank − mean)² stands for O(O² − 1)/12 of each block
    chi2 = (optimizers - 1) * blocks * between / squares
    return Ranking(
        names,
        ranks,
        mean_ranks,
        between / squares,
        chi2,
        float(_stats.chi2.sf(chi2, optimizers - 1)),
        nemenyi(optimizers, blocks),
        int(known.sum()),
    )


def nemenyi(optimizers: int, backbones: int, level: float = LEVEL) -> float:
    """Computes the critical difference q/√2 · √(O(O+1)/(6B)), q of the studentised range (Demšar 2006, Eq. 4)."""
    q = float(_stats.studentized_range.ppf(level, optimizers, np.inf))
    return q / 2**0.5 * (optimizers * (optimizers + 1) / (6 * backbones)) ** 0.5


@dataclass(frozen=True, eq=False)
class BestSets:
    """Hsu's multiple comparisons with the best, one family of comparisons for each backbone.

    Attributes:
        scale: Points or logit.
        low: Lower ends of μ_o − max of the others' μ, at most 0; shape (B, O).
        high: Upper ends, at least 0; shape (B, O).
        candidates: Cells that are not told apart from the best, shape (B, O).
    """

    scale: Scale
    low: Floats
    high: Floats
    candidates: NDArray[np.bool_]


def best_sets(scores: ScoreTable, scale: Scale = "points", draws: int = 4000, seed: int = 0) -> BestSets | None:
    """Finds the optimizers not told apart from the best of each backbone, all statements of one together at 95 %.

    Hsu's method with unequal variances (Edwards and Hsu 1983): with s_ij the error of ȳ_i − ȳ_j and d_i the 95 %
    quantile of max_j (e_j − e_i)/s_ij, the candidates are those i with ȳ_i ≥ ȳ_j − d_i·s_ij for every j. The upper end
    of a cell is max(0, min_j(ȳ_i − ȳ_j + d_i·s_ij)); its lower end is the smallest ȳ_i − ȳ_j − d_j·s_ij over the other
    candidates, or 0 for the only candidate. Errors are simulated with each cell's σ from its posterior (``spread.py``):
    a t distribution would have one number of degrees of freedom where cells know very different amounts.

    Args:
        scores: The table; cells that are not ranked are never candidates.
        scale: Points or logit.
        draws: Simulated draws for each backbone.
        seed: Seed of the simulation.

    Returns:
        The sets, or None when noise cannot be separated.
    """
    spread = cell_spread(scores, scale)
    if spread is None:
        return None
    means, ranked = scores.cell_means(scale), scores.ranked
    shape = ranked.shape
    low, high = np.full(shape, np.nan), np.full(shape, np.nan)
    candidates = np.zeros(shape, np.bool_)
    tuning = tuning_part(scores, scale)
    spreads = spread.mean_square / np.maximum(scores.n, 1) + (0.0 if tuning is None else tuning.variance)
    for b in range(shape[0]):
        places = np.nonzero(ranked[b])[0]
        if len(places) == 1:
            candidates[b, places] = True
        if len(places) < 2:
            continue
        row = np.zeros(shape, np.bool_)
        row[b] = ranked[b]
        generator = np.random.default_rng((seed, b))
        s = np.sqrt(spreads[b, places][:, None] + spreads[b, places][None, :])  # (k, k)
        np.fill_diagonal(s, 1.0)
        largest: list[Floats] = []
        for chunk in chunks(draws, len(places) ** 2, 2_000_000):
            sigma = spread.draw_cells(generator, chunk, row)
            e = generator.standard_normal((chunk, len(places))) * sigma / np.sqrt(scores.n[b, places])
            if tuning is not None:
                e += tuning.part([b], places.tolist()).draw(generator, chunk)[0][:, 0]
            for part in np.array_split(e, -(-e.size * len(places) // _NUMBERS)):
                t = (part[:, None, :] - part[:, :, None]) / s  # [draw, i, j]: (e_j − e_i)/s_ij
                t[:, range(len(places)), range(len(places))] = -np.inf
                largest.append(t.max(axis=2))
        d = np.quantile(np.concatenate(largest), LEVEL, axis=0, method="weibull")  # (k,)
        y = means[b, places]
        gap = y[:, None] - y[None, :]  # [i, j]: ȳ_i − ȳ_j
        upper = gap + d[:, None] * s
        np.fill_diagonal(upper, np.inf)
        inside = upper.min(axis=1) >= 0
        lower = np.where(inside[None, :], gap - d[None, :] * s, np.inf)
        np.fill_diagonal(lower, np.inf)
        alone = inside & (inside.sum() == 1)
        candidates[b, places] = inside
        high[b, places] = np.maximum(0.0, upper.min(axis=1))
        low[b, places] = np.where(alone, 0.0, np.minimum(0.0, lower.min(axis=1)))
    return BestSets(scale, low, high, candidates)
