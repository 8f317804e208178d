"""Score = level + backbone + optimizer + interaction: how much of the differences each part is, with noise removed.

Coupling is the interaction: what no sum of a backbone's and an optimizer's merit explains. All shares are those of the
observed cells; whoever wants to speak about cells that diverged decomposes twice (``decompose_all``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy.optimize as _scipy_optimize  # pyright: ignore[reportMissingTypeStubs]
import scipy.stats as _scipy_stats  # pyright: ignore[reportMissingTypeStubs]

from bocb_hf.coupling.additive import Additive, Mask, fit_additive, noise_coefficients
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable
from bocb_hf.coupling.spread import cell_spread, chunks
from bocb_hf.errors import InputError

_stats: Any = _scipy_stats
_optimize: Any = _scipy_optimize
DRAWS = 999  # of the interaction test


@dataclass(frozen=True)
class Test:
    """F test of no interaction at all, against the noise between seeds.

    Attributes:
        f: MS_int / MSE.
        df1: Degrees of freedom of MS_int: (B−1)(O−1).
        df2: Of MSE: B(O−1)(S−1).
        p: Simulated, for spreads as unequal as they are; not that of the F distribution (``interaction_test``).
        draws: Of the simulation; p is never below 1/(draws + 1).
    """

    __test__ = False  # not one of pytest's

    f: float
    df1: int
    df2: int
    p: float
    draws: int


@dataclass(frozen=True, eq=False)
class Decomposition:
    """One two-way decomposition.

    Attributes:
        scale: Points or logit; every variance is in its square.
        cells: Cells that it rests on.
        fit: The additive fit.
        variances: (optimizer, backbone, interaction): mean square of each effect over the cells, noise removed, not
            below 0.
        noise: Noise variance of one score, σ̂²; None when n = 1 everywhere, and nothing was removed.
        sigma_int: max(0, (MS_int − MSE)/S)^½: spread of the interaction in a population of cells; None without noise.
    """

    scale: Scale
    cells: int
    fit: Additive
    variances: tuple[float, float, float]
    noise: float | None
    sigma_int: float | None

    @property
    def shares(self) -> tuple[float, float, float] | None:
        """(optimizer, backbone, interaction) in percent of their sum; None when nothing differs."""
        total = sum(self.variances)
        if not total > 1e-12 * max(1.0, float(np.nanmean(np.square(self.fit.level)))):
            return None
        o, b, i = (100 * v / total for v in self.variances)
        return o, b, i


def decompose(scores: ScoreTable, scale: Scale = "points", mask: Mask | None = None) -> Decomposition:
    """The decomposition of the ranked cells, or of some of them.

    With every seed in every cell, backbone × seed is blocked out of the noise: MSE = Σ(y_bos − ȳ_bo − ȳ_bs + ȳ_b)² /
    [B(O−1)(S−1)]. Otherwise noise is the mean within-cell variance and cells weigh by their number of scores. What
    noise adds to each mean square is subtracted with every cell's own variance, since spreads differ by a factor of 50.

    Args:
        scores: The table.
        scale: Points or logit.
        mask: Cells to keep among the ranked ones, shape (B, O).

    Raises:
        InputError: No cells, or cells in unconnected blocks; logits of scores that are no share of images.
    """
    kept = scores.ranked if mask is None else scores.ranked & mask
    values = np.where(kept[:, :, None], scores.on(scale), np.nan)
    n = np.isfinite(values).sum(axis=2)
    means = np.where(kept, scores.cell_means(scale), np.nan)
    weights = None if len(np.unique(n[kept])) < 2 else n.astype(np.float64)
    fit = fit_additive(means, kept, weights)
    squares = mean_squares(fit, kept)
    noise = cell_noise(values)
    if noise is None:
        return Decomposition(scale, int(kept.sum()), fit, squares, None, None)
    removed = noise_coefficients(kept, weights) @ (noise / np.maximum(n, 1))[kept]
    removed[1] += block_noise(values)
    variances = tuple(max(0.0, square - part) for square, part in zip(squares, removed, strict=True))
    mse = float(noise[kept].mean())
    sigma = None
    if mask is None and (weights is not None or not kept.all()):  # leaving cells out by their score would bias it
        sigma = reml_sigma(values, kept)
    if kept.all() and weights is None:
        freedom = max(1, (kept.shape[0] - 1) * (kept.shape[1] - 1))
        sigma = max(0.0, float((fit.interaction**2).sum()) / freedom - mse / int(n[0, 0])) ** 0.5
    o, b, i = variances
    return Decomposition(scale, int(kept.sum()), fit, (o, b, i), mse, sigma)


def mean_squares(fit: Additive, kept: Mask) -> tuple[float, float, float]:
    """Mean over the cells of the squared effect: (optimizer, backbone, interaction)."""
    cells = float(kept.sum())
    optimizer = float(np.nansum(np.square(fit.optimizer) * kept.sum(axis=0))) / cells
    backbone = float(np.nansum(np.square(fit.backbone) * kept.sum(axis=1))) / cells
    return optimizer, backbone, float(np.nansum(np.square(fit.interaction))) / cells


def cell_noise(values: Floats) -> Floats | None:
    """Unbiased noise variance of one score in each cell, to be summed or averaged over cells.

    With every seed in every cell, what all cells of a backbone share in a seed is blocked out: with
    e = y_bos − ȳ_bo − ȳ_bs + ȳ_b, E Σ_s e² = (S−1)·[σ²_bo·(1 − 2/O) + mean_o σ²_bo/O] is solved for σ²_bo. A single
    cell's figure can be negative. Otherwise it is the within-cell variance, and the mean of those where n = 1.

    Args:
        values: Shape (..., B, O, S), with NaN where there is no score.

    Returns:
        Shape (..., B, O), NaN where there is no cell; None when no cell has two scores.
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
    deviations = values - (np.nansum(values, axis=-1) / np.maximum(n, 1))[..., None]
    own = np.where(n > 1, np.nansum(np.square(deviations), axis=-1) / np.maximum(n - 1, 1), np.nan)
    return np.where(n == 1, np.nanmean(own, axis=(-2, -1), keepdims=True), own)


