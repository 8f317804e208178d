"""The one primary contrast: do CNNs live better with SGD than modern backbones do?

With S = {SGD-M, SGDP} and A = the optimizers of category (b): d_b = mean_S y − mean_A y for a backbone b, and
C = mean of d over CNNs − mean of d over modern backbones. Positive means that CNNs live better with SGD. LION is sign
momentum and in neither set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from bocb_hf.backbones import CNN_FAMILIES
from bocb_hf.coupling.combination import Combination, combine
from bocb_hf.coupling.family_test import ENOUGH_BACKBONES, FamilyTest, compare_families
from bocb_hf.coupling.reading import BOTH, GIVEN
from bocb_hf.coupling.row import Row
from bocb_hf.coupling.scores import Floats, ScoreTable, scores_of
from bocb_hf.coupling.statistics import Interval, t_quantile
from bocb_hf.coupling.table import Table
from bocb_hf.coupling.world import image_luck

SGD = ("sgdm", "sgdp")
ADAPTIVE = "b"


@dataclass(frozen=True)
class Contrast:
    """The primary contrast with everything that is needed to read it.

    Attributes:
        points: C in points, with the error that the spread over seeds gives it.
        logit: C on the logit scale, with its error over seeds; None where runs of the table were tested on different
            numbers of images.
        given: C in points given the tuned rates, where ``points`` is of tuning and training; None otherwise.
        image_error: Standard error of C in points from the choice of test images, beyond what ``points`` holds of it;
            None where runs of the table were tested on different numbers of images.
        sgd: Optimizers of S that the table has.
        adaptive: Optimizers of A that the table has.
        runs: The numbers of final runs that its cells have, ascending; one number when all have as many.
        cnn: d in points for each CNN.
        modern: d in points for each modern backbone.
        left_out: Backbones that lack a needed cell, with the reason.
        test: Whether the families differ, backbone by backbone.
    """

    points: Combination
    logit: Combination | None
    image_error: float | None
    sgd: tuple[str, ...]
    adaptive: tuple[str, ...]
    runs: tuple[int, ...]
    cnn: Mapping[str, float]
    modern: Mapping[str, float]
    left_out: Mapping[str, str]
    test: FamilyTest
    given: Combination | None = None

    @property
    def reading(self) -> str:
        """What the intervals are over, in words."""
        return GIVEN if self.given is None else BOTH

    @property
    def interval(self) -> Interval | None:
        """The primary 95 % interval, over seeds only, and over the choice of the rates where that is known."""
        return self.points.interval

    @property
    def wide_interval(self) -> Interval | None:
        """95 % interval over seeds and test images together."""
        return with_images(self.points, self.image_error)

    @property
    def conditional(self) -> bool:
        """Whether the statement holds for these backbones only: too few of them to speak of families."""
        return min(len(self.cnn), len(self.modern)) < ENOUGH_BACKBONES


@dataclass(frozen=True)
class NotAvailable:
    """The reason why there is no contrast, and which backbones were left out for which reason."""

    reason: str
    left_out: Mapping[str, str]


def family_contrast(table: Table) -> Contrast | NotAvailable:
    """Computes the primary contrast of one table."""
    shown = {(row.cell.backbone, row.cell.optimizer): row for row in table.rows if row.shown}
    sgd = tuple(o for o in SGD if o in table.optimizers)
    adaptive = tuple(o for o in table.optimizers if any(r.category == ADAPTIVE for r in _of(shown, optimizer=o)))
    if not sgd or not adaptive:
        lacking = f"no optimizer of {', '.join(SGD)}" if not sgd else f"no optimizer of category ({ADAPTIVE})"
        return NotAvailable(f"the table has {lacking}", {})
    left_out: dict[str, str] = {}
    groups: dict[bool, list[str]] = {True: [], False: []}
    for backbone in table.backbones:
        family = _of(shown, backbone=backbone)[0].family
        lacking = [f"{o} {shown[backbone, o].status}" for o in (*sgd, *adaptive) if not shown[backbone, o].ranked]
        if family not in CNN_FAMILIES and family != "modern":
            left_out[backbone] = f"its family is {family}"
        elif lacking:
            left_out[backbone] = ", ".join(lacking)
        else:
            groups[family in CNN_FAMILIES].append(backbone)
    for is_cnn, name in ((True, "CNN"), (False, "modern backbone")):
        if not groups[is_cnn]:
            return NotAvailable(f"no {name} has all cells that it needs ({', '.join((*sgd, *adaptive))})", left_out)
    scores = scores_of(table)
    weights = contrast_weights(scores)
    assert weights is not None  # there are weights, because both families have a backbone with all cells
    means = dict(zip(table.backbones, scores.means, strict=True))
    columns = [[table.optimizers.index(o) for o in side] for side in (sgd, adaptive)]
    d = {b: fmean(means[b][columns[0]]) - fmean(means[b][columns[1]]) for b in (*groups[True], *groups[False])}
    return Contrast(
        points=combine(scores, weights),
        logit=None if scores.n_test is None else combine(scores, weights, "logit"),
        image_error=image_error(scores, weights),
        sgd=sgd,
        adaptive=adaptive,
        runs=tuple(sorted(set(scores.n[weights != 0].tolist()))),
        cnn={b: d[b] for b in groups[True]},
        modern={b: d[b] for b in groups[False]},
        left_out=left_out,
        test=compare_families([d[b] for b in groups[True]], [d[b] for b in groups[False]]),
        given=combine(scores.given, weights) if scores.reading.both else None,
    )


def contrast_weights(scores: ScoreTable) -> Floats | None:
    """Returns cells' weights in the family contrast, shape (B, O); None when a side has no backbone or optimizer."""
    sgd = np.array([o in SGD for o in scores.optimizers])
    adaptive = np.array([category == ADAPTIVE for category in scores.categories])
    is_cnn = np.array([family in CNN_FAMILIES for family in scores.families])
    modern = np.array([family == "modern" for family in scores.families])
    if not sgd.any() or not adaptive.any():
        return None
    whole: NDArray[np.bool_] = np.asarray(scores.ranked[:, sgd | adaptive].all(axis=1), np.bool_)
    if not (is_cnn & whole).any() or not (modern & whole).any():
        return None
    rows: Floats = (is_cnn & whole) / (is_cnn & whole).sum() - (modern & whole) / (modern & whole).sum()
    columns: Floats = sgd / sgd.sum() - adaptive / adaptive.sum()
    return rows[:, None] * columns


