"""Everything that is said about one score table, computed once: pure, seeded, and never a crash for a thin table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.bootstrap import Bootstrap, bootstrap
from bocb_hf.coupling.contrast_design import NoDesign, design
from bocb_hf.coupling.contrast_variants import Variant, contrast_variants
from bocb_hf.coupling.decomposition import (
    Decomposition,
    component_shares,
    decompose,
    decompose_all,
)
from bocb_hf.coupling.design_pairs import DesignPair, design_pairs
from bocb_hf.coupling.failure import Failures, find_failures
from bocb_hf.coupling.holes import keep_largest_block, why_no_cost
from bocb_hf.coupling.indices import Cost, Kappa, Residuals, cost_of_coupling, kappa, residuals
from bocb_hf.coupling.interaction_tests import Test, Tukey, try_interaction_test, tukey_one_df
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.population import population_bootstrap
from bocb_hf.coupling.ranks import BestSets, Ranking, best_sets, try_ranking
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable
from bocb_hf.coupling.winners import Winner, winners
from bocb_hf.coupling.world import image_shifts
from bocb_hf.errors import InputError

PARTS = ("optimizer", "backbone", "interaction")


@dataclass(frozen=True, eq=False)
class ScaleAnalysis:
    """The results that are computed on points and on logits alike.

    Attributes:
        decompositions: Decompositions by version; the reason where a version has none.
        without_weakest: The decomposition without the optimizer with the lowest mean, and its id: how much of the
            shares hangs on one optimizer.
        test: Test of no interaction at all; None where that cannot be tested.
        components: Percent of the interaction's squares in each singular component.
        tukey: Tukey's one-degree-of-freedom test of interaction.
        residuals: Interaction of each cell, with simultaneous intervals.
        kappa: Indices of coupling of backbones and optimizers.
        cost: Cost of coupling, from the means themselves and on held-out seeds.
        bootstrap: Intervals over seeds, and over test images where the correctness bits are there.
        population: Intervals for further backbones; None with fewer than five CNNs or modern ones.
        best: Sets of optimizers that are not told apart from the best of each backbone.
        winners: The best of each backbone, corrected for having been chosen; None where noise is unknown.
        absent: Why a test or the cost is not there and what would allow it, by its name in ``to_plain``.
    """

    scale: Scale
    decompositions: Mapping[str, Decomposition | str]
    without_weakest: tuple[str, Decomposition] | None
    test: Test | None
    components: Floats | None
    tukey: Tukey | None
    residuals: Residuals
    kappa: Kappa
    cost: Cost | None
    bootstrap: Bootstrap | None
    population: Bootstrap | None
    best: BestSets | None
    winners: tuple[Winner | None, ...]
    absent: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, eq=False)
class Analysis:
    """The analysis of one table.

    Attributes:
        points: Results in points, or why there is nothing to analyse.
        logit: Results on the logit scale, or why there are none.
        failures: Failed and collapsed cells by the default rule.
        variants: Variants of the family contrast.
        ranking: Ranks with a test over all backbones, and which optimizers it tells apart.
        not_joined: Ranked cells, (backbone, optimizer), that share neither backbone nor optimizer with the others, by
            steps: only the best sets of their backbones rest on them.
        absent: Why there is no ranking or contrast and what would allow it.
        given: Results in points given the tuned rates, where ``points`` are of tuning and training; None otherwise.
        designs: Pairs of backbones that differ in an element of design.
    """

    scores: ScoreTable
    points: ScaleAnalysis | str
    logit: ScaleAnalysis | str
    failures: Failures
    variants: tuple[Variant, ...]
    ranking: Ranking | None
    not_joined: tuple[tuple[str, str], ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict[str, str])
    given: ScaleAnalysis | None = None
    designs: tuple[DesignPair, ...] = ()


def analyse(scores: ScoreTable, draws: int = 2000, seed: int = 0, marks: Marks | None = None) -> Analysis:
    """Computes the whole analysis of a table.

    Args:
        scores: The table.
        draws: Tables that each bootstrap draws; the simultaneous intervals take twice as many.
        seed: Seed of every draw; equal input gives equal output.
        marks: ``Marks.of`` this table, whose best sets are those that every output shows; drawn when None.
    """
    failures = find_failures(scores)
    shown = (Marks.of(scores, draws=2 * draws) if marks is None else marks).best
    together, not_joined = keep_largest_block(scores)
    shifts = image_shifts(scores, draws, seed)

    def attempt(scale: Scale, table: ScoreTable = scores) -> ScaleAnalysis | str:
        try:
            best = shown if scale == "points" and table is scores else best_sets(table, scale, 2 * draws, seed)
            part = together if table is scores else together.given
            return _analyse_scale(part, scale, failures, shifts, draws, seed, best, winners(table, scale))
        except InputError as error:
            return str(error)

    variants = tuple(contrast_variants(scores))
    ranking = try_ranking(scores)
    absent: dict[str, str] = {}
    if isinstance(ranking, str):
        absent["ranking"] = ranking
    if isinstance(none := design(scores), NoDesign):
        absent["contrast"] = none.reason
    ranking = ranking if isinstance(ranking, Ranking) else None
    given = attempt("points", scores.given) if scores.reading.both else None
    return Analysis(
        scores,
        attempt("points"),
        attempt("logit"),
        failures,
        variants,
        ranking,
        not_joined,
        absent,
        None if isinstance(given, str) else given,
        tuple(design_pairs(scores)),
    )


def _analyse_scale(
    scores: ScoreTable,
    scale: Scale,
    failures: Failures,
    shifts: NDArray[np.float32] | None,
    draws: int,
    seed: int,
    best: BestSets | None,
    won: tuple[Winner | None, ...],
) -> ScaleAnalysis:
    # the cells below the median by γ and more, which the study's page greys, hold most of its interaction
    versions = decompose_all(scores, scale, failures.below | failures.collapsed)
    observed = versions["observed"]
    if isinstance(observed, str):
        raise InputError(observed)
    weakest = None
    if len(scores.optimizers) > 2:
        columns: list[Floats] = list(scores.means.T)
        average = [float(np.nanmean(c)) if np.isfinite(c).any() else np.inf for c in columns]
        name = scores.optimizers[average.index(min(average))]
        try:
            weakest = (name, decompose(scores.without([name]), scale))
        except InputError:
            weakest = None
    population = None
    try:
        population = population_bootstrap(scores, scale, draws=draws, seed=seed)
    except InputError:  # there are too few backbones, so statements hold for these backbones only
        population = None
    test, cost = try_interaction_test(scores, scale, seed), cost_of_coupling(scores, scale)
    absent = {"interaction_test": test} if isinstance(test, str) else {}
    if cost is None:
        absent["cost_of_coupling"] = why_no_cost(scores)
    return ScaleAnalysis(
        scale,
        {str(name): version for name, version in versions.items()},
        weakest,
        test if isinstance(test, Test) else None,
        component_shares(observed.fit),
        tukey_one_df(observed.fit),
        residuals(scores, scale, 2 * draws, seed),
        kappa(scores, scale),
        cost,
        bootstrap(scores, scale, draws=draws, seed=seed, shifts=shifts),
        population,
        best,
        won,
        absent,
    )


def to_plain(analysis: Analysis) -> dict[str, Any]:
    """Returns the analysis as nested dictionaries of finite numbers, text and None, for JSON, with names."""
    scores = analysis.scores
    cells = {
        b: {o: (scores.status[i, j], int(scores.n[i, j])) for j, o in enumerate(scores.optimizers)}
        for i, b in enumerate(scores.backbones)
    }
    return {
        "source": scores.source,
        "dataset": scores.dataset,
        "setting": scores.setting,
        "revision": scores.revision,
        "metric": scores.metric,
        "seeds": sorted(set(scores.seeds)),
        "notes": list(scores.notes),
        "cells": {b: {o: {"status": str(s), "n": n} for o, (s, n) in row.items()} for b, row in cells.items()},
        "config_hashes": _grid(scores, scores.config_hashes),
        "failed": _grid(scores, analysis.failures.failed),
        "collapsed": _grid(scores, analysis.failures.collapsed),
        "reading": scores.reading.text,
        "tuning_unknown": scores.reading.reason,
        "points": _plain_scale(scores, analysis.points),
        "logit": _plain_scale(scores, analysis.logit),
        "points_given_the_tuned_rates": analysis.given and _plain_scale(scores, analysis.given),
        "contrast": [
            {
                "variant": v.name,
                "unit": v.unit,
                "cnn": dict(v.cnn),
                "modern": dict(v.modern),
                "value": v.value,
                "p": v.test.p,
                "welch_p": v.test.welch and v.test.welch.p,
                "permutation_p": v.permutation.p,
                "smallest_permutation_p": v.permutation.smallest,
                "population_interval": v.population and (v.population.low, v.population.high),
            }
            for v in analysis.variants
        ],
        "designs": [
            {
                **{"elements": list(p.elements), "backbones": [p.one, p.other], "designs": list(p.designs)},
                "difference": p.difference.mean,
                "interval": p.difference.interval and astuple(p.difference.interval),
            }
            for p in analysis.designs
        ],
        "ranking": analysis.ranking
        and {
            "mean_ranks": dict(zip(scores.optimizers, _finite(analysis.ranking.mean_ranks), strict=True)),
            "backbones": list(analysis.ranking.backbones),
            "kendall_w": analysis.ranking.kendall_w,
            "p": analysis.ranking.p,
            "critical_difference": analysis.ranking.critical_difference,
        },
        **({} if scores.ranked.all() else {"holes": plain_holes(analysis)}),
    }


def _plain_scale(scores: ScoreTable, analysis: ScaleAnalysis | str) -> dict[str, Any] | str:
    if isinstance(analysis, str):
        return analysis
    versions = {
        name: version
        if isinstance(version, str)
        else {
            "cells": version.cells,
            "shares": version.shares and dict(zip(PARTS, version.shares, strict=True)),
            "noise_sd": None if version.noise is None else version.noise**0.5,
            "tuning_sd": None if version.tuning is None else version.tuning**0.5,
            "sigma_interaction": version.sigma_int,
        }
        for name, version in analysis.decompositions.items()
    }
    r, best = analysis.residuals, analysis.best
    return {
        "decomposition": versions,
        "interaction_test": analysis.test
        and {"f": analysis.test.f, "p": analysis.test.p, "draws": analysis.test.draws},
        "components": None if analysis.components is None else analysis.components.tolist(),
        "residual": _grid(scores, r.r),
        "residual_low": _grid(scores, r.low),
        "residual_high": _grid(scores, r.high),
        "kappa_backbone": dict(zip(scores.backbones, _finite(analysis.kappa.backbone), strict=True)),
        "kappa_optimizer": dict(zip(scores.optimizers, _finite(analysis.kappa.optimizer), strict=True)),
        "noise_removed": not analysis.kappa.noisy,
        "cost_of_coupling": analysis.cost
        and {"optimizer": analysis.cost.optimizer, "naive": analysis.cost.naive, "held_out": analysis.cost.split},
        "intervals": _plain_bootstrap(analysis.bootstrap),
        "population_intervals": _plain_bootstrap(analysis.population),
        "candidates_for_best": None if best is None else _grid(scores, best.candidates),
        **_plain_winners(scores, analysis.winners),
    }


def plain_holes(analysis: Analysis) -> dict[str, Any]:
    """Returns what the answers of a table with holes rest on, and why some are not there; it has names of its own.

    So a table without holes has the same JSON as before holes were told.
    """

    def basis(found: ScaleAnalysis | str) -> dict[str, Any] | str:
        if isinstance(found, str):
            return found
        test, cost = found.test, found.cost
        return {
            "absent": dict(found.absent),
            "interaction_test": test
            and {"cells": test.cells, "backbones": test.backbones, "optimizers": test.optimizers},
            "cost_of_coupling": cost
            and {
                "backbones": list(cost.backbones),
                "optimizers": list(cost.optimizers),
                "not_run": [list(pair) for pair in cost.holes],
            },
        }

    ranking = analysis.ranking
    return {
        "not_joined": [list(pair) for pair in analysis.not_joined],
        "absent": dict(analysis.absent),
        "points": basis(analysis.points),
        "logit": basis(analysis.logit),
        "contrast": {variant.name: variant.holes for variant in analysis.variants},
        "ranking": ranking and {"cells": ranking.cells, "apart": [list(pair) for pair in ranking.apart]},
    }


def _plain_winners(scores: ScoreTable, found: Sequence[Winner | None]) -> dict[str, Any]:
    """Returns the entry ``winners`` by backbone; no entry where no backbone has one, as in earlier files."""
    named = {b: w for b, w in zip(scores.backbones, found, strict=True) if w is not None}
    entries = {
        b: {
            "optimizer": scores.optimizers[w.place],
            "mean": w.mean,
            "estimate": w.estimate,
            "low": w.interval.low,
            "high": w.interval.high,
        }
        for b, w in named.items()
    }
    return {"winners": entries} if entries else {}


def _plain_bootstrap(found: Bootstrap | None) -> dict[str, Any] | None:
    if found is None:
        return None
    ends = {
        name: {"estimate": _finite(i.estimate), "low": _finite(i.low), "high": _finite(i.high)}
        for name, i in found.intervals.items()
    }
    return {"draws": found.draws, "varied": list(found.sources), "conditional": found.conditional, **ends}


def _grid(scores: ScoreTable, values: Any) -> dict[str, dict[str, Any]]:
    """Returns values of cells as a dictionary: backbone → optimizer → value."""
    rows = zip(scores.backbones, values, strict=True)
    return {b: dict(zip(scores.optimizers, _finite(row), strict=True)) for b, row in rows}


def _finite(values: Any) -> Any:
    """Returns an array as lists, with None where there is no finite number."""
    plain: Any = np.asarray(values).tolist()

    def clean(value: Any) -> Any:
        if isinstance(value, list):
            return [clean(item) for item in value]  # pyright: ignore[reportUnknownVariableType] - of JSON
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return clean(plain)
