"""Every figure. Drawn on ``Figure`` objects, never through pyplot, so that nothing global remembers them."""

from __future__ import annotations

import io
import math
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bocb_hf.coupling.row import Row
from bocb_hf.coupling.table import Table
from bocb_hf.coupling.words import backbone_label, cell_text, mark, optimizer_label

CELL = (0.84, 0.46)  # inches: the text stays readable when a page column shrinks the figure
MISSING = "#ececec"
MARKS = {"*": "★", "~": "☆", "": ""}


def heatmap(table: Table) -> Figure:
    """Optimizers × backbones; the colour is the distance to the best optimizer of the same backbone.

    Colours compare within a column only. The scale is a square root, so that one collapsed cell does not make all the
    others look alike. Cells without a number have no colour of the scale: diverged ones are hatched, missing ones grey.
    """
    rows, columns = len(table.optimizers), len(table.backbones)
    left, right, top, bottom = 0.82, 0.08, 0.74, 0.98  # inches around the grid
    width, height = left + CELL[0] * columns + right, top + CELL[1] * rows + bottom
    figure = Figure(figsize=(max(width, 3.6), height), dpi=220, facecolor="white")
    width = max(width, 3.6)
    axes = figure.add_axes((left / width, bottom / height, CELL[0] * columns / width, CELL[1] * rows / height))
    gaps = [gap for row in table.rows if (gap := _gap(table, row)) is not None]
    norm = PowerNorm(0.5, vmin=0, vmax=max(5.0, math.ceil(max(gaps, default=0.0))))
    colours = ScalarMappable(norm, mpl.colormaps["cividis_r"])
    for x, backbone in enumerate(table.backbones):
        for y, row in enumerate(table.column(backbone)):
            _draw_cell(axes, x, y, row, mark(table, row), _gap(table, row), colours)
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    axes.set_xticks(np.arange(columns) + 0.5, [_wrap(backbone_label(b)) for b in table.backbones], fontsize=7.5)
    axes.set_yticks(np.arange(rows) + 0.5, [optimizer_label(o) for o in table.optimizers], fontsize=7.5)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    title = f"{table.split.capitalize()} top-1 in points · {table.dataset}, {table.setting}"
    figure.text(0.08 / width, 1 - 0.1 / height, title, fontsize=8, weight="bold", va="top")
    scale = figure.add_axes((left / width, 0.66 / height, CELL[0] * columns / width, 0.1 / height))
    bar = figure.colorbar(colours, cax=scale, orientation="horizontal", ticks=_ticks(norm))
    bar.ax.tick_params(labelsize=6.5, length=2, pad=1.5)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    legend = (
        "Colour: points below the best optimizer of the same backbone.\n"
        "mean ± half of the 95 % interval over seeds (n)   –  not run\n"
        "★ best of the column   ☆ inside the interval of the best"
    )
    figure.text(0.08 / width, 0.06 / height, legend, fontsize=6.2, va="bottom", color="#333333", linespacing=1.25)
    return figure


def figure_bytes(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """The figure as a file; equal figures give equal bytes."""
    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": "bocb", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def _gap(table: Table, row: Row) -> float | None:
    """Points below the best of the backbone; None for a cell that is not ranked or not shown."""
    best = table.best(row.cell.backbone)
    if not row.shown or best is None or best.mean is None or row.mean is None:
        return None
    return best.mean - row.mean


def _draw_cell(axes: Any, x: int, y: int, row: Row, marked: str, gap: float | None, colours: ScalarMappable) -> None:
    """One rectangle with its text; (x, y) is its corner in cells."""
    style: dict[str, Any]
    if gap is not None:
        face = np.asarray(colours.to_rgba(np.array([gap])))[0]
        ink = "white" if face[:3] @ (0.299, 0.587, 0.114) < 0.5 else "black"
        style = {"facecolor": face}
    elif row.status in ("diverged", "partial"):
        ink = "black"
        style = {"facecolor": "white", "hatch": "////", "edgecolor": "#b8b8b8"}
    else:
        ink = "#444444"
        style = {"facecolor": MISSING}
    axes.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, linewidth=0, **style))
    value, _, count = cell_text(row).partition(" (")
    below = "  ".join(part for part in (MARKS[marked], f"n = {count.rstrip(')')}" if count else "") if part)
    value, _, ended = value.partition("diverged ") if value.startswith("diverged") else (value, "", "")
    halo = {"facecolor": "white", "edgecolor": "none", "pad": 1.2} if "hatch" in style else None
    if row.status == "diverged":
        value, below = "diverged", ended
    elif row.status == "partial":
        below = f"{row.diverged} of {row.n + row.diverged} diverged"
    text = {"ha": "center", "va": "center", "color": ink, "bbox": halo}
    weight = "bold" if marked == "*" else "normal"
    axes.text(x + 0.5, y + (0.36 if below else 0.5), value, fontsize=7.5, weight=weight, **text)
    axes.text(x + 0.5, y + 0.73, below, fontsize=6 if row.status != "partial" else 5.4, **text)


def _wrap(label: str) -> str:
    """Breaks a long column label at its hyphens."""
    return label.replace("-", "-\n", 1) if len(label) > 11 else label


def _ticks(norm: Normalize) -> list[float]:
    """Round values that stand apart on the square-root scale."""
    largest = float(norm.vmax or 1)
    return [0.0, *(t for t in (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0) if t <= largest)]
