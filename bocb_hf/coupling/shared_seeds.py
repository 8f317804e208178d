"""Noise of single cells, and what cells of a backbone share in a seed, where cells or seeds are missing.

With everything there, backbone × seed is blocked out in closed form (``noise.py``). Here every two cells of a backbone
are compared on the seeds that both have: the variance of their difference expects σ²_o + σ²_p, whatever they share, and
their covariance expects what they share. Least squares over all pairs, each weighed by its degrees of freedom, solves
for the σ². With every seed in every cell of a backbone this is the closed form, also where other cells are missing.
"""

from __future__ import annotations

import numpy as np

from bocb_hf.coupling.additive import Mask
from bocb_hf.coupling.scores import Floats


def incomplete_noise(values: Floats) -> Floats:
    """Estimates the noise variance of one score in each cell, as ``noise.cell_noise`` does.

    A cell that shares no two seeds with another of its backbone has its within-cell variance, and the mean of the
    others where n = 1. What two means share in m common seeds of n_o and n_p is σ²_shared·m/(n_o·n_p); what a cell's
    mean has of it beyond its average with the others is noise of the cell: σ²_shared·(1 − mean_p m/n_p) of one score.

    Args:
        values: Scores, shape (B, O, S), NaN where there is no score; some cell has two.

    Returns:
        The variances, shape (B, O), NaN where there is no cell.
    """
    found: Mask = np.isfinite(values)
    n = found.sum(axis=2)
    deviations = _deviations(values)
    noise = np.where(n > 1, np.square(deviations).sum(axis=2) / np.maximum(n - 1, 1), np.nan)
    freedom, variance, _ = _pairs(deviations, found)
    normal = freedom + freedom.sum(axis=2)[:, :, None] * np.eye(values.shape[1])
    inverse: Floats = np.asarray(np.linalg.pinv(normal, hermitian=True), np.float64)
    paired = np.einsum("bop,bp->bo", inverse, (freedom * variance).sum(axis=2))
    several = freedom.any(axis=2)
    others = (n > 0)[:, None, :] & ~np.eye(values.shape[1], dtype=np.bool_)
    there: Floats = np.asarray(found, np.float64)
    common = np.einsum("bos,bps->bop", there, there) / np.maximum(n, 1)[:, None, :]
    common = (common * others).sum(axis=2) / np.maximum(others.sum(axis=2), 1)
    lacking = max(0.0, shared_noise(values)) * np.where(others.any(axis=2), 1 - common, 0.0)
    noise = np.where(several, paired, noise)
    return np.where(n == 1, np.nanmean(noise), noise) + np.where(several | (n == 1), lacking, 0.0)


def shared_noise(values: Floats) -> float:
    """Estimates the variance of what cells of a backbone share in a seed; may be negative, and is 0 without two cells.

    Args:
        values: Scores, shape (B, O, S), NaN where there is no score.
    """
    freedom, _, covariance = _pairs(_deviations(values), np.isfinite(values))
    total = float(freedom.sum())
    return float((freedom * covariance).sum()) / total if total > 0 else 0.0


def incomplete_block_noise(values: Floats) -> float:
    """Estimates what ``shared_noise`` adds to backbones' mean square, as ``noise.block_noise`` does; may be negative.

    A backbone with S_b seeds is moved by a variance v_b = σ²/S_b; the mean square over cells of effects that sum to 0
    then expects Σ p_b·(1 − 2/B)·v_b + Σ v_b/B², where p_b is the backbone's share of the cells.

    Args:
        values: Scores, shape (B, O, S), NaN where there is no score.
    """
    found = np.isfinite(values)
    cells = found.any(axis=2).sum(axis=1)
    seeds = found.any(axis=1).sum(axis=1)[cells > 0]
    cells = cells[cells > 0]
    moved = shared_noise(values) / seeds
    return float((cells / cells.sum()) @ moved * (1 - 2 / len(cells)) + moved.sum() / len(cells) ** 2)


def _deviations(values: Floats) -> Floats:
    """Returns scores minus the mean of their cell, 0 where there is none."""
    n = np.isfinite(values).sum(axis=2, keepdims=True)
    return np.nan_to_num(values - np.nansum(values, axis=2, keepdims=True) / np.maximum(n, 1))


def _pairs(deviations: Floats, found: Mask) -> tuple[Floats, Floats, Floats]:
    """Compares every two cells of a backbone on the seeds that both have.

    Returns:
        Degrees of freedom, variance of the difference and covariance, each of shape (B, O, O); 0 on the diagonal and
        where two cells share fewer than two seeds.
    """
    there = found.astype(np.float64)
    seeds = np.einsum("bos,bps->bop", there, there)
    freedom = np.maximum(seeds - 1, 0.0) * (1 - np.eye(seeds.shape[1]))
    divisor = np.where(freedom > 0, freedom, np.inf)
    total = np.einsum("bos,bps->bop", deviations, there)  # of o over the seeds that p has too
    square = np.einsum("bos,bps->bop", np.square(deviations), there)
    product = np.einsum("bos,bps->bop", deviations, deviations)
    shared, back = np.maximum(seeds, 1), (0, 2, 1)
    covariance = (product - total * total.transpose(back) / shared) / divisor
    own = (square - np.square(total) / shared) / divisor
    return freedom, own + own.transpose(back) - 2 * covariance, covariance
