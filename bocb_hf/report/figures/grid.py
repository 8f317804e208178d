"""The heat-map table: optimizers × backbones, with marks for the best, for failures, and for what did not run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import NDArray

from bocb_hf.coupling.marks import BEST, NEAR, Marks
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.report.figures.style import COLUMN, DPI, INK, MISSING, PAGE, SMALL, SOFT, TEXT, TITLE, WARN, short, wrap
from bocb_hf.report.words.tables import backbone_label, interval_words, optimizer_label, reach_text

ROOMY = 8  # largest number of backbones with which a cell holds its interval and n
ACROSS = 20  # largest number of backbones beside each other on a page; the others come below
TOP = 4
_RANKS = " ②③④"  # by the rank of a cell; the first has its ★ from the marks
_LEFT, _RIGHT, _HEAD, _SCALE, _LABELS = 0.62, 0.05, 0.2, 0.36, 0.42  # inches of margin around the grid


def heatmap(scores: ScoreTable, marks: Marks | None = None, split: str = "test", note: str = "") -> Figure:
    """Draws optimizers × backbones; the colour is the distance to the best optimizer of the same backbone.

    Colours compare within a column only. The scale is a square root, so that one collapsed cell does not make all the
    others look alike. Cells without a number have no colour of the scale: those that diverged are hatched, missing ones
    grey. With up to eight backbones a cell shows mean, half interval and n; with more, the mean. Without noise to go
    by, the next three of many optimizers have their rank. With more than twenty backbones, the others follow below.

    Args:
        scores: The scores that are shown.
        marks: The intervals and flags of the scores.
        split: Name of the split, for the title.
        note: A further line below the grid.
    """
    marks = marks or Marks.none(scores)
    blocks = _blocks(len(scores.backbones))
    roomy, count = len(scores.backbones) <= ROOMY, len(scores.optimizers)
    width = COLUMN if len(scores.backbones) <= 4 else PAGE
    cell = min((width - _LEFT - _RIGHT) / len(blocks[0]), 1.0)
    height = 0.36 if roomy else 0.2
    block_height = _LABELS + height * count
    legend = wrap("\n".join(filter(None, (_legend(scores, marks, roomy), note))), width - 0.1)
    foot = _SCALE + 0.05 + 0.104 * len(legend.splitlines())
    total = _HEAD + block_height * len(blocks) + foot
    figure = Figure(figsize=(width, total), dpi=DPI, facecolor="white")
    gaps = _gaps(scores)
    worst = float(np.nanmax(gaps)) if np.isfinite(gaps).any() else 0.0
    norm = PowerNorm(0.5, vmin=0, vmax=max(5.0, math.ceil(worst)))
    colours = ScalarMappable(norm, mpl.colormaps["cividis_r"])
    for number, block in enumerate(blocks):
        bottom = foot + block_height * (len(blocks) - 1 - number)
        box = (_LEFT / width, bottom / total, cell * len(block) / width, height * count / total)
        axes = figure.add_axes(box)
        for x, b in enumerate(block):
            _draw_column(axes, x, b, scores, marks, gaps[b], colours, roomy)
        _label(axes, [backbone_label(scores.backbones[b]) for b in block], scores.optimizers, roomy)
    head = f"{split.capitalize()} {scores.metric} in points · {scores.dataset}, {scores.setting}"
    head += f", from {scores.start}" if scores.start else ""
    figure.text(0.06 / width, 1 - 0.07 / total, head, fontsize=TITLE, weight="bold", va="top", color=INK)
    scale = figure.add_axes((_LEFT / width, (foot - 0.15) / total, min(2.4, width - _LEFT - 0.2) / width, 0.07 / total))
    bar = figure.colorbar(colours, cax=scale, orientation="horizontal", ticks=_ticks(norm))
    bar.ax.tick_params(labelsize=SMALL, length=2, pad=1.5)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue] - an artist
    below: dict[str, Any] = {"va": "bottom", "color": SOFT, "linespacing": 1.2}
    figure.text(0.06 / width, 0.05 / total, legend, fontsize=SMALL, **below)
    return figure


def ranks(scores: ScoreTable) -> NDArray[np.int64]:
    """Returns the rank of each ranked cell in its backbone, 1 for the best, ties alike; 0 for others; shape (B, O)."""
    means = scores.means
    better = (means[:, None, :] > means[:, :, None]).sum(axis=2)
    return np.where(np.isfinite(means), better + 1, 0).astype(np.int64)


def _gaps(scores: ScoreTable) -> NDArray[np.float64]:
    """Returns points below the best of the backbone, NaN for cells that are not ranked."""
    means = scores.means
    best = np.where(np.isfinite(means), means, -np.inf).max(axis=1, keepdims=True)
    return np.where(np.isfinite(means), best - np.where(np.isfinite(means), means, 0.0), np.nan)


def _blocks(backbones: int) -> list[range]:
    return [range(start, min(start + ACROSS, backbones)) for start in range(0, backbones, ACROSS)]


def _draw_column(
    axes: Axes, x: int, b: int, scores: ScoreTable, marks: Marks, gaps: Any, colours: ScalarMappable, roomy: bool
) -> None:
    """Draws the cells of one backbone from the corner (x, 0) downwards."""
    place = ranks(scores.select(backbones=[scores.backbones[b]]))[0]
    top = TOP if _ranks_shown(scores, marks) else 1
    for y in range(len(scores.optimizers)):
        status, gap = str(scores.status[b, y]), float(gaps[y])
        sign = str(marks.signs[b, y])
        style, ink, bold = _style(status, gap, colours), INK, sign == BEST
        if math.isfinite(gap):
            red, green, blue = style["facecolor"][:3]
            ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"
        axes.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, linewidth=0, **style))
        if marks.failed is not None and marks.failed[b, y] and math.isfinite(gap):
            corner = [(x + 0.98, y + 0.03), (x + 0.98, y + 0.42), (x + (0.86 if roomy else 0.72), y + 0.03)]
            axes.add_patch(Polygon(corner, facecolor=WARN, edgecolor="white", linewidth=0.4))
        rank = sign or (_RANKS[place[y] - 1] if 1 < place[y] <= top else "")
        value, below = _texts(scores, marks, b, y, rank, roomy)
        halo = {"facecolor": "white", "edgecolor": "none", "pad": 0.6} if "hatch" in style else None
        text: dict[str, Any] = {"ha": "center", "va": "center", "color": ink, "bbox": halo}
        middle = y + (0.34 if below else 0.5)
        axes.text(
            x + 0.5, middle, value, fontsize=TEXT if roomy else SMALL, weight="bold" if bold else "normal", **text
        )
        if below:
            axes.text(x + 0.5, y + 0.72, below, fontsize=SMALL, **text)


def _texts(scores: ScoreTable, marks: Marks, b: int, y: int, rank: str, roomy: bool) -> tuple[str, str]:
    """Returns the upper and the lower line of text of a cell."""
    status, n, diverged = str(scores.status[b, y]), int(scores.n[b, y]), int(scores.diverged[b, y])
    if status == "completed":
        mean = f"{scores.means[b, y]:.1f}"
        if not roomy:
            return f"{rank}{mean}" if rank in (BEST, NEAR) else f"{mean}{rank}", ""
        down, up = marks.ends(b, y)
        if down - up >= 0.05:  # two sides take a line of their own
            return f"{rank} {mean}".lstrip(), f"{reach_text(down, up)} ({n})"
        value = mean + (f" {reach_text(down, up)}" if math.isfinite(up) else "")
        return value, "  ".join(part for part in (rank, f"n = {n}") if part)
    if status == "diverged":
        return ("diverged", f"{diverged}/{diverged}") if roomy else ("div", "")
    if status == "partial":
        mean = f"{np.nanmean(scores.values[b, y]):.1f}"
        return (f"({mean})", f"{diverged} of {n + diverged} diverged") if roomy else (f"({mean})", "")
    return ("interrupted" if roomy else "int", "") if status == "interrupted" else ("–", "")


def _style(status: str, gap: float, colours: ScalarMappable) -> dict[str, Any]:
    if math.isfinite(gap):
        return {"facecolor": tuple(np.asarray(colours.to_rgba(np.array([gap])))[0])}
    if status in ("diverged", "partial"):
        return {"facecolor": "white", "hatch": "//////", "edgecolor": "#b8b8b8"}
    return {"facecolor": MISSING}


def _label(axes: Axes, backbones: Sequence[str], optimizers: Sequence[str], roomy: bool) -> None:
    axes.set(xlim=(0, len(backbones)), ylim=(len(optimizers), 0))
    names = [_wrap(b) if roomy else short(b, 14) for b in backbones]
    turned = {} if roomy else {"rotation": 45, "ha": "left", "rotation_mode": "anchor"}
    axes.set_xticks(np.arange(len(backbones)) + 0.5, names, fontsize=TEXT if roomy else SMALL, **turned)
    axes.set_yticks(np.arange(len(optimizers)) + 0.5, [optimizer_label(o) for o in optimizers], fontsize=TEXT)
    axes.xaxis.tick_top()
    axes.tick_params(length=0, pad=2)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _ranks_shown(scores: ScoreTable, marks: Marks) -> bool:
    """Whether the next three means have their rank: beside Hsu's best sets it would tell cells apart that are not."""
    return marks.rule == "highest_mean" and len(scores.optimizers) > 2 * TOP


