"""The picture of a card: training loss and validation accuracy over the steps, one line for each seed."""

from __future__ import annotations

from collections.abc import Sequence

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
    from bocb_hf.store.cards.panels import Line, Panel, draw_panels

    losses, hits, validated = list[Line](), list[Line](), list[Line]()
    for place, record in enumerate(shown):
        colour, curve = _COLOURS[place % len(_COLOURS)], record.curve
        label = f"seed {record.seed}" + ("" if record.status == "completed" else f" ({record.status})")
        ends = record.status == "diverged" and record.stopped_step is not None
        losses.append(Line(curve.step, curve.train_loss, colour, label, cross=ends))
        if curve.train_top1:
            hits.append(Line(curve.step, curve.train_top1, colour, label))
        if curve.val_step:
            validated.append(Line(curve.val_step, curve.validated, colour, label))
    above_zero = min(min(line.y) for line in losses) > 0
    metric = shown[0].metrics.name
    unit = " (nats)" if shown[0].metrics.score is None else ""
    panels = [Panel(f"training loss{unit}", losses, logarithmic=above_zero, legend=True)]
    if hits:
        panels.append(Panel("training top-1 (%)", hits))
    if validated:
        panels.append(Panel(f"validation {metric} (%)", validated))
    return draw_panels(panels, "step")
