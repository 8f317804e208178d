"""The figures of ``bocb analyze``: ridge plots over optimizers, and bars of the exponent α, for each backbone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bocb_hf.coupling.failure import find_failures
from bocb_hf.coupling.scores import scores_of
from bocb_hf.coupling.table import build_tables
from bocb_hf.patterns.analysis import UNTRAINED, Analysis, mean_top1
from bocb_hf.report.figures.style import (
    COLOURS,
    FAINT,
    INK,
    PAGE,
    SMALL,
    SOFT,
    category,
    footnote,
    new_figure,
    short,
    tidy,
    title,
)
from bocb_hf.report.words.tables import backbone_label, optimizer_label
from bocb_hf.runs.patterns import BINS, KERNELS, OVERFIT, TOP_SHARE, UNDERFIT, LayerPattern
from bocb_hf.runs.record import RunRecord

GREY = "#a6a6a6"
_RIDGE = 0.30  # inches of a ridge
_MEASURES = {
    "entropy": "entropy, nats",
    "norm": "log₁₀ ‖w‖₂",
    "energy": f"energy of first {100 * TOP_SHARE:g} %",
    "alpha": "exponent α",
}


@dataclass(frozen=True)
class _Ridge:
    """One row of a ridge plot: an optimizer with its runs, or the untrained network."""

    label: str
    colour: str
    runs: Sequence[Analysis]
    note: str = ""

    @property
    def drawn(self) -> list[Analysis]:
        return [run for run in self.runs if run.rows]


def pattern_drawings(analyses: Sequence[Analysis], records: Sequence[RunRecord]) -> dict[str, Figure]:
    """The figures by name: ``ridges-<group>`` and ``alpha-<group>`` for each group of analyses that has layers.

    Args:
        analyses: The checkpoints and untrained networks.
        records: Records of the runs among them; which cells failed is judged among these.
    """
    failed = _failed(records)
    figures: dict[str, Figure] = {}
    for group in dict.fromkeys(found.group for found in analyses):
        members = [found for found in analyses if found.group == group]
        if not any(found.rows for found in members):
            continue
        slug = re.sub(r"[^a-z0-9_.]+", "-", group.lower()).strip("-.")[:80] or "checkpoint"
        slug = slug if f"ridges-{slug}" not in figures else f"{slug}-{len(figures)}"
        ridges = _ridges(members, failed)
        figures[f"ridges-{slug}"] = ridge_figure(ridges, group, members[0])
        figures[f"alpha-{slug}"] = alpha_figure(ridges, group, members[0])
    return figures


def _failed(records: Sequence[RunRecord]) -> set[tuple[str, str, str, str]]:
    """The cells (data set, setting, backbone, optimizer) that failed or collapsed among the records."""
    found: set[tuple[str, str, str, str]] = set()
    for table in build_tables(records):
        judged = find_failures(scores_of(table))
        for b, o in zip(*np.nonzero(judged.failed | judged.collapsed), strict=True):
            found.add((table.dataset, table.setting, table.backbones[b], table.optimizers[o]))
    return found


def _ridges(members: Sequence[Analysis], failed: set[tuple[str, str, str, str]]) -> list[_Ridge]:
    """The rows of a figure from the top: by mean score, then what has none, then the untrained network."""
    by_name: dict[str, list[Analysis]] = {}
    for found in members:
        if found.trained:
            by_name.setdefault(found.optimizer or found.name, []).append(found)
    lost = {(f"{backbone}, {data}, {setting}", optimizer) for data, setting, backbone, optimizer in failed}
    ridges: list[tuple[float, _Ridge]] = []
    for name, runs in by_name.items():
        score, known = mean_top1(runs), runs[0].optimizer is not None
        grey = (runs[0].group, name) in lost or any(run.status != "completed" for run in runs)
        note = f"{score:.1f}" if score is not None else ""
        note += " failed" * grey
        label = optimizer_label(name) if known else short(name, 18)
        ridge = _Ridge(label, GREY if grey else COLOURS[category(name) if known else "unknown"], runs, note.strip())
        ridges.append((-np.inf if score is None else score, ridge))
    ordered = [ridge for _, ridge in sorted(ridges, key=lambda pair: (-pair[0], pair[1].label))]
    untrained = [found for found in members if not found.trained]
    return [*ordered, *([_Ridge("random init", INK, untrained)] if untrained else [])]


def _values(ridge: _Ridge, names: Sequence[str], measure: str) -> NDArray[np.float64]:
    """Mean over the runs of a measure of each layer, shape (layers,); NaN where a run has none."""
    lines: list[list[float]] = []
    for run in ridge.drawn:
        layers: Mapping[str, LayerPattern | None] = {row.name: row.pattern for row in run.rows}
        lines.append([_value(layers.get(name), measure) for name in names])
    return np.mean(np.array(lines, np.float64), axis=0) if lines else np.full(len(names), np.nan)


def _value(layer: LayerPattern | None, measure: str) -> float:
    value = None if layer is None else getattr(layer, measure)
    if value is None:
        return np.nan
    if measure == "norm":
        return float(np.log10(value)) if value > 0 else np.nan
    return float(value)


def ridge_figure(ridges: Sequence[_Ridge], group: str, one: Analysis) -> Figure:
    """Draws four measures over the depth of a network, a ridge for each optimizer, as the study's Figure 6 has it.

    Args:
        ridges: The rows from the top.
        group: What the figure is of.
        one: Any of the analyses, for the conventions.
    """
    names = _names(ridges)
    places = np.arange(1, len(names) + 1)
    figure = new_figure(PAGE, 1.1 + _RIDGE * max(3, len(ridges)) + 0.35)
    for column, (axes, (measure, text)) in enumerate(zip(figure.subplots(1, 4), _MEASURES.items(), strict=True)):
        values = [_values(ridge, names, measure) for ridge in ridges]
        known = np.concatenate([v[np.isfinite(v)] for v in values])
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        span = high - low or 1.0
        for k, (ridge, line) in enumerate(zip(ridges, values, strict=True)):
            base, height = -float(k), 0.9 * (line - low) / span
            colour = ridge.colour
            axes.axhline(base, color=FAINT, linewidth=0.4, zorder=2 * k)
            axes.fill_between(places, base, base + height, color=colour, alpha=0.28, linewidth=0, zorder=2 * k)
            style: dict[str, Any] = {"color": colour, "linewidth": 0.8, "zorder": 2 * k + 1}
            axes.plot(places, base + height, marker=".", markersize=1.6, **style)
        axes.set_ylim(-len(ridges) + 0.85, 1.05)
        axes.set_yticks([-float(k) for k in range(len(ridges))])
        labels = [f"{r.label}  {r.note}".strip() for r in ridges] if column == 0 else [""] * len(ridges)
        axes.set_yticklabels(labels, fontsize=SMALL)
        tidy(axes)
        axes.tick_params(axis="y", length=0)
        for tick, ridge in zip(axes.get_yticklabels(), ridges, strict=True):
            tick.set_color(SOFT if ridge.colour == GREY else ridge.colour)
        axes.spines["left"].set_visible(False)
        axes.set_xlim(0.5, len(names) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("layer, from the input", fontsize=SMALL, color=INK, labelpad=2)
        axes.set_title(f"{text}\n{low:.3g} to {high:.3g}", fontsize=SMALL, color=INK, loc="left", pad=3)
    title(figure, f"Weight patterns · {_headline(group)}")
    footnote(figure, _note(ridges, one, len(names)))
    return figure


def alpha_figure(ridges: Sequence[_Ridge], group: str, one: Analysis) -> Figure:
    """Draws α of each layer as bars, a panel for each optimizer, with the thresholds, as the study's Figures 7 and 8.

    A layer whose fit is not good has a small cross at the foot of the panel and no bar.

    Args:
        ridges: The rows from the top.
        group: What the figure is of.
        one: Any of the analyses, for the conventions.
    """
    names = _names(ridges)
    places = np.arange(1, len(names) + 1)
    values = [_values(ridge, names, "alpha") for ridge in ridges]
    known = np.concatenate([v[np.isfinite(v)] for v in values])
    top = max(UNDERFIT * 1.25, min(float(known.max()) * 1.05, 20.0)) if len(known) else UNDERFIT * 1.25
    columns = min(3, len(ridges))
    lines = -(-len(ridges) // columns)
    figure = new_figure(PAGE, 0.9 + 1.05 * lines)
    panels = np.atleast_1d(figure.subplots(lines, columns, sharex=True, sharey=True)).flatten()
    for axes in panels[len(ridges) :]:
        axes.set_visible(False)
    for axes, ridge, line in zip(panels, ridges, values, strict=False):
        tidy(axes)
        axes.grid(visible=False, axis="x")
        fine = np.isfinite(line)
        axes.bar(places[fine], np.minimum(line[fine], top), color=ridge.colour, width=0.75, linewidth=0)
        axes.plot(places[~fine], np.full((~fine).sum(), 0.03 * top), "x", color=SOFT, markersize=2, markeredgewidth=0.5)
        beyond = fine & (line > top)
        axes.plot(places[beyond], np.full(beyond.sum(), 0.97 * top), "^", color="white", markersize=2.2)
        for bound in (OVERFIT, UNDERFIT):
            axes.axhline(bound, color=INK, linewidth=0.5, linestyle=(0, (3, 2)))
        axes.set_ylim(0, top)
        axes.set_xlim(0.3, len(names) + 0.7)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_yticks([0, OVERFIT, UNDERFIT])
        name = f"{ridge.label}  {ridge.note}".strip()
        axes.set_title(name, fontsize=SMALL, loc="left", pad=2, color=SOFT if ridge.colour == GREY else ridge.colour)
    for axes in panels[max(0, len(ridges) - columns) : len(ridges)]:
        axes.set_xlabel("layer, from the input", fontsize=SMALL, color=INK, labelpad=2)
        axes.tick_params(labelbottom=True)
    title(figure, f"Exponent α of each layer · {_headline(group)}")
    text = f"Dashed: {OVERFIT:g}, below which the study sees a risk of over-fitting, and {UNDERFIT:g}, above which it "
    text += "sees one of under-fitting. Cross: no good fit (poor fit or too few eigenvalues), so there is no number. "
    text += f"White arrow: above {top:.3g}. "
    footnote(figure, text + _note(ridges, one, len(names)))
    return figure


def _names(ridges: Sequence[_Ridge]) -> list[str]:
    """Names of the layers of the first run that has any; other runs are read by these names."""
    return next([row.name for row in run.rows] for ridge in ridges for run in ridge.drawn)


def _headline(group: str) -> str:
    backbone, _, rest = group.partition(", ")
    return f"{backbone_label(backbone)}, {rest}" if rest else short(group, 60)


def _note(ridges: Sequence[_Ridge], one: Analysis, layers: int) -> str:
    counts = sorted({len(r.drawn) for r in ridges if r.drawn and r.drawn[0].trained})
    n = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))) if counts else "0"
    order = {"forward": "forward order", "registered": "the order of the definition", "name": "the order of names"}
    text = f"{layers} layers in {order[one.order]}; mean over n = {n} runs. Histograms of {BINS} bins; "
    text += KERNELS[one.kernels] + "."
    if any(ridge.note for ridge in ridges):
        metrics = sorted({run.metric for ridge in ridges for run in ridge.runs if run.metric is not None})
        by = f"mean {' / '.join(metrics)} in points" if metrics else "score"
        text += f" Optimizers by {by}, best first; grey: failed, collapsed or diverged among these runs."
    if any(not run.trained for ridge in ridges for run in ridge.runs):
        text += f" Last: {UNTRAINED}."
    return text
