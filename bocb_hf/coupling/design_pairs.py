"""Pairs of backbones that differ in an element of their design: does it change how well they live with SGD?

With d_b = mean over SGD-M and SGDP − mean over the optimizers of category (b), as in the family contrast, a pair has
D = d_one − d_other. It speaks of these two networks: whatever else differs between them is in D too. Backbones that
differ in one element are compared, and a backbone that has no such counterpart with those that differ in two.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bocb_hf.backbones import BACKBONES, BackboneRow
from bocb_hf.coupling.combination import Combination, combine
from bocb_hf.coupling.contrast_design import NoDesign, design
from bocb_hf.coupling.scores import Floats, ScoreTable

ELEMENTS = {
    "stage_wise": "design across stages",
    "block_wise": "block",
    "operator": "token mixer",
    "residual": "residual connection",
}
MOST = 2  # elements in which a pair may differ


@dataclass(frozen=True)
class DesignPair:
    """Two backbones of a family that differ in one or two elements of design.

    Attributes:
        elements: Keys of ``ELEMENTS``.
        one: The first backbone.
        other: The second backbone.
        designs: These elements of each, in the words of the study.
        difference: D in points with its 95 % interval, which holds for this pair by itself.
    """

    elements: tuple[str, ...]
    one: str
    other: str
    designs: tuple[str, str]
    difference: Combination


def design_pairs(scores: ScoreTable) -> list[DesignPair]:
    """Finds the pairs of a table, those that differ in one element first, then in the order of backbones.

    A backbone without a row, or whose row says nothing of an element, is in no pair; neither is one that lacks a cell
    that its d needs.

    Args:
        scores: The table.

    Returns:
        The pairs; none where the table has no SGD or no optimizer of category (b).
    """
    found = design(scores)
    if isinstance(found, NoDesign):
        return []
    columns: Floats = found.sgd / found.sgd.sum() - found.adaptive / found.adaptive.sum()
    has_d = (found.cnn | found.modern) & ~found.holes.any(axis=1)
    rows = {b: row for b, name in enumerate(scores.backbones) if has_d[b] and (row := BACKBONES.find(name)) is not None}
    differ = {(a, b): _differences(rows[a], rows[b]) for a, b in combinations(rows, 2)}
    single = {b for places, elements in differ.items() if len(elements) == 1 for b in places}
    pairs: list[DesignPair] = []
    for (one, other), elements in differ.items():
        if len(elements) != 1 and (len(elements) != MOST or {one, other} <= single):
            continue
        weights = np.zeros(scores.means.shape)
        weights[one], weights[other] = columns, -columns
        first, second = (", ".join(getattr(rows[b], name) for name in elements) for b in (one, other))
        names = scores.backbones[one], scores.backbones[other]
        pairs.append(DesignPair(elements, *names, (first, second), combine(scores, weights)))
    return sorted(pairs, key=lambda pair: len(pair.elements))


def _differences(one: BackboneRow, other: BackboneRow) -> tuple[str, ...]:
    """The elements in which two rows of a family differ; none where a row does not say."""
    elements = tuple(name for name in ELEMENTS if getattr(one, name) != getattr(other, name))
    silent = any(getattr(row, name) in ("", "-") for row in (one, other) for name in elements)
    return () if silent or one.family != other.family else elements
