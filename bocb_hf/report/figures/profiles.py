"""Performance profiles: on how many backbones an optimizer comes close to the best, and how soon its runs get there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bocb_hf.coupling.profiles import CLOSE, Profiles
from bocb_hf.coupling.scores import Floats
from bocb_hf.coupling.targets import FACTORS, Times
from bocb_hf.report.figures.style import (
    COLOURS,
    COLUMN,
    FAINT,
    INK,
    SMALL,
    category,
    dashes,
    footnote,
    label_ends,
    new_figure,
    tidy,
    title,
)
from bocb_hf.report.words.tables import fixed, optimizer_label, span

NAMED = 8  # largest number of optimizers whose lines have a colour and a name; the others are pale
_MOST = 20.0  # points below the best at which the axis ends


@dataclass(frozen=True)
class _Line:
    """One optimizer: shares over the axis, with the interval at one place of it (NaN where there is none)."""

    optimizer: str
    x: Floats
    y: Floats
    place: int
    low: float
    high: float


def profile_figure(profiles: Profiles, optimizers: Sequence[str], dataset: str = "") -> Figure:
    """Draws the share of backbones on which an optimizer is within some points of the best.

    Args:
        profiles: The profiles of a table.
        optimizers: Its optimizers, in the same order.
        dataset: Name of the data set, for the title.
    """
    shown = profiles.distances <= _MOST
    place = profiles.at(CLOSE)
    lines = [
        _Line(
            name,
            profiles.distances[shown],
            profiles.share[o, shown],
            place,
            float(profiles.low[o, place]),
            float(profiles.high[o, place]),
        )
        for o, name in enumerate(optimizers)
        if profiles.n[o]
    ]
    figure, axes = _draw(lines)
    axes.set_xscale("function", functions=(lambda v: np.sqrt(np.maximum(v, 0)), np.square))
    axes.set_xlim(0, _MOST)
    ticks = (0, 0.2, 1, 2, 5, 10, 20)
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_xlabel("points below the best of the backbone", fontsize=SMALL, color=INK, labelpad=2)
    axes.set_ylabel("share of backbones", fontsize=SMALL, color=INK, labelpad=2)
    title(figure, "Performance profiles" + (f" · {dataset}" if dataset else ""))
    varied = {
        "backbones": f"Bars at {CLOSE:g} point: 95 % for further backbones of these families.",
        "seeds": f"Bars at {CLOSE:g} point: 95 % over seeds, on these backbones.",
        "": "No interval: n = 1, and too few backbones to draw them again.",
    }[profiles.varied]
    n = span(int(n) for n in profiles.n if n)
    _finish(figure, axes, lines, f"n = {n} backbones. {varied} A diverged cell is infinitely far below.")
    return figure


def time_figure(times: Times, metric: str, dataset: str = "") -> Figure:
    """Draws the share of runs that reach the target within a factor of the steps of the fastest optimizer.

    Args:
        times: Time to target of a table.
        metric: What a score of it is, such as ``top-1`` or ``AP``.
        dataset: Name of the data set, for the title.
    """
    x = np.array(FACTORS)
    middle = FACTORS.index(2.0)
    lines = [
        _Line(o.optimizer, x, o.share, middle, float(o.low[middle]), float(o.high[middle])) for o in times.optimizers
    ]
    figure, axes = _draw(lines)
    axes.set_xscale("log")
    axes.set_xlim(x[0], x[-1])
    axes.set_xticks(x, [f"{f:g}" for f in FACTORS])
    axes.minorticks_off()
    axes.set_xlabel("steps, as a multiple of the fastest optimizer's", fontsize=SMALL, color=INK, labelpad=2)
    axes.set_ylabel("share of runs at the target", fontsize=SMALL, color=INK, labelpad=2)
    title(figure, "Time to target" + (f" · {dataset}" if dataset else ""))
    ends = [fixed(v, 1) for v in sorted(times.targets.values())]
    target = " to ".join(dict.fromkeys([ends[0], ends[-1]]))
    how = "as stated" if times.stated else "what the median optimizer of each backbone ends with"
    note = (
        f"Target: validation {metric} of {target} % ({how}). n = {span(o.runs for o in times.optimizers)} runs each. "
        f"Bars at factor 2: 95 % over {times.varied}. A run that never gets there is in no share."
    )
    _finish(figure, axes, lines, note)
    return figure


def _draw(lines: Sequence[_Line]) -> tuple[Figure, Axes]:
    """Draws the lines as steps, those that are highest at their place in colour."""
    figure = new_figure(COLUMN, 2.6)
    axes = figure.add_subplot()
    tidy(axes)
    axes.grid(axis="y", linewidth=0.4, color=FAINT)
    named = _named(lines)
    patterns = dashes([line.optimizer for line in named])
    for line in lines:
        if line not in named:
            axes.plot(line.x, line.y, color=FAINT, linewidth=0.6, drawstyle="steps-post")
    for i, line in enumerate(named):
        colour = COLOURS[category(line.optimizer)]
        # lines that lie on each other stay visible, and so do their bars
        shift = (i - (len(named) - 1) / 2) * 0.006
        axes.plot(
            line.x,
            line.y + shift,
            color=colour,
            linestyle=patterns[line.optimizer],
            linewidth=0.9,
            drawstyle="steps-post",
        )
        if np.isfinite(line.low):
            x = line.x[line.place] * (1 + 0.06 * (i - (len(named) - 1) / 2))
            axes.plot([x, x], [line.low, line.high], color=colour, linewidth=0.6, alpha=0.7)
    axes.set_ylim(-0.03, 1.05)
    return figure, axes


def _named(lines: Sequence[_Line]) -> list[_Line]:
    order = sorted(lines, key=lambda line: (-float(line.y[line.place]), -float(line.y.mean())))
    return order[:NAMED]


def _finish(figure: Figure, axes: Axes, lines: Sequence[_Line], note: str) -> None:
    named = _named(lines)
    if len(lines) > len(named):
        note += f" The {len(named)} highest there have a name, {len(lines) - len(named)} others are pale."
    footnote(figure, note)
    ends = [
        (optimizer_label(n.optimizer), COLOURS[category(n.optimizer)], float(n.x[-1]), float(n.y[-1])) for n in named
    ]
    label_ends(figure, axes, ends)
