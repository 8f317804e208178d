"""Figure of the weight patterns of one backbone under all its optimizers, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bocb_hf.report.figures.style import (
    COLOURS,
    FAINT,
    INK,
    PAGE,
    SMALL,
    SOFT,
    category,
    dashes,
    footnote,
    new_figure,
    tidy,
    title,
)
from bocb_hf.report.words.tables import backbone_label, optimizer_label
from bocb_hf.runs.patterns import BINS, OVERFIT, TOP_SHARE, UNDERFIT, WeightPatterns

_MEASURES = {
    "entropy": "entropy of the weights in nats",
    "norm": "‖w‖₂",
    "energy": f"variance in the first {100 * TOP_SHARE:g} % of components",
    "alpha": "exponent α of the spectrum's tail",
}
_NORMS = [m * 10.0**e for e in range(-6, 7) for m in (1, 2, 5)]


def pattern_figure(runs: Mapping[str, Sequence[WeightPatterns]], backbone: str, dataset: str) -> Figure:
    """Draws four panels over the depth of the network: mean over seeds of each optimizer, with smallest and largest.

    Args:
        runs: Patterns of the completed runs by optimizer, at least one; a run whose layers are not those of the first
            is left out.
        backbone: The backbone of the runs.
        dataset: The data set of the runs.
    """
    names = next([layer.name for layer in p.layers] for found in runs.values() for p in found)
    alike = {o: [p for p in found if [layer.name for layer in p.layers] == names] for o, found in runs.items()}
    alike = {o: found for o, found in alike.items() if found}
    styles = {o: {"color": COLOURS[category(o)], "linestyle": s} for o, s in dashes(list(alike)).items()}
    figure = new_figure(PAGE, 4.4)
    depth = np.arange(1, len(names) + 1)
    for axes, (measure, text) in zip(figure.subplots(2, 2).flat, _MEASURES.items(), strict=True):
        tidy(axes)
        axes.grid(axis="y", linewidth=0.4, color=FAINT)
        for optimizer, found in alike.items():
            values = np.array([[getattr(layer, measure) for layer in p.layers] for p in found], np.float64)
            known = np.isfinite(values).all(axis=0)
            x, y = depth[known], values[:, known]
            axes.plot(x, y.mean(axis=0), linewidth=0.9, marker=".", markersize=2.5, **styles[optimizer])
            axes.fill_between(
                x, y.min(axis=0), y.max(axis=0), color=styles[optimizer]["color"], alpha=0.12, linewidth=0
            )
        if measure == "norm":
            axes.set_yscale("log")
            low, high = axes.get_ylim()
            ticks = [t for t in _NORMS if low <= t <= high]
            axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
            axes.minorticks_off()
        if measure == "alpha":
            for bound in (OVERFIT, UNDERFIT):
                axes.axhline(bound, color=SOFT, linewidth=0.5, linestyle=(0, (1, 1.5)))
        axes.set_xlabel("layer, from the input", fontsize=SMALL, color=INK, labelpad=2)
        axes.set_ylabel(text, fontsize=SMALL, color=INK, labelpad=2)
    handles = [Line2D([], [], linewidth=0.9, **style) for style in styles.values()]
    labels = [optimizer_label(o) for o in styles]
    options = {"loc": "outside right upper", "fontsize": SMALL, "frameon": False, "handlelength": 2.6}
    # the type stubs of matplotlib do not allow a dictionary of options
    figure.legend(handles, labels, **options)  # pyright: ignore[reportArgumentType] - see above
    title(figure, f"Weight patterns · {backbone_label(backbone)}, {dataset}")
    counts = sorted({len(found) for found in alike.values()})
    n = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]])))
    footnote(
        figure,
        f"Mean over completed seeds (n = {n}), band: smallest to largest; {len(names)} weight matrices. Histograms of "
        f"{BINS} bins. Dotted: α below {OVERFIT:g} is taken for a risk of over-fitting, above {UNDERFIT:g} of "
        "under-fitting; a layer without a good fit has none (in older records: with fewer than ten eigenvalues).",
    )
    return figure
