"""The common style of all figures: sizes, colours, markers, labels that do not collide, and the bytes of a file."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bocb_hf.coupling.scores import category_of
from bocb_hf.optim import CATEGORIES

COLUMN = 3.3  # width in inches of one column of a two-column paper
PAGE = 6.9  # width in inches of both columns
SMALL = 6.0  # size in points of the smallest text
PER_INCH, TITLE_PER_INCH = 22, 14  # number of letters in an inch of the smallest text, and of a title
TEXT = 6.5
TITLE = 7.5
INK = "#222222"
SOFT = "#5f5f5f"
FAINT = "#d9d9d9"
MISSING = "#ececec"
WARN = "#D55E00"
DPI = 300

# Okabe and Ito (2008): told apart with every common form of colour blindness
COLOURS: Mapping[str, str] = {"a": "#D55E00", "b": "#0072B2", "c": "#009E73", "d": "#8A5A83", "unknown": "#5f5f5f"}
MARKERS: Mapping[str, str] = {"a": "o", "b": "s", "c": "^", "d": "D", "unknown": "X"}
_DASHES: Sequence[Any] = (
    *("-", (0, (4, 1.2)), (0, (1, 1)), (0, (5, 1, 1, 1))),
    *((0, (2.5, 1)), (0, (7, 1.5, 1, 1.5, 1, 1.5)), (0, (9, 2)), (0, (3, 3))),
)


def short(label: str, letters: int) -> str:
    """Returns a label, or only its beginning where it is too long for its place."""
    return label if len(label) <= letters else label[: letters - 1] + "…"


def new_figure(width: float, height: float) -> Figure:
    """Makes an empty white figure of a size in inches."""
    return Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")


def category(optimizer: str, known: Mapping[str, str] | None = None) -> str:
    """Returns the category of an optimizer, which decides its colour and its marker."""
    if known and optimizer in known:
        return known[optimizer] if known[optimizer] in COLOURS else "unknown"
    return category_of(optimizer)


def dashes(optimizers: Sequence[str]) -> dict[str, Any]:
    """Returns a dash pattern for each optimizer, different within a category as far as there are patterns."""
    seen: dict[str, int] = {}
    found: dict[str, Any] = {}
    for optimizer in optimizers:
        place = seen.get(category(optimizer), 0)
        seen[category(optimizer)] = place + 1
        found[optimizer] = _DASHES[place % len(_DASHES)]
    return found


def tidy(axes: Axes) -> None:
    """Gives axes thin lines on the left and lower side only, and a pale grid across."""
    axes.tick_params(labelsize=SMALL, length=2, width=0.5, pad=2, colors=INK)
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_linewidth(0.5)
        spine.set_color(SOFT)
    axes.grid(axis="x", linewidth=0.4, color=FAINT)
    axes.set_axisbelow(True)


def title(figure: Figure, text: str) -> None:
    """Writes a title over the whole figure, at its left edge."""
    text = textwrap.fill(text, max(20, int(figure.get_figwidth() * TITLE_PER_INCH)))
    figure.suptitle(text, fontsize=TITLE, weight="bold", x=0.01, ha="left", color=INK)


def wrap(text: str, inches: float) -> str:
    """Breaks each line of a text in the smallest size to a width."""
    return "\n".join(textwrap.fill(line, max(20, int(inches * PER_INCH))) for line in text.splitlines())


def footnote(figure: Figure, text: str) -> None:
    """Writes below the figure what a reader must know to read it."""
    text = wrap(text, figure.get_figwidth() - 0.1)
    figure.supxlabel(text, fontsize=SMALL, color=SOFT, x=0.01, ha="left", linespacing=1.25)


def category_legend(axes: Axes, optimizers: Iterable[str], **options: Any) -> None:
    """Draws a legend with colour and marker of each category that occurs."""
    present = {category(o) for o in optimizers}
    handles = [
        Line2D([], [], color=COLOURS[c], marker=MARKERS[c], linestyle="", markersize=3.2, markeredgewidth=0)
        for c in COLOURS
        if c in present
    ]
    names = [f"({c}) {CATEGORIES[c]}" if c in CATEGORIES else "no category" for c in COLOURS if c in present]
    axes.legend(handles, names, fontsize=SMALL, frameon=False, handletextpad=0.2, borderpad=0, **options)


def label_ends(figure: Figure, axes: Axes, ends: Sequence[tuple[str, str, float, float]]) -> None:
    """Names lines at the right of the axes, each as near to its end as the others allow.

    Args:
        figure: The figure, with all else drawn; its layout is fixed here.
        axes: The axes that hold the lines.
        ends: (name, colour, x, y) of each line's end, in data coordinates.
    """
    if not ends:
        return
    longest = max(len(name) for name, _, _, _ in ends)
    room = (longest * SMALL * 0.6 + 16) / 72 / figure.get_figwidth()
    figure.get_layout_engine().set(rect=(0, 0, 1 - room, 1))  # pyright: ignore - our figures have one
    figure.draw_without_rendering()  # the place of the axes is known only after drawing
    figure.set_layout_engine("none")
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = [float(to_axes.transform((x, y))[1]) for _, _, x, y in ends]
    step = SMALL * 1.18 / 72 / (figure.get_figheight() * axes.get_position().height)
    for (name, colour, x, y), place in zip(ends, spread(heights, step, 0.0, 1.0), strict=True):
        axes.annotate(
            name,
            (x, y),
            xytext=(1.06, place),
            textcoords="axes fraction",
            fontsize=SMALL,
            color=colour,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.4,
                "alpha": 0.6,
                "relpos": (0, 0.5),
                "patchA": None,  # without this, a steep line would end early, beside another name
                "shrinkA": 0,
                "shrinkB": 1,
            },
        )


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Moves places apart until neighbours keep a gap, in their order, as near to where they were as that allows.

    Args:
        places: Places where labels would stand, in any order.
        gap: Smallest distance between neighbours.
        low: Lowest place of the first label.
        high: Highest place of the last label, unless there is not enough room.
    """
    order = sorted(range(len(places)), key=lambda i: places[i])
    # each group is (sum of wanted starts, members); groups are pooled while they overlap
    groups: list[list[float]] = []
    for i in order:
        groups.append([places[i], 1])
        while len(groups) > 1:
            (first, n), (second, m) = groups[-2], groups[-1]
            if second / m - first / n >= gap * (n + m) / 2:
                break
            groups[-2:] = [[first + second, n + m]]
    found = [0.0] * len(places)
    start, taken = low, 0
    for total, members in groups:
        first = max(total / members - gap * (members - 1) / 2, start)
        for k in range(int(members)):
            found[order[taken + k]] = first + gap * k
        taken += int(members)
        start = first + gap * members
    excess = max(found, default=high) - high
    if excess > 0:  # labels that stand above the top are pushed back
        limit = high
        for i in reversed(order):
            found[i] = min(found[i], limit)
            limit = found[i] - gap
    return found


def figure_bytes(figure: Figure, kind: Literal["png", "svg"]) -> bytes:
    """Returns the figure as the bytes of a file; equal figures give equal bytes."""
    buffer = io.BytesIO()
    metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
    with mpl.rc_context({"svg.hashsalt": "bocb", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()
