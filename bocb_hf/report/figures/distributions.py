"""Figures of how scores spread over optimizers (the study's Figure 3), and of tuning distances (Figures 4 and 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bocb_hf.coupling.robustness import Distances, Robustness
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.report.figures.style import (
    COLOURS,
    COLUMN,
    FAINT,
    INK,
    MARKERS,
    SMALL,
    SOFT,
    WARN,
    category,
    category_legend,
    footnote,
    new_figure,
    short,
    tidy,
    title,
)
from bocb_hf.report.words.tables import backbone_label, optimizer_label

ROW = 0.165  # height of a row in inches, so that names of 6 points keep apart
TICKS = 10  # largest number of ticks of the axis of distances
SWARM = 4  # number of points that may stand above each other


def violin(scores: ScoreTable) -> Figure:
    """Draws a violin for each backbone over its optimizers, means as markers of their category, the median as a bar.

    Cells that failed have no place on the axis: their number stands at the right, after n.
    """
    figure = new_figure(COLUMN, 1.25 + ROW * max(len(scores.backbones), 3))
    axes = figure.add_subplot()
    for y, means in enumerate(scores.means):
        known = means[np.isfinite(means)]
        if len(set(known.tolist())) > 1:  # a density needs two different values
            parts = axes.violinplot(known, positions=[y], orientation="horizontal", widths=0.9, showextrema=False)
            for body in parts["bodies"]:  # pyright: ignore[reportGeneralTypeIssues] - a list
                body.set(facecolor="#c9d6e2", edgecolor=SOFT, linewidth=0.4, alpha=1)
        if len(known):
            axes.plot([np.median(known)] * 2, [y - 0.36, y + 0.36], color=INK, linewidth=1.1, zorder=3)
        for o, mean in enumerate(means):
            c = category(scores.optimizers[o], dict(zip(scores.optimizers, scores.categories, strict=True)))
            if np.isfinite(mean):
                style = {"color": COLOURS[c], "marker": MARKERS[c], "markersize": 2.4, "markeredgewidth": 0}
                # the markers of the categories stand beside each other
                lane = 0.12 * ("abcd".find(c) - 1.5) if c in "abcd" else 0.0
                axes.plot([mean], [y + lane], linestyle="", alpha=0.85, zorder=4, **style)
        _counts(axes, y, len(known), int(np.isin(scores.status[y], ("diverged", "partial")).sum()))
    _rows(axes, [backbone_label(b) for b in scores.backbones])
    axes.set_xlabel(f"{scores.metric} in points", fontsize=SMALL, color=INK, labelpad=2)
    category_legend(axes, scores.optimizers, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=1, labelspacing=0.15)
    title(figure, f"Scores over optimizers · {scores.dataset}")
    spread = "each value averages trials whose spread is unknown" if scores.trials_per_value > 1 else "means over seeds"
    right = "Right: n optimizers with a score; ✕: how many diverged in some run."
    footnote(figure, f"{len(scores.optimizers)} optimizers; {spread}; bar: median. {right}")
    return figure


def boxes(found: Robustness, by: Literal["backbone", "optimizer"], dataset: str = "") -> Figure:
    """Draws box plots of the tuning distance, over the optimizers of each backbone or the backbones of each optimizer.

    Every pair is a point, equal ones side by side; a triangle is a pair whose best trial lies at the edge of its grid,
    so that its distance is a lower bound.
    """
    groups = found.by_backbone if by == "backbone" else found.by_optimizer
    figure = new_figure(COLUMN, 1.05 + ROW * max(len(groups), 3))
    axes = figure.add_subplot()
    _boxes(axes, groups)
    label = backbone_label if by == "backbone" else optimizer_label
    _rows(axes, [label(g.name) for g in groups])
    largest = max((v for g in groups for v in g.values.values()), default=0)
    axes.set_xlim(-0.4, max(largest, 2) + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(TICKS, integer=True, steps=[1, 2, 5, 10]))
    unit = "steps of the grid" if not found.ungridded else "steps of the grid, or factors of 3,"
    axes.set_xlabel(f"{unit} from the mode", fontsize=SMALL, color=INK, labelpad=2)
    other = "optimizers" if by == "backbone" else "backbones"
    title(figure, f"Tuning distance of each {by}" + (f" · {dataset}" if dataset else ""))
    what = "|Δ lr| + |Δ weight decay|" if found.decay_tuned else "|Δ lr| (one weight decay was tried)"
    text = (
        f"{what} from the {by}'s mode, whole steps (points of one step stand side by side); box: quartiles, bar: "
        "median; ▲: best trial at the edge of its grid."
    )
    if found.ungridded:
        text += f" {found.ungridded} pair(s) were tried on no grid: whole factors of 3 from the centre stand for steps."
    if found.left_out:
        text += f" {len(found.left_out)} pair(s) without a completed trial are left out."
    footnote(figure, f"{text} Right: n {other}.")
    return figure


def _boxes(axes: Axes, groups: Sequence[Distances]) -> None:
    """Draws all boxes, bars and points at once: an artist for each point takes seconds with 400 pairs."""
    if not groups:
        return
    box = {"facecolor": "#c9d6e2", "edgecolor": SOFT, "linewidth": 0.5}
    line = {"color": SOFT, "linewidth": 0.5}
    axes.boxplot(
        [list(group.values.values()) for group in groups],
        positions=range(len(groups)),
        orientation="horizontal",
        widths=0.62,
        patch_artist=True,
        showfliers=False,
        boxprops=box,
        whiskerprops=line,
        capprops=line,
        medianprops={"linewidth": 0},
    )
    points: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for y, group in enumerate(groups):
        values = list(group.values.values())
        # the bar is longer than the box is high: many points lie on the median and would hide a shorter bar
        bar = {"color": INK, "linewidth": 1.6, "solid_capstyle": "butt", "zorder": 3}
        axes.plot([np.median(values)] * 2, [y - 0.42, y + 0.42], **bar)
        members = sorted(group.values, key=lambda m: m in group.edges)
        for member, (x, place) in zip(members, swarm([group.values[m] for m in members]), strict=True):
            points[member in group.edges].append((x, y + place))
        _counts(axes, y, len(values), 0)
    for edge, colour, marker in ((False, COLOURS["b"], "o"), (True, WARN, "^")):
        if points[edge]:
            at = {"markersize": 2.2, "markeredgewidth": 0, "zorder": 4}
            axes.plot(*zip(*points[edge], strict=True), linestyle="", marker=marker, color=colour, **at)


def swarm(values: Sequence[int]) -> list[tuple[float, float]]:
    """Places whole numbers for drawing, so that equal ones stand beside each other in the same order.

    Returns:
        (x, offset across): columns of four around the number itself, offsets from −0.24 to 0.24 of a row.
    """
    found: list[tuple[float, float]] = []
    for i, value in enumerate(values):
        count, place = values.count(value), values[:i].count(value)
        columns = -(-count // SWARM)
        in_column = min(SWARM, count - place // SWARM * SWARM)
        x = value + 0.075 * (place // SWARM - (columns - 1) / 2)
        found.append((x, 0.16 * (place % SWARM - (in_column - 1) / 2)))
    return found


def _counts(axes: Axes, y: int, n: int, failed: int) -> None:
    """Writes n and the number of failures at the right end of each row."""
    text, colour = (f"{n} ✕{failed}", WARN) if failed else (str(n), SOFT)
    axes.text(1.01, y, text, transform=axes.get_yaxis_transform(), fontsize=SMALL, color=colour, va="center")


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """Writes the names of the rows, from the top."""
    tidy(axes)
    axes.set_yticks(range(len(names)), [short(name, 16) for name in names], fontsize=SMALL)
    axes.set_ylim(max(len(names), 1) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", linewidth=0.3, color=FAINT)
