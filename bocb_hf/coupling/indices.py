"""Which pairs, backbones and optimizers carry the coupling, and what it costs to ignore it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.additive import fit_additive, residual_noise
from bocb_hf.coupling.holes import cost_part, fill, fillable
from bocb_hf.coupling.noise import cell_noise, tuning_part
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable
from bocb_hf.coupling.spread import cell_spread, chunks
from bocb_hf.coupling.statistics import LEVEL

MAX_DIVISIONS = 1000  # most divisions of the seeds into halves that are tried


@dataclass(frozen=True, eq=False)
class Residuals:
    """Residuals r_bo = ȳ_bo − ȳ_b − ȳ_o + ȳ of the interaction with simultaneous intervals.

    Attributes:
        scale: Points or logit.
        r: Residuals over the table's own backbones and optimizers, shape (B, O); NaN where the cell is not ranked.
        error: Standard errors, shape (B, O); NaN when noise cannot be separated.
        critical: The value that no |r̂ − r|/error of the whole table exceeds with 95 % probability; None without
            errors.
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
    """Computes interaction residuals with simultaneous max-|t| intervals.

    A residual is a linear map of all cell means, so its error is √Σ coefficient²·σ²/n; the critical value is the 95 %
    quantile of the largest |r̂ − r|/error among all cells when each cell's noise follows its posterior (``spread.py``;
    the moderated t of single cells would be far too wide for the largest of 400). Noise holds what all cells of a
    backbone share in a seed, which cancels in a residual, so intervals are then too wide rather than too narrow.

    Args:
        scores: The table.
        scale: Points or logit.
        draws: Number of simulated tables.
        seed: Seed of the simulation.

    Raises:
        InputError: There is nothing to decompose.
    """
    kept = scores.ranked
    fit = fit_additive(np.where(kept, scores.cell_means(scale), np.nan), kept)
    spread = cell_spread(scores, scale)
    blank = np.full(kept.shape, np.nan)
    if spread is None:
        return Residuals(scale, fit.interaction, blank, None)
    n = np.maximum(scores.n, 1)
    tuning = tuning_part(scores, scale)
    of_means = np.nan_to_num(spread.mean_square) / n + (0.0 if tuning is None else tuning.variance)
    error = _residual_errors(np.sqrt(of_means), kept)
    usable = kept & (error > 1e-9 * float(np.nanmax(error)))  # a cell that is alone in its row has no residual
    if not usable.any():
        return Residuals(scale, fit.interaction, blank, None)
    generator = np.random.default_rng(seed)
    largest: list[Floats] = []
    for chunk in chunks(draws, kept.size):
        noise = generator.standard_normal((chunk, *kept.shape)) * spread.draw_table(generator, chunk) / np.sqrt(n)
        if tuning is not None:
            noise += tuning.draw(generator, chunk)[0]
        shifted = fit_additive(np.where(kept, noise, np.nan), kept).interaction
        largest.append(np.abs(shifted[:, usable] / error[usable]).max(axis=1))
    # the quantile of (draws + 1), as in ``bootstrap.py``
    critical = float(np.quantile(np.concatenate(largest), LEVEL, method="weibull"))
    return Residuals(scale, fit.interaction, np.where(usable, error, np.nan), critical)


@dataclass(frozen=True, eq=False)
class Kappa:
    """Index κ of each backbone and optimizer: its part in the interaction as a standard deviation on the scale.

    Attributes:
        backbone: κ_b, shape (B,); noise removed unless ``noisy``.
        optimizer: κ_o, shape (O,); noise removed unless ``noisy``.
        noisy: Whether n = 1 everywhere, so that noise could not be removed.
    """

    backbone: Floats
    optimizer: Floats
    noisy: bool


def kappa(scores: ScoreTable, scale: Scale = "points") -> Kappa:
    """Computes κ_b² = max(0, Σ_o r²/(O−1) − noise), and κ_o² in the same way over backbones.

    The noise is not the table's mean σ̂² with which the plain formula would subtract (1−1/B)σ̂²/n: where spreads differ
    by a factor of 50 that would call every noisy backbone coupled. It is what the noise of each single cell adds, also
    where cells are missing (``additive.residual_noise``). Where spreads are equal and no cell is missing, the two
    agree.

    Raises:
        InputError: There is nothing to decompose.
    """
    kept = scores.ranked
    values = np.where(kept[:, :, None], scores.on(scale), np.nan)
    fit = fit_additive(np.where(kept, scores.cell_means(scale), np.nan), kept)
    noise = cell_noise(values)
    tuning = tuning_part(scores, scale)
    part = 0.0 if tuning is None else tuning.variance
    of_means = None if noise is None else noise / np.maximum(scores.n, 1) + part
    backbone, optimizer = kappa_squares(fit.interaction, of_means, kept)
    return Kappa(np.sqrt(np.maximum(backbone, 0)), np.sqrt(np.maximum(optimizer, 0)), noise is None)


