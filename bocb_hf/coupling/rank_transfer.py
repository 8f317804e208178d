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
    """Computes the rank correlation with its interval by a parametric bootstrap.

    A checkpoint has both of its scores at once, so both are drawn together: with two or three pre-training seeds,
    drawing them again would shrink the variance by (K−1)/K. Noise pulls a rank correlation towards 0, and drawing noise
    around the observed means would pull a second time. So each draw takes the covariance of observed means and that of
    the noise from their posteriors (inverse Wishart distributions), takes their difference for the covariance of the
    true means, and draws true means given the observed ones. Both covariances are pooled over backbones.

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
    drawn = _draw(known, np.random.default_rng(seed), draws)
    if drawn is not None:
        tail = (1 - LEVEL) / 2
        found = [spearman(means[:, 0], means[:, 1]) for means in drawn]
        low, high = np.quantile(np.mean(found, axis=0), [tail, 1 - tail]).tolist()
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


def _draw(known: Sequence[Floats], generator: Generator, draws: int) -> list[Floats] | None:
    """Draws the true means of each backbone, each of shape (draws, 2, P); None without two seeds anywhere.

    Args:
        known: Both scores of every checkpoint of each backbone, of shape (2, P, K).
        generator: What is drawn with.
        draws: Number of draws.
    """
    between, within = np.zeros((2, 2)), np.zeros((2, 2))
    between_df = within_df = 0
    centred: list[Floats] = []
    shares: list[float] = []
    for both in known:
        counts = np.isfinite(both[0]).sum(axis=1)  # (P,)
        means = np.nanmean(both, axis=2)
        rest = (both - means[:, :, None]).reshape(2, -1)
        rest = rest[:, np.isfinite(rest[0])]
        within += rest @ rest.T
        within_df += int((counts - 1).sum())
        centred.append(means - means.mean(axis=1, keepdims=True))
        between += centred[-1] @ centred[-1].T
        between_df += len(counts) - 1
        shares.append(float((1 / counts).mean()))
    if within_df == 0:
        return None
    noise = _inverse_wishart(within, within_df, generator, draws) * float(np.mean(shares))  # (draws, 2, 2)
    observed = _inverse_wishart(between, between_df, generator, draws)
    true = observed - noise
    own = np.maximum(true[:, [0, 1], [0, 1]], 1e-12)  # (draws, 2)
    # where noise leaves nothing of one score, its order says nothing of the other's
    there = (true[:, 0, 0] > 0) & (true[:, 1, 1] > 0)
    most = 0.999 * np.sqrt(own.prod(axis=1))
    shared = np.where(there, np.clip(true[:, 0, 1], -most, most), 0.0)
    true = np.stack([np.stack([own[:, 0], shared], axis=1), np.stack([shared, own[:, 1]], axis=1)], axis=1)
    floor = np.eye(2) * 1e-9  # scores that do not vary at all leave nothing to divide by
    weight = true @ np.linalg.inv(true + noise + floor)
    values, vectors = np.linalg.eigh(true - weight @ true)
    root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    return [weight @ means + root @ generator.standard_normal((draws, 2, means.shape[1])) for means in centred]


def _inverse_wishart(squares: Floats, df: int, generator: Generator, draws: int) -> Floats:
    """Draws covariances of two scores from their sums of squares, shape (draws, 2, 2), by Bartlett's decomposition."""
    lower = np.linalg.cholesky(np.linalg.inv(squares + np.eye(2) * 1e-9))
    df = max(df, 2)
    factor = np.zeros((draws, 2, 2))
    factor[:, 0, 0] = np.sqrt(generator.chisquare(df, draws))
    factor[:, 1, 1] = np.sqrt(generator.chisquare(df - 1, draws))
    factor[:, 1, 0] = generator.standard_normal(draws)
    both = lower @ factor
    return np.asarray(np.linalg.inv(both @ both.transpose(0, 2, 1) + np.eye(2) * 1e-12), np.float64)