def image_error(scores: ScoreTable, weights: Floats) -> float | None:
    """Computes the standard error of Σ c·ȳ in points from the test images, which all runs share and seeds cannot show.

    Every image has its own contrast, Σ c · (share of the cell's seeds that are right on it); the error is their
    standard deviation over √N, less what it holds of the differences between seeds: those are in the error over seeds.

    Args:
        scores: The table; cells with a weight must be ranked.
        weights: c of each cell, shape (B, O).

    Returns:
        The error, or None when runs of the table were tested on different numbers of images.
    """
    if scores.packed is None or scores.n_test is None or scores.n_test < 2:
        return None
    contrasts = np.zeros(scores.n_test)
    for b, o in np.argwhere(weights != 0).tolist():
        right = np.unpackbits(scores.packed[b, o], axis=1, count=scores.n_test).sum(axis=0) / scores.n[b, o]
        contrasts += weights[b, o] * right
    variance = 1e4 * float(contrasts.var(ddof=1)) / scores.n_test
    if (luck := image_luck(scores)) is not None:
        variance -= float((np.square(weights) * np.nan_to_num(luck) / np.maximum(scores.n, 1)).sum())
    return math.sqrt(max(variance, 0.0))


def with_images(points: Combination, error: float | None) -> Interval | None:
    """Returns the 95 % interval over seeds and test images together, their half widths added as independent errors.

    Args:
        points: The sum, with its error over seeds.
        error: ``image_error`` of the same weights; None gives no interval.
    """
    if points.interval is None or error is None:
        return None
    half = math.hypot(points.interval.half_width, t_quantile(0.975, math.inf) * error)
    return Interval(points.mean - half, points.mean + half)


def _of(shown: Mapping[tuple[str, str], Row], backbone: str | None = None, optimizer: str | None = None) -> list[Row]:
    """Returns the shown rows of a backbone or of an optimizer."""
    return [row for (b, o), row in shown.items() if backbone in (None, b) and optimizer in (None, o)]
