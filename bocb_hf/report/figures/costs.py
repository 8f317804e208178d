"""Figures of what a score costs: the Pareto front, and the expected best score against the number of trials."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from bocb_hf.coupling.pareto import AXES, Front, Point
from bocb_hf.coupling.trials import Expected, TrialCurve
from bocb_hf.report.figures.style import (
    COLOURS,
    COLUMN,
    FAINT,
    INK,
    MARKERS,
    SMALL,
    SOFT,
    category,
    dashes,
    footnote,
    label_ends,
    new_figure,
    tidy,
    title,
)
from bocb_hf.report.words.tables import backbone_label, optimizer_label

TICKS = 25  # largest number of trials that each have a tick
POINTS = 30  # largest number of points of a line


def pareto_front(front: Front, metric: str) -> Figure:
    """Draws the score against its cost for one backbone: the front as a staircase, other cells pale.

    Bars are intervals of 95 %. Optimizers without a place (diverged, not run, not tuned) are listed below the axes.

    Args:
        front: The front.
        metric: What a score is, such as ``top-1`` or ``AP``.
    """
    figure = new_figure(COLUMN, 2.75)
    axes = figure.add_subplot()
    tidy(axes)
    axes.grid(axis="y", linewidth=0.4, color=FAINT)
    for point in front.points:
        _draw_point(axes, point)
    best = [p for p in front.points if p.on_front]
    if len(best) > 1:
        steps: dict[float, float] = {}
        for p in best:
            steps[p.cost] = p.mean
        x, y = list(steps), list(steps.values())
        axes.plot(np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1], color=SOFT, linewidth=0.8, zorder=1)
    costs = [p.cost for p in front.points if p.cost > 0]
    if costs and max(costs) > 8 * min(costs):
        axes.set_xscale("log")
    axes.margins(0.12, 0.15)
    axes.set_xlabel(AXES[front.axis], fontsize=SMALL, color=INK, labelpad=2)
    axes.set_ylabel(f"test {metric} in points", fontsize=SMALL, color=INK, labelpad=2)
    title(figure, f"What {metric} costs · {backbone_label(front.backbone)}")
    counts = sorted({p.n for p in front.points})
    n = f"n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "") if counts else "no completed cell"
    lines = [f"Filled, bold: on the front. Bars: 95 % over seeds, {front.reading}; {n}."]
    if front.left_out:
        lines.append(
            "Without a place: " + ", ".join(f"{optimizer_label(o)} ({why})" for o, why in front.left_out.items())
        )
    lines += [f"Caution: {caveat}." for caveat in front.caveats]
    footnote(figure, "\n".join(lines))
    if front.points:
        _name_points(figure, axes, front.points)
    else:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no cell has a place", transform=axes.transAxes, ha="center", fontsize=SMALL, color=SOFT)
    return figure


def trial_figure(curves: Sequence[TrialCurve], dataset: str = "") -> Figure:
    """Draws the expected shortfall of the best of k trials, a line for each optimizer, with 95 % intervals as bars."""
    figure = new_figure(COLUMN, max(2.4, 1.0 + 0.11 * len(curves)))
    axes = figure.add_subplot()
    tidy(axes)
    axes.grid(axis="y", linewidth=0.4, color=FAINT)
    patterns = dashes([c.optimizer for c in curves])
    for i, curve in enumerate(curves):
        points = shown(curve.points)
        k = np.array([p.k for p in points], np.float64)
        y = np.array([p.shortfall for p in points])
        c = category(curve.optimizer)
        line = {"color": COLOURS[c], "linestyle": patterns[curve.optimizer], "linewidth": 0.9}
        axes.plot(k, y, marker=MARKERS[c], markersize=2.4, markeredgewidth=0, **line)
        # lines are shifted so that their bars stand beside each other
        shift = (i - (len(curves) - 1) / 2) * 0.16 / max(len(curves), 1)
        bars = [(p.k + shift, p.interval) for p in points if p.interval is not None]
        if bars:
            x, low, high = zip(*((x, max(ends.low, 0.0), ends.high) for x, ends in bars), strict=True)
            axes.vlines(x, low, high, colors=COLOURS[c], linewidth=0.5, alpha=0.6)
    most = max((p.k for c in curves for p in c.points), default=1)
    axes.set_xlim(1 - 0.2 * max(most / TICKS, 1), most + 0.2 * max(most / TICKS, 1))
    if most <= TICKS:
        axes.set_xticks(range(1, most + 1))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(TICKS, integer=True))
    _root_scale(axes, max((v for c in curves for p in c.points for v in _reach(p)), default=1.0))
    axes.set_xlabel("trials", fontsize=SMALL, color=INK, labelpad=2)
    axes.set_ylabel("points below the best found", fontsize=SMALL, color=INK, labelpad=2)
    title(figure, "What tuning costs" + (f" · {dataset}" if dataset else ""))
    backbones = sorted({p.backbones for c in curves for p in c.points})
    n = f"{backbones[0]}" + (f" to {backbones[-1]}" if len(backbones) > 1 else "") if backbones else "0"
    lines = [f"Best validation score of k trials drawn without replacement: mean over n = {n} backbones, bars 95 %."]
    if any(p.no_result > 0 for c in curves for p in c.points):
        lines.append("Draws in which every trial diverged have no score; trials.csv gives their share.")
    if any(c.left_out for c in curves):
        lines.append("Backbones without a completed trial of an optimizer are left out of its line.")
    footnote(figure, "\n".join(lines))
    ends = [(optimizer_label(c.optimizer), COLOURS[category(c.optimizer)], c.points[-1]) for c in curves]
    label_ends(figure, axes, [(name, colour, p.k, p.shortfall) for name, colour, p in ends])
    return figure


def shown(points: Sequence[Expected]) -> Sequence[Expected]:
    """Returns the points that a line is drawn through: all up to ``POINTS``, else so many, denser where few trials are.

    The first and the last are always among them.
    """
    if len(points) <= POINTS:
        return points
    places = np.unique(np.round(np.geomspace(1, len(points), POINTS)).astype(int)) - 1
    return [points[place] for place in places.tolist()]


def _reach(point: Expected) -> tuple[float, ...]:
    return (point.shortfall, point.interval.high) if point.interval else (point.shortfall,)


def _root_scale(axes: Axes, largest: float) -> None:
    """Sets a square-root scale from zero, so that one optimizer that fails does not press the others flat."""
    axes.set_yscale("function", functions=(lambda v: np.sqrt(np.maximum(v, 0)), np.square))
    axes.set_ylim(0, max(largest, 1.0) * 1.05)
    ticks = [t for t in (0, 0.5, 1, 2, 5, 10, 20, 40, 80) if t <= max(largest, 1.0)]
    if largest > 10:
        ticks.remove(0.5)
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])


def _draw_point(axes: Axes, point: Point) -> None:
    c = category(point.optimizer)
    colour = COLOURS[c]
    if point.interval is not None:
        ends = [point.interval.low, point.interval.high]
        axes.plot([point.cost] * 2, ends, color=colour, linewidth=0.7, alpha=1 if point.on_front else 0.5, zorder=2)
    face = colour if point.on_front else "white"
    axes.plot([point.cost], [point.mean], marker=MARKERS[c], markersize=4, color=face, markeredgecolor=colour, zorder=3)


def _crosses(box: Bbox, a: Sequence[float], b: Sequence[float]) -> bool:
    """Returns whether a line that runs along an axis meets a box."""
    x, y = sorted((a[0], b[0])), sorted((a[1], b[1]))
    return box.x0 < x[1] and x[0] < box.x1 and box.y0 < y[1] and y[0] < box.y1


def _distance(box: Bbox, point: Sequence[float]) -> float:
    """Returns the distance from a point to the nearest edge of a box; 0 inside the box."""
    across = max(box.x0 - point[0], 0.0, point[0] - box.x1)
    return float(np.hypot(across, max(box.y0 - point[1], 0.0, point[1] - box.y1)))


def _name_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Writes each name beside its point, in a place where it covers neither a point nor another name.

    A line leads back to the point where the name stands far away, or nearer to another point.
    """
    figure.draw_without_rendering()  # the sizes of texts are known only after drawing
    figure.set_layout_engine("none")
    pixel = figure.dpi / 72
    at = [tuple(axes.transData.transform((p.cost, p.mean)).tolist()) for p in points]
    taken = [Bbox.from_bounds(x - 3 * pixel, y - 3 * pixel, 6 * pixel, 6 * pixel) for x, y in at]
    drawn = [np.column_stack([line.get_xdata(), line.get_ydata()]) for line in axes.get_lines()]
    lines = [axes.transData.transform(data).tolist() for data in drawn]
    bars = [(a, b) for line in lines for a, b in pairwise(line)]
    for i in sorted(range(len(points)), key=lambda i: not points[i].on_front):
        text = axes.annotate(
            optimizer_label(points[i].optimizer),
            (points[i].cost, points[i].mean),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=SMALL,
            color=INK if points[i].on_front else SOFT,
            weight="bold" if points[i].on_front else "normal",
            va="center",
            ha="center",
            annotation_clip=False,
        )
        size = text.get_window_extent()
        box, stray = _free_place(figure, axes, i, (size.width, size.height), at, taken, bars)
        centre = (box.x0 + box.x1) / 2 - at[i][0], (box.y0 + box.y1) / 2 - at[i][1]
        text.set_position((centre[0] / pixel, centre[1] / pixel))
        taken.append(box)
        if stray:
            end = np.clip(at[i], (box.x0, box.y0), (box.x1, box.y1))  # the nearest place on the box's edge
            ends = axes.transData.inverted().transform([at[i], end])
            axes.plot(*ends.T, color=SOFT, linewidth=0.4, zorder=2.5, scalex=False, scaley=False, clip_on=False)


