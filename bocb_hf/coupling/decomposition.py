"""Score = level + backbone + optimizer + interaction: how much of the differences each part is, with noise removed.

Coupling is the interaction: what no sum of a backbone's and an optimizer's merit explains. All shares are those of the
observed cells; whoever wants to speak about cells that diverged decomposes twice (``decompose_all``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy.optimize as _scipy_optimize  # pyright: ignore[reportMissingTypeStubs] - scipy has none

from bocb_hf.coupling.additive import Additive, Mask, fit_additive, noise_coefficients
from bocb_hf.coupling.noise import block_noise, cell_noise, tuning_part
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable
from bocb_hf.errors import InputError

_optimize: Any = _scipy_optimize


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
        tuning: Variance of a cell mean from tuning, averaged over the cells, which was removed as well; None where the
            variances are given the tuned rates.
    """

    scale: Scale
    cells: int
    fit: Additive
    variances: tuple[float, float, float]
    noise: float | None
    sigma_int: float | None
    tuning: float | None = None

    @property
    def shares(self) -> tuple[float, float, float] | None:
        """(optimizer, backbone, interaction) in percent of their sum; None when nothing differs."""
        total = sum(self.variances)
        if not total > 1e-12 * max(1.0, float(np.nanmean(np.square(self.fit.level)))):
            return None
        o, b, i = (100 * v / total for v in self.variances)
        return o, b, i


def decompose(scores: ScoreTable, scale: Scale = "points", mask: Mask | None = None) -> Decomposition:
    """Decomposes the scores of the ranked cells, or of some of them.

    With every seed in every cell, backbone × seed is blocked out of the noise: MSE = Σ(y_bos − ȳ_bo − ȳ_bs + ȳ_b)² /
    [B(O−1)(S−1)]. Otherwise noise is the mean within-cell variance and cells weigh by their number of scores. What
    noise adds to each mean square is subtracted with every cell's own variance, since spreads differ by a factor of 50.

    Args:
        scores: The table.
        scale: Points or logit.
        mask: Cells to keep among the ranked ones, shape (B, O).

    Raises:
        InputError: There are no cells, or they lie in unconnected blocks; or logits are asked of scores that are no
            share of images.
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
    tuning = tuning_part(scores, scale)
    part = np.zeros(kept.shape) if tuning is None else tuning.variance
    removed = noise_coefficients(kept, weights) @ (noise / np.maximum(n, 1) + part)[kept]
    removed[1] += block_noise(values)
    variances = tuple(max(0.0, square - part) for square, part in zip(squares, removed, strict=True))
    mse = float(noise[kept].mean())
    sigma = None
    # this estimate would be biased by leaving cells out for their score
    if mask is None and (weights is not None or not kept.all()):
        sigma = reml_sigma(values, kept, mse, part)
    if kept.all() and weights is None:
        freedom = max(1, (kept.shape[0] - 1) * (kept.shape[1] - 1))
        sigma = max(0.0, float((fit.interaction**2).sum()) / freedom - mse / int(n[0, 0]) - float(part.mean())) ** 0.5
    o, b, i = variances
    return Decomposition(
        scale, int(kept.sum()), fit, (o, b, i), mse, sigma, None if tuning is None else float(part[kept].mean())
    )


def mean_squares(fit: Additive, kept: Mask) -> tuple[float, float, float]:
    """Mean over the cells of the squared effect: (optimizer, backbone, interaction)."""
    cells = float(kept.sum())
    optimizer = float(np.nansum(np.square(fit.optimizer) * kept.sum(axis=0))) / cells
    backbone = float(np.nansum(np.square(fit.backbone) * kept.sum(axis=1))) / cells
    return optimizer, backbone, float(np.nansum(np.square(fit.interaction))) / cells


def reml_sigma(values: Floats, kept: Mask, noise: float | None = None, extra: Floats | None = None) -> float | None:
    """Estimates the interaction's spread by restricted maximum likelihood, for tables that lack cells or seeds.

    Backbones and optimizers are fixed, cells random: y = b + o + cell + noise. Cell means are then independent with
    variance τ² + σ²/n, and the fixed effects' normal equations are the weights themselves, so the likelihood takes
    milliseconds; statsmodels' ``MixedLM``, which the tests compare with, takes half a minute on 6,000 cells.

    Args:
        values: Scores, shape (B, O, S), NaN where there is no score.
        kept: Cells to use, shape (B, O).
        noise: Noise variance of one score, where what cells of a backbone share in a seed is blocked out of it; None
            estimates it from the scores within cells.
        extra: Known variance of each cell mean beside τ² and σ²/n, such as that of tuning, shape (B, O).

    Returns:
        τ, or None when no cell has two scores, nothing varies, or there are not more cells than effects.
    """
    beside = np.zeros(kept.shape) if extra is None else extra
    beside = beside[kept.any(axis=1)][:, kept.any(axis=0)]
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
        w = np.where(kept, 1 / (tau + sigma / np.maximum(n, 1) + beside), 0.0)
        # the last optimizer has no effect of its own
        normal = np.block([[np.diag(w.sum(axis=1)), w], [w.T, np.diag(w.sum(axis=0))]])[:-1, :-1]
        right = np.concatenate([(w * means).sum(axis=1), (w * means).sum(axis=0)])[:-1]
        effects = np.append(np.linalg.solve(normal, right), 0.0)
        rest = means - effects[:backbones, None] - effects[None, backbones:]
        fit = float((w * np.square(rest)).sum() - np.log(w[kept]).sum() + np.linalg.slogdet(normal)[1])
        return fit + freedom * float(np.log(sigma)) + within / sigma

    if noise is not None:
        return _reml_given(deviance, noise, unit)
    start = np.log([unit, unit])
    found: Any = _optimize.minimize(deviance, start, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-8})
    low = float(np.log(unit)) - 12  # on the logarithmic scale τ = 0 lies at −∞

    def at_edge(log: float) -> float:
        return deviance(np.array([log, low]))

    edge: Any = _optimize.minimize_scalar(at_edge, (low + 11, low + 13))
    return 0.0 if edge.fun <= found.fun + 1e-6 else float(np.exp(found.x[1]))


def _reml_given(deviance: Callable[[Floats], float], noise: float, unit: float) -> float | None:
    """Finds the τ with the least deviance of (log σ, log τ) where the noise σ² is known; None where there is none."""
    if not noise > 0:
        return None
    log, low = float(np.log(noise)) / 2, float(np.log(unit)) - 12

    def at(place: float) -> float:
        return deviance(np.array([log, place]))

    # a grid finds the valley, so that one that ends at τ = 0 is not missed
    grid: list[float] = np.linspace(low, low + 24, 49).tolist()
    values = [at(place) for place in grid]
    best = int(np.argmin(values))
    if best == 0 or min(values) > values[0] - 1e-6:
        return 0.0
    found: Any = _optimize.minimize_scalar(
        at,
        bounds=(grid[best - 1], grid[min(best + 1, len(grid) - 1)]),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(np.exp(found.x))


def median_polish(scores: ScoreTable, scale: Scale = "points", rounds: int = 50) -> Decomposition:
    """Fits by Tukey's median polish: effects are medians, so single collapsed cells do not bend them.

    Its interaction keeps each collapse whole instead of spreading it over the row and column. No noise is removed.

    Args:
        scores: The table; cells that are not ranked are left out.
        scale: Points or logit.
        rounds: Largest number of rounds; fewer are run when nothing moves by more than 1e-9.
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


