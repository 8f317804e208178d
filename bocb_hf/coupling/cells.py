"""The noise of every cell of a table at once: moderated variances, and what rare losses add to intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.depth import Floats, depths
from bocb_hf.coupling.rare import RareLosses, find_losses
from bocb_hf.coupling.statistics import LEVEL, Estimate, Prior, fit_prior, t_quantile


@dataclass(frozen=True, eq=False)
class CellNoise:
    """What is known of the noise of each cell.

    Attributes:
        variance: Moderated variance s̃² of one score, shape (cells,); NaN where it cannot be estimated.
        df: Its degrees of freedom, shape (cells,); 0 where there are none.
        below: Points by which intervals reach further down for rare losses, shape (cells,).
        prior: Prior of the variance; None when it cannot be estimated.
        rare: Lost runs of the table; None when it shows none.
    """

    variance: Floats
    df: Floats
    below: Floats
    prior: Prior | None
    rare: RareLosses | None

    def estimate(self, cell: int, scores: Floats) -> Estimate:
        """Returns the mean of a cell with its noise.

        Args:
            cell: Place of the cell.
            scores: Its scores, shape (n,), n ≥ 1.
        """
        variance = float(self.variance[cell])
        known = None if math.isnan(variance) else variance
        return Estimate(float(scores.mean()), len(scores), known, float(self.df[cell]), float(self.below[cell]))


def moderate(
    values: Floats,
    places: NDArray[np.int64],
    inform: NDArray[np.bool_],
    resolution: float | Floats = 0.0,
    chance: float | None = None,
) -> CellNoise:
    """Does as ``statistics.estimate`` for all cells, with the depth of each and with rare losses.

    Where the table shows rare losses, the cells that have them do not inform the prior of the others; their own
    variance is moderated by the prior that all cells give.

    Args:
        values: Scores, shape (cells, S), NaN where there is none.
        places: Place of each cell's backbone, shape (cells,), from 0 on.
        inform: Cells whose means and variances tell about the others, shape (cells,).
        resolution: Smallest difference that two scores can have, for each cell or for all.
        chance: Score of guessing; None where it is unknown, and no run counts as collapsed.
    """
    n = np.isfinite(values).sum(axis=1)
    mean = np.nansum(values, axis=1) / np.maximum(n, 1)
    own = np.nansum(np.square(values - mean[:, None]), axis=1) / np.maximum(n - 1, 1)
    steps = np.broadcast_to(np.asarray(resolution, np.float64), n.shape)
    informing = (n > 1) & inform
    depth = np.nan_to_num(_depths(np.where(n > 0, mean, np.nan), places, inform))

    def prior_of(cells: NDArray[np.bool_], depth: Floats) -> Prior | None:
        return fit_prior(own[cells], (n[cells] - 1).astype(np.float64), steps[cells], depth[cells])

    prior = everybody = prior_of(informing, depth)
    rare = None
    if everybody is not None:
        # a lost run lowers a mean, but not a cell's best run: by this, depth and losses are told apart
        top = np.where(n > 0, np.where(np.isfinite(values), values, -np.inf).max(axis=1, initial=-np.inf), np.nan)
        height = np.nan_to_num(_depths(top, places, inform))
        level = prior_of(informing, height)
        rounded = np.maximum(own, np.maximum(np.square(steps) / 12, 1e-5 * float(np.median(own[informing]))))
        scaled = rounded / np.exp((level.slope if level is not None else 0.0) * height)
        rare = find_losses(
            np.where(informing[:, None], values, np.nan),
            rounded,
            scaled,
            _collapse_lines(mean, places, informing, chance),
        )
        if rare is not None:
            prior = prior_of(informing & (rare.lost == 0), depth) or everybody
    variance, df = _moderated(prior, own, n, depth)
    if rare is not None:
        from_all, df_from_all = _moderated(everybody, own, n, depth)
        variance = np.where(rare.lost > 0, from_all, variance)
        df = np.where(rare.lost > 0, df_from_all, df)
    known = (n > 0) & (df > 1) & (variance > 0)
    variance, df = np.where(known, variance, np.nan), np.where(known, df, 0.0)
    below = np.zeros(n.shape)
    if rare is not None:
        below = rare.below(known)
    return CellNoise(variance, df, below, prior, rare)


def _moderated(prior: Prior | None, own: Floats, n: NDArray[np.int64], depth: Floats) -> tuple[Floats, Floats]:
    """Returns s̃² = (d₀s₀² + (n−1)s²)/(d₀ + n − 1) and its degrees of freedom; see ``statistics.estimate``."""
    if prior is None:
        return own, (n - 1).astype(np.float64)
    at = prior.variance * np.exp(prior.slope * depth)
    if math.isinf(prior.df):
        return at, np.where(n > 1, prior.residual_df, 0.0)
    variance = (prior.df * at + (n - 1) * own) / np.maximum(prior.df + n - 1, 1e-300)
    return variance, np.minimum(prior.df + n - 1, prior.residual_df)


def _collapse_lines(
    means: Floats, places: NDArray[np.int64], inform: NDArray[np.bool_], chance: float | None
) -> Floats:
    """Returns the score below which a run of a cell collapsed: half of the way from chance to its backbone's best."""
    best = np.full(int(places.max(initial=0)) + 1, -np.inf)
    np.maximum.at(best, places[inform], means[inform])
    if chance is None:
        return np.full(means.shape, -np.inf)
    return np.where(best > chance, (best + chance) / 2, -np.inf)[places]