def _free_place(
    figure: Figure,
    axes: Axes,
    i: int,
    size: tuple[float, float],
    at: Sequence[Sequence[float]],
    taken: Sequence[Bbox],
    bars: Sequence[tuple[Sequence[float], Sequence[float]]],
) -> tuple[Bbox, bool]:
    """Finds the best box for the name of point i, in pixels, and whether it needs a line that leads back.

    Args:
        figure: The figure that must hold the box.
        axes: The axes that should hold the box.
        i: Index of the point.
        size: Width and height of the name.
        at: Places of all points.
        taken: Boxes of the points, in their order, and of the names so far.
        bars: Lines that run along an axis.
    """
    pixel, (w, h), (x, y) = figure.dpi / 72, size, at[i]
    best, best_cost, best_stray = Bbox.null(), float("inf"), False
    for radius in range(0, 40, 4):
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1)):
            ox = dx * (w / 2 + (4 + radius) * pixel) if dx else 0.0
            oy = dy * (h / 2 + (3 if not dx else 1) * pixel + radius * pixel) if dy else 0.0
            box = Bbox.from_bounds(x + ox - w / 2, y + oy - h / 2, w, h)
            covered = sum(box.overlaps(other) for j, other in enumerate(taken) if j != i)
            covered += 0.5 * sum(_crosses(box, a, b) for a, b in bars)
            inside = axes.bbox.x0 < box.x0 and box.x1 < figure.bbox.x1 and box.y0 > axes.bbox.y0
            own = _distance(box, at[i])
            nearer = any(_distance(box, other) < own + 2 * pixel for j, other in enumerate(at) if j != i)
            cost = covered + (0 if inside else 5) + 0.3 * nearer + radius / 100
            if cost < best_cost:
                best, best_cost, best_stray = box, cost, nearer or own > 9 * pixel
    return best, best_stray
