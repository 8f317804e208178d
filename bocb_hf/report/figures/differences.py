"""Figures of differences: ranks that differ, and the interaction that backbone and optimizer effects leave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import scipy.cluster.hierarchy as hierarchy  # pyright: ignore[reportMissingTypeStubs] - scipy has none
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import SymLogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from bocb_hf.report.figures.style import (
    COLOURS,
    COLUMN,
    DPI,
    INK,
    MISSING,
    PAGE,
    SMALL,
    SOFT,
    TITLE,
    category,
    short,
    wrap,
)
from bocb_hf.report.words.tables import backbone_label, optimizer_label, signed


def critical_difference(mean_ranks: Mapping[str, float], cd: float | None, note: str = "") -> Figure:
    """Draws mean ranks on a line; a bar joins optimizers that do not differ by more than the critical difference.

    Args:
        mean_ranks: Mean rank by optimizer, where 1 is best.
        cd: Critical difference of Nemenyi's test; None draws no bars, where the test cannot be done.
        note: A line with the test, its level and the number of backbones.
    """
    order = sorted(mean_ranks, key=lambda o: (mean_ranks[o], o))
    left = order[: math.ceil(len(order) / 2)]
    bars = groups([mean_ranks[o] for o in order], cd) if cd is not None else []
    text = wrap(note, COLUMN - 0.1)
    step, foot = 0.125, 0.1 + 0.104 * len(text.splitlines())
    top, bar_step = 0.5, 0.055
    height = top + bar_step * (len(bars) + 1) + step * len(left) + 0.1 + foot
    figure = Figure(figsize=(COLUMN, height), dpi=DPI, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, COLUMN), ylim=(height, 0))
    axes.axis("off")
    low, high = 1, max(len(order), 2)
    edge = 0.82

    def x(rank: float) -> float:
        return edge + (rank - low) / (high - low) * (COLUMN - 2 * edge)

    axes.text(0.04, 0.11, "Mean rank over backbones (1 is best)", fontsize=TITLE, weight="bold", color=INK, va="center")
    axes.plot([x(low), x(high)], [top, top], color=INK, linewidth=0.8)
    for tick in _ticks(high):
        axes.plot([x(tick)] * 2, [top, top - 0.04], color=INK, linewidth=0.6)
        axes.text(x(tick), top - 0.06, str(tick), fontsize=SMALL, ha="center", va="bottom", color=INK)
    if cd is not None:
        start = x(low)
        end = min(x(low + cd), COLUMN - 0.1)
        axes.plot([start, end], [0.26, 0.26], color=SOFT, linewidth=1.4, solid_capstyle="butt")
        axes.text(end + 0.04, 0.26, f"CD = {cd:.2f}", fontsize=SMALL, va="center", color=SOFT)
    for i, (first, last) in enumerate(bars):
        y = top + bar_step * (i + 1)
        span = [x(mean_ranks[order[first]]) - 0.025, x(mean_ranks[order[last]]) + 0.025]
        axes.plot(span, [y, y], color=INK, linewidth=1.8, solid_capstyle="butt")
    base = top + bar_step * (len(bars) + 1) + 0.06
    for i, name in enumerate(order):
        on_left = i < len(left)
        y = base + step * (i if on_left else len(order) - 1 - i)
        end = edge - 0.06 if on_left else COLUMN - edge + 0.06
        colour = COLOURS[category(name)]
        axes.plot([x(mean_ranks[name]), x(mean_ranks[name]), end], [top, y, y], color=colour, linewidth=0.6)
        label = f"{optimizer_label(name)} {mean_ranks[name]:.1f}"
        place, side = (end - 0.03, "right") if on_left else (end + 0.03, "left")
        axes.text(place, y, label, fontsize=SMALL, va="center", ha=side, color=INK)
    axes.text(0.04, height - 0.05, text, fontsize=SMALL, color=SOFT, va="bottom", linespacing=1.2)
    return figure


def groups(ranks: Sequence[float], cd: float) -> list[tuple[int, int]]:
    """Returns the longest stretches (first, last) of ascending ranks within the critical difference, of two or more."""
    found: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(i for i in range(first, len(ranks)) if ranks[i] - ranks[first] <= cd)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def interaction(
    residuals: NDArray[np.float64],
    backbones: Sequence[str],
    optimizers: Sequence[str],
    clear: NDArray[np.bool_] | None = None,
    note: str = "",
    dataset: str = "",
) -> Figure:
    """Draws residuals after backbone and optimizer effects, with rows and columns that are alike side by side.

    Purple cells are better than the two effects lead to expect, orange cells worse; the scale is linear up to one point
    and logarithmic beyond, so that collapsed cells do not hide the others.

    Args:
        residuals: Residuals in points, shape (B, O); NaN for cells without one.
        backbones: Names of the rows of ``residuals``, which are drawn as columns.
        optimizers: Names of the columns of ``residuals``, which are drawn as rows.
        clear: Cells whose simultaneous interval excludes zero, shape (B, O); None where noise is unknown.
        note: A line that says what the residuals are of, and how the intervals came about.
        dataset: Name of the data set, for the title.
    """
    column_order, row_order = cluster(residuals), cluster(residuals.T)
    wide = len(backbones) > 8
    width = PAGE if wide else COLUMN
    left, head, labels = 0.62, 0.22, 0.55
    cell = min((width - left - 0.45) / len(backbones), 0.6)
    row = 0.2
    unclear = "n = 1: noise cannot be separated from it"
    lines = [
        "Points beyond backbone + optimizer; order: average linkage of the residuals.",
        "dot in the corner: simultaneous interval excludes zero" if clear is not None else unclear,
        *([note] if note else []),
        *(["–: no mean (diverged in some run, or not run)"] if np.isnan(residuals).any() else []),
    ]
    text = wrap("\n".join(lines), width - 0.1)
    foot = 0.5 + 0.104 * len(text.splitlines())
    height = head + labels + row * len(optimizers) + foot
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    box = (left / width, foot / height, cell * len(backbones) / width, row * len(optimizers) / height)
    axes = figure.add_axes(box)
    largest = float(np.nanmax(np.abs(residuals))) if np.isfinite(residuals).any() else 1.0
    norm = SymLogNorm(1.0, vmin=-max(largest, 2.0), vmax=max(largest, 2.0), base=10)
    colours = ScalarMappable(norm, mpl.colormaps["PuOr"])
    for x, b in enumerate(column_order):
        for y, o in enumerate(row_order):
            _draw_residual(axes, x, y, float(residuals[b, o]), clear is not None and bool(clear[b, o]), colours)
    axes.set(xlim=(0, len(backbones)), ylim=(len(optimizers), 0))
    names = [short(backbone_label(backbones[b]), 14) for b in column_order]
    turned = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"}
    axes.set_xticks(np.arange(len(names)) + 0.5, names, fontsize=SMALL, **turned)
    axes.set_yticks(
        np.arange(len(optimizers)) + 0.5, [optimizer_label(optimizers[o]) for o in row_order], fontsize=SMALL
    )
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)
    head_text = "Interaction" + (f" · {dataset}" if dataset else "")
    figure.text(0.06 / width, 1 - 0.07 / height, head_text, fontsize=TITLE, weight="bold", va="top", color=INK)
    scale = figure.add_axes((left / width, (foot - 0.2) / height, min(2.4, width - left - 0.3) / width, 0.07 / height))
    bar = figure.colorbar(colours, cax=scale, orientation="horizontal", ticks=_symmetric(largest))
    bar.ax.set_xticklabels([f"{t:+g}".replace("-", "−") if t else "0" for t in _symmetric(largest)])
    bar.ax.tick_params(labelsize=SMALL, length=2, pad=1.5)
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue] - an artist
    figure.text(0.06 / width, 0.05 / height, text, fontsize=SMALL, color=SOFT, va="bottom", linespacing=1.2)
    return figure


def _draw_residual(axes: Axes, x: int, y: int, value: float, clear: bool, colours: ScalarMappable) -> None:
    """Draws one cell from the corner (x, y) downwards; NaN is a cell without a residual."""
    known = math.isfinite(value)
    red, green, blue, _ = np.asarray(colours.to_rgba(np.array([value])))[0] if known else np.ones(4)
    face = (float(red), float(green), float(blue)) if known else MISSING
    axes.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, facecolor=face, linewidth=0))
    ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK
    shown = "–" if not known else "0.0" if abs(value) < 0.05 else signed(value)
    axes.text(x + 0.5, y + 0.54, shown, fontsize=SMALL, ha="center", va="center", color=ink)
    if clear and known:
        axes.plot([x + 0.9], [y + 0.16], marker="o", markersize=1.8, markeredgewidth=0, color=ink)


def cluster(rows: NDArray[np.float64]) -> list[int]:
    """Returns an order of rows in which similar ones are neighbours: average linkage, leaves in the best order.

    Rows are compared on a logarithmic scale of points, as the colours are; a missing value counts as no interaction.
    """
    if len(rows) < 3:
        return list(range(len(rows)))
    values = np.nan_to_num(rows)
    squeezed = np.sign(values) * np.log1p(np.abs(values))
    linkage = hierarchy.linkage(squeezed, "average", optimal_ordering=True)
    return [int(i) for i in hierarchy.leaves_list(linkage)]


def _ticks(high: int) -> list[int]:
    step = 1 if high <= 6 else 5 if high > 12 else 2
    ticks = [1, *range(step if step > 1 else 2, high + 1, step)]
    ticks = [t for t, following in pairwise([*ticks, 10**6]) if following - t > 0]
    return [*ticks, high] if high - ticks[-1] > step / 2 else [*ticks[:-1], high]


def _symmetric(largest: float) -> list[float]:
    ticks = [t for t in (1.0, 3.0, 10.0, 30.0) if t <= max(largest, 2.0)]
    return [*(-t for t in reversed(ticks)), 0.0, *ticks]
