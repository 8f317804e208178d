"""The world that the tables of a bootstrap are drawn from: shrunk cell means, each cell's spread, test images.

``bootstrap.py`` says why draws are made this way.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.additive import fit_additive, noise_coefficients
from bocb_hf.coupling.noise import block_noise, cell_noise, tuning_part
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable, image_slope
from bocb_hf.coupling.spread import cell_spread, chunks

Kind = Literal["parametric", "residual"]
_BLOCK = 200  # draws of test images that are multiplied at once


class World:
    """The distribution that tables are drawn from.

    Args:
        scores: The table.
        scale: Points or logit.
        kind: How seeds are drawn.
        images: Whether what runs owe to their luck with images is left out of the means that are drawn, because
            ``image_shifts`` brings it in (parametric draws only).

    Attributes:
        means: Observed cell means, shape (B, O).
        noise: Estimated noise variance of each mean, shape (1, B, O); None when n = 1 everywhere.
        truth: Cell means of the draws, their interaction shrunk; shape (B, O).
        has_seeds: Whether scores vary over seeds.
        has_tuning: Whether the choice of the rates is drawn again.
    """

    def __init__(self, scores: ScoreTable, scale: Scale, kind: Kind, *, images: bool = False) -> None:
        kept = scores.ranked
        values = np.where(kept[:, :, None], scores.on(scale), np.nan)
        self._n = np.where(kept, scores.n, 1)
        self.means = np.where(kept, scores.cell_means(scale), np.nan)
        self._kept, self._kind = kept, kind
        self._spread = cell_spread(scores, scale, residuals=True)
        noise = cell_noise(values)
        self._tuning = tuning_part(scores, scale)
        tuning = 0.0 if self._tuning is None else self._tuning.variance
        self.noise = None if noise is None else (noise / self._n + tuning)[None]
        self.has_seeds = self._spread is not None
        self.has_tuning = False
        self.truth = self.means
        self._block, self._luck = 0.0, np.zeros(kept.shape)
        if images and (luck := image_luck(scores)) is not None:
            self._luck = np.nan_to_num(luck * np.square(image_slope(scores, scale)))
        if self._spread is None or self.noise is None:
            return
        self.has_tuning = self._tuning is not None
        fit = fit_additive(self.means, kept)
        v = self._spread.mean_square / self._n + tuning
        left = np.nansum(np.square(fit.interaction)) / kept.sum()
        left = max(0.0, float(left - noise_coefficients(kept)[2] @ self.noise[0][kept]))
        shrink = np.sqrt(left / np.maximum(left + v, 1e-300))
        self.truth = self.means - fit.interaction * (1 - shrink)
        shared = block_noise(values)
        self._block = max(0.0, shared) ** 0.5
        if kind == "residual":
            e = (values - self.means[:, :, None]) * np.sqrt(self._n / np.maximum(self._n - 1, 1))[:, :, None]
            # the scores of each cell come first, its gaps last
            order = np.argsort(~np.isfinite(e), axis=2, kind="stable")
            self._residuals = np.nan_to_num(np.take_along_axis(e, order, axis=2))

    def draw(self, generator: np.random.Generator, draws: int) -> tuple[Floats, Floats | None]:
        """Draws cell means and estimated noise variances of the means, both of shape (draws, B, O)."""
        means, noise = self._draw_seeds(generator, draws)
        if self._tuning is None or noise is None:
            return means, noise
        shift, variance = self._tuning.draw(generator, draws)
        return means + shift, noise + variance

    def _draw_seeds(self, generator: np.random.Generator, draws: int) -> tuple[Floats, Floats | None]:
        """Draws the same given the tuned rates."""
        shape = (draws, *self._kept.shape)
        if self._spread is None:
            return np.repeat(self.truth[None], draws, axis=0), None
        if self._kind == "residual":
            return self._draw_residuals(generator, draws)
        sigma = self._spread.draw_table(generator, draws)
        of_means = np.sqrt(np.maximum(np.square(sigma) - self._luck, 0) / self._n)
        means = self.truth + generator.standard_normal(shape) * of_means
        means += self._block * generator.standard_normal((draws, len(self._kept), 1))
        several = self._n > 1
        # a variance from n scores is σ²·χ²/(n−1), and independent of their mean
        chi2 = 2 * generator.standard_gamma(np.maximum(self._n - 1, 1) / 2, shape)
        noise = np.square(sigma) * chi2 / np.maximum(self._n - 1, 1)
        return means, self._of_means(noise, several)

    def _draw_residuals(self, generator: np.random.Generator, draws: int) -> tuple[Floats, Floats]:
        seeds = self._residuals.shape[2]
        place = (generator.random((draws, *self._kept.shape, seeds)) * self._n[..., None]).astype(np.int64)
        e = np.take_along_axis(np.broadcast_to(self._residuals, place.shape), place, axis=3)
        there: NDArray[np.bool_] = np.asarray(np.arange(seeds) < self._n[..., None], np.bool_)
        e = np.where(there, e, np.nan)
        shift: Floats = np.nanmean(e, axis=3)
        noise = np.nansum(np.square(e - shift[..., None]), axis=3) / np.maximum(self._n - 1, 1)
        return self.truth + shift, self._of_means(noise, self._n > 1)

    def _of_means(self, noise: Floats, several: NDArray[np.bool_]) -> Floats:
        """Returns noise variances of means from those of one score; cells with one score borrow the others' mean."""
        several = several & self._kept
        borrowed: Floats = noise[:, several].mean(axis=1)[:, None, None]
        return np.where(self._kept, np.where(several, noise, borrowed), 0.0) / self._n


