"""Tables with known truth, and how often intervals hold it; shared by the tests and benchmarks/coverage.py."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.additive import fit_additive
from bocb_hf.coupling.bootstrap import Kind, bootstrap, standard_statistics
from bocb_hf.coupling.contrast import PermutationStatistic, permute
from bocb_hf.coupling.decomposition import interaction_test
from bocb_hf.coupling.indices import residuals
from bocb_hf.coupling.ranks import best_sets, rank_optimizers
from bocb_hf.coupling.scores import ScoreTable, make_scores
from bocb_hf.coupling.statistics import moderate, t_quantile

Regime = Literal["equal", "factor 50", "collapsed"]
REGIMES: tuple[Regime, ...] = ("equal", "factor 50", "collapsed")
DRAWS = 400  # of each bootstrap
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


def coverage(backbones: int, optimizers: int, seeds: int, regime: Regime, tables: int, kind: Kind) -> dict[str, float]:
    """Share of intervals that hold the truth, by statistic."""
    generator = np.random.default_rng(1)
    hits: dict[str, list[float]] = defaultdict(list)
    for i in range(tables):
        truth, table = simulate(generator, backbones, optimizers, seeds, regime)
        found = bootstrap(table, draws=DRAWS, seed=i, kind=kind)
        assert found is not None
        for name, statistic in standard_statistics(table, "points").items():
            true, interval = statistic(truth[None], None)[0], found.intervals[name]
            hits[name].append(float(((interval.low <= true) & (true <= interval.high)).mean()))
        if kind == "residual":
            continue
        variance, df = moderate(table.values)
        half = np.array([t_quantile(0.975, d) for d in df.ravel()]).reshape(df.shape) * np.sqrt(variance / seeds)
        hits["cell"].append(float((np.abs(table.means - truth) <= half).mean()))
        r, true = residuals(table, draws=DRAWS, seed=i), fit_additive(truth).interaction
        hits["residuals"].append(float(((r.low <= true) & (true <= r.high)).all()))
        best = best_sets(table, draws=DRAWS, seed=i)
        assert best is not None
        others = np.stack([np.delete(truth, o, axis=1).max(axis=1) for o in range(optimizers)], axis=1)
        inside = (best.low <= truth - others) & (truth - others <= best.high)
        hits["best"].append(float(inside.all(axis=1).mean()))
    return {name: float(np.mean(values)) for name, values in hits.items()}


def false_positives(backbones: int, optimizers: int, seeds: int, regime: Regime, tables: int) -> dict[str, float]:
    """Share of tables without the effect in which p ≤ 0.05."""
    generator = np.random.default_rng(2)
    wrong: dict[str, list[bool]] = defaultdict(list)
    for _ in range(tables):
        _, table = simulate(generator, backbones, optimizers, seeds, regime, interaction=0.0)
        test = interaction_test(table)
        assert test is not None
        wrong["interaction, simulated F"].append(test.p <= 0.05)
        _, table = simulate(generator, backbones, optimizers, seeds, regime, interaction=0.0, same=True)
        ranking = rank_optimizers(table)
        assert ranking is not None
        wrong["optimizers, Friedman"].append(ranking.p <= 0.05)
        wrong["any pair, Nemenyi"].append(float(np.ptp(ranking.mean_ranks)) > ranking.critical_difference)
    return {name: float(np.mean(values)) for name, values in wrong.items()}


def permutation_errors(
    cnn: int, modern: int, ratio: float, tables: int, statistic: PermutationStatistic | None = None
) -> float:
    """False positives of the permutation of backbones when the families' spreads differ by ``ratio``."""
    generator = np.random.default_rng(3)
    a, b = generator.normal(size=(tables, cnn)), ratio * generator.normal(size=(tables, modern))
    return float(np.mean([permute(x.tolist(), y.tolist(), statistic).p <= 0.05 for x, y in zip(a, b, strict=True)]))