def interaction_test(scores: ScoreTable, scale: Scale = "points", seed: int = 0) -> Test | None:
    """F = MS_int/MSE, with a p that holds when spreads differ.

    With spreads that differ by a factor of 50, a few loud cells rule both mean squares, and the F distribution calls
    13 to 19 % of tables without interaction significant; Box's (1954) smaller degrees of freedom still 8 % with two
    seeds. So p is the share of simulations without interaction, every cell's σ drawn from its posterior given the
    scores (``spread.py``), whose MS_int is as large.

    Args:
        scores: The table.
        scale: Points or logit.
        seed: Of the simulation.

    Returns:
        The test; None when a cell lacks a seed, with one backbone, optimizer or seed, or when the scores of too few
        cells differ.
    """
    values = np.where(scores.ranked[:, :, None], scores.on(scale), np.nan)
    backbones, optimizers, seeds = values.shape
    if min(values.shape) < 2 or not np.isfinite(values).all():
        return None
    spread, noise = cell_spread(scores, scale), cell_noise(values)
    if spread is None or noise is None or not float(noise.mean()) > 0:
        return None
    interaction = fit_additive(values.mean(axis=2)).interaction
    df1, df2 = (backbones - 1) * (optimizers - 1), backbones * (optimizers - 1) * (seeds - 1)
    f = seeds * float(np.square(interaction).sum()) / df1 / float(noise.mean())
    generator = np.random.default_rng(seed)
    larger = 0
    for chunk in chunks(DRAWS, backbones * optimizers):
        e = generator.standard_normal((chunk, backbones, optimizers)) * spread.draw(generator, chunk) / seeds**0.5
        squares = np.square(fit_additive(e).interaction).sum(axis=(-2, -1))
        larger += int((squares >= float(np.square(interaction).sum())).sum())
    return Test(f, df1, df2, (1 + larger) / (1 + DRAWS), DRAWS)


