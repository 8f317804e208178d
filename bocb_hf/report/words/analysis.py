"""The analysis in sentences: what the terminal prints. Every number comes with what it rests on."""

from __future__ import annotations

import numpy as np

from bocb_hf.coupling.analysis import PARTS, Analysis, ScaleAnalysis
from bocb_hf.coupling.bootstrap import Bootstrap
from bocb_hf.coupling.contrast_variants import Variant
from bocb_hf.coupling.decomposition import Decomposition
from bocb_hf.coupling.failure import GAMMA
from bocb_hf.coupling.reading import GIVEN
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.statistics import Interval
from bocb_hf.report.words.holes import (
    adjusted,
    lacking_text,
    pairs_told_apart,
    ranking_basis,
    rows_with_gaps,
    stood_in,
    test_basis,
)
from bocb_hf.report.words.rare import winner_text
from bocb_hf.report.words.tables import backbone_label, family_test_text, fixed, optimizer_label, signed, span

SHOWN = 5  # number of entries that are printed of a list that is ordered by importance
MANY = 8  # largest number of seeds, or of names that are left out, that are listed one by one
MANY_SETS = 20  # largest number of backbones whose sets of optimizers are listed


def analysis_text(analysis: Analysis) -> list[str]:
    """Returns sentences about coupling, most important first."""
    scores, points = analysis.scores, analysis.points
    lines = [_basis(scores), *lacking_text(scores, analysis.not_joined)]
    if isinstance(points, str):
        return [*lines, f"No decomposition: {points.removeprefix('scores: ')}.", *_failures(analysis), *scores.notes]
    backbones, optimizers = (int(scores.ranked.any(axis=axis).sum()) for axis in (1, 0))
    if min(backbones, optimizers) < 2:
        lines.append(
            "No coupling can be seen: it takes two backbones and two optimizers with scores, and here are "
            f"{backbones} and {optimizers}."
        )
        best = [*_best(scores, points), *winner_text(scores, points.winners)] if optimizers > 1 else []
        return [*lines, *_failures(analysis), *best, *scores.notes]
    lines += [cost_sentence(scores, points), *_given(analysis), *_failures(analysis)]
    lines += _decompositions(scores, points)
    lines.append(
        f"On the logit scale: not available; {analysis.logit.removeprefix('scores: ')}."
        if isinstance(analysis.logit, str)
        else f"On the logit scale: {_shares(analysis.logit.decompositions['observed'], analysis.logit)}."
    )
    lines += [*_structure(points), *_indices(scores, points), *_best(scores, points)]
    lines += winner_text(scores, points.winners)
    lines += [*_ranking(analysis), *map(variant_text, analysis.variants), *_designs(analysis)]
    if "contrast" in analysis.absent and not scores.ranked.all():
        lines.append(f"No family contrast: {analysis.absent['contrast']}.")
    return [*lines, *scores.notes]


def variant_text(variant: Variant) -> str:
    """Returns a variant of the family contrast as a sentence."""
    digits = 2
    sentence = (
        f"Family contrast, {variant.name}: CNNs {signed(variant.cnn_centre, digits)} ({len(variant.cnn)}), modern "
        f"{signed(variant.modern_centre, digits)} ({len(variant.modern)}), C = {signed(variant.value, digits)} "
        f"{variant.unit}{adjusted(variant.holes)}; {family_test_text(variant.test)}"
    )
    if variant.population is not None:
        low, high = signed(variant.population.low, digits), signed(variant.population.high, digits)
        sentence += f"; 95 % for further backbones of these families [{low}, {high}] (Welch)"
    return sentence + "."


def _designs(analysis: Analysis) -> list[str]:
    """Returns how pairs of backbones that differ in an element of design differ in what SGD costs them."""
    pairs = sorted(analysis.designs, key=lambda pair: -abs(pair.difference.mean))
    if not pairs:
        return []
    said = [
        f"{backbone_label(pair.one)} ({pair.designs[0]}) against {backbone_label(pair.other)} ({pair.designs[1]}) "
        f"{signed(pair.difference.mean, 2)}{_between(pair.difference.interval)}"
        for pair in pairs[:MANY]
    ]
    more = f"; {len(pairs) - MANY} more in analysis.json" if len(pairs) > MANY else ""
    known = any(pair.difference.interval is not None for pair in pairs)
    held = "Each interval holds by itself" if known else "There is no interval, since their noise is not known"
    return [
        "SGD minus adaptive, differences between backbones that differ in one or two elements of design, in points: "
        f"{'; '.join(said)}{more}. {held}, and each difference speaks of these two networks alone."
    ]