def component_shares(fit: Additive) -> Floats | None:
    """Returns percent of the interaction's squares in each singular component, descending.

    A cell that is missing counts as one without interaction. A matrix of zeros has no shares: None.
    """
    squares = np.square(np.linalg.svd(np.nan_to_num(fit.interaction), compute_uv=False))
    total = float(squares.sum())
    return None if total <= 1e-18 * max(1.0, float(fit.level) ** 2) * fit.interaction.size else 100 * squares / total


Version = Literal["observed", "diverged = chance", "without collapse", "median polish"]


def decompose_all(
    scores: ScoreTable, scale: Scale, collapsed: Mask | None = None
) -> dict[Version, Decomposition | str]:
    """Returns all versions that a reader should see side by side, or the reason where there is none.

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
    """Gives every diverged cell the score of guessing in each seed, for sensitivity only; None without classes."""
    if scores.chance is None:
        return None
    diverged = scores.status == "diverged"
    values = np.where(diverged[:, :, None], scores.chance, scores.values)
    status = np.where(diverged, "completed", scores.status)
    return replace(scores, values=values, status=status, packed=None)


def _medians(values: Floats, axis: int) -> Floats:
    """Returns medians of the values that are not NaN, and 0 where there are none."""
    empty = ~np.isfinite(values).any(axis=axis)
    filled = np.where(np.expand_dims(empty, axis), 0.0, values)
    return np.nanmedian(filled, axis=axis)
