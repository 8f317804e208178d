"""Tables with known truth, for coverage and false positives; shared by tests and benchmarks/coverage.py."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.scores import ScoreTable, make_scores

Regime = Literal["equal", "factor 50", "collapsed"]
REGIMES: tuple[Regime, ...] = ("equal", "factor 50", "collapsed")
OPTIMIZERS = ("sgdm", "sgdp", "adam", "adamw", "lamb", "adan", "lars", "rmsprop", "adagrad", "sophia")


def simulate(
    generator: np.random.Generator,
    backbones: int,
    optimizers: int,
    seeds: int,
    regime: Regime,
    interaction: float = 1.0,
    same: bool = False,
) -> tuple[NDArray[np.float64], ScoreTable]:
    """Draws true means (B, O) and a table of scores around them.

    Effects and noise are of the size of a CIFAR table: backbones 3 points, optimizers 1.5, noise 0.6 where equal.
    ``factor 50``: standard deviations log-uniform over a factor of 50. ``collapsed``: the same, and every tenth cell
    10 to 50 points lower with four times its spread.

    Args:
        interaction: Its standard deviation in points.
        same: Optimizers do not differ at all.
    """
    shape = (backbones, optimizers)
    truth = (
        70 + 3 * generator.normal(size=(backbones, 1)) + (0 if same else 1.5) * generator.normal(size=(1, optimizers))
    )
    truth = truth + interaction * generator.normal(size=shape)
    sigma = np.full(shape, 0.6)
    if regime != "equal":
        sigma = 0.6 * np.exp(generator.uniform(0, np.log(50), shape)) / np.sqrt(50)
    if regime == "collapsed":
        low = generator.random(shape) < 0.1
        truth = np.where(low, truth - generator.uniform(10, 50, shape), truth)
        sigma = np.where(low, 4 * sigma, sigma)
    values = np.clip(truth[..., None] + sigma[..., None] * generator.normal(size=(*shape, seeds)), 0, 100)
    half = backbones // 2
    table = make_scores(
        values,
        [f"b{i}" for i in range(backbones)],
        OPTIMIZERS[:optimizers],
        unit="percent",
        families=["classical_cnn"] * half + ["modern"] * (backbones - half),
        checked=True,
    )
    return truth, table