def kappa_squares(r: Floats, noise: Floats | None, kept: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Estimates κ², not clipped at 0, for any leading axes.

    Args:
        r: Interaction residuals, shape (..., B, O), NaN where there is no cell.
        noise: Noise variances of the cell means, shape (..., B, O); None removes nothing.
        kept: The cells, shape (B, O).

    Returns:
        κ² of backbones, shape (..., B), and of optimizers, shape (..., O); NaN with fewer than two cells.
    """
    squares = np.where(kept, np.square(r), 0.0)
    found: list[Floats] = []
    for axis in (1, 0):
        cells = kept.sum(axis=axis)
        found.append(squares.sum(axis=axis - 2) / np.where(cells > 1, cells - 1, np.nan))
    if noise is not None:
        found = [square - noise[..., kept] @ part.T for square, part in zip(found, residual_noise(kept), strict=True)]
    return found[0], found[1]


@dataclass(frozen=True)
class Cost:
    """G = mean_b max_o μ_bo − max_o mean_b μ_bo: points lost by using one optimizer for all backbones.

    Attributes:
        optimizer: The one with the highest mean.
        naive: G from the means themselves; too high, since the best of noisy means is partly luck.
        split: G with maxima chosen on one half of the seeds and scored on the other, mean over the divisions; None when
            n = 1. It is too low rather than too high, since half the seeds choose less well than all.
        divisions: Number of divisions of the seeds behind ``split``.
        backbones: Backbones that G rests on (``holes.cost_part``).
        optimizers: Optimizers that G rests on.
        holes: Their cells that were not run, (backbone, optimizer), which stand at level + backbone + optimizer.
    """

    optimizer: str
    naive: float
    split: float | None
    divisions: int
    backbones: tuple[str, ...]
    optimizers: tuple[str, ...]
    holes: tuple[tuple[str, str], ...] = ()


def cost_of_coupling(scores: ScoreTable, scale: Scale = "points") -> Cost | None:
    """Computes the cost on the largest part of the table in which every cell is known, or stands in by ``holes.py``.

    An optimizer that diverged on a backbone cannot be the one for all, yet it may be the best of another backbone: its
    diverged cells count as −∞, since a diverged cell ranks last. Leaving it out would make coupling look cheaper. A
    cell that was not run is no diverged one: it stands at what its backbone and its optimizer lead to expect, so that
    all optimizers are compared over equal backbones.

    Returns:
        The cost, or None when no such part has two backbones and two optimizers (``holes.why_no_cost``).
    """
    part = cost_part(scores)
    if part is None:
        return None
    rows, columns = part
    grid = np.ix_(rows, columns)
    holes = fillable(scores)
    lost = ~(scores.ranked | holes)[grid]
    means = np.where(lost, -np.inf, fill(scores.cell_means(scale), scores.ranked, holes)[grid])
    values = np.where((scores.status == "diverged")[:, :, None], -np.inf, scores.on(scale))
    names = [scores.optimizers[int(o)] for o in columns]
    whole = ~np.isnan(values[grid][~holes[grid]]).any(axis=0)
    split, divisions = None, 0
    if whole.sum() > 1:
        seen = values[:, :, whole]

        def complete(sides: Floats) -> Floats:
            return np.where(lost, -np.inf, fill(sides, scores.ranked, holes)[:, rows][:, :, columns])

        split, divisions = split_cost(seen, complete) if holes[grid].any() else split_cost(seen[grid])
    return Cost(
        names[int(means.mean(axis=0).argmax())],
        float(naive_cost(means)),
        split,
        divisions,
        tuple(scores.backbones[int(b)] for b in rows),
        tuple(names),
        tuple((scores.backbones[int(rows[b])], names[o]) for b, o in np.argwhere(holes[grid]).tolist()),
    )


def naive_cost(means: Floats) -> Floats:
    """Computes G of complete means, −∞ where diverged, from shape (..., B, O) to shape (...)."""
    return means.max(axis=-1).mean(axis=-1) - means.mean(axis=-2).max(axis=-1)


def split_cost(values: Floats, complete: Callable[[Floats], Floats] | None = None) -> tuple[float, int]:
    """Computes G with choice and score on different halves of the seeds (the smaller half chooses or scores).

    Args:
        values: Scores, shape (B, O, S), −∞ where diverged, S ≥ 2; complete unless ``complete`` is given.
        complete: Makes complete means of those of one half, shape (1, B, O), where cells are missing.

    Returns:
        The mean over the divisions, and their number.
    """
    seeds = values.shape[2]
    half = seeds // 2
    choosing: list[tuple[int, ...]] = []
    for size in sorted({half, seeds - half}):
        choosing += combinations(range(seeds), size)
    # with more than 11 seeds, divisions at equal distances are taken, always the same ones
    if len(choosing) > MAX_DIVISIONS:
        choosing = choosing[:: -(-len(choosing) // MAX_DIVISIONS)]
    found: list[float] = []
    for side in choosing:
        choose = values[:, :, list(side)].mean(axis=2)
        score = values[:, :, [s for s in range(seeds) if s not in side]].mean(axis=2)
        if complete is not None:
            choose, score = complete(choose[None])[0], complete(score[None])[0]
        each = float(score[np.arange(len(score)), choose.argmax(axis=1)].mean())
        found.append(each - float(score.mean(axis=0)[int(choose.mean(axis=0).argmax())]))
    return float(np.mean(found)), len(found)


def _residual_errors(spread: Floats, kept: NDArray[np.bool_]) -> Floats:
    """Computes the error of each residual, √Σ coefficient²·spread², shape (B, O)."""
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
