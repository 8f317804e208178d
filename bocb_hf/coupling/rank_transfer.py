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
    √(K/(K−1)), and drawn with a random sign. Noise pulls a rank correlation towards 0, and drawing around the means
    would add it a second time; so what is drawn around are the means shrunken by their reliability λ = τ²/(τ² + σ²/K),
    with deviations multiplied by √λ, which spread as the true means are expected to. τ² and σ² are pooled over
    backbones.

    Args:
        pairs: For each backbone (score of the pre-training, score after fine-tuning), each of shape (P, K), with NaN
            where there is no checkpoint or one of its scores is not known.
        draws: Tables to draw.
        seed: Seed of the draws.

    Returns:
        The correlation; None where fewer than three optimizers have both scores on a backbone, or there is no backbone.
    """
    values, known = list[float](), list[Floats]()
    for one, two in pairs:
        there = np.isfinite(one) & np.isfinite(two)
        rows = there.any(axis=1)
        if rows.sum() < 3:
            continue
        both = np.stack([np.where(there, one, np.nan), np.where(there, two, np.nan)])[:, rows]  # (2, P, K)
        means = np.nanmean(both, axis=2)
        values.append(float(spearman(means[0], means[1])))
        known.append(both)
    if not values:
        return None
    value, interval = float(np.mean(values)), None
    fewest = min(both.shape[1] for both in known)
    reliable = _reliability(known)
    if reliable is not None:
        generator, tail = np.random.default_rng(seed), (1 - LEVEL) / 2
        drawn = [spearman(*_draw(both, reliable, generator, draws)) for both in known]
        low, high = np.quantile(np.mean(drawn, axis=0), [tail, 1 - tail]).tolist()
        interval = Interval(min(low, value), max(high, value))
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


def _deviations(both: Floats) -> Floats:
    """Deviations of checkpoints from the mean of their optimizer, of the variance of one, shape (2, P, K).

    Those of an optimizer with one checkpoint are NaN.
    """
    counts = np.isfinite(both[0]).sum(axis=1)  # (P,)
    scale = np.sqrt(counts / np.where(counts > 1, counts - 1, np.nan))
    return (both - np.nanmean(both, axis=2, keepdims=True)) * scale[None, :, None]


def _reliability(known: Sequence[Floats]) -> Floats | None:
    """λ of the means of both scores, shape (2,), over all backbones; None where one has no optimizer of two seeds."""
    between, noise = np.zeros(2), np.zeros(2)
    for both in known:
        deviations = _deviations(both).reshape(2, -1)
        deviations = deviations[:, np.isfinite(deviations[0])]
        if deviations.shape[1] == 0:
            return None
        counts = np.isfinite(both[0]).sum(axis=1)
        between += np.nanmean(both, axis=2).var(axis=1, ddof=1)
        noise += np.square(deviations).mean(axis=1) * float((1 / counts).mean())
    return np.clip(1 - noise / np.where(between > 0, between, np.inf), 0.0, 1.0)


def _draw(both: Floats, reliable: Floats, generator: Generator, draws: int) -> tuple[Floats, Floats]:
    """Draws the means of both scores, each of shape (draws, P).

    Args:
        both: Both scores of every checkpoint, shape (2, P, K).
        reliable: Reliability of the means of both scores, shape (2,).
        generator: What is drawn with.
        draws: Number of draws.
    """
    pool = _deviations(both).reshape(2, -1)
    pool = pool[:, np.isfinite(pool[0])]  # (2, checkpoints)
    means = np.nanmean(both, axis=2)
    centres = means.mean(axis=1, keepdims=True)
    centres = centres + reliable[:, None] * (means - centres)  # (2, P)
    found = np.empty((2, draws, centres.shape[1]))
    for p, count in enumerate(np.isfinite(both[0]).sum(axis=1).tolist()):
        picked = generator.integers(pool.shape[1], size=(draws, count))
        sign = generator.choice([-1.0, 1.0], size=(draws, count))
        noise = (pool[:, picked] * sign).mean(axis=2)  # (2, draws)
        # without any reliability there is no order, and any order is as likely
        found[:, :, p] = centres[:, p, None] + np.sqrt(np.maximum(reliable, 1e-12))[:, None] * noise
    return found[0], found[1]