def reml_sigma(values: Floats, kept: Mask) -> float | None:
    """Spread of the interaction by restricted maximum likelihood, for tables in which cells or seeds are missing.

    Backbones and optimizers are fixed, cells random: y = b + o + cell + noise. Cell means are then independent with
    variance τ² + σ²/n, and the fixed effects' normal equations are the weights themselves, so the likelihood takes
    milliseconds; statsmodels' ``MixedLM``, which the tests compare with, takes half a minute on 6,000 cells.

    Args:
        values: Shape (B, O, S), NaN where there is no score.
        kept: Cells to use, shape (B, O).

    Returns:
        τ, or None when no cell has two scores or there are not more cells than effects.
    """
    kept = kept[kept.any(axis=1)][:, kept.any(axis=0)]
    values = values[np.isfinite(values).any(axis=(1, 2))][:, np.isfinite(values).any(axis=(0, 2))]
    if kept.shape != values.shape[:2]:
        return None
    n = np.where(kept, np.isfinite(values).sum(axis=2), 0)
    freedom = int(n.sum() - kept.sum())
    if freedom == 0 or kept.sum() <= sum(kept.shape) - 1:
        return None
    means = np.where(kept, np.nansum(values, axis=2) / np.maximum(n, 1), 0.0)
    within = float(np.nansum(np.where(kept[..., None], np.square(values - means[..., None]), 0.0)))
    unit = (within / freedom) ** 0.5
    if not unit > 1e-9 * max(1.0, float(np.abs(means).max())):
        return None
    backbones = kept.shape[0]

    def deviance(logs: Floats) -> float:
        sigma, tau = np.exp(2 * logs)
        w = np.where(kept, 1 / (tau + sigma / np.maximum(n, 1)), 0.0)
        # the last optimizer has no effect of its own
        normal = np.block([[np.diag(w.sum(axis=1)), w], [w.T, np.diag(w.sum(axis=0))]])[:-1, :-1]
        right = np.concatenate([(w * means).sum(axis=1), (w * means).sum(axis=0)])[:-1]
        effects = np.append(np.linalg.solve(normal, right), 0.0)
        rest = means - effects[:backbones, None] - effects[None, backbones:]
        fit = float((w * np.square(rest)).sum() - np.log(w[kept]).sum() + np.linalg.slogdet(normal)[1])
        return fit + freedom * float(np.log(sigma)) + within / sigma

    start = np.log([unit, unit])
    found: Any = _optimize.minimize(deviance, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8})
    low = float(np.log(unit)) - 12  # τ = 0 lies at −∞

    def at_edge(log: float) -> float:
        return deviance(np.array([log, low]))

    edge: Any = _optimize.minimize_scalar(at_edge, (low + 11, low + 13))
    return 0.0 if edge.fun <= found.fun + 1e-6 else float(np.exp(found.x[1]))


def median_polish(scores: ScoreTable, scale: Scale = "points", rounds: int = 50) -> Decomposition:
    """Tukey's median polish: effects are medians, so single collapsed cells do not bend them.

    Its interaction keeps each collapse whole instead of spreading it over the row and column. No noise is removed.

    Args:
        scores: The table; cells that are not ranked are left out.
        scale: Points or logit.
        rounds: At most; it stops when nothing moves by more than 1e-9.
    """
    kept = scores.ranked
    residual = np.where(kept, scores.cell_means(scale), np.nan)
    if not kept.any():
        raise InputError("scores: no cell is completed, so there is nothing to decompose")
    backbone, optimizer = np.zeros(len(kept)), np.zeros(kept.shape[1])
    for _ in range(rounds):
        rows = _medians(residual, 1)
        residual = residual - rows[:, None]
        columns = _medians(residual, 0)
        residual = residual - columns[None, :]
        backbone, optimizer = backbone + rows, optimizer + columns
        if max(np.abs(rows).max(), np.abs(columns).max()) < 1e-9:
            break
    level = np.median(backbone) + np.median(optimizer)
    backbone, optimizer = backbone - np.median(backbone), optimizer - np.median(optimizer)
    fit = Additive(np.asarray(level), backbone, optimizer, residual)
    return Decomposition(scale, int(kept.sum()), fit, mean_squares(fit, kept), None, None)