def image_shifts(scores: ScoreTable, draws: int, seed: int = 0) -> NDArray[np.float32] | None:
    """Computes how each cell's mean moves when test images are drawn again, in points, shape (draws, B, O).

    All runs of a draw meet the same images.

    Returns:
        The shifts, 0 where a cell is not ranked; None without correctness bits.
    """
    if scores.packed is None or scores.n_test is None:
        return None
    n_test, kept = scores.n_test, scores.ranked
    generator = np.random.default_rng((seed, n_test))
    # how often an image is drawn is a small number; only a block of draws at a time is as wide as the product
    counts = np.empty((draws, n_test), np.uint8)
    for row in counts:
        row[:] = np.bincount(generator.integers(0, n_test, n_test), minlength=n_test)
    places, n = np.argwhere(kept), np.isfinite(scores.values)
    shifts = np.zeros((draws, *kept.shape), np.float32)
    start = 0
    for chunk in chunks(len(places), n_test * len(scores.seeds), 4_000_000):
        b, o = places[start : start + chunk].T
        bits = np.unpackbits(scores.packed[b, o], axis=2, count=n_test)  # (chunk, S, n_test)
        right = (bits * n[b, o, :, None]).sum(axis=1, dtype=np.float32) / n[b, o].sum(axis=1, dtype=np.float32)[:, None]
        for first in range(0, draws, _BLOCK):
            block = counts[first : first + _BLOCK].astype(np.float32)
            shifts[first : first + _BLOCK, b, o] = 100 * ((block @ right.T) / np.float32(n_test) - right.mean(axis=1))
        start += chunk
    return shifts


@lru_cache(maxsize=2)  # points and logits of one table share the result
def image_luck(scores: ScoreTable) -> Floats | None:
    """Estimates the variance of one score, in points², from each run's own luck with the test images.

    This luck makes seeds differ, and moves a mean when images are drawn again; an interval over both must count it
    once.

    Returns:
        The variance of each cell, shape (B, O), the mean of the others where n = 1; None without correctness bits, or
        when no ranked cell has two.
    """
    several = scores.ranked & (scores.n > 1)
    if scores.packed is None or scores.n_test is None or not several.any():
        return None
    found = np.full(scores.ranked.shape, np.nan)
    for b, o in np.argwhere(several).tolist():
        n = int(scores.n[b, o])
        right = np.unpackbits(scores.packed[b, o], axis=1, count=scores.n_test).sum(axis=0, dtype=np.int64)
        found[b, o] = (right * (n - right)).mean() / (n * (n - 1))  # p(1 − p)·n/(n − 1), unbiased
    found = np.where(np.isnan(found) & scores.ranked, np.nanmean(found), found)
    return 1e4 * found / scores.n_test