def _legend(scores: ScoreTable, marks: Marks, roomy: bool) -> str:
    lines = ["Colour: points below the best optimizer of the same backbone."]
    counts = sorted({int(n) for n in scores.n[scores.ranked].ravel()})
    n = " to ".join(str(v) for v in dict.fromkeys([counts[0], counts[-1]])) if counts else "0"
    halves = marks.halves[np.isfinite(marks.halves)]
    if roomy and halves.size:
        lines.append(interval_words(marks, "over seeds, ") + ("" if marks.below is None else " (n in brackets)"))
    elif halves.size:
        lines.append(f"n = {n}; half of the 95 % interval: median {np.median(halves):.1f}, largest {halves.max():.1f}")
        lines.append(f"intervals {marks.reading}")
    else:
        lines.append(f"n = {n}: no interval, noise cannot be separated")
    lines.append(marks.sign_rule + ("; ② ③ ④ next" if _ranks_shown(scores, marks) else ""))
    states = {"diverged": "hatched: diverged", "partial": "hatched, (mean of survivors): some diverged"}
    seen = [text for status, text in states.items() if (scores.status == status).any()]
    if np.isin(scores.status, ("missing", "interrupted")).any():
        seen.append("grey: not run or not finished")
    if marks.failed is not None and marks.failed.any():
        seen.append(f"corner: {marks.failure_rule or 'failed'}")
    return "\n".join([*lines, "; ".join(seen)] if seen else lines)


def _wrap(label: str) -> str:
    """Breaks a long column label at a bracket or hyphen."""
    if len(label) <= 9:
        return label
    for sign in (" (", "-"):
        if sign in label:
            first, _, second = label.partition(sign)
            return f"{short(first + sign.rstrip(' ('), 13)}\n{short(sign.strip('- ') + second, 13)}"
    return short(label, 13)


def _ticks(norm: Normalize) -> list[float]:
    """Returns round values for the ticks of the colour bar that keep apart on its square-root scale."""
    largest = float(norm.vmax or 1)
    return [0.0, *(t for t in (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0) if t <= largest)]
