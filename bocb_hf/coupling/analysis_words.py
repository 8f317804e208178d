"""The analysis in sentences: what the terminal prints. Every number comes with what it rests on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bocb_hf.coupling.analysis import PARTS, Analysis, ScaleAnalysis
from bocb_hf.coupling.bootstrap import Bootstrap
from bocb_hf.coupling.contrast_variants import Variant
from bocb_hf.coupling.decomposition import Decomposition
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.words import backbone_label, family_test_text, optimizer_label, signed, span


def analysis_text(analysis: Analysis) -> list[str]:
    """Sentences about coupling, most important first."""
    scores = analysis.scores
    lines = [_basis(scores)]
    if isinstance(analysis.points, str):
        return [*lines, f"No decomposition: {analysis.points}."]
    lines += [*_cost(analysis.points), *_failures(analysis)]
    lines += _decompositions(analysis.points)
    lines.append(
        f"On the logit scale: not available; {analysis.logit}."
        if isinstance(analysis.logit, str)
        else f"On the logit scale: {_shares(analysis.logit.decompositions['observed'])}."
    )
    lines += [*_structure(analysis.points), *_indices(scores, analysis.points), *_best(scores, analysis.points)]
    lines += [*_ranking(analysis), *map(variant_text, analysis.variants)]
    return [*lines, *scores.notes]


def label(scores: ScoreTable, backbone: str) -> str:
    """Short name of a backbone, also of ``resnet50 (A3)``."""
    name, _, rest = backbone.partition(" (")
    return backbone_label(name) + (f" ({rest}" if rest else "")


def variant_text(variant: Variant) -> str:
    """One way to look at the family contrast."""
    digits = 2
    sentence = (
        f"Family contrast, {variant.name}: CNNs {signed(variant.cnn_centre, digits)} ({len(variant.cnn)}), modern "
        f"{signed(variant.modern_centre, digits)} ({len(variant.modern)}), C = {signed(variant.value, digits)} "
        f"{variant.unit}; {family_test_text(variant.test)}"
    )
    if variant.population is not None:
        low, high = signed(variant.population.low, digits), signed(variant.population.high, digits)
        sentence += f"; 95 % for further backbones of these families [{low}, {high}] (Welch)"
    return sentence + "."


def _basis(scores: ScoreTable) -> str:
    counts = [int(n) for n in scores.n[scores.ranked]]
    text = (
        f"Coupling of {len(scores.backbones)} backbones × {len(scores.optimizers)} optimizers ({scores.source}), "
        f"{scores.metric}: {int(scores.ranked.sum())} cells, n = {span(counts)}, data revision {scores.revision}."
    )
    if scores.single:
        text += " n = 1 everywhere: noise cannot be separated from interaction, and no interval over seeds exists."
    return text


def _cost(found: ScaleAnalysis) -> list[str]:
    if found.cost is None:
        return ["Cost of coupling: not available; fewer than two optimizers have all their cells."]
    cost = found.cost
    text = (
        f"Cost of coupling, G: using {optimizer_label(cost.optimizer)} for all of {len(cost.backbones)} backbones "
        f"loses {cost.naive:.2f} points against the best of {len(cost.optimizers)} optimizers for each (too high: the "
        "best of noisy means is partly luck)"
    )
    if cost.split is not None:
        text += f"; chosen on half of the seeds and scored on the other {cost.split:.2f}"
    if found.bootstrap is not None and "cost" in found.bootstrap.intervals:
        i = found.bootstrap.intervals["cost"]
        text += f"; without the luck {float(i.estimate):.2f}, {_range(found.bootstrap, 'cost')}"
    return [text + "."]


def _failures(analysis: Analysis) -> list[str]:
    f = analysis.failures
    text = (
        f"Failed (diverged, or clearly more than 2 points below the backbone's median): {int(f.failed.sum())} cells; "
        f"collapsed (more than half of the way down to chance): {int(f.collapsed.sum())}"
    )
    if f.marked.any():
        text += f"; {int(f.marked.sum())} cells have n = 1 and are judged without an interval"
    return [text + "."]


def _decompositions(found: ScaleAnalysis) -> list[str]:
    labels = {
        "observed": "Shares of variance",
        "diverged = chance": "Sensitivity, diverged cells as chance",
        "without collapse": "Without the cells more than 2 points below the median (truncates: a lower bound)",
        "median polish": "By median polish (noise not removed)",
    }
    lines: list[str] = []
    for name, version in found.decompositions.items():
        text = f"{labels[name]}: {_shares(version)}"
        if name == "observed" and isinstance(version, Decomposition):
            if found.bootstrap is not None:
                text += (
                    f"; interaction {_range(found.bootstrap, 'shares', 2, 0)} % (varied: {_varied(found.bootstrap)})"
                )
            if version.sigma_int is not None and version.noise is not None:
                text += f"; σ_int = {version.sigma_int:.2f}, noise of one run {version.noise**0.5:.2f} points"
            if found.test is not None:
                text += f"; F = {found.test.f:.1f}, p = {found.test.p:.2g} ({found.test.draws} simulations)"
        lines.append(text + ".")
    if found.without_weakest is not None:
        name, version = found.without_weakest
        lines.append(f"Without {optimizer_label(name)}, the weakest on average: {_shares(version)}.")
    return lines


def _structure(found: ScaleAnalysis) -> list[str]:
    lines: list[str] = []
    if found.components is not None:
        first = found.components[:3]
        lines.append(
            f"{len(first)} component(s) carry {float(first.sum()):.1f} % of the interaction; the first "
            f"{float(first[0]):.0f} %."
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
        ("backbones", [label(scores, b) for b in scores.backbones], found.kappa.backbone),
        ("optimizers", [optimizer_label(o) for o in scores.optimizers], found.kappa.optimizer),
    )
    for what, names, values in sides:
        order = [i for i in np.argsort(-np.nan_to_num(values, nan=-1.0)).tolist() if np.isfinite(values[i])][:5]
        if order:
            noise = ", noise inside" if found.kappa.noisy else ""
            listed = ", ".join(f"{names[i]} {values[i]:.1f}" for i in order)
            lines.append(f"Most coupled {what} (κ in points{noise}, reference: this table): {listed}.")
    if found.residuals.critical is not None:
        clear = found.residuals.clear
        lines.append(
            f"Interaction of {int(clear.sum())} of {int(np.isfinite(found.residuals.r).sum())} cells differs from 0, "
            "all intervals together at 95 %."
        )
    return lines


def _best(scores: ScoreTable, found: ScaleAnalysis) -> list[str]:
    if found.best is None:
        return ["Which optimizers may be the best of a backbone cannot be said: noise cannot be separated."]
    listed: list[str] = []
    for b, row in zip(scores.backbones, found.best.candidates, strict=True):
        names = [optimizer_label(o) for i, o in enumerate(scores.optimizers) if row[i]]
        listed += [f"{label(scores, b)}: {', '.join(names)}"] if names else []
    return [f"Not told apart from the best (Hsu, 95 % for each backbone): {'; '.join(listed)}."]


def _ranking(analysis: Analysis) -> list[str]:
    ranking = analysis.ranking
    if ranking is None:
        return []
    ranked = sorted(zip(ranking.mean_ranks.tolist(), analysis.scores.optimizers, strict=True))
    names = [f"{optimizer_label(optimizer)} {rank:.1f}" for rank, optimizer in ranked[:5]]
    return [
        f"Mean ranks over {len(ranking.backbones)} backbones: {', '.join(names)} ...; Friedman p = {ranking.p:.2g}, "
        f"Kendall's W = {ranking.kendall_w:.2f}; mean ranks closer than {ranking.critical_difference:.2f} are not told "
        "apart (Nemenyi)."
    ]


def _shares(version: Decomposition | str) -> str:
    if isinstance(version, str):
        return f"not available; {version}"
    if version.shares is None:
        return "nothing differs"
    parts = ", ".join(f"{name} {share:.0f} %" for name, share in zip(PARTS, version.shares, strict=True))
    return f"{parts} ({version.cells} cells{'' if version.noise is not None else ', noise inside'})"


def _varied(found: Bootstrap) -> str:
    return " and ".join(found.sources) + (", conditional on these backbones" if found.conditional else "")


def _range(found: Bootstrap, name: str, place: int | None = None, digits: int = 2) -> str:
    """``95 % [low, high]`` of a statistic that is never negative."""
    i = found.intervals[name]
    ends: Sequence[float] = [float(e if place is None else e[place]) for e in (i.low, i.high)]
    return f"95 % [{max(0.0, ends[0]):.{digits}f}, {max(0.0, ends[1]):.{digits}f}]"
