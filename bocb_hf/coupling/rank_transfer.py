"""Whether the ranking of pre-training optimizers carries over: does the better pre-training give the better start?

For each backbone, Spearman's rank correlation over the pre-training optimizers of two means over checkpoints: the score
that the pre-training itself reached, and the score after fine-tuning, averaged over the fine-tuning optimizers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from bocb_hf.coupling.depth import Floats
from bocb_hf.coupling.statistics import LEVEL, Interval


@dataclass(frozen=True)
class RankTransfer:
    """The rank correlation.

    Attributes:
        value: Its mean over backbones.
        interval: 95 % interval over pre-training seeds, for these backbones and optimizers; None where each
            pre-training has one seed.
        optimizers: Number of pre-training optimizers.
        backbones: The correlation of each backbone.
        draws: Tables that the bootstrap drew.
    """

    value: float
    interval: Interval | None
    optimizers: int
    backbones: tuple[float, ...]
    draws: int


def rank_transfer(pairs: Sequence[tuple[Floats, Floats]], draws: int = 2000, seed: int = 0) -> RankTransfer | None:
    """Computes the rank correlation with its bootstrap interval.

    A checkpoint is drawn as a whole, with both of its scores. With two or three pre-training seeds, drawing them again
    shrinks the variance by (K−1)/K, so the deviations of all checkpoints of a backbone are pooled, multiplied by
    √(K/(K−1)), and drawn with a random sign. Noise pulls a rank correlation towards 0, and drawing adds it a second
    time; so the interval reaches from the lower to the upper one of the percentile and the reflected interval.

    Args:
        pairs: For each backbone (score of the pre-training, score after fine-tuning), each of shape (P, K), with NaN
            where there is no checkpoint or one of its scores is not known.
        draws: Tables to draw.
        seed: Seed of the draws.

    Returns:
        The correlation; None where fewer than three optimizers have both scores on a backbone, or there is no backbone.
    """
    values, drawn, generator = list[float](), list[Floats](), np.random.default_rng(seed)
    fewest = 0
    for one, two in pairs:
        known = np.isfinite(one) & np.isfinite(two)
        rows = known.any(axis=1)
        if rows.sum() < 3:
            continue
        both = np.stack([np.where(known, one, np.nan), np.where(known, two, np.nan)])[:, rows]  # (2, P, K)
        means = np.nanmean(both, axis=2)  # (2, P)
        values.append(float(spearman(means[0], means[1])))
        fewest = min(fewest or len(means[0]), len(means[0]))
        noise = _draw_means(both, generator, draws)
        if noise is not None:
            drawn.append(spearman(means[0] + noise[0], means[1] + noise[1]))
    if not values:
        return None
    value = float(np.mean(values))
    interval = None
    if len(drawn) == len(values):
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(np.mean(drawn, axis=0), [tail, 1 - tail]).tolist()
        interval = Interval(max(-1.0, min(low, 2 * value - high)), min(1.0, max(high, 2 * value - low)))
    return RankTransfer(value, interval, fewest, tuple(values), draws)


def spearman(one: Floats, two: Floats) -> Floats:
    """Spearman's rank correlation over the last axis, with the mean rank of ties; 0 where one side has no order.

    Args:
        one: Scores, shape (..., P).
        two: Scores of the same shape.
    """
    a, b = _ranks(one), _ranks(two)
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    norm = np.sqrt(np.square(a).sum(axis=-1) * np.square(b).sum(axis=-1))
    return np.where(norm > 0, (a * b).sum(axis=-1) / np.where(norm > 0, norm, 1.0), 0.0)


def _ranks(values: Floats) -> Floats:
    above = (values[..., :, None] > values[..., None, :]).sum(axis=-1)
    equal = (values[..., :, None] == values[..., None, :]).sum(axis=-1)
    return above + (equal - 1) / 2.0


def _draw_means(both: Floats, generator: Generator, draws: int) -> Floats | None:
    """Draws the noise of both means of each optimizer, shape (2, draws, P); None with one checkpoint each.

    Args:
        both: Both scores of every checkpoint, shape (2, P, K).
        generator: What is drawn with.
        draws: Number of draws.
    """
    counts = np.isfinite(both[0]).sum(axis=1)  # (P,)
    if (counts < 2).all():
        return None
    scale = np.sqrt(counts / np.maximum(counts - 1, 1))
    deviations = (both - np.nanmean(both, axis=2, keepdims=True)) * scale[None, :, None]
    pool = deviations[:, (np.isfinite(both[0]) & (counts > 1)[:, None])]  # (2, checkpoints)
    found = np.empty((2, draws, len(counts)))
    for p, count in enumerate(counts.tolist()):
        picked = generator.integers(pool.shape[1], size=(draws, count))
        sign = generator.choice([-1.0, 1.0], size=(draws, count))
        found[:, :, p] = (pool[:, picked] * sign).mean(axis=2)
    return found
