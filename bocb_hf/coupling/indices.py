"""Which pairs, backbones and optimizers carry the coupling, and what it costs to ignore it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.additive import fit_additive
from bocb_hf.coupling.noise import cell_noise
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable
from bocb_hf.coupling.spread import cell_spread, chunks
from bocb_hf.coupling.statistics import LEVEL

MAX_DIVISIONS = 1000  # of the seeds into halves


@dataclass(frozen=True, eq=False)
class Residuals:
    """r_bo = ȳ_bo − ȳ_b − ȳ_o + ȳ with simultaneous intervals; the reference set is the table's own.

    Attributes:
        scale: Points or logit.
        r: Shape (B, O); NaN where the cell is not ranked.
        error: Standard errors, shape (B, O); NaN when noise cannot be separated.
        critical: With 95 % probability no |r̂ − r|/error of the whole table exceeds it; None without errors.
    """

    scale: Scale
    r: Floats
    error: Floats
    critical: float | None

    @property
    def low(self) -> Floats:
        return self.r - self.error * (np.nan if self.critical is None else self.critical)

    @property
    def high(self) -> Floats:
        return self.r + self.error * (np.nan if self.critical is None else self.critical)

    @property
    def clear(self) -> NDArray[np.bool_]:
        """Cells whose interval excludes 0, shape (B, O)."""
        return (self.low > 0) | (self.high < 0)


def residuals(scores: ScoreTable, scale: Scale = "points", draws: int = 4000, seed: int = 0) -> Residuals:
    """Interaction residuals with simultaneous max-|t| intervals.

    A residual is a linear map of all cell means, so its error is √Σ coefficient²·σ²/n; the critical value is the 95 %
    quantile of the largest |r̂ − r|/error among all cells when each cell's noise follows its posterior (``spread.py``;
    the moderated t of single cells would be far too wide for the largest of 400). Noise holds what all cells of a
    backbone share in a seed, which cancels in a residual, so intervals are then too wide rather than too narrow.

    Args:
        scores: The table.
        scale: Points or logit.
        draws: Of the simulation.
        seed: Of the simulation.

    Raises:
        InputError: Nothing to decompose.
    """
    kept = scores.ranked
    fit = fit_additive(np.where(kept, scores.cell_means(scale), np.nan), kept)
    spread = cell_spread(scores, scale)
    blank = np.full(kept.shape, np.nan)
    if spread is None:
        return Residuals(scale, fit.interaction, blank, None)
    n = np.maximum(scores.n, 1)
    error = _residual_errors(np.sqrt(np.nan_to_num(spread.mean_square) / n), kept)
    usable = kept & (error > 1e-9 * float(np.nanmax(error)))  # a cell that is alone in its row has no residual
    if not usable.any():
        return Residuals(scale, fit.interaction, blank, None)
    generator = np.random.default_rng(seed)
    largest: list[Floats] = []
    for chunk in chunks(draws, kept.size):
        noise = generator.standard_normal((chunk, *kept.shape)) * spread.draw(generator, chunk) / np.sqrt(n)
        shifted = fit_additive(np.where(kept, noise, np.nan), kept).interaction
        largest.append(np.abs(shifted[:, usable] / error[usable]).max(axis=1))
    critical = float(np.quantile(np.concatenate(largest), LEVEL, method="weibull"))  # as in ``bootstrap.py``
    return Residuals(scale, fit.interaction, np.where(usable, error, np.nan), critical)


@dataclass(frozen=True, eq=False)
class Kappa:
    """How much each backbone and each optimizer takes part in the interaction: a standard deviation on the scale.

    Attributes:
        backbone: κ_b, shape (B,); noise removed unless ``noisy``.
        optimizer: κ_o, shape (O,).
        noisy: n = 1 everywhere: noise is still inside.
    """

    backbone: Floats
    optimizer: Floats
    noisy: bool


def kappa(scores: ScoreTable, scale: Scale = "points") -> Kappa:
    """κ_b² = max(0, Σ_o r²/(O−1) − noise) and κ_o² likewise.

    The noise is not the table's mean σ̂² with which the plain formula would subtract (1−1/B)σ̂²/n: where spreads differ
    by a factor of 50 that would call every noisy backbone coupled. With v_b the mean of σ̂²/n over the backbone's own
    cells and v̄ over all, it is v_b(1−2/B) + v̄/B, the same where spreads are equal.

    Raises:
        InputError: Nothing to decompose.
    """
    kept = scores.ranked
    values = np.where(kept[:, :, None], scores.on(scale), np.nan)
    fit = fit_additive(np.where(kept, scores.cell_means(scale), np.nan), kept)
    noise = cell_noise(values)
    backbone, optimizer = kappa_squares(fit.interaction, noise, np.isfinite(values).sum(axis=2))
    return Kappa(np.sqrt(np.maximum(backbone, 0)), np.sqrt(np.maximum(optimizer, 0)), noise is None)


def kappa_squares(r: Floats, noise: Floats | None, n: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Estimates of κ², not clipped at 0, for any leading axes.

    Args:
        r: Interaction residuals, shape (..., B, O), NaN where there is no cell.
        noise: Noise variances of one score, shape (..., B, O); None removes nothing.
        n: Scores of each cell, shape (B, O).

    Returns:
        Of backbones, shape (..., B), and of optimizers, shape (..., O); NaN with fewer than two cells.
    """
    found: list[Floats] = []
    v = None if noise is None else noise / np.maximum(n, 1)
    overall = None if v is None else np.nanmean(v, axis=(-2, -1))
    for axis in (-1, -2):
        there = np.isfinite(r).sum(axis=axis)
        square = np.nansum(np.square(r), axis=axis) / np.where(there > 1, there - 1, np.nan)
        if v is not None and overall is not None:
            others = r.shape[-2] if axis == -1 else r.shape[-1]
            own = np.nansum(v, axis=axis) / np.maximum(there, 1)
            square = square - own * (1 - 2 / others) - overall[..., None] / others
        found.append(square)
    return found[0], found[1]


