"""What the true mean of each cell could be, given all scores of a table: draws, shrunken towards the additive fit.

The best of several noisy means is partly luck, so an optimizer that is chosen because its mean is the best loses more
than the means say, and draws around the observed means do not know it: with two seeds and spreads that differ by a
factor of 20 they claim a regret of 0.10 points where it is 0.19. Here a cell's mean is level + backbone + optimizer +
interaction, and what the other cells say about the last two counts.

Neither interactions nor effects of optimizers are normal: a few collapsed cells are a hundred times as large as the
rest, and one variance for all would shrink nothing that lies near the top. Both follow mixtures of normal distributions
on a grid of widths whose shares the table decides, as in Stephens, "False discovery rates: a new deal" (2017), but
drawn by Gibbs sampling instead of being plugged in, which matters in a table of 20 cells. The spread over seeds of each
cell is drawn from its posterior (``spread.py``). ``benchmarks/regret.txt`` shows how well claims agree with the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.additive import fit_additive
from bocb_hf.coupling.scores import Floats, ScoreTable
from bocb_hf.coupling.spread import cell_spread

WIDTHS = 9  # normal distributions in a mixture
SWEEPS, KEPT = 40, 20  # sweeps of each chain, of which the last are kept
CHAINS = 100
LARGEST = 60_000  # cells × chains
FURTHER = 64  # further backbones in a draw; every fourth sweep has them
UNEQUAL = 1.6  # where nothing tells σ: the largest standard deviation of log σ over cells that the draws suppose
CHI2_MEDIAN = 0.455  # median of χ² with one degree of freedom


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of the true cell means.

    Attributes:
        means: True means in points, shape (draws, B, O); a cell that is not ranked has what the others let expect.
        noise_known: Whether seeds told the spread. Otherwise (n = 1) any share of the residuals of the additive fit
            may be noise, all shares alike, and the draws are as wide as that makes them.
        further: Scores of further backbones of the same kind, up to a level for each, shape (draws, FURTHER, O). What
            differs between the draws is what the table leaves open about all such backbones.
    """

    means: Floats
    further: Floats
    noise_known: bool