@dataclass(frozen=True)
class Tukey:
    """Tukey's (1949) one-degree-of-freedom test: is the interaction a product of the two effects?

    Attributes:
        slope: Of the interaction on backbone effect × optimizer effect.
        share: Percent of the interaction's sum of squares that it explains.
        f: With 1 and ``df`` degrees of freedom.
        df: (B−1)(O−1) − 1.
        p: Of the F; the residual plays the part of noise, so n = 1 is enough.
    """

    slope: float
    share: float
    f: float
    df: int
    p: float


def tukey_one_df(fit: Additive) -> Tukey | None:
    """The test on a complete table; None on others, with fewer than 3 free cells, or without any interaction."""
    r = fit.interaction
    df = (r.shape[0] - 1) * (r.shape[1] - 1) - 1
    if not np.isfinite(r).all() or df < 1:
        return None
    product = np.outer(fit.backbone, fit.optimizer)
    scale, total = float(np.square(product).sum()), float(np.square(r).sum())
    if total <= 1e-18 * max(1.0, float(fit.level) ** 2) * r.size or scale == 0:
        return None
    explained = float((r * product).sum()) ** 2 / scale
    rest = max(total - explained, 0.0)
    f = float("inf") if rest == 0 else explained / (rest / df)
    return Tukey(float((r * product).sum()) / scale, 100 * explained / total, f, df, float(_stats.f.sf(f, 1, df)))


def component_shares(fit: Additive) -> Floats | None:
    """Percent of the interaction's squares in each of its singular components, descending; None unless complete.

    Components of a matrix of zeros have no shares either.
    """
    if not np.isfinite(fit.interaction).all():
        return None
    squares = np.square(np.linalg.svd(fit.interaction, compute_uv=False))
    total = float(squares.sum())
    return None if total <= 1e-18 * max(1.0, float(fit.level) ** 2) * fit.interaction.size else 100 * squares / total


Version = Literal["observed", "diverged = chance", "without collapse", "median polish"]


def decompose_all(
    scores: ScoreTable, scale: Scale, collapsed: Mask | None = None
) -> dict[Version, Decomposition | str]:
    """Every version that a reader should see side by side; where there is none, the reason.

    Args:
        scores: The table.
        scale: Points or logit.
        collapsed: Cells to leave out of ``without collapse`` (``failure.py``), shape (B, O). Leaving out what is low
            truncates, so its interaction is a lower bound.
    """

    def attempt(table: ScoreTable, mask: Mask | None = None) -> Decomposition | str:
        try:
            return decompose(table, scale, mask)
        except InputError as error:
            return str(error)

    found: dict[Version, Decomposition | str] = {"observed": attempt(scores)}
    if (scores.status == "diverged").any():
        filled = with_chance(scores)
        found["diverged = chance"] = "chance has no known score" if filled is None else attempt(filled)
    if collapsed is not None and collapsed.any():
        found["without collapse"] = attempt(scores, ~collapsed)
    try:
        found["median polish"] = median_polish(scores, scale)
    except InputError as error:
        found["median polish"] = str(error)
    return found


def with_chance(scores: ScoreTable) -> ScoreTable | None:
    """Sensitivity only: every diverged cell gets the score of guessing in each of its seeds; None without classes."""
    if scores.chance is None:
        return None
    diverged = scores.status == "diverged"
    values = np.where(diverged[:, :, None], scores.chance, scores.values)
    status = np.where(diverged, "completed", scores.status)
    return replace(scores, values=values, status=status, packed=None)


def _medians(values: Floats, axis: int) -> Floats:
    """Medians of what is there, 0 where nothing is."""
    empty = ~np.isfinite(values).any(axis=axis)
    filled = np.where(np.expand_dims(empty, axis), 0.0, values)
    return np.nanmedian(filled, axis=axis)


def block_noise(values: Floats) -> float:
    """What the parts that all cells of a backbone share in a seed add to the backbones' mean square; may be negative.

    Args:
        values: Shape (B, O, S). 0 unless complete: blocks and cells cannot be told apart then.
    """
    backbones, optimizers, seeds = values.shape
    noise = cell_noise(values)
    if noise is None or optimizers < 2 or not np.isfinite(values).all():
        return 0.0
    shared = float(values.mean(axis=1).var(axis=1, ddof=1).mean()) - float(noise.mean()) / optimizers
    return (1 - 1 / backbones) * shared / seeds
