"""The one primary contrast: do CNNs live better with SGD than modern backbones do?

With S = {SGD-M, SGDP} and A = the optimizers of category (b): d_b = mean_S y − mean_A y for a backbone b, and
C = mean of d over CNNs − mean of d over modern backbones. Positive means that CNNs live better with SGD. LION is sign
momentum and in neither set.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from bocb_hf.backbones import CNN_FAMILIES
from bocb_hf.coupling.family_test import ENOUGH_BACKBONES, FamilyTest, compare_families
from bocb_hf.coupling.row import Row
from bocb_hf.coupling.statistics import Estimate, Interval, combine, estimate, pool, t_quantile
from bocb_hf.coupling.table import Table

SGD = ("sgdm", "sgdp")
ADAPTIVE = "b"


@dataclass(frozen=True)
class Contrast:
    """The primary contrast with everything that is needed to read it.

    Attributes:
        points: C in points, with the variance that the spread over seeds gives it.
        logit: The same on the logit scale.
        image_error: Standard error of C in points from the choice of test images; None without common images.
        sgd: Optimizers of S.
        adaptive: Optimizers of A.
        runs: The numbers of final runs that its cells have, ascending; one number when all have as many.
        cnn: d in points for each CNN.
        modern: d in points for each modern backbone.
        left_out: Backbones that lack a needed cell, with the reason.
        test: Whether the families differ, backbone by backbone.
    """

    points: Estimate
    logit: Estimate
    image_error: float | None
    sgd: tuple[str, ...]
    adaptive: tuple[str, ...]
    runs: tuple[int, ...]
    cnn: Mapping[str, float]
    modern: Mapping[str, float]
    left_out: Mapping[str, str]
    test: FamilyTest

    @property
    def interval(self) -> Interval | None:
        """The primary 95 % interval: seeds only."""
        return self.points.interval()

    @property
    def wide_interval(self) -> Interval | None:
        """95 % for seeds and test images together.

        The half widths of both sources, added as independent errors: the seeds' with its few degrees of freedom, the
        images' as a normal one whose variance is known. So it is never narrower than that of the seeds, which added
        degrees of freedom (Satterthwaite 1946) could make it. It is slightly too wide, since the images' part contains
        some of the seeds' noise.
        """
        seeds = self.interval
        if seeds is None or self.image_error is None:
            return None
        half = math.hypot(seeds.half_width, t_quantile(0.975, math.inf) * self.image_error)
        return Interval(self.points.mean - half, self.points.mean + half)

    @property
    def conditional(self) -> bool:
        """Whether the statement holds for these backbones only: too few of them to speak of families."""
        return min(len(self.cnn), len(self.modern)) < ENOUGH_BACKBONES


@dataclass(frozen=True)
class NotAvailable:
    """Why there is no contrast, and which backbones were left out for what."""

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
    weights = {
        (backbone, o): family_sign * side_sign / len(groups[is_cnn]) / len(side)
        for is_cnn, family_sign in ((True, 1.0), (False, -1.0))
        for backbone in groups[is_cnn]
        for side, side_sign in ((sgd, 1.0), (adaptive, -1.0))
        for o in side
    }
    rows = [shown[key] for key in weights]
    means = {key: row.estimate.mean for key, row in zip(weights, rows, strict=True) if row.estimate is not None}
    d = {
        b: fmean(means[b, o] for o in sgd) - fmean(means[b, o] for o in adaptive)
        for b in (*groups[True], *groups[False])
    }
    values = list(weights.values())
    return Contrast(
        points=combine(values, [row.estimate for row in rows if row.estimate is not None]),
        logit=combine(values, _logit_estimates(table, rows)),
        image_error=image_error(values, rows),
        sgd=sgd,
        adaptive=adaptive,
        runs=tuple(sorted({row.n for row in rows})),
        cnn={b: d[b] for b in groups[True]},
        modern={b: d[b] for b in groups[False]},
        left_out=left_out,
        test=compare_families([d[b] for b in groups[True]], [d[b] for b in groups[False]]),
    )


def image_error(weights: Sequence[float], rows: Sequence[Row]) -> float | None:
    """Standard error of Σ c·ȳ in points from the test images, which all runs share and seeds cannot show.

    Every image has its own contrast, Σ c · (share of the cell's seeds that are right on it); the error is their
    standard deviation over √N.

    Args:
        weights: c of each cell.
        rows: The cells, with completed final runs.

    Returns:
        The error, or None when runs were tested on different numbers of images.
    """
    cells = [[r.correctness.bits() for r in row.completed if r.correctness is not None] for row in rows]
    sizes = {len(bits) for cell in cells for bits in cell}
    if len(sizes) != 1 or min(sizes) < 2:
        return None
    shares = np.stack([np.mean(np.stack(cell), axis=0, dtype=np.float64) for cell in cells])  # (cells, images)
    contrasts: NDArray[np.float64] = np.asarray(weights) @ shares
    return 100 * float(contrasts.std(ddof=1)) / math.sqrt(len(contrasts))


def _logit_estimates(table: Table, rows: Sequence[Row]) -> list[Estimate]:
    """Means of the rows on the logit scale, moderated by the same cells as in points."""
    informing = [row.scores for row in table.rows if row.shown and row.ranked]
    prior = pool([[s.logit for s in x] for x in informing], [max(s.logit_step for s in x) for x in informing])
    return [estimate([s.logit for s in row.scores], prior) for row in rows]


def _of(shown: Mapping[tuple[str, str], Row], backbone: str | None = None, optimizer: str | None = None) -> list[Row]:
    """The shown rows of a backbone or of an optimizer."""
    return [row for (b, o), row in shown.items() if backbone in (None, b) and optimizer in (None, o)]
