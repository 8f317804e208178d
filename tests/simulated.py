"""Tables with known truth, shared by the tests and benchmarks/coverage.py; ``covered.py`` counts what holds it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from bocb_hf.coupling.scores import ScoreTable, make_scores

Regime = Literal["equal", "factor 5", "factor 50", "collapsed"]
REGIMES: tuple[Regime, ...] = ("equal", "factor 50", "collapsed")  # factor 5 is what few scores tell from neither
IMAGES = 2000
OPTIMIZERS = ("sgdm", "sgdp", "adam", "adamw", "lamb", "adan", "lars", "rmsprop", "adagrad", "sophia")


def simulate(
    generator: np.random.Generator,
    backbones: int,
    optimizers: int,
    seeds: int,
    regime: Regime,
    interaction: float = 1.0,
    same: bool = False,
    effects: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], ScoreTable]:
    """Draws true means (B, O) and a table of scores around them.

    Effects and noise are of the size of a CIFAR table: backbones 3 points, optimizers 1.5, noise 0.6 where equal.
    ``factor 5`` and ``factor 50``: standard deviations log-uniform over such a factor. ``collapsed``: over 50, and
    every tenth cell 10 to 50 points lower with four times its spread.

    Args:
        interaction: Its standard deviation in points.
        same: Optimizers do not differ at all.
        effects: Of the optimizers, where several tables share them, shape (O,).
    """
    truth, sigma = world(generator, backbones, optimizers, regime, interaction, same, effects)
    return truth, table_of(scores_around(generator, truth, sigma, seeds))


def simulate_images(
    generator: np.random.Generator, backbones: int, optimizers: int, seeds: int, regime: Regime
) -> tuple[NDArray[np.float64], ScoreTable]:
    """``simulate``, but scores are counted on ``IMAGES`` test images, the same for all runs; truth is of all images.

    A run is right on an image where its ability is above the image's difficulty. Ability is that of the cell, moved by
    the seed; difficulty has a part for all, one for the cell and one for the run. So seeds differ for two reasons. By
    seeds alone no cell spreads more than a sixth of its distance from 0 and 100: with a third, scores near 0 are so
    skewed that intervals of the variance of the interaction hold the truth in 91 % of 10 × 8 tables.
    """
    truth, sigma = world(generator, backbones, optimizers, regime)
    truth = np.clip(truth, 2, 98)
    sigma = np.minimum(sigma, np.minimum(truth, 100 - truth) / 6)
    of_cell, of_run = 0.4, 0.5
    normal: Any = scipy.stats.norm
    z = normal.ppf(truth / 100)
    moved = np.minimum(sigma / 100 / normal.pdf(z), 0.9)  # by one standard deviation of seeds, in those of difficulty
    total = np.sqrt((1 + of_cell**2 + of_run**2) / (1 - moved**2))
    ability = total * z
    shift = (total * moved)[..., None] * generator.normal(size=(*truth.shape, seeds))
    size = (*truth.shape, IMAGES)
    hard = generator.normal(size=IMAGES) + of_cell * generator.standard_normal(size, np.float32)
    own = of_run * generator.standard_normal((*truth.shape, seeds, IMAGES), np.float32)
    right = (ability[..., None] + shift)[..., None] > hard[:, :, None, :] + own
    table = table_of(100 * right.mean(axis=3), IMAGES)
    return truth, replace(table, packed=np.packbits(right, axis=3))


def world(
    generator: np.random.Generator,
    backbones: int,
    optimizers: int,
    regime: Regime,
    interaction: float = 1.0,
    same: bool = False,
    effects: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True means and standard deviations over seeds, both (B, O)."""
    shape = (backbones, optimizers)
    truth = 70 + 3 * generator.normal(size=(backbones, 1))
    truth = truth + ((0 if same else 1.5) * generator.normal(size=optimizers) if effects is None else effects)
    truth = truth + interaction * generator.normal(size=shape)
    sigma = np.full(shape, 0.6)
    if regime != "equal":
        factor = 5 if regime == "factor 5" else 50
        sigma = 0.6 * np.exp(generator.uniform(0, np.log(factor), shape)) / np.sqrt(factor)
    if regime == "collapsed":
        low = generator.random(shape) < 0.1
        truth = np.where(low, truth - generator.uniform(10, 50, shape), truth)
        sigma = np.where(low, 4 * sigma, sigma)
    return truth, sigma


def scores_around(
    generator: np.random.Generator, truth: NDArray[np.float64], sigma: NDArray[np.float64], seeds: int
) -> NDArray[np.float64]:
    """Scores in points around true means, shape (B, O, S)."""
    return np.clip(truth[..., None] + sigma[..., None] * generator.normal(size=(*truth.shape, seeds)), 0, 100)


def table_of(values: NDArray[np.float64], n_test: int | None = None) -> ScoreTable:
    """Scores in points, shape (B, O, S); the first half of the backbones are CNNs."""
    backbones, optimizers = values.shape[:2]
    half = backbones // 2
    return make_scores(
        values,
        [f"b{i}" for i in range(backbones)],
        OPTIMIZERS[:optimizers],
        unit="percent",
        families=["classical_cnn"] * half + ["modern"] * (backbones - half),
        n_test=n_test,
        checked=True,
    )
