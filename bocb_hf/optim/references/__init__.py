"""The update of every optimizer in float64 numpy, written from the equations of the variant that its row names.

Nothing here looks at an implementation: these are the independent side of the suite's comparison
(``bocb_hf.optim.conformance.update``), and they come with the package so that ``bocb check-optimizer`` can run it.
"""

from __future__ import annotations

from collections.abc import Mapping

from bocb_hf.optim.conformance.reference import Reference


def references() -> Mapping[str, tuple[Reference, float]]:
    """Returns reference and tolerance of every optimizer of this package, by id.

    The tolerance bounds the largest deviation of any weight over the largest distance that any weight has moved.
    """
    from bocb_hf.optim.references import adaptive, added, current, estimated, fixed, matrix, newer

    found: dict[str, tuple[Reference, float]] = {}
    for module in (fixed, adaptive, estimated, current, newer, matrix, added):
        found |= module.REFERENCES
    return found
