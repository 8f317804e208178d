"""Tuning is part of the noise: what the choice of every cell's configuration adds to the spread of its mean.

Whoever tunes and trains a cell again may choose another configuration. A cell's final runs tell what the chosen one
scores, and no number of them tells what the *procedure* gives on average, θ = Σ P(c is chosen)·μ_c: their mean
holds the same μ_chosen − θ in every seed. Tests that leave this out find interaction in most additive tables where the
best configuration and the second differ by 0.4 points, and the more often the more final seeds there are
(``benchmarks/tuning.txt``).

The choice is drawn again by the plan's own rule (``selection.py``) from what the trials leave possible:

- *Trial noise* is drawn from a normal distribution, since two or three tuning seeds cannot be resampled. It has the
  variance over seeds of the candidates near the best one, without what a cell's trials share in a seed, for that moves
  no choice; it is moderated over the table like that of final runs (``statistics.py``).
- *Validation images* are resampled, the same for all trials of all cells, where the trials keep their correctness bits;
  what runs owe to their own luck with images is then left out of the trial noise, which holds it already.
- *True means* of the candidates are not the observed ones, which hold noise themselves: they are drawn from their
  posterior (``losses.py``), so the noise of μ̂ is not counted as a spread of μ. How large the trial noise is, and how
  the losses are distributed, is drawn as well: τ² hangs on both, most of all where one configuration is clearly better.

Then τ² = E (μ_chosen − θ)² is an independent component of a cell's mean. Its sum over a table is that over choices
drawn again, which hardly hangs on single cells. Cells share it by what their own choice has of it given their trials:
almost nothing where one candidate wins clearly, and the more the closer others come.

It is that of the candidates which were tried: that a grid might have been extended otherwise is left out, and what
diverged with a seed is never chosen in a draw. Successive halving is drawn again from its first seed on. In points,
test and validation are supposed to differ by a constant in each cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.losses import NUMBERS, Floats, Losses, Observed
from bocb_hf.coupling.selection import select
from bocb_hf.coupling.tuning import CellTuning, Tuning
from bocb_hf.coupling.tuning_trials import (
    IMAGE_DRAWS,
    ValidationShifts,
    means_of,
    near_best,
    seeds_of,
    trial_errors,
    validation_shifts,
)
from bocb_hf.runs.tuned import SelectionRule

# The three-point quadrature of a normal distribution has ±1.22. These are wider, since τ² of tables tuned alike spreads
# more than fits to one table do: with ±1.22, F errs in 10 % of tables where the gap is 1 and n = 5.
LEVELS = (-1.8, 0.0, 1.8)
EACH = 2  # fits of the distribution of losses for each level of the trial noise
FITS = len(LEVELS) * EACH
DRAWS, FEWEST = 48, 16  # draws of true means for each fit; in large tables fewer
AGAIN = 6  # choices drawn again for each of these
MOST = 60_000_000  # about how many random numbers a table may take


@dataclass(frozen=True, eq=False)
class TuningNoise:
    """What tuning adds to the cell means of one table, in points.

    Attributes:
        variances: τ² = E (μ_chosen − θ)² of each cell by each fit, shape (FITS, B, O); 0 where nothing was chosen.
        drawn: Draws of μ_chosen − θ, with mean 0, shape (FITS, draws, B, O).
        together: Whether the cells of one draw share their validation images, so that they must be drawn together.
        df: Degrees of freedom of the table's mean τ².
    """

    variances: Floats
    drawn: NDArray[np.float32]
    together: bool
    df: float

    @property
    def variance(self) -> Floats:
        """τ² of each cell, shape (B, O)."""
        return self.variances.mean(axis=0)

    def draw(self, generator: np.random.Generator, draws: int) -> tuple[Floats, Floats]:
        """Draws μ_chosen − θ of each cell, and τ² as a table like this would estimate it; both (draws, B, O).

        The true τ² is that of one fit; the estimate errs from it as another fit's mean does from that of all.
        """
        fits, kept, backbones, optimizers = self.drawn.shape
        fit = generator.integers(0, fits, draws)
        total = self.variances.mean(axis=(1, 2))
        error = total[generator.integers(0, fits, draws)] / max(float(total.mean()), 1e-300)
        estimate = self.variances[fit] * error[:, None, None]
        if self.together:
            return self.drawn[fit, generator.integers(0, kept, draws)].astype(np.float64), estimate
        place = generator.integers(0, kept, (draws, backbones, optimizers))
        row: NDArray[np.int64] = np.arange(backbones, dtype=np.int64)[:, None]
        column: NDArray[np.int64] = np.arange(optimizers, dtype=np.int64)
        return self.drawn[fit[:, None, None], place, row, column].astype(np.float64), estimate

    def part(self, rows: Sequence[int], columns: Sequence[int]) -> TuningNoise:
        """Returns the same of some backbones and optimizers, given by their places."""
        grid = np.ix_(rows, columns)
        return replace(self, variances=self.variances[:, *grid], drawn=self.drawn[:, :, *grid])

    def on(self, slope: Floats | float) -> TuningNoise:
        """Returns the same on a scale on which a point is worth ``slope``, shape (B, O) or one number for all."""
        drawn = (self.drawn * np.nan_to_num(slope)).astype(np.float32)
        return replace(self, variances=self.variances * np.square(np.nan_to_num(slope)), drawn=drawn)

    def of_sum(self, weights: Floats) -> Floats:
        """Returns the variance of Σ c·ȳ from tuning by each fit, shape (FITS,)."""
        if not self.together:
            return (np.square(weights) * self.variances).sum(axis=(1, 2))
        return np.square(np.einsum("fdbo,bo->fd", self.drawn, weights)).mean(axis=1)


def tuning_noise(tuning: Tuning | None, needed: NDArray[np.bool_], seed: int = 0) -> TuningNoise | None:
    """Computes what tuning adds to the means of a table.

    Args:
        tuning: The trials.
        needed: The cells whose part must be known, shape (B, O).
        seed: Seed of the draws.

    Returns:
        The part; None where that of a needed cell cannot be known, as with one tuning seed (``Tuning.reason``).
    """
    if tuning is None or not needed.any() or tuning.reason(needed) is not None:
        return None
    if tuning.whole is None:
        return _tuning_noise(tuning, seed)
    top, rows, columns = tuning.whole
    return _tuning_noise(top, seed).part(rows, columns)


@lru_cache(maxsize=4)
def _tuning_noise(tuning: Tuning, seed: int) -> TuningNoise:
    """Computes the part of every cell that is known."""
    shape, places = tuning.shape, sorted(tuning.cells)
    trials = [tuning.cells[place] for place in places]
    generator = np.random.default_rng((seed, len(places)))
    error, freedom = trial_errors(trials)
    chosen = [near_best(cell, e) for cell, e in zip(trials, error, strict=True)]
    several = [i for i, some in enumerate(chosen) if len(some) > 1 and error[i] > 0]
    variances, drawn = np.zeros((FITS, *shape)), np.zeros((FITS, 1, *shape), np.float32)
    images = validation_shifts([trials[i] for i in several], [chosen[i] for i in several], generator)
    if several:
        rows, columns = np.array([places[i] for i in several]).T
        some = [trials[i] for i in several], [chosen[i] for i in several]
        found = _draw(*some, error[several], freedom, images, generator)
        variances[:, rows, columns] = found[0]
        drawn = np.zeros((FITS, found[1].shape[1], *shape), np.float32)
        drawn[:, :, rows, columns] = found[1]
    total = variances.mean(axis=(1, 2))
    spread = float(total.var(ddof=1))
    df = min(2 * float(total.mean()) ** 2 / spread if spread > 0 else math.inf, max(freedom, 1.0))
    return TuningNoise(variances, drawn, images is not None, df)


def _draw(
    trials: Sequence[CellTuning],
    chosen: Sequence[NDArray[np.intp]],
    error: Floats,
    freedom: float,
    images: ValidationShifts | None,
    generator: np.random.Generator,
) -> tuple[Floats, NDArray[np.float32]]:
    """Draws true means and choices: τ² by each fit, (FITS, cells), and moves of this variance, (FITS, draws, cells)."""
    width = max(map(len, chosen))
    means, distance = np.full((len(trials), width), np.nan), np.full((len(trials), width), np.inf)
    tries = np.ones((len(trials), width), np.int64)
    chosen_at = np.array([int(np.searchsorted(some, cell.chosen)) for cell, some in zip(trials, chosen, strict=True)])
    for i, (cell, some) in enumerate(zip(trials, chosen, strict=True)):
        means[i, : len(some)] = means_of(cell)[some]
        tries[i, : len(some)] = seeds_of(cell)[some]
        distance[i, : len(some)] = cell.distance[some]
    seeds = [int(seeds_of(cell).max()) for cell in trials]
    draws = int(np.clip(MOST / (FITS * AGAIN * len(trials) * width * max(seeds)), FEWEST, DRAWS))
    variances, drawn = np.zeros((FITS, len(trials))), np.zeros((FITS, draws, len(trials)), np.float32)
    own_part = np.zeros_like(variances)
    rules = [
        _Rule(cell.rule, s, cell.images, int(cell.possible.sum()) if cell.halving else 0)
        for cell, s in zip(trials, seeds, strict=True)
    ]
    for level, z in enumerate(LEVELS):
        # the noise of all cells is known as well as a variance with so many degrees of freedom
        factor = math.exp(z / math.sqrt(2 * max(freedom, 1.0)) + 1 / (2 * max(freedom, 1.0)))
        noise = np.square(factor * error)
        own = noise if images is None else np.maximum(noise - images.luck, 0.0)
        of_means = own[:, None] / tries + (0.0 if images is None else images.apart[:, None])
        observed = Observed(means, np.sqrt(np.maximum(of_means, 1e-6 * noise[:, None])))
        truth = Losses.fit(observed, EACH, generator).draw(observed, draws, generator)  # (EACH, draws, cells, C)
        set_of = generator.integers(0, IMAGE_DRAWS, (EACH, AGAIN, draws))
        for rule in dict.fromkeys(rules):
            group = [i for i, other in enumerate(rules) if other == rule]
            part = max(1, NUMBERS // (AGAIN * draws * width * rule.seeds))
            for start in range(0, len(group), part):
                some = np.array(group[start : start + part])
                for fit in range(EACH):
                    shift = 0.0 if images is None else images.shifts[set_of[fit]][:, :, some]
                    error_of = np.sqrt(own[some])
                    got = _choose(truth[fit][:, some], error_of, shift, distance[some], rule, generator)
                    place = level * EACH + fit
                    ours = truth[fit][:, some, chosen_at[some]]
                    own_part[place, some], variances[place, some], drawn[place][:, some] = _moves(got, ours)
    # the table's total is that of choices drawn again; cells share it by how close their own choice was
    total, known = variances.sum(axis=1), own_part.sum(axis=1)
    shared = own_part * (total / np.where(known > 0, known, 1.0))[:, None]
    shared[(variances == 0) | (known == 0)[:, None]] = 0.0
    ratio = np.sqrt(shared / np.where(variances > 0, variances, 1.0))
    return shared, (drawn * ratio[:, None]).astype(np.float32)


def _moves(again: Floats, ours: Floats) -> tuple[Floats, Floats, Floats]:
    """Computes how far the chosen configuration lies from what the procedure gives.

    Args:
        again: True means of the choices that were drawn again, shape (AGAIN, draws, cells).
        ours: True mean of the configuration that was chosen, shape (draws, cells).

    Returns:
        (μ_chosen − θ)² of the choice that was made, and of those drawn again, each averaged over the draws, shape
        (cells,); and μ_chosen − θ of choices drawn again, shape (draws, cells).
    """
    expected = again.mean(axis=0)
    moves = again - expected
    spread = np.square(moves).sum(axis=0).mean(axis=0) / (AGAIN - 1)
    # less what the mean of so few choices adds
    own = np.maximum(np.square(ours - expected).mean(axis=0) - spread / AGAIN, 0.0)
    return own, spread, moves[0] * math.sqrt(AGAIN / (AGAIN - 1))


@dataclass(frozen=True)
class _Rule:
    """How a cell's configuration is chosen.

    Attributes:
        select: The rule.
        seeds: Tuning seeds.
        images: Number of validation images.
        halved: Number of configurations that successive halving began with; 0 where all got every seed.
    """

    select: SelectionRule
    seeds: int
    images: int
    halved: int = 0


def _choose(
    truth: Floats,
    error: Floats,
    shift: NDArray[np.float32] | Floats | float,
    distance: Floats,
    rule: _Rule,
    generator: np.random.Generator,
) -> Floats:
    """Draws trials and chooses among them: the true mean of the choice, shape (AGAIN, draws, cells).

    Args:
        truth: True means of the candidates, shape (draws, cells, C); −∞ where there is none.
        error: Standard deviation of one trial, shape (cells,).
        shift: What the images of each draw add, shape (AGAIN, draws, cells, C).
        distance: Steps from the centre, shape (cells, C).
        rule: How it is chosen.
        generator: Source of the random draws.
    """
    truths = np.broadcast_to(truth, (AGAIN, *truth.shape))
    if rule.select == "best" and not rule.halved:  # means alone decide, as in ``selection.best``
        error = error / math.sqrt(rule.seeds)
        top1 = truths + shift + error[:, None] * generator.standard_normal(truths.shape)
        place = top1.argmax(axis=-1)
    else:
        top1 = error[:, None, None] * generator.standard_normal((*truths.shape, rule.seeds))
        top1 += (truths + shift)[..., None]
        left = rule.halved
        for done in range(1, rule.seeds if rule.halved else 0):
            left = -(-left // 2)
            # candidates that were left out lie below all of these, so the better half of all is among them
            mean = top1[..., :done].mean(axis=-1)
            rank = np.argsort(np.argsort(-mean, axis=-1, kind="stable"), axis=-1, kind="stable")
            top1[..., done:][rank >= left] = -np.inf
        top1[~np.isfinite(top1)] = np.nan
        # the level is left out, and ``select`` also computes an error that needs it but is used with one seed only
        with np.errstate(invalid="ignore"):
            place = select(top1, distance, rule.images, rule.select)
    return np.take_along_axis(truths, place[..., None], axis=-1)[..., 0]
