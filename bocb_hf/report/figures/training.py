"""Figure of the training curves of one backbone under all its optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bocb_hf.coupling.table import Table
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
from bocb_hf.report.words.tables import backbone_label, optimizer_label
from bocb_hf.runs.record import RunRecord

SMOOTHING = 30  # number of points that a smoothed curve keeps; each is the mean of the losses between two
BANDS = 8  # largest number of optimizers with which bands are drawn: more bands would hide every line
WHOLE = 4  # number of epochs from which an axis is marked in whole epochs

# losses that get a tick
TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 30, 100)


@dataclass(frozen=True)
class Trace:
    """The training loss of one run.

    Attributes:
        steps: The steps at which the loss was logged, ascending.
        losses: The loss at each of these steps.
        epochs_per_step: The factor that turns steps into epochs.
    """

    steps: tuple[int, ...]
    losses: tuple[float, ...]
    epochs_per_step: float

    @classmethod
    def of(cls, record: RunRecord) -> Trace:
        """Returns the training loss of a record."""
        scale = record.identity.training.epochs / record.total_steps
        return cls(tuple(record.curve.step), tuple(record.curve.train_loss), scale)


@dataclass(frozen=True)
class Line:
    """The final runs of one optimizer on a backbone that came to an end; a run without a curve has an empty trace."""

    optimizer: str
    completed: tuple[Trace, ...]
    diverged: tuple[Trace, ...]


def lines_of(table: Table, backbone: str) -> list[Line]:
    """Returns one line for each optimizer of a backbone, in the order of the table, those without a run included.

    Raises:
        KeyError: The table has no such backbone.
    """
    return [
        Line(
            row.cell.optimizer,
            tuple(map(Trace.of, row.completed)),
            tuple(Trace.of(r) for r in row.finals if r.status == "diverged"),
        )
        for row in table.column(backbone)
    ]


def training_curves(every: Sequence[Line], backbone: str, dataset: str, unit: str | None) -> Figure:
    """Draws training loss over epochs: the mean over the final runs of each optimizer, with the range over seeds.

    The range, from the smallest to the largest seed, is drawn where there are at most eight optimizers. A run that
    diverged is drawn as far as it came and ends in a cross; it is in no mean. The axis is logarithmic.

    Args:
        every: The lines, as ``lines_of`` gives them.
        backbone: The backbone.
        dataset: Name of the data set, for the title.
        unit: Unit of the losses; None where they have none.
    """
    lines = [line for line in every if line.completed or line.diverged]
    figure = new_figure(COLUMN, max(2.5, 1.05 + 0.11 * len(lines)))
    axes = figure.add_subplot()
    tidy(axes)
    axes.grid(axis="y", linewidth=0.4, color=FAINT)
    patterns = dashes([line.optimizer for line in lines])
    ends: list[tuple[str, str, float, float]] = []
    for line in lines:
        name, colour = line.optimizer, COLOURS[category(line.optimizer)]
        style = {"color": colour, "linestyle": patterns[name]}
        drawn = mean_curve(line.completed)
        if drawn is not None:
            epochs, low, mean, high = drawn
            axes.plot(epochs, mean, linewidth=0.9, **style)
            if len(lines) <= BANDS:
                axes.fill_between(epochs, low, high, color=colour, alpha=0.12, linewidth=0)
        failed = [curve for trace in line.diverged if (curve := _curve(trace)) is not None]
        for x, y in failed:
            axes.plot(x, y, linewidth=0.6, alpha=0.7, **style)
            axes.plot(x[-1:], y[-1:], marker="x", markersize=4, markeredgewidth=1, color=colour)
        if drawn is not None or failed:
            last = (drawn[0][-1], drawn[2][-1]) if drawn is not None else (failed[0][0][-1], failed[0][1][-1])
            ends.append((_label(line), colour, float(last[0]), float(last[1])))
    if ends:
        axes.set_yscale("log")
        axes.minorticks_off()
        low, high = axes.get_ylim()
        ticks = [t for t in TICKS if low <= t <= high]
        axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    if max((x for _, _, x, _ in ends), default=0) >= WHOLE:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("epochs", fontsize=SMALL, color=INK, labelpad=2)
    axes.set_ylabel("training loss" + (f" in {unit}" if unit else ""), fontsize=SMALL, color=INK, labelpad=2)
    title(figure, f"Training · {backbone_label(backbone)}, {dataset}")
    counts = sorted({len(line.completed) for line in lines if line.completed})
    n = f"n = {counts[0]}" + (f" to {counts[-1]}" if len(counts) > 1 else "") if counts else "no completed run"
    band = ", band: smallest to largest" if len(lines) <= BANDS else "; too many lines for the bands of the seeds"
    notes = [f"Mean over completed seeds ({n}){band}; with label smoothing, if any."]
    if any(line.diverged for line in lines):
        notes.append("✕: a run diverged there; it is in no mean.")
    left_out = [line.optimizer for line in every if line not in lines]
    if left_out:
        notes.append("Not run: " + ", ".join(map(optimizer_label, left_out)) + ".")
    footnote(figure, "\n".join(notes))
    label_ends(figure, axes, ends)
    return figure


def mean_curve(traces: Sequence[Trace]) -> tuple[NDArray[np.float64], ...] | None:
    """Returns epochs and the lowest, mean and highest loss over runs, each of shape (points,); None without a curve.

    Runs are read at the steps that all of them logged; runs of one configuration log at the same steps.
    """
    curves = [dict(zip(t.steps, t.losses, strict=True)) for t in traces if t.steps]
    if not curves:
        return None
    steps = sorted(set.intersection(*map(set, curves)))
    if not steps:
        return None
    values = np.array([[losses[s] for s in steps] for losses in curves])  # (runs, steps)
    epochs = np.array(steps, np.float64) * next(t for t in traces if t.steps).epochs_per_step
    bins = np.array_split(np.arange(len(steps)), min(SMOOTHING, len(steps)))
    smooth = np.stack([values[:, b].mean(axis=1) for b in bins], axis=1)  # (runs, points)
    return np.array([epochs[b[-1]] for b in bins]), smooth.min(axis=0), smooth.mean(axis=0), smooth.max(axis=0)


def _curve(trace: Trace) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Returns epochs and losses of one run, as far as the losses are finite and positive."""
    curve = mean_curve([trace])
    if curve is None:
        return None
    keep = np.isfinite(curve[2]) & (curve[2] > 0)
    return (curve[0][keep], curve[2][keep]) if keep.any() else None


def _label(line: Line) -> str:
    name = optimizer_label(line.optimizer)
    if line.diverged:
        return f"{name} ({len(line.diverged)}/{len(line.completed) + len(line.diverged)} div)"
    return name
