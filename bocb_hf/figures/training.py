"""Training curves of one backbone under all its optimizers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bocb_hf.coupling.row import Row
from bocb_hf.coupling.table import Table
from bocb_hf.coupling.words import backbone_label, optimizer_label
from bocb_hf.figures.style import (
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
from bocb_hf.record import RunRecord

SMOOTHING = 30  # points of a curve that remain; the mean of the losses between two

TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 30, 100)  # nats


def training_curves(table: Table, backbone: str) -> Figure:
    """Training loss over epochs: the mean over the final runs of each optimizer, with the smallest and largest seed.

    A run that diverged is drawn as far as it came and ends in a cross; it is in no mean. The axis is logarithmic.

    Raises:
        KeyError: No such backbone in this table.
    """
    rows = [row for row in table.column(backbone) if row.finals]
    figure = new_figure(COLUMN, max(2.5, 1.05 + 0.11 * len(rows)))
    axes = figure.add_subplot()
    tidy(axes)
    axes.grid(axis="y", linewidth=0.4, color=FAINT)
    patterns = dashes([row.cell.optimizer for row in rows])
    ends: list[tuple[str, str, float, float]] = []
    for row in rows:
        name, colour = row.cell.optimizer, COLOURS[category(row.cell.optimizer)]
        line = {"color": colour, "linestyle": patterns[name]}
        drawn = mean_curve(row.completed)
        if drawn is not None:
            epochs, low, mean, high = drawn
            axes.plot(epochs, mean, linewidth=0.9, **line)
            axes.fill_between(epochs, low, high, color=colour, alpha=0.12, linewidth=0)
        failed = [curve for r in row.finals if r.status == "diverged" and (curve := _curve(r)) is not None]
        for x, y in failed:
            axes.plot(x, y, linewidth=0.6, alpha=0.7, **line)
            axes.plot(x[-1:], y[-1:], marker="x", markersize=4, markeredgewidth=1, color=colour)
        if drawn is not None or failed:
            last = (drawn[0][-1], drawn[2][-1]) if drawn is not None else (failed[0][0][-1], failed[0][1][-1])
            ends.append((_label(row), colour, float(last[0]), float(last[1])))
    if ends:
        axes.set_yscale("log")
        axes.minorticks_off()
        low, high = axes.get_ylim()
        ticks = [
            t
            for t in (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 30, 100)
            if low <= t <= high
        ]
        axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_xlabel("epochs", fontsize=SMALL, color=INK, labelpad=2)
    axes.set_ylabel("training loss in nats", fontsize=SMALL, color=INK, labelpad=2)
    title(figure, f"Training · {backbone_label(backbone)}, {table.dataset}")
    counts = sorted({row.n for row in rows if row.n})
    n = f"n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "") if counts else "no completed run"
    lines = [f"Mean over completed seeds ({n}), band: smallest to largest; with label smoothing, if any."]
    if any(row.diverged for row in rows):
        lines.append("✕: a run diverged there; it is in no mean.")
    left_out = [row.cell.optimizer for row in table.column(backbone) if not row.finals]
    if left_out:
        lines.append("Not run: " + ", ".join(map(optimizer_label, left_out)) + ".")
    footnote(figure, "\n".join(lines))
    label_ends(figure, axes, ends)
    return figure


def mean_curve(records: Sequence[RunRecord]) -> tuple[NDArray[np.float64], ...] | None:
    """Epochs and the lowest, mean and highest loss over runs, each of shape (points,); None without a curve.

    Runs are read at the steps that all of them logged: those of one configuration log alike.
    """
    curves = [(r, dict(zip(r.curve.step, r.curve.train_loss, strict=True))) for r in records if r.curve.step]
    if not curves:
        return None
    steps = sorted(set.intersection(*(set(losses) for _, losses in curves)))
    if not steps:
        return None
    values = np.array([[losses[s] for s in steps] for _, losses in curves])  # (runs, steps)
    epochs = np.array(steps, np.float64) * curves[0][0].identity.training.epochs / curves[0][0].total_steps
    bins = np.array_split(np.arange(len(steps)), min(SMOOTHING, len(steps)))
    smooth = np.stack([values[:, b].mean(axis=1) for b in bins], axis=1)  # (runs, points)
    return np.array([epochs[b[-1]] for b in bins]), smooth.min(axis=0), smooth.mean(axis=0), smooth.max(axis=0)


def _curve(record: RunRecord) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Epochs and losses of one run, as far as they are finite and positive."""
    curve = mean_curve([record])
    if curve is None:
        return None
    keep = np.isfinite(curve[2]) & (curve[2] > 0)
    return (curve[0][keep], curve[2][keep]) if keep.any() else None


def _label(row: Row) -> str:
    name = optimizer_label(row.cell.optimizer)
    if row.diverged:
        return f"{name} ({row.diverged}/{row.n + row.diverged} div)"
    return name