def _between(interval: Interval | None) -> str:
    """Returns a space and an interval in brackets; nothing without an interval."""
    return "" if interval is None else f" [{signed(interval.low, 2)}, {signed(interval.high, 2)}]"


def _basis(scores: ScoreTable) -> str:
    """Returns the first sentence: which cells, seeds and data the analysis rests on."""
    counts = [int(n) for n in scores.n[scores.ranked]]
    place = ", ".join(filter(None, (scores.source, scores.dataset, scores.setting and f"setting {scores.setting}")))
    seeds = sorted({s for s, v in zip(scores.seeds, scores.values.T, strict=True) if np.isfinite(v).any()})
    listed = ", ".join(map(str, seeds)) if len(seeds) <= MANY else f"{len(seeds)} different ones"
    known = (scores.config_hashes != "").any()  # a table without configurations does not tell its seeds either
    text = (
        f"Coupling of {len(scores.backbones)} backbone(s) × {len(scores.optimizers)} optimizer(s) ({place}), "
        f"{scores.metric}: {len(counts)} cell(s) with a mean, n = {span(counts)}"
        + (f", seeds {listed}" if known and seeds else "")
        + f", data revision {scores.revision or 'unknown'}."
    )
    if counts and scores.single:
        text += " n = 1 everywhere: noise cannot be separated from interaction, and no interval over seeds exists."
    return text


def cost_sentence(scores: ScoreTable, found: ScaleAnalysis) -> str:
    """Returns what using one optimizer for all backbones loses, and which part of the table says so."""
    if found.cost is None:
        return f"Cost of coupling: not available; {found.absent['cost_of_coupling']}."
    cost = found.cost
    text = (
        f"Cost of coupling, G: using {optimizer_label(cost.optimizer)} for all of {len(cost.backbones)} backbones "
        f"loses {cost.naive:.2f} points against the best of {len(cost.optimizers)} optimizers for each (too high: the "
        f"best of noisy means is partly luck){stood_in(cost)}"
    )
    if cost.split is not None:
        text += f"; chosen on half of the seeds and scored on the other {fixed(cost.split, 2)}"
    if found.bootstrap is not None and "cost" in found.bootstrap.intervals:
        i = found.bootstrap.intervals["cost"]
        text += f"; without the luck {fixed(float(i.estimate), 2)}, {_range(found.bootstrap, 'cost')}"
    left_out = [backbone_label(b) for b in scores.backbones if b not in cost.backbones]
    left_out += [optimizer_label(o) for o in scores.optimizers if o not in cost.optimizers]
    if left_out:
        text += f". Left out (not run, partly diverged, or nothing completed): {', '.join(left_out[:MANY])}"
        text += f" and {len(left_out) - MANY} more" if len(left_out) > MANY else ""
    return text + "."


def _given(analysis: Analysis) -> list[str]:
    """Returns what intervals and tests are over, and the other reading where both are known."""
    scores, given = analysis.scores, analysis.given
    if scores.single or not scores.ranked.any():
        return []
    if given is None:
        return [scores.reading.sentence]
    found: list[str] = []
    if given.bootstrap is not None and "cost" in given.bootstrap.intervals:
        cost = float(given.bootstrap.intervals["cost"].estimate)
        found.append(f"cost of coupling {fixed(cost, 2)}, {_range(given.bootstrap, 'cost')}")
    if given.bootstrap is not None:
        found.append(f"share of interaction {_range(given.bootstrap, 'shares', 2, 0)} %")
    if given.test is not None:
        found.append(f"F = {given.test.f:.1f}, p = {given.test.p:.2g}")
    if given.residuals.critical is not None:
        found.append(f"interaction of {int(given.residuals.clear.sum())} cells differs from 0")
    if given.best is not None:
        sets = given.best.candidates.sum(axis=1)[scores.ranked.any(axis=1)]
        found.append(f"not told apart from a backbone's best: {span(sets.tolist())} optimizer(s)")
    return [scores.reading.sentence, f"The same {GIVEN}: {'; '.join(found)}."]


def _failures(analysis: Analysis) -> list[str]:
    f = analysis.failures
    text = (
        f"Failed (diverged, or clearly more than {GAMMA:g} points below the backbone's median): {int(f.failed.sum())} "
        f"cell(s); collapsed (more than half of the way down to chance): {int(f.collapsed.sum())}"
    )
    if f.marked.any():
        text += f"; {int(f.marked.sum())} cell(s) have n = 1 and are judged without an interval"
    return [text + "."]


