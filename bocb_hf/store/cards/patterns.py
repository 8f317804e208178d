"""What a card says of the weight patterns of a run, for the template."""

from __future__ import annotations

from statistics import median
from typing import Any

from bocb_hf.runs.patterns import BINS, KERNELS, MIN_TAIL, OVERFIT, TOP_SHARE, UNDERFIT
from bocb_hf.runs.record import RunRecord


def pattern_section(record: RunRecord) -> dict[str, Any] | None:
    """The section's parts by name; None for a record that holds no patterns with their fits.

    Records from before there were fits have exponents of which nobody can say whether they mean anything; their cards
    stay as they were.
    """
    found = record.patterns
    layers = [] if found is None else [(layer, layer.fit) for layer in found.layers if layer.fit is not None]
    if found is None or not layers:
        return None
    alphas = [layer.alpha for layer, _ in layers if layer.alpha is not None]
    rows = [
        {
            "name": layer.name,
            "entropy": f"{layer.entropy:.3f}",
            "norm": f"{layer.norm:.4g}",
            "energy": "–" if layer.energy is None else f"{layer.energy:.3f}",
            "stable_rank": "–" if layer.stable_rank is None else f"{layer.stable_rank:.1f}",
            "alpha": "–" if layer.alpha is None else f"{layer.alpha:.2f}",
            "fit": fit.status + ("" if fit.distance is None else f", D {fit.distance:.3f}, tail {fit.tail}"),
        }
        for layer, fit in layers
    ]
    return {
        "rows": rows,
        "fitted": len(alphas),
        "median": f"{median(alphas):.2f}" if alphas else None,
        "below": sum(alpha < OVERFIT for alpha in alphas),
        "above": sum(alpha > UNDERFIT for alpha in alphas),
        "overfit": f"{OVERFIT:g}",
        "underfit": f"{UNDERFIT:g}",
        "rules": f"Entropy of a histogram of {BINS} bins, in nats; energy: variance in the first {100 * TOP_SHARE:g} % "
        f"of components; {KERNELS[found.kernels]}. An exponent stands only where the tail of the spectrum is that of a "
        f"power law and holds {MIN_TAIL} eigenvalues or more.",
        "inspections": [
            {
                "step": seen.step,
                "share": f"{100 * seen.share:g} %",
                "sharpness": seen.reason if seen.sharpness is None else f"{seen.sharpness.value:.4g}",
                "products": "–" if seen.sharpness is None else str(seen.sharpness.iterations),
                "seconds": f"{seen.pattern_seconds + seen.sharpness_seconds:.2f}",
            }
            for seen in record.inspections
        ],
    }
