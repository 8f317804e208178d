"""The picture of a card: training loss and validation accuracy over the steps, one line for each seed."""

# pyright: basic
# matplotlib is only partly typed.

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from bocb_hf.runs.record import RunRecord

CURVES = "curves.png"
# These colours differ in grey too, and for most colour-blind readers (Okabe and Ito 2008).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def draw_curves(finals: Sequence[RunRecord]) -> bytes | None:
    """Draws the curves of final runs.

    Args:
        finals: Records of final runs; equal records give equal bytes.

    Returns:
        A PNG of 960 × 360 pixels, 1440 × 360 with validation accuracy; None when no run has a point.
    """
    shown = sorted((r for r in finals if r.curve.step), key=lambda r: r.seed)
    if not shown:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    validated = [r for r in shown if r.curve.val_step]
    panels = 3 if validated else 2
    figure = Figure(figsize=(4.8 * panels, 3.6), dpi=100)
    FigureCanvasAgg(figure)
    # The margins are fixed, because a layout engine would take longer than all the rest.
    figure.subplots_adjust(left=0.16 / panels, right=1 - 0.04 / panels, bottom=0.15, top=0.9, wspace=0.22)
    axes: list[Any] = [figure.add_subplot(1, panels, i + 1) for i in range(panels)]
    for place, record in enumerate(shown):
        colour = _COLOURS[place % len(_COLOURS)]
        label = f"seed {record.seed}" + ("" if record.status == "completed" else f" ({record.status})")
        curve = record.curve
        _line(axes[0], curve.step, curve.train_loss, colour, label)
        _line(axes[1], curve.step, curve.train_top1, colour, label)
        if record.status == "diverged" and record.stopped_step is not None:
            axes[0].plot(curve.step[-1], curve.train_loss[-1], "x", color=colour, markersize=9)
        if validated and curve.val_step:
            _line(axes[2], curve.val_step, curve.val_top1, colour, label)
    for axis, title in zip(
        axes, ("training loss (nats)", "training top-1 (%)", "validation top-1 (%)")[:panels], strict=True
    ):
        # a title without a given height is placed after all ticks are measured, which takes a third of the time
        axis.set_title(title, fontsize=11, loc="left", y=1.0)
        axis.set_xlabel("step")
        axis.grid(alpha=0.25, linewidth=0.6)
        axis.spines[["top", "right"]].set_visible(False)
    low = min(min(r.curve.train_loss) for r in shown)
    if low > 0:
        axes[0].set_yscale("log")
    axes[0].legend(fontsize=9, frameon=False)
    buffer = io.BytesIO()
    # The file does not name the version of matplotlib, so that rendering anew changes nothing.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _line(axis: Any, x: Sequence[int], y: Sequence[float], colour: str, label: str) -> None:
    marker = "o" if len(x) < 15 else ""
    axis.plot(x, y, color=colour, linewidth=1.4, marker=marker, markersize=3.5, label=label)