def _decompositions(scores: ScoreTable, found: ScaleAnalysis) -> list[str]:
    labels = {
        "diverged = chance": "Sensitivity, diverged cells as chance",
        "without collapse": f"Without cells that collapsed or lie more than {GAMMA:g} points below the median "
        "(truncates: a lower bound)",
        "median polish": "By median polish",
    }
    lines = [
        observed_sentence(scores, found) if name == "observed" else f"{labels[name]}: {_shares(version, found)}."
        for name, version in found.decompositions.items()
    ]
    if found.without_weakest is not None:
        name, version = found.without_weakest
        lines.append(f"Without {optimizer_label(name)}, the weakest on average: {_shares(version, found)}.")
    return lines


def observed_sentence(scores: ScoreTable, found: ScaleAnalysis) -> str:
    """Returns the shares of variance with the interval of the interaction, its test and the cells that it rests on."""
    version = found.decompositions["observed"]
    text = f"Shares of variance: {_shares(version, found)}"
    if isinstance(version, Decomposition):
        if found.bootstrap is not None and version.shares is not None:
            text += f"; interaction {_range(found.bootstrap, 'shares', 2, 0)} % (varied: {_varied(found.bootstrap)})"
        if version.sigma_int is not None and version.noise is not None:
            text += f"; σ_int = {version.sigma_int:.2f}, noise of one run {version.noise**0.5:.2f} points"
        if found.test is not None:
            basis = test_basis(found.test, scores)
            text += f"; F = {found.test.f:.1f}{basis}, p = {found.test.p:.2g} ({found.test.draws} simulations)"
        elif "interaction_test" in found.absent and not scores.single:
            text += f"; no test of interaction: {found.absent['interaction_test']}"
    return text + "."


def _structure(found: ScaleAnalysis) -> list[str]:
    lines: list[str] = []
    shown = 3
    # the last component always adds 0, so a table needs one component more than are shown
    if found.components is not None and len(found.components) > shown + 1:
        holes = int(np.isnan(found.residuals.r).sum())
        lines.append(
            f"{shown} components carry {float(found.components[:shown].sum()):.1f} % of the interaction, noise inside; "
            f"the first {float(found.components[0]):.0f} %."
            + (f" {holes} cell(s) without a mean count as without interaction." if holes else "")
        )
    if found.tukey is not None:
        lines.append(
            f"Tukey's test, interaction as a product of the two effects: {found.tukey.share:.1f} % of it, "
            f"p = {found.tukey.p:.2g}."
        )
    return lines


def _indices(scores: ScoreTable, found: ScaleAnalysis) -> list[str]:
    lines: list[str] = []
    sides = (
        ("backbone", [backbone_label(b) for b in scores.backbones], found.kappa.backbone),
        ("optimizer", [optimizer_label(o) for o in scores.optimizers], found.kappa.optimizer),
    )
    inside = ", noise inside" if found.kappa.noisy else ""
    for what, names, values in sides:
        order = [i for i in np.argsort(-np.nan_to_num(values, nan=-1.0)).tolist() if values[i] >= 0.05][:SHOWN]
        listed = ", ".join(f"{names[i]} {values[i]:.1f}{_kappa_range(found, what, i)}" for i in order)
        if listed:
            known = found.bootstrap is not None and what in found.bootstrap.intervals
            beside = ", 95 % intervals in brackets" if known else ", no interval"
            lines.append(f"Most coupled {what}s (κ in points{inside}{beside}, reference: this table): {listed}.")
        elif np.isfinite(values).any():
            beyond = "" if found.kappa.noisy else " beyond the noise"
            lines.append(f"No {what} is coupled{beyond} (κ below 0.05 points, reference: this table).")
    if found.residuals.critical is not None:
        clear = found.residuals.clear
        lines.append(
            f"Interaction of {int(clear.sum())} of {int(np.isfinite(found.residuals.r).sum())} cells differs from 0, "
            "all intervals together at 95 %."
        )
    return lines


def _kappa_range(found: ScaleAnalysis, what: str, place: int) -> str:
    """Returns the interval of κ, the root of that of κ², where the bootstrap works."""
    if found.bootstrap is None or what not in found.bootstrap.intervals:
        return ""
    i = found.bootstrap.intervals[what]
    low, high = (float(np.sqrt(max(0.0, float(end[place])))) for end in (i.low, i.high))
    return f" [{low:.1f}, {high:.1f}]"


