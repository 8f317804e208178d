"""The noise variance of single cells, of what all cells of a backbone share in a seed, and of tuning."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from bocb_hf.coupling.scores import Floats, Scale, ScoreTable, image_slope
from bocb_hf.coupling.shared_seeds import incomplete_block_noise, incomplete_noise
from bocb_hf.coupling.tuning_noise import TuningNoise, tuning_noise


def cell_noise(values: Floats) -> Floats | None:
    """Estimates without bias the noise variance of one score in each cell, to be summed or averaged over cells.

    With every seed in every cell, what all cells of a backbone share in a seed is blocked out: with
    e = y_bos − ȳ_bo − ȳ_bs + ȳ_b, E Σ_s e² = (S−1)·[σ²_bo·(1 − 2/O) + mean_o σ²_bo/O] is solved for σ²_bo. A single
    cell's figure can be negative. Where a seed or a cell is missing, the same is done with the seeds that every two
    cells of a backbone share (``shared_seeds.py``).

    Args:
        values: Scores, shape (..., B, O, S), with NaN where there is no score.

    Returns:
        The variances, shape (..., B, O), NaN where there is no cell; None when no cell has two scores.
    """
    optimizers, seeds = values.shape[-2:]
    if seeds > 1 and optimizers > 1 and np.isfinite(values).all():
        e = values - values.mean(-1, keepdims=True)
        e = e - e.mean(-2, keepdims=True)
        own = np.square(e).sum(axis=-1) / (seeds - 1)
        mean = own.sum(axis=-1, keepdims=True) / (optimizers - 1)
        if optimizers == 2:
            return np.broadcast_to(mean, own.shape)
        return (own - mean / optimizers) / (1 - 2 / optimizers)
    n = np.isfinite(values).sum(axis=-1)
    if n.max() < 2:
        return None
    if values.ndim == 3 and optimizers > 1:
        return incomplete_noise(values)
    deviations = values - (np.nansum(values, axis=-1) / np.maximum(n, 1))[..., None]
    own = np.where(n > 1, np.nansum(np.square(deviations), axis=-1) / np.maximum(n - 1, 1), np.nan)
    return np.where(n == 1, np.nanmean(own, axis=(-2, -1), keepdims=True), own)


def block_noise(values: Floats) -> float:
    """Estimates what noise shared by a backbone's cells in a seed adds to backbones' mean square; may be negative.

    Args:
        values: Scores, shape (B, O, S), NaN where there is no score.
    """
    backbones, optimizers, seeds = values.shape
    noise = cell_noise(values)
    if noise is None or optimizers < 2:
        return 0.0
    if not np.isfinite(values).all():
        return incomplete_block_noise(values)
    shared = float(values.mean(axis=1).var(axis=1, ddof=1).mean()) - float(noise.mean()) / optimizers
    return (1 - 1 / backbones) * shared / seeds


@lru_cache(maxsize=4)  # points and logits of one table, with and without an optimizer
def tuning_part(scores: ScoreTable, scale: Scale) -> TuningNoise | None:
    """Returns what tuning adds to the noise of each cell mean; None where every statement is given the tuned rates.

    Cells that diverged have none; nor have they where they count as chance.
    """
    found = tuning_noise(scores.tuning, scores.ranked & (scores.diverged == 0))
    return found if found is None or scale == "points" else found.on(image_slope(scores, scale))
