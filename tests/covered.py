"""How often intervals hold the truth of simulated tables; shared by the tests and benchmarks/coverage.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from simulated import IMAGES, Regime, scores_around, simulate, simulate_images, table_of, world

from bocb_hf.coupling.additive import fit_additive
from bocb_hf.coupling.analysis import PARTS
from bocb_hf.coupling.bootstrap import Bootstrap, bootstrap, standard_statistics
from bocb_hf.coupling.combination import combine
from bocb_hf.coupling.contrast import contrast_weights, image_error, with_images
from bocb_hf.coupling.family_test import compare_families, permute, welch
from bocb_hf.coupling.indices import residuals
from bocb_hf.coupling.interaction_tests import interaction_test, tukey_one_df
from bocb_hf.coupling.population import population_bootstrap
from bocb_hf.coupling.ranks import best_sets, rank_optimizers
from bocb_hf.coupling.scores import Scale, ScoreTable
from bocb_hf.coupling.statistics import moderate, t_quantile
from bocb_hf.coupling.world import Kind

DRAWS = 400  # of each bootstrap


@dataclass(frozen=True)
class Share:
    """How often something happens, in percent.

    Attributes:
        value: The mean over tables.
        error: Its standard error, from how tables differ.
    """

    value: float
    error: float


def coverage(backbones: int, optimizers: int, seeds: int, regime: Regime, tables: int, kind: Kind) -> dict[str, Share]:
    """How often intervals hold the truth, by statistic.

    A simultaneous statement counts once for a table (residuals) or for a backbone (best sets); what has an interval for
    each cell, backbone or optimizer counts for each.
    """
    generator = np.random.default_rng(1)
    hits: dict[str, list[float]] = defaultdict(list)
    for i in range(tables):
        truth, table = simulate(generator, backbones, optimizers, seeds, regime)
        found = bootstrap(table, draws=DRAWS, seed=i, kind=kind)
        assert found is not None
        _count(hits, found, _truths(truth, table))
        if kind == "residual":
            continue
        variance, df = moderate(table.values)
        half = np.array([t_quantile(0.975, d) for d in df.ravel()]).reshape(df.shape) * np.sqrt(variance / seeds)
        hits["cell"].append(float((np.abs(table.means - truth) <= half).mean()))
        weights = contrast_weights(table)
        assert weights is not None
        primary = combine(table, weights, draws=DRAWS, seed=i).interval
        hits["primary"].append(float(primary is not None and primary.holds(float((weights * truth).sum()))))
        r, true = residuals(table, draws=DRAWS, seed=i), fit_additive(truth).interaction
        hits["residuals"].append(float(((r.low <= true) & (true <= r.high)).all()))
        best = best_sets(table, draws=DRAWS, seed=i)
        assert best is not None
        others = np.stack([np.delete(truth, o, axis=1).max(axis=1) for o in range(optimizers)], axis=1)
        inside = (best.low <= truth - others) & (truth - others <= best.high)
        hits["best"].append(float(inside.all(axis=1).mean()))
    return shares_of(hits)


def image_coverage(backbones: int, optimizers: int, seeds: int, regime: Regime, tables: int) -> dict[str, Share]:
    """How often intervals over seeds and test images hold the truth of all images."""
    generator = np.random.default_rng(6)
    hits: dict[str, list[float]] = defaultdict(list)
    for i in range(tables):
        truth, table = simulate_images(generator, backbones, optimizers, seeds, regime)
        found = bootstrap(table, draws=DRAWS, seed=i)
        assert found is not None and "test images" in found.sources
        _count(hits, found, _truths(truth, table))
        weights = contrast_weights(table)
        assert weights is not None
        wide = with_images(combine(table, weights, draws=DRAWS, seed=i), image_error(table, weights))
        hits["primary"].append(float(wide is not None and wide.holds(float((weights * truth).sum()))))
    return shares_of(hits)


def logit_coverage(backbones: int, optimizers: int, seeds: int, regime: Regime, tables: int) -> dict[str, Share]:
    """How often intervals on the logit scale hold the truth: of what the logits of scores would be on average.

    No cell spreads more than a sixth of its distance from 0 and 100. Without that, scores near 0 have logits so skewed
    that intervals of the variance of the interaction hold the truth in 89 to 91 % of tables with collapsed cells.
    """
    generator = np.random.default_rng(7)
    z, weight = np.polynomial.hermite_e.hermegauss(60)  # a normal's quadrature
    hits: dict[str, list[float]] = defaultdict(list)
    for i in range(tables):
        means, sigma = world(generator, backbones, optimizers, regime)
        sigma = np.minimum(sigma, np.minimum(means, 100 - means) / 6)
        table = table_of(scores_around(generator, means, sigma, seeds), 10 * IMAGES)
        k = np.clip(means[..., None] + sigma[..., None] * z, 0, 100) / 10 * IMAGES
        truth = np.log((k + 0.5) / (10 * IMAGES - k + 0.5)) @ weight / weight.sum()
        found = bootstrap(table, "logit", draws=DRAWS, seed=i)
        assert found is not None
        _count(hits, found, _truths(truth, table, "logit"))
        weights = contrast_weights(table)
        assert weights is not None
        primary = combine(table, weights, "logit", draws=DRAWS, seed=i).interval
        hits["primary"].append(float(primary is not None and primary.holds(float((weights * truth).sum()))))
        r, true = residuals(table, "logit", draws=DRAWS, seed=i), fit_additive(truth).interaction
        hits["residuals"].append(float(((r.low <= true) & (true <= r.high)).all()))
    return shares_of(hits)


def _truths(truth: NDArray[np.float64], table: ScoreTable, scale: Scale = "points") -> dict[str, NDArray[np.float64]]:
    """What each statistic of a bootstrap is for true means."""
    return {name: f(truth[None], None)[0] for name, f in standard_statistics(table, scale).items()}


def _count(hits: Mapping[str, list[float]], found: Bootstrap, truths: Mapping[str, NDArray[np.float64]]) -> None:
    """Which intervals of a bootstrap hold the truth."""
    for name, true in truths.items():
        interval = found.intervals[name]
        inside = (interval.low <= true) & (true <= interval.high)
        if name in ("variances", "shares"):
            for part, hit in zip(PARTS, inside.tolist(), strict=True):
                hits[f"{name} {part}"].append(hit)
        else:
            hits[name].append(float(inside.mean()))


def population_coverage(backbones: int, optimizers: int, seeds: int, regime: Regime, tables: int) -> dict[str, Share]:
    """How often intervals for further backbones hold what 2,000 of them with the same optimizers show."""
    generator = np.random.default_rng(4)
    hits: dict[str, list[float]] = defaultdict(list)
    for i in range(tables):
        effects = 1.5 * generator.normal(size=optimizers)
        truth, population = simulate(generator, 2000, optimizers, 1, regime, effects=effects)
        _, table = simulate(generator, backbones, optimizers, seeds, regime, effects=effects)
        statistics = standard_statistics(population, "points")
        found = population_bootstrap(table, draws=DRAWS, seed=i)
        shares = statistics["shares"](truth[None], None)[0]
        _count(hits, found, {"interaction": shares[2], "contrast": statistics["contrast"](truth[None], None)[0]})
        weights, half = contrast_weights(table), backbones // 2
        assert weights is not None
        parts = (table.means * weights).sum(axis=1)  # of C, which each backbone's d adds to with 1/m or −1/n
        test = welch((half * parts[:half]).tolist(), ((half - backbones) * parts[half:]).tolist())
        assert test is not None and np.isclose(test.difference, parts.sum())
        hits["welch"].append(float(test.interval().holds(float(statistics["contrast"](truth[None], None)[0]))))
    return shares_of(hits)


def false_positives(backbones: int, optimizers: int, seeds: int, regime: Regime, tables: int) -> dict[str, Share]:
    """How often p ≤ 0.05 in tables without the effect."""
    generator = np.random.default_rng(2)
    wrong: dict[str, list[bool]] = defaultdict(list)
    for i in range(tables):
        _, table = simulate(generator, backbones, optimizers, seeds, regime, interaction=0.0)
        test = interaction_test(table)
        assert test is not None
        wrong["any interaction, simulated F"].append(test.p <= 0.05)
        found = bootstrap(table, draws=DRAWS, seed=i)
        assert found is not None
        wrong["variance of interaction above 0"].append(bool(found.intervals["variances"].low[2] > 0))
        wrong["share of interaction above 0"].append(bool(found.intervals["shares"].low[2] > 0))
        wrong["cost of coupling above 0"].append(bool(found.intervals["cost"].low > 0))
        wrong["any residual beside 0"].append(bool(residuals(table, draws=DRAWS, seed=i).clear.any()))
        _, table = simulate(generator, backbones, optimizers, seeds, regime)
        product = tukey_one_df(fit_additive(table.means))
        assert product is not None
        wrong["interaction as a product, Tukey"].append(product.p <= 0.05)
        _, table = simulate(generator, backbones, optimizers, seeds, regime, interaction=0.0, same=True)
        ranking = rank_optimizers(table)
        assert ranking is not None and ranking.critical_difference is not None
        wrong["optimizers, Friedman"].append(ranking.p <= 0.05)
        wrong["any pair of optimizers, Nemenyi"].append(float(np.ptp(ranking.mean_ranks)) > ranking.critical_difference)
    return shares_of(wrong)


def family_errors(cnn: int, modern: int, ratio: float, tables: int) -> dict[str, Share]:
    """How often p ≤ 0.05 in families of equal means, where others vary ``ratio`` times as much as CNNs.

    The ``claim`` is what is printed as the p of a difference; the parts are beside it, and C itself under permutation,
    which is what small families have.
    """
    generator = np.random.default_rng(3)
    a, b = generator.normal(size=(tables, cnn)), ratio * generator.normal(size=(tables, modern))
    wrong: dict[str, list[bool]] = defaultdict(list)
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        test = compare_families(x, y)
        assert test.welch is not None and test.p is not None
        wrong["claim"].append(test.p <= 0.05)
        wrong["Welch"].append(test.welch.p <= 0.05)
        wrong["permutation"].append(test.permutation.p <= 0.05)
        wrong["permutation of C"].append(permute(x, y, "mean").p <= 0.05)
    return shares_of(wrong)


def shares_of(trials: Mapping[str, Sequence[float]]) -> dict[str, Share]:
    """Means with their errors; where all tables agree, the error of one more that does not."""
    return {
        name: Share(100 * float(np.mean(x)), 100 * (float(np.std(x)) / len(x) ** 0.5 or 1 / len(x)))
        for name, x in trials.items()
    }
