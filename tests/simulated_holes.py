"""How often intervals and tests are right on tables that lack cells, by why they are missing.

Truth is that of the whole table for the cost of coupling and the contrast, since their intervals speak of it, and of
the cells that are there for what is said of cells. Shared by the tests and benchmarks/coverage.py, as ``simulated.py``.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

import numpy as np
from covered import DRAWS, Share, shares_of
from numpy.typing import NDArray
from simulated import Regime, simulate

from bocb_hf.coupling.additive import fit_additive
from bocb_hf.coupling.bootstrap import bootstrap
from bocb_hf.coupling.cells import half_widths, moderate_table
from bocb_hf.coupling.combination import combine
from bocb_hf.coupling.contrast_design import Design, design, unseen
from bocb_hf.coupling.decomposition import decompose
from bocb_hf.coupling.holes import cost_part
from bocb_hf.coupling.indices import naive_cost, residuals
from bocb_hf.coupling.interaction_tests import interaction_test, tukey_one_df
from bocb_hf.coupling.ranks import best_sets, rank_optimizers
from bocb_hf.coupling.scores import ScoreTable, make_scores

# one: a single cell; 10 and 30 %: at random; by column: each optimizer lacks up to 60 %, some backbones too; low: cells
# below the middle of their backbone are missing three times as often, 20 % of all; seeds: every fourth score is missing
Why = Literal["one", "10 %", "30 %", "by column", "low", "seeds"]
WHYS: tuple[Why, ...] = ("one", "10 %", "30 %", "by column", "low", "seeds")


def lose(generator: np.random.Generator, truth: NDArray[np.float64], table: ScoreTable, why: Why) -> ScoreTable:
    """Returns the table without some cells or scores.

    Args:
        generator: Source of the random draws.
        truth: True means, shape (B, O); what is missing depends on these and never on the scores.
        table: The whole table.
        why: What decides which cells are missing.
    """
    shape = truth.shape
    values = table.values.copy()
    chance = generator.random(shape)
    if why == "one":
        lost = np.zeros(shape, np.bool_)
        lost.ravel()[chance.argmin()] = True
    elif why == "by column":
        lost = chance < 0.6 * generator.random((1, shape[1])) * generator.random((shape[0], 1))
    elif why == "low":
        below = truth < np.median(truth, axis=1, keepdims=True)
        lost = chance < np.where(below, 0.3, 0.1)
    elif why == "seeds":
        lost = np.zeros(shape, np.bool_)
        values[generator.random(values.shape) < 0.25] = np.nan
    else:
        lost = chance < float(why.split()[0]) / 100
    values[lost] = np.nan
    return make_scores(values, table.backbones, table.optimizers, unit="percent", families=table.families, checked=True)


def holes_coverage(
    backbones: int, optimizers: int, seeds: int, regime: Regime, tables: int, why: Why = "10 %"
) -> dict[str, Share]:
    """How often 95 % intervals hold the truth where cells are missing, and how many tables have them at all."""
    generator = np.random.default_rng(8)
    hits: dict[str, list[float]] = defaultdict(list)
    for i in range(tables):
        truth, whole = simulate(generator, backbones, optimizers, seeds, regime)
        table = lose(generator, truth, whole, why)
        kept = table.ranked
        noise = moderate_table(table.values, kept)
        half = half_widths(noise, table.n)
        known = kept & np.isfinite(half)
        held = (table.means - half - noise.below <= truth) & (truth <= table.means + half)
        hits["cell"].append(float(held[known].mean()))
        found = bootstrap(table, draws=DRAWS, seed=i)
        assert found is not None
        part, cost = cost_part(table), found.intervals.get("cost")
        hits["has a cost"].append(float(cost is not None))
        if cost is not None and part is not None:
            hits["cost"].append(float(cost.low <= naive_cost(truth[part[0]][:, part[1]]) <= cost.high))
        cells = design(table)
        hits["has a contrast"].append(float(isinstance(cells, Design)))
        if isinstance(cells, Design):
            true, drawn = float((cells.full * truth).sum()), found.intervals["contrast"]
            hits["contrast"].append(float(drawn.low <= true <= drawn.high))
            extra = unseen(table, cells, "points", DRAWS, i)
            primary = combine(table, cells.weights, draws=DRAWS, seed=i, unseen=extra).interval
            hits["primary"].append(float(primary is not None and primary.holds(true)))
        r = residuals(table, draws=DRAWS, seed=i)
        true_r = fit_additive(np.where(kept, truth, np.nan), kept).interaction
        inside = ((r.low <= true_r) & (true_r <= r.high)) | ~np.isfinite(r.error)
        hits["residuals"].append(float(inside.all()))
        best = best_sets(table, draws=DRAWS, seed=i)
        assert best is not None
        there = np.where(kept, truth, -np.inf)
        hits["best"] += [float(best.candidates[b, there[b].argmax()]) for b in range(backbones) if kept[b].sum() > 1]
    return shares_of(hits)


def holes_errors(
    backbones: int, optimizers: int, seeds: int, regime: Regime, tables: int, why: Why = "10 %"
) -> dict[str, Share]:
    """How often p ≤ 0.05 in tables without the effect, where cells are missing."""
    generator = np.random.default_rng(9)
    wrong: dict[str, list[float]] = defaultdict(list)
    for _ in range(tables):
        truth, whole = simulate(generator, backbones, optimizers, seeds, regime, interaction=0.0)
        table = lose(generator, truth, whole, why)
        test = interaction_test(table)
        wrong["has an F"].append(float(test is not None))
        if test is not None:
            wrong["any interaction, simulated F"].append(float(test.p <= 0.05))
        truth, whole = simulate(generator, backbones, optimizers, seeds, regime)
        product = tukey_one_df(decompose(lose(generator, truth, whole, why)).fit)
        if product is not None:
            wrong["interaction as a product, Tukey"].append(float(product.p <= 0.05))
        truth, whole = simulate(generator, backbones, optimizers, seeds, regime, interaction=0.0, same=True)
        ranking = rank_optimizers(lose(generator, truth, whole, why))
        if ranking is not None:
            wrong["optimizers, Skillings and Mack"].append(float(ranking.p <= 0.05))
            if ranking.critical_difference is None:
                wrong["any pair of optimizers"].append(float(bool(ranking.apart)))
    return shares_of(wrong)