@lru_cache(maxsize=4)  # several questions are asked of one table
def posterior(scores: ScoreTable, seed: int = 0) -> Posterior | None:
    """Draws what the true mean of each cell could be.

    Args:
        scores: The table; it may have holes.
        seed: Seed of the draws.

    Returns:
        The draws, or None for a table without interaction: fewer than two backbones or optimizers with a ranked cell,
        or residuals that are nothing but rounding.

    Raises:
        InputError: The ranked cells fall into blocks that share neither backbone nor optimizer.
    """
    kept = scores.ranked
    if min(kept.any(axis=1).sum(), kept.any(axis=0).sum()) < 2:
        return None
    fit = fit_additive(scores.means, kept)
    residual = np.abs(fit.interaction[kept])
    if residual.max() < 1e-9:
        return None
    generator = np.random.default_rng(seed)
    chains = int(np.clip(LARGEST // kept.size, 10, CHAINS))
    spread = cell_spread(scores, "points", residuals=True)
    if spread is not None:
        sigma = spread.draw_table(generator, chains)
    else:
        typical = (float(np.median(np.square(residual))) / CHI2_MEDIAN) ** 0.5
        apart = UNEQUAL * generator.random((chains, 1, 1)) * generator.standard_normal((chains, *kept.shape))
        sigma = np.sqrt(generator.random((chains, 1, 1))) * max(typical, 1e-6) * np.exp(apart)
    noise = np.maximum(np.square(sigma) / np.maximum(scores.n, 1), 1e-12)
    effects = np.nan_to_num(fit.optimizer), np.nan_to_num(fit.backbone) + float(fit.level)
    means, further = _sample(scores.means, kept, noise, *effects, float(residual.max()), generator)
    return Posterior(means, further, spread is not None)


def _sample(
    means: Floats,
    kept: NDArray[np.bool_],
    noise: Floats,
    optimizer: Floats,
    backbone: Floats,
    largest: float,
    generator: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Gibbs sampling, all chains at once: ``Posterior.means`` and ``Posterior.further``.

    Args:
        means: Observed means, shape (B, O).
        kept: Cells that were observed, shape (B, O).
        noise: Variance of each mean in each chain, shape (chains, B, O).
        optimizer: Effects to begin with, shape (O,).
        backbone: Levels to begin with, shape (B,).
        largest: The largest residual of the additive fit.
        generator: Source of the random draws.
    """
    chains = len(noise)
    typical = float(np.median(noise[:, kept])) ** 0.5
    widths = _widths(typical, largest)
    widths_optimizer = _widths(typical, float(np.abs(optimizer).max()))
    seen = np.where(kept, means, 0.0)
    m: Floats = np.repeat(optimizer[None], chains, 0)
    a: Floats = np.repeat(backbone[None], chains, 0)
    shares = np.full((chains, WIDTHS), 1 / WIDTHS)
    shares_optimizer = shares.copy()
    found: list[Floats] = []
    further: list[Floats] = []
    for sweep in range(SWEEPS):
        r = seen - a[:, :, None] - m[:, None, :]
        component = _draw_components(generator, shares, widths, r, np.where(kept, noise, np.inf))
        shares = _draw_shares(generator, component[:, kept])
        tau2 = widths[component]  # (chains, B, O)
        weight = np.where(kept, 1 / (tau2 + noise), 0.0)
        total: Floats = weight.sum(axis=2) + 1e-12  # a backbone without a cell has no level, and no draw that is used
        level: Floats = np.einsum("cbo,cbo->cb", weight, seen - m[:, None, :]) / total
        a = level + generator.standard_normal(total.shape) / np.sqrt(np.maximum(total, 1e-6))
        own = _draw_components(generator, shares_optimizer, widths_optimizer, m, np.zeros_like(m))
        shares_optimizer = _draw_shares(generator, own)
        total = weight.sum(axis=1) + 1 / widths_optimizer[own]
        effect: Floats = np.einsum("cbo,cbo->co", weight, seen - a[:, :, None]) / total
        m = effect + generator.standard_normal(total.shape) / np.sqrt(total)
        if sweep >= SWEEPS - KEPT:
            shrink = np.where(kept, tau2 / (tau2 + noise), 0.0)
            additive = a[:, :, None] + m[:, None, :]
            left = np.where(kept, shrink * noise, tau2)
            found.append(additive + shrink * (seen - additive) + np.sqrt(left) * generator.standard_normal(noise.shape))
            if sweep % 4 == 0:
                further.append(_further(generator, found[-1] - a[:, :, None], kept))
    return np.concatenate(found), np.concatenate(further)


def _further(generator: np.random.Generator, relative: Floats, kept: NDArray[np.bool_]) -> Floats:
    """Draws further backbones, shape (chains, FURTHER, O): the score of each optimizer from some backbone of the table.

    Which backbones are typical is open as well: their shares are drawn from Dirichlet(½), as in the Bayesian bootstrap
    (Rubin 1981) but wider, since few are seen. Optimizers are drawn apart, so that a further backbone can have gaps
    that no backbone of the table has; the mixture would give it gains as large as the collapse of others.

    Args:
        generator: Source of the random draws.
        relative: True scores above the level of each backbone, shape (chains, B, O).
        kept: Cells that were observed, shape (B, O).
    """
    chains, _, optimizers = relative.shape
    found = np.empty((chains, FURTHER, optimizers))
    typical = np.maximum(generator.standard_gamma(0.5, relative.shape[:2]), 1e-30)  # (chains, B)
    for o in range(optimizers):
        seen = kept[:, o] if kept[:, o].any() else kept.any(axis=1)
        cumulated = np.cumsum(typical[:, seen], axis=1)
        level = generator.random((chains, FURTHER, 1)) * cumulated[:, None, -1:]
        place = (level > cumulated[:, None, :-1]).sum(axis=2)
        found[:, :, o] = np.take_along_axis(relative[:, seen, o], place, axis=1)
    return found


def _widths(typical: float, largest: float) -> Floats:
    """Returns the variances of a mixture: one that is hardly any, then from a quarter of the noise to the largest."""
    wide = np.geomspace(0.25 * typical, max(largest, 2 * typical), WIDTHS - 1)
    return np.square(np.concatenate([[0.05 * typical], wide]))


def _draw_components(
    generator: np.random.Generator, shares: Floats, widths: Floats, residual: Floats, noise: Floats
) -> NDArray[np.intp]:
    """Draws the component that each residual comes from, in the shape of ``residual``; without data by the shares."""
    extra = (1,) * (residual.ndim - 1)
    best = np.full(residual.shape, -np.inf)
    found = np.zeros(residual.shape, np.intp)
    known = np.isfinite(noise)
    for k, width in enumerate(widths):  # a loop keeps the memory small: Gumbel's trick takes one component at a time
        total = np.where(known, width + noise, 1.0)
        fits = np.where(known, -0.5 * (np.log(total) + np.square(residual) / total), 0.0)
        value = np.log(shares[:, k]).reshape(-1, *extra) + fits + generator.gumbel(size=residual.shape)
        better = value > best
        best, found = np.where(better, value, best), np.where(better, k, found)
    return found


def _draw_shares(generator: np.random.Generator, component: NDArray[np.intp]) -> Floats:
    """Draws the shares of the components, shape (chains, WIDTHS), with the prior Dirichlet(1/WIDTHS, …)."""
    counts: NDArray[np.int64] = np.stack([(component == k).sum(axis=1) for k in range(WIDTHS)], axis=1)
    gamma: Floats = np.maximum(generator.standard_gamma(counts + 1 / WIDTHS), 1e-30)
    return gamma / gamma.sum(axis=1, keepdims=True)
