"""Tables that were tuned, then trained, with known truth: what this procedure gives on average.

Every cell has configurations whose means lie below its best one's by known losses. Its trials choose among them, and
its final runs have the mean of the chosen one. The truth of a cell is Σ P(chosen)·mean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from covered import DRAWS, Share
from numpy.typing import NDArray
from simulated import table_of

from bocb_hf.coupling.additive import fit_additive
from bocb_hf.coupling.analysis import PARTS
from bocb_hf.coupling.bootstrap import bootstrap, standard_statistics
from bocb_hf.coupling.combination import combine
from bocb_hf.coupling.contrast import contrast_weights
from bocb_hf.coupling.indices import residuals
from bocb_hf.coupling.interaction_tests import interaction_test
from bocb_hf.coupling.noise import tuning_part
from bocb_hf.coupling.ranks import best_sets
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.selection import select
from bocb_hf.coupling.statistics import estimate, fit_prior
from bocb_hf.coupling.tuning import CellTuning, Tuning
from bocb_hf.coupling.winners import winners
from bocb_hf.runs.tuned import SelectionRule

NOISE = 0.6  # standard deviation of one run over seeds, in points
VALIDATION = 10_000  # images, when they are not drawn
FINAL_SEEDS = (2, 3, 5)
GIVEN, BOTH = "given the tuned rates", "of tuning and training"


@dataclass(frozen=True)
class Protocol:
    """How cells are tuned.

    Attributes:
        gap: Points between the best configuration and the second.
        seeds: Tuning seeds.
        rule: The rule that chooses.
        losses: Losses of the configurations in gaps, from the lowest learning rate up; the middle one is the centre.
    """

    gap: float
    seeds: int
    rule: SelectionRule = "best"
    losses: tuple[float, ...] = (2.0, 0.0, 1.0)

    @property
    def distance(self) -> NDArray[np.float64]:
        return np.abs(np.arange(len(self.losses)) - len(self.losses) // 2).astype(np.float64)


@lru_cache(maxsize=64)
def expected_loss(protocol: Protocol, noise: float = NOISE, draws: int = 400_000) -> tuple[float, float]:
    """What the procedure loses against the best configuration on average, and the variance of this loss."""
    generator = np.random.default_rng(0)
    means = -protocol.gap * np.array(protocol.losses)
    trials = 70 + means[:, None] + noise * generator.standard_normal((draws, len(means), protocol.seeds))
    got = means[select(trials, protocol.distance, VALIDATION, protocol.rule)]
    return -float(got.mean()), float(got.var())


def simulate_tuned(
    generator: np.random.Generator,
    backbones: int,
    optimizers: int,
    seeds: int,
    protocol: Protocol,
    interaction: float = 0.0,
    shift: NDArray[np.float64] | float = 0.0,
    spread: float = 1.5,
) -> tuple[NDArray[np.float64], ScoreTable]:
    """Draws what the procedure gives on average, shape (B, O), and a table with its trials.

    Args:
        interaction: Its standard deviation in points.
        shift: What is added to the means of the cells, shape (B, O).
        spread: Standard deviation of the optimizers' effects in points.
    """
    shape = (backbones, optimizers)
    best = 70 + 3 * generator.normal(size=(backbones, 1)) + spread * generator.normal(size=optimizers) + shift
    best = best + interaction * generator.normal(size=shape)
    means = best[..., None] - protocol.gap * np.array(protocol.losses)  # (B, O, C)
    trials = means[..., None] + NOISE * generator.normal(size=(*means.shape, protocol.seeds))
    chosen = select(trials, protocol.distance, VALIDATION, protocol.rule)
    got = np.take_along_axis(means, chosen[..., None], axis=2)
    table = table_of(got + NOISE * generator.normal(size=(*shape, seeds)))
    cells = {
        (b, o): CellTuning(trials[b, o], protocol.distance, VALIDATION, protocol.rule, int(chosen[b, o]))
        for b in range(backbones)
        for o in range(optimizers)
    }
    return best - expected_loss(protocol)[0], replace(table, tuning=Tuning(cells, {}, shape))


def fewer(table: ScoreTable, seeds: int) -> ScoreTable:
    """The table of its first final seeds, which was tuned in the same way."""
    return replace(table, values=table.values[:, :, :seeds].copy(), seeds=table.seeds[:seeds])


def tuned_errors(
    backbones: int, optimizers: int, seeds: Sequence[int], protocol: Protocol, tables: int
) -> dict[tuple[str, int], Share]:
    """How often F finds interaction in additive tables, by reading and number of final seeds."""
    generator = np.random.default_rng(8)
    wrong: dict[tuple[str, int], list[bool]] = defaultdict(list)
    for i in range(tables):
        _, whole = simulate_tuned(generator, backbones, optimizers, max(seeds), protocol)
        for n in seeds:
            table = fewer(whole, n)
            for name, some in ((GIVEN, table.given), (BOTH, table)):
                if name == BOTH and protocol.seeds == 1:
                    continue
                test = interaction_test(some, seed=i)
                assert test is not None
                wrong[name, n].append(test.p <= 0.05)
    return _shares(wrong)


def tuned_coverage(
    backbones: int, optimizers: int, seeds: Sequence[int], protocol: Protocol, tables: int, given: bool = False
) -> dict[tuple[str, int], Share]:
    """How often intervals hold what the procedure gives, by statistic and number of final seeds.

    With ``given``, the intervals given the tuned rates.
    """
    generator = np.random.default_rng(9)
    hits: dict[tuple[str, int], list[float]] = defaultdict(list)
    for i in range(tables):
        truth, whole = simulate_tuned(generator, backbones, optimizers, max(seeds), protocol, interaction=1.0)
        for n in seeds:
            table = fewer(whole, n)
            for name, hit in _held(truth, table.given if given else table, i).items():
                hits[name, n].append(hit)
    return _shares(hits)


def gap_coverage(gap: str, seeds: int, tables: int) -> dict[str, Share]:
    """``tuned_coverage`` of 10 × 8 tables that were tuned with two seeds, and the errors of F, for one column."""
    coverage, errors = _gap(float(gap.removeprefix("gap ")), tables)
    found = {name: share for (name, n), share in coverage.items() if n == seeds}
    return {**found, "F": errors[BOTH, seeds], "F given": errors[GIVEN, seeds]}


@lru_cache(maxsize=1)  # the columns of a group share their tables, and so the draws of their choices
def _gap(gap: float, tables: int) -> tuple[dict[tuple[str, int], Share], dict[tuple[str, int], Share]]:
    protocol = Protocol(gap, 2)
    return (
        tuned_coverage(10, 8, FINAL_SEEDS, protocol, tables),
        tuned_errors(10, 8, FINAL_SEEDS, protocol, tables),
    )


def _held(truth: NDArray[np.float64], table: ScoreTable, seed: int) -> dict[str, float]:
    """Which intervals of one table hold the truth."""
    hits: dict[str, list[float]] = defaultdict(list)
    found = bootstrap(table, draws=DRAWS, seed=seed)
    assert found is not None
    for name, statistic in standard_statistics(table, "points").items():
        true, interval = statistic(truth[None], None)[0], found.intervals[name]
        inside = (interval.low <= true) & (true <= interval.high)
        if name in ("variances", "shares"):
            for part_of, hit in zip(PARTS, inside.tolist(), strict=True):
                hits[f"{name} {part_of}"].append(hit)
        else:
            hits[name].append(float(inside.mean()))
    hits["cell"].append(_cells(truth, table))
    weights = contrast_weights(table)
    assert weights is not None
    primary = combine(table, weights, draws=DRAWS, seed=seed).interval
    hits["primary"].append(float(primary is not None and primary.holds(float((weights * truth).sum()))))
    r, true = residuals(table, draws=DRAWS, seed=seed), fit_additive(truth).interaction
    hits["residuals"].append(float(((r.low <= true) & (true <= r.high)).all()))
    best = best_sets(table, draws=DRAWS, seed=seed)
    assert best is not None
    others = np.stack([np.delete(truth, o, axis=1).max(axis=1) for o in range(truth.shape[1])], axis=1)
    inside = (best.low <= truth - others) & (truth - others <= best.high)
    hits["best"].append(float(inside.all(axis=1).mean()))
    first = [(w, float(truth[b, w.place])) for b, w in enumerate(winners(table)) if w is not None]
    hits["winner"].append(float(np.mean([w.interval.holds(true) for w, true in first])))
    hits["winner too high"].append(float(np.mean([w.estimate > true for w, true in first])))
    return {name: values[0] for name, values in hits.items()}


def _cells(truth: NDArray[np.float64], table: ScoreTable) -> float:
    """Share of the cells whose interval holds the truth."""
    seeds = table.values.shape[2]
    spread = table.values.var(axis=2, ddof=1).ravel()
    prior, part = fit_prior(spread, np.full(spread.shape, seeds - 1.0)), tuning_part(table, "points")
    inside: list[bool] = []
    for b, o in np.ndindex(*truth.shape):
        found = estimate(table.values[b, o], prior)
        if part is not None:
            found = replace(found, tuning=(float(part.variance[b, o]), part.df))
        interval = found.interval()
        inside.append(interval is not None and interval.holds(float(truth[b, o])))
    return float(np.mean(inside))


def _shares(trials: Mapping[tuple[str, int], Sequence[float]]) -> dict[tuple[str, int], Share]:
    """Means with their errors; where all tables agree, the error of one more that does not."""
    return {
        name: Share(100 * float(np.mean(x)), 100 * (float(np.std(x)) / len(x) ** 0.5 or 1 / len(x)))
        for name, x in trials.items()
    }