@dataclass(frozen=True)
class Cost:
    """G = mean_b max_o μ_bo − max_o mean_b μ_bo: points lost by using one optimizer for all backbones.

    Attributes:
        optimizer: The one with the highest mean.
        naive: From the means themselves; too high, since the best of noisy means is partly luck.
        split: Maxima chosen on one half of the seeds and scored on the other, mean over all divisions; None when n = 1.
            Too low rather than too high, since half the seeds choose less well than all.
        divisions: How many divisions of the seeds that is.
        backbones: Backbones that it rests on: those with every optimizer that counts.
        optimizers: Optimizers that it rests on.
    """

    optimizer: str
    naive: float
    split: float | None
    divisions: int
    backbones: tuple[str, ...]
    optimizers: tuple[str, ...]


def cost_of_coupling(scores: ScoreTable, scale: Scale = "points") -> Cost | None:
    """The cost on the largest complete part of the table that keeps every optimizer or every backbone.

    An optimizer that diverged or is missing on some backbone cannot be 'one for all' there: of the two complete parts
    (optimizers with all cells; backbones with all cells) the one with more cells is used.

    Returns:
        The cost, or None when neither part has two optimizers.
    """
    complete = complete_part(scores.ranked)
    if complete is None:
        return None
    rows, columns = complete
    part = np.ix_(rows, columns)
    means, values = scores.cell_means(scale)[part], scores.on(scale)[part]
    names = [scores.optimizers[int(o)] for o in columns]
    whole = np.asarray(np.isfinite(values).all(axis=(0, 1)))
    split, divisions = None, 0
    if whole.sum() > 1:
        split, divisions = split_cost(values[:, :, whole])
    return Cost(
        names[int(means.mean(axis=0).argmax())],
        float(naive_cost(means)),
        split,
        divisions,
        tuple(scores.backbones[int(b)] for b in rows),
        tuple(names),
    )


def complete_part(ranked: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Places of the backbones and the optimizers of the larger complete part of a table (``cost_of_coupling``)."""
    full_rows, full_columns = np.asarray(ranked.all(axis=1)), np.asarray(ranked.all(axis=0))
    all_rows, all_columns = np.ones(len(ranked), np.bool_), np.ones(ranked.shape[1], np.bool_)
    by_optimizer = full_columns.sum() * len(ranked) >= full_rows.sum() * ranked.shape[1]
    rows, columns = (all_rows, full_columns) if by_optimizer else (full_rows, all_columns)
    return (np.nonzero(rows)[0], np.nonzero(columns)[0]) if columns.sum() > 1 and rows.any() else None


def naive_cost(means: Floats) -> Floats:
    """G of complete means, shape (..., B, O) to (...)."""
    return means.max(axis=-1).mean(axis=-1) - means.mean(axis=-2).max(axis=-1)


def split_cost(values: Floats) -> tuple[float, int]:
    """G with choice and score on different seeds, over all divisions into halves (the smaller half chooses or scores).

    Args:
        values: Shape (B, O, S), complete, S ≥ 2.

    Returns:
        The mean over the divisions, and their number.
    """
    seeds = values.shape[2]
    half = seeds // 2
    choosing: list[tuple[int, ...]] = []
    for size in sorted({half, seeds - half}):
        choosing += combinations(range(seeds), size)
    if len(choosing) > MAX_DIVISIONS:  # more than 11 seeds: every so manieth, always the same ones
        choosing = choosing[:: -(-len(choosing) // MAX_DIVISIONS)]
    found: list[float] = []
    for side in choosing:
        choose = values[:, :, list(side)].mean(axis=2)
        score = values[:, :, [s for s in range(seeds) if s not in side]].mean(axis=2)
        each = float(score[np.arange(len(score)), choose.argmax(axis=1)].mean())
        found.append(each - float(score.mean(axis=0)[int(choose.mean(axis=0).argmax())]))
    return float(np.mean(found)), len(found)


def _residual_errors(spread: Floats, kept: NDArray[np.bool_]) -> Floats:
    """√Σ coefficient²·spread² of each residual, shape (B, O)."""
    backbones, optimizers = kept.shape
    if kept.all():
        rows = np.square(np.eye(backbones) - 1 / backbones)
        columns = np.square(np.eye(optimizers) - 1 / optimizers)
        return np.sqrt(rows @ np.square(spread) @ columns)
    # the residual of a unit error in each cell in turn: column j of I − H
    places = np.argwhere(kept)
    total = np.zeros(kept.shape)
    start = 0
    for chunk in chunks(len(places), kept.size):
        units = np.where(kept, np.zeros((chunk, *kept.shape)), np.nan)
        part = places[start : start + chunk]
        units[np.arange(chunk), part[:, 0], part[:, 1]] = 1.0
        response = fit_additive(units, kept).interaction
        total += np.nansum(np.square(response) * np.square(spread[part[:, 0], part[:, 1]])[:, None, None], axis=0)
        start += chunk
    return np.where(kept, np.sqrt(total), np.nan)
