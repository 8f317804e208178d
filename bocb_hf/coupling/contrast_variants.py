"""Variants of the family contrast: do medians, logits, LION or siblings change what the contrast says?

The primary contrast (``contrast.py``) is one number, chosen beforehand; these are its sensitivity analyses, and they
also serve tables without seeds, such as the published one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bocb_hf.coupling.contrast_design import NoDesign, design
from bocb_hf.coupling.family_test import ENOUGH_BACKBONES, FamilyTest, Permutation, compare_families
from bocb_hf.coupling.scores import Floats, ScoreTable
from bocb_hf.coupling.statistics import Interval
from bocb_hf.coupling.table import Table

Centre = Literal["mean", "median"]


@dataclass(frozen=True)
class Variant:
    """One way to compute C = centre of d over CNNs − centre of d over modern backbones.

    Attributes:
        name: The name of what differs from the primary contrast.
        unit: Unit of d and C: ``points``, ``logit``, ``nats`` or ``units of the loss``.
        cnn: d of each CNN, or of each cluster of siblings.
        modern: d of each modern backbone, or of each cluster of siblings.
        centre: Which centre of d is taken.
        test: Whether the families differ, backbone by backbone or cluster by cluster.
        holes: Number of needed cells that are missing (``contrast_design.py``).
    """

    name: str
    unit: str
    cnn: Mapping[str, float]
    modern: Mapping[str, float]
    centre: Centre
    test: FamilyTest
    holes: int = 0

    @property
    def permutation(self) -> Permutation:
        """Permutation test over the labels of backbones or clusters."""
        return self.test.permutation

    @property
    def population(self) -> Interval | None:
        """95 % interval by Welch's t test for further backbones of these families.

        None with fewer than five of each, for medians, or when no family's backbones differ.
        """
        if self.test.welch is None or self.test.welch.error == 0:
            return None
        return self.test.welch.interval() if min(len(self.cnn), len(self.modern)) >= ENOUGH_BACKBONES else None

    @property
    def cnn_centre(self) -> float:
        return _centre(self.cnn, self.centre)

    @property
    def modern_centre(self) -> float:
        return _centre(self.modern, self.centre)

    @property
    def value(self) -> float:
        """The contrast C."""
        return self.cnn_centre - self.modern_centre


def contrast_variants(scores: ScoreTable) -> list[Variant]:
    """Computes the contrast in points by means, by medians, with siblings as one, with LION among SGD, and in logits.

    Siblings as one is not in the list where no two backbones of the table are siblings: it would be the means again.
    Each treats missing cells as the primary contrast does; a variant that the table does not allow is not in the list.
    """
    points, siblings = scores.means, len(set(scores.clusters)) < len(scores.clusters)
    found = [
        _variant("means", "points", points, scores),
        _variant("medians", "points", points, scores, centre="median"),
        _variant("siblings as one", "points", points, scores, clustered=True) if siblings else None,
        _variant("LION among SGD", "points", points, scores, extra=("lion",)) if "lion" in scores.optimizers else None,
        _variant("logit", "logit", scores.cell_means("logit"), scores) if scores.n_test is not None else None,
    ]
    return [variant for variant in found if variant is not None]


def loss_contrast(table: Table, scores: ScoreTable) -> Variant | None:
    """The contrast of the final training loss: positive means that CNNs are trained *worse* by SGD.

    Beside the contrast of scores, this one tells optimisation from generalisation.
    """
    losses = [[table.shown(b, o).train_loss for o in scores.optimizers] for b in scores.backbones]
    matrix = np.array([[np.nan if x is None else x for x in line] for line in losses], np.float64)
    return _variant("final training loss", table.loss_unit or "units of the loss", matrix, scores)


def _variant(
    name: str,
    unit: str,
    matrix: Floats,
    scores: ScoreTable,
    centre: Centre = "mean",
    clustered: bool = False,
    extra: tuple[str, ...] = (),
) -> Variant | None:
    """C from cell means of any kind, shape (B, O); None without a backbone or optimizer on one side."""
    found = design(scores, scores.ranked & np.isfinite(matrix), extra)
    if isinstance(found, NoDesign):
        return None
    d = found.differences(matrix)
    sides: list[dict[str, list[float]]] = [{}, {}]
    for side, inside in zip(sides, (found.cnn, found.modern), strict=True):
        for b in np.flatnonzero(inside).tolist():
            side.setdefault(scores.clusters[b] if clustered else scores.backbones[b], []).append(float(d[b]))
    cnn, modern = ({key: float(np.mean(values)) for key, values in side.items()} for side in sides)
    test = compare_families(list(cnn.values()), list(modern.values()), "median" if centre == "median" else None)
    return Variant(name, unit, cnn, modern, centre, test, int(found.holes.sum()))


def _centre(values: Mapping[str, float], centre: Centre) -> float:
    return float((np.mean if centre == "mean" else np.median)(list(values.values())))
