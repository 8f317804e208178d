"""Weight patterns of runs as the page shows them: layer by layer, with the fit that an exponent rests on.

An exponent without a good fit is no number. Records from before there were fits hold exponents of which nobody can say
whether they mean anything, and theirs are not shown either.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from bocb_hf.page.read import RunRow
from bocb_hf.page.summary import significant
from bocb_hf.runs.patterns import BINS, KERNELS, TOP_SHARE, Inspection, LayerPattern, WeightPatterns

MEASURES = ("entropy", "norm", "energy", "stable_rank", "alpha")
_Plain = dict[str, Any]


def plain_patterns(patterns: WeightPatterns | None) -> _Plain | None:
    """Returns the patterns of one network (``Patterns`` of the page's format), and how they were measured."""
    if patterns is None:
        return None
    return {
        "layers": [_layer(layer) for layer in patterns.layers],
        "rules": f"Entropy of a histogram of {BINS} bins; energy: share of the variance in the first "
        f"{100 * TOP_SHARE:g} % of components; {KERNELS[patterns.kernels]}. An exponent α stands only where the tail "
        "of the spectrum is that of a power law.",
    }


def plain_inspection(seen: Inspection, epochs_per_step: float) -> _Plain:
    """Returns what the weights were like at one step of training (``Inspection`` of the page's format)."""
    sharpness = seen.sharpness
    return {
        "step": seen.step,
        "epoch": seen.step * epochs_per_step,
        "share": seen.share,
        "sharpness": None if sharpness is None else significant(sharpness.value),
        "converged": None if sharpness is None else sharpness.converged,
        "images": None if sharpness is None else sharpness.images,
        "reason": seen.reason,
        "layers": [_layer(layer) for layer in seen.patterns.layers],
    }


def ridge(runs: Sequence[RunRow]) -> _Plain | None:
    """Returns each measure by layer as the mean over runs; None where no run has patterns.

    A layer has no value where any run has none. A run whose layers are not those of the first is left out.

    Args:
        runs: The completed runs of one configuration.
    """
    found = [run.info.patterns.layers for run in runs if run.info.patterns is not None]
    if not found:
        return None
    names = [layer.name for layer in found[0]]
    alike = [layers for layers in found if [layer.name for layer in layers] == names]
    return {"runs": len(alike), "layers": names} | {
        measure: [_mean([_value(layers[place], measure) for layers in alike]) for place in range(len(names))]
        for measure in MEASURES
    }


def _layer(layer: LayerPattern) -> _Plain:
    fit = layer.fit.status if layer.fit is not None else None
    return {"name": layer.name, "fit": fit} | {m: significant(_value(layer, m)) for m in MEASURES}


def _value(layer: LayerPattern, measure: str) -> float | None:
    if measure == "alpha" and (layer.fit is None or layer.fit.status != "ok"):
        return None
    return getattr(layer, measure)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return significant(fmean(known)) if len(known) == len(values) else None
