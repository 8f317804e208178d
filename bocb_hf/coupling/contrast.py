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

from bocb_hf.coupling.combination import Combination, combine
from bocb_hf.coupling.contrast_design import NoDesign, design, unseen
from bocb_hf.coupling.family_test import ENOUGH_BACKBONES, FamilyTest, compare_families
from bocb_hf.coupling.reading import BOTH, GIVEN
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable, scores_of
from bocb_hf.coupling.statistics import Interval, t_quantile
from bocb_hf.coupling.table import Table
from bocb_hf.coupling.world import image_luck


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
        dropped: Optimizers of both sets that do not count, with the reason.
        holes: Needed cells that are missing, (backbone, optimizer): d goes by what the model leads to expect.
        cells: Cells that it rests on.
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
    dropped: Mapping[str, str]
    holes: tuple[tuple[str, str], ...]
    cells: int
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


def family_contrast(table: Table, scores: ScoreTable | None = None) -> Contrast | NotAvailable:
    """Computes the primary contrast of one table; where needed cells are missing, by ``contrast_design.py``.

    Args:
        table: The table.
        scores: ``scores_of`` the table, where the caller has it.
    """
    scores = scores_of(table) if scores is None else scores
    found = design(scores)
    if isinstance(found, NoDesign):
        return NotAvailable(found.reason, found.left_out)
    weights, d = found.weights, found.differences(scores.means)
    if not found.holes.any():
        columns = [np.flatnonzero(side).tolist() for side in (found.sgd, found.adaptive)]
        d = [fmean(line[columns[0]]) - fmean(line[columns[1]]) for line in scores.means]
    of = dict(zip(scores.backbones, map(float, d), strict=True))
    cnn, modern = (
        {b: of[b] for b, inside in zip(scores.backbones, side, strict=True) if inside}
        for side in (found.cnn, found.modern)
    )
    sgd, adaptive = (
        tuple(o for o, inside in zip(scores.optimizers, side, strict=True) if inside)
        for side in (found.sgd, found.adaptive)
    )

    def total(scale: Scale, scores: ScoreTable = scores) -> Combination:
        return combine(scores, weights, scale, unseen=unseen(scores, found, scale))

    return Contrast(
        points=total("points"),
        logit=None if scores.n_test is None else total("logit"),
        image_error=image_error(scores, weights),
        sgd=sgd,
        adaptive=adaptive,
        runs=tuple(sorted(set(scores.n[weights != 0].tolist()))),
        cnn=cnn,
        modern=modern,
        left_out=found.left_out,
        test=compare_families(list(cnn.values()), list(modern.values())),
        dropped=found.dropped,
        holes=tuple((scores.backbones[b], scores.optimizers[o]) for b, o in np.argwhere(found.holes).tolist()),
        cells=int((weights != 0).sum()),
        given=total("points", scores.given) if scores.reading.both else None,
    )


def differences(scores: ScoreTable) -> dict[str, tuple[float, Interval | None]]:
    """Computes d of each backbone, with its 95 % interval over seeds, and over the choice of the rates where known.

    There is no interval where noise cannot be told, and for a backbone that lacks one of its cells, whose d goes by
    what the model of ``contrast_design.py`` leads to expect.

    Args:
        scores: The table.

    Returns:
        d in points and its interval by backbone, in the table's order; empty where there is no contrast.
    """
    found = design(scores)
    if isinstance(found, NoDesign):
        return {}
    of_columns: Floats = found.sgd / found.sgd.sum() - found.adaptive / found.adaptive.sum()
    d = found.differences(scores.means)
    each: dict[str, tuple[float, Interval | None]] = {}
    for b in np.flatnonzero(found.cnn | found.modern).tolist():
        interval = None
        if not found.holes[b].any():
            weights = np.zeros(scores.means.shape)
            weights[b] = of_columns
            interval = combine(scores, weights).interval
        each[scores.backbones[b]] = (float(d[b]), interval)
    return each


def contrast_weights(scores: ScoreTable) -> Floats | None:
    """Returns cells' weights in the family contrast, shape (B, O); None when a side has no backbone or optimizer."""
    found = design(scores)
    return None if isinstance(found, NoDesign) else found.weights


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
