"""Draws all figures of a table, by file name."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from matplotlib.figure import Figure

from bocb_hf.coupling.indices import residuals
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.pareto import AXES, pareto
from bocb_hf.coupling.profiles import performance_profiles
from bocb_hf.coupling.ranks import Ranking, rank_optimizers
from bocb_hf.coupling.robustness import robustness
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.table import Table
from bocb_hf.coupling.targets import times_to_target
from bocb_hf.coupling.trials import trial_curves
from bocb_hf.report.figures.costs import pareto_front, trial_figure
from bocb_hf.report.figures.differences import critical_difference, interaction
from bocb_hf.report.figures.distributions import boxes, violin
from bocb_hf.report.figures.grid import heatmap
from bocb_hf.report.figures.profiles import profile_figure, time_figure
from bocb_hf.report.figures.training import lines_of, training_curves
from bocb_hf.report.words.holes import pairs_told_apart

Drawing = Callable[[], Figure]


def draw_scores(scores: ScoreTable, marks: Marks, split: str = "test") -> Iterator[tuple[str, Drawing]]:
    """Yields the figures that need scores only, even published ones, as functions that draw them."""
    yield "heatmap", partial(heatmap, scores, marks, split)
    yield "violin", partial(violin, scores)
    if min(scores.means.shape) > 1:
        yield "interaction", partial(_interaction, scores)
        yield "profile", partial(_profile, scores)
    ranking = rank_optimizers(scores)
    if ranking is not None:
        yield "critical-difference", partial(draw_ranks, scores, ranking)


def draw_records(table: Table) -> Iterator[tuple[str, Drawing]]:
    """Returns the figures that need trials, costs or curves; those without anything to show are left out."""
    found = robustness(table)
    if found.offsets:
        yield "distance-by-backbone", partial(boxes, found, "backbone", table.dataset)
        yield "distance-by-optimizer", partial(boxes, found, "optimizer", table.dataset)
    times = times_to_target(table)
    if times is not None:
        yield "time-to-target", partial(time_figure, times, table.metric, table.dataset)
    curves = trial_curves(table)
    if curves:
        yield "trials", partial(trial_figure, curves, table.dataset)
    for backbone, name in slugs(table.backbones).items():
        for axis in AXES:
            front = pareto(table, backbone, axis)
            if front.points:
                yield f"pareto-{axis}-{name}", partial(pareto_front, front, table.metric)
        if any(row.finals for row in table.column(backbone)):
            lines = lines_of(table, backbone)
            yield f"curves-{name}", partial(training_curves, lines, backbone, table.dataset, table.loss_unit)


def _interaction(scores: ScoreTable) -> Figure:
    found = residuals(scores)
    clear, note = None, ""
    if found.critical is not None:
        clear = found.clear
        note = (
            f"Simultaneous 95 % over all {int(scores.ranked.sum())} cells (max |t| = {found.critical:.1f}), "
            f"over seeds, {scores.reading.text}."
        )
    return interaction(found.r, scores.backbones, scores.optimizers, clear, note, scores.dataset)


def _profile(scores: ScoreTable) -> Figure:
    return profile_figure(performance_profiles(scores), scores.optimizers, scores.dataset)


def draw_ranks(scores: ScoreTable, ranking: Ranking) -> Figure:
    """Draws the critical-difference diagram of a table."""
    p = f"p = {ranking.p:.2g}" if ranking.p >= 1e-4 else "p < 0.0001"
    agreement = f"Kendall's W = {ranking.kendall_w:.2f}"
    whole = ranking.critical_difference is not None
    test = "Friedman" if whole else "Skillings and Mack"
    note = f"{scores.dataset}, n = {len(ranking.backbones)} backbones. {test}: {p}, {agreement}. "
    if whole:
        note += "A bar joins optimizers that Nemenyi's test (95 %, all pairs) does not tell apart."
    else:
        note += (
            "Some cells have no rank: mean ranks are adjusted for those that are there, and no one difference holds "
            f"for all pairs; {pairs_told_apart(ranking)}."
        )
    if (scores.status == "diverged").any():
        note += " Diverged cells share the last rank."
    if len(ranking.backbones) < len(scores.backbones):
        note += f" {len(scores.backbones) - len(ranking.backbones)} backbone(s) with cells without a rank are left out."
    means = zip(scores.optimizers, ranking.mean_ranks.tolist(), strict=True)
    ranks = {optimizer: rank for optimizer, rank in means if math.isfinite(rank)}
    return critical_difference(ranks, ranking.critical_difference, note)


def slugs(names: tuple[str, ...]) -> Mapping[str, str]:
    """Returns a file name for each backbone; two names that read alike get a number."""
    found: dict[str, str] = {}
    for name in names:
        slug = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-") or "x"
        taken = sum(other == slug or other.startswith(f"{slug}-copy") for other in found.values())
        found[name] = f"{slug}-copy{taken + 1}" if taken else slug
    return found