def _depths(means: Floats, places: NDArray[np.int64], inform: NDArray[np.bool_]) -> Floats:
    """Returns depths of means, shape (cells,), below the median of the informing cells of the same backbone."""
    if not len(places):
        return np.zeros(0)
    backbones = int(places.max()) + 1
    order = np.argsort(places, kind="stable")
    counts = np.bincount(places, minlength=backbones)
    rank = np.empty(len(places), np.int64)
    rank[order] = np.arange(len(places)) - np.repeat(np.cumsum(counts) - counts, counts)
    grid = np.full((backbones, int(counts.max())), np.nan)
    grid[places, rank] = means
    known = np.full(grid.shape, np.nan)
    known[places[inform], rank[inform]] = means[inform]
    return depths(known, grid)[places, rank]


def moderate_table(
    values: Floats, ranked: NDArray[np.bool_], resolution: float | Floats = 0.0, chance: float | None = None
) -> CellNoise:
    """Does ``moderate`` for scores of backbones × optimizers × seeds.

    Args:
        values: Scores, shape (B, O, S), NaN where there is none.
        ranked: Cells that may be compared, shape (B, O).
        resolution: Smallest difference that two scores can have, shape (B, O) or for all.
        chance: Score of guessing; None where it is unknown.

    Returns:
        What is known of each cell, its arrays of shape (B, O); NaN and 0 where a cell is not ranked.
    """
    shape = ranked.shape
    kept = np.where(ranked[:, :, None], values, np.nan).reshape(-1, values.shape[2])
    places: NDArray[np.int64] = np.repeat(np.arange(shape[0], dtype=np.int64), shape[1])
    steps = np.broadcast_to(np.asarray(resolution, np.float64), shape).ravel()
    found = moderate(kept, places, ranked.ravel(), steps, chance)
    arrays = {name: getattr(found, name).reshape(shape) for name in ("variance", "df", "below")}
    return replace(found, **arrays)


def half_widths(noise: CellNoise, n: NDArray[np.int64], tuning: tuple[Floats, float] | None = None) -> Floats:
    """Returns half of each cell's 95 % interval without rare losses; NaN where there is none.

    Args:
        noise: What is known of the cells.
        n: Scores of each cell.
        tuning: Variance of each mean from tuning, of the shape of ``n``, with its degrees of freedom; None leaves the
            intervals given the tuned rates. Both together are as in ``Estimate.interval``.
    """
    own = noise.variance / np.maximum(n, 1)
    half = _quantiles(noise.df) * np.sqrt(own)
    if tuning is None:
        return half
    more, more_df = np.nan_to_num(tuning[0]), tuning[1]
    parts = np.square(own) / np.maximum(noise.df, 1) + np.square(more) / more_df
    df = np.where(noise.df > 1, np.square(own + more) / np.maximum(parts, 1e-300), noise.df)
    return np.maximum(half, _quantiles(df) * np.sqrt(own + more))


def _quantiles(df: Floats) -> Floats:
    """Returns Student's t quantiles of 95 % intervals; NaN for one degree of freedom or less."""
    quantile = [t_quantile(0.5 + LEVEL / 2, d) if d > 1 else np.nan for d in df.ravel().tolist()]
    return np.array(quantile).reshape(df.shape)