def _best(scores: ScoreTable, found: ScaleAnalysis) -> list[str]:
    if found.best is None:
        why = "noise cannot be separated" if scores.single else "too few cells have two scores that differ"
        return [f"Which optimizers may be the best of a backbone cannot be said: {why}."]
    listed: list[str] = []
    for b, row in zip(scores.backbones, found.best.candidates, strict=True):
        names = [optimizer_label(o) for i, o in enumerate(scores.optimizers) if row[i]]
        ranked = int(scores.ranked[scores.backbones.index(b)].sum())
        told = ", ".join(names) if len(names) < max(ranked, 2) else f"all {ranked}"
        listed += [f"{backbone_label(b)}: {told}"] if names else []
    more = f"; {len(listed) - MANY_SETS} more backbones are in analysis.json" if len(listed) > MANY_SETS else ""
    told = f"{'; '.join(listed[:MANY_SETS])}{more}.{rows_with_gaps(scores)}"
    return [f"Not told apart from the best (Hsu, 95 % for each backbone): {told}"]


def _ranking(analysis: Analysis) -> list[str]:
    ranking, scores = analysis.ranking, analysis.scores
    if ranking is None:
        return [f"No ranking: {analysis.absent['ranking']}."] if not scores.ranked.all() else []
    means = zip(ranking.mean_ranks.tolist(), scores.optimizers, strict=True)
    ranked = sorted((rank, optimizer) for rank, optimizer in means if np.isfinite(rank))
    names = ", ".join(f"{optimizer_label(optimizer)} {rank:.1f}" for rank, optimizer in ranked[:SHOWN])
    left_out = len(scores.backbones) - len(ranking.backbones)
    p = f"p = {ranking.p:.2g}" if ranking.p > 0 else "p < 1e-300"  # the share is too small to be printed as a number
    test, apart = "Skillings and Mack", pairs_told_apart(ranking)
    if ranking.critical_difference is not None:
        test = "Friedman"
        apart = f"mean ranks no further apart than {ranking.critical_difference:.2f} are not told apart (Nemenyi)"
    return [
        f"Mean ranks over {len(ranking.backbones)} backbones"
        + (f" ({left_out} left out for cells without a rank)" if left_out else "")
        + f"{ranking_basis(ranking, scores)}: {names}{' …' if len(ranked) > SHOWN else ''}; {test} {p}, Kendall's W = "
        f"{ranking.kendall_w:.2f}; {apart}."
    ]


def _shares(version: Decomposition | str, found: ScaleAnalysis) -> str:
    """Returns shares in percent; beside that of the interaction stands what it is without failed cells."""
    if isinstance(version, str):
        return f"not available; {version.removeprefix('scores: ')}"
    cells = f"({version.cells} cells{'' if version.noise is not None else ', noise inside'})"
    if version.shares is None:
        effects = (version.fit.backbone, version.fit.optimizer, version.fit.interaction)
        differs = max(float(np.nanmax(np.abs(effect))) for effect in effects) > 1e-9
        return f"{'nothing differs by more than the noise' if differs else 'nothing differs'} {cells}"
    parts = ", ".join(f"{name} {fixed(float(share), 0)} %" for name, share in zip(PARTS, version.shares, strict=True))
    if version is not found.decompositions.get("without collapse"):
        parts += f" ({without_failures(found)})"
    return f"{parts} {cells}"


def without_failures(found: ScaleAnalysis) -> str:
    """Returns what is left of the interaction's share without cells that failed: ``4 % without failed cells``."""
    if "without collapse" not in found.decompositions:
        return "no cell with a mean failed"
    version = found.decompositions["without collapse"]
    if isinstance(version, str) or version.shares is None:
        return "not known without failed cells"
    return f"{fixed(float(version.shares[2]), 0)} % without failed cells"


def _varied(found: Bootstrap) -> str:
    *first, last = found.sources
    listed = f"{', '.join(first)} and {last}" if first else last
    return listed + (", conditional on these backbones" if found.conditional else "")


def _range(found: Bootstrap, name: str, place: int | None = None, digits: int = 2) -> str:
    """Returns the interval of a statistic as ``95 % [low, high]``."""
    i = found.intervals[name]
    low, high = (float(e if place is None else e[place]) for e in (i.low, i.high))
    return f"95 % [{fixed(low, digits)}, {fixed(high, digits)}]"
