"""The best optimizer of a backbone, without the luck that made it the best.

The highest of several noisy means is too high on average, and its ordinary interval lies too high with it. Andrews,
Kitagawa and McCloskey, "Inference on Winners", Quarterly Journal of Economics 139 (2024) 305-358, give estimates whose
median is right and intervals that hold the truth given which cell won. Their *conditional* interval has no bound on its
length where the second lies close; their *projection* interval is simultaneous over all cells, so that it is always
long and does not move the estimate. The *hybrid* one, here, is the conditional one among means inside the projection
interval of level 1 − β, with β a tenth of the error (their recommendation, Section 4): nearly as short as the
conditional where the best is clear, and never longer than the projection of level 1 − β.

Two to five seeds do not tell the variances that the paper supposes known, so each normal distribution is averaged over
the posterior of the cell's σ (``spread.py``). A t distribution does badly: with two seeds and spreads that differ by
a factor of 50 its tail makes β so wide that the hybrid becomes the conditional estimate, 20 points low on average.
Means that share noise, because their cells share seeds, have equal covariances. Where the choice of rates is known to
add noise (``tuning_noise.py``), its variance is added to that of each mean, as if it were normal.
tests/coupling/test_winners.py and benchmarks/coverage.txt show how often the intervals hold. The choice of test images
is not in them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.special as _scipy_special  # pyright: ignore[reportMissingTypeStubs] - scipy has none
from numpy.typing import NDArray

from bocb_hf.coupling.cells import moderate_table
from bocb_hf.coupling.noise import block_noise, tuning_part
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable, resolution
from bocb_hf.coupling.spread import HYPER, LEVELS, cell_spread
from bocb_hf.coupling.statistics import LEVEL, Interval
from bocb_hf.errors import InputError

BETA_SHARE = 0.1  # β as a share of 1 − level
MOST_SHARED = 0.9  # largest share of the winner's variance that others may share
STEPS = 32  # bisections of each end
THIN = 32  # of so many quantiles of σ, one is used
_special: Any = _scipy_special


@dataclass(frozen=True)
class Winner:
    """The cell with the highest mean, corrected for having been chosen.

    Attributes:
        place: Its place among the means.
        mean: Its mean as it is.
        estimate: Hybrid estimate whose median is the truth.
        interval: Hybrid interval.
        rivals: Number of other cells it was compared with.
    """

    place: int
    mean: float
    estimate: float
    interval: Interval
    rivals: int


def winners(scores: ScoreTable, scale: Scale = "points") -> tuple[Winner | None, ...]:
    """Corrects the best of each backbone; None where noise cannot be separated or there is nothing to choose from.

    In points, intervals reach further down where the table shows rare losses, as those of the cells do. They are of
    tuning and training where those of the cells are (``ScoreTable.reading``).

    Args:
        scores: The table.
        scale: Points or logit.
    """
    spread = cell_spread(scores, scale)
    if spread is None:
        return (None,) * len(scores.backbones)
    means, kept = scores.cell_means(scale), scores.ranked
    values = np.where(kept[:, :, None], scores.on(scale), np.nan)
    blocks = len(scores.backbones)
    shared = max(0.0, block_noise(values)) * blocks / (blocks - 1) if kept.all() and blocks > 1 else 0.0
    # each draw of location and width gives other quantiles, so that together they hold nearly all
    taken = [spread.table[h, :, h % THIN :: THIN] for h in range(HYPER)]
    sigma = np.zeros((*kept.shape, HYPER * (LEVELS // THIN)))
    sigma[spread.kept] = np.concatenate(taken, axis=1)
    sigma = sigma / np.sqrt(np.maximum(scores.n, 1))[..., None]
    tuning = tuning_part(scores, scale)
    if tuning is not None:
        fits: NDArray[np.intp] = np.arange(sigma.shape[-1], dtype=np.intp) % len(tuning.variances)
        sigma = np.sqrt(np.square(sigma) + np.moveaxis(tuning.variances[fits], 0, -1))
    steps = np.broadcast_to(np.asarray(resolution(scores, scale), np.float64), kept.shape) / np.maximum(scores.n, 1)
    below = np.zeros(kept.shape)
    if scale == "points":
        below = moderate_table(scores.values, kept, resolution(scores, scale), scores.chance).below
    found: list[Winner | None] = []
    for b in range(blocks):
        places = np.nonzero(kept[b] & spread.kept[b])[0]
        winner = None
        if len(places) == int(kept[b].sum()):
            winner = correct_winner(means[b, places], sigma[b, places], shared, float(steps[b, places].min(initial=0)))
        if winner is not None:
            place = int(places[winner.place])
            wide = Interval(winner.interval.low - float(below[b, place]), winner.interval.high)
            winner = replace(winner, place=place, interval=wide)
        found.append(winner)
    return tuple(found)


def correct_winner(
    means: Floats, errors: Floats, shared: float = 0.0, step: float = 0.0, level: float = LEVEL
) -> Winner | None:
    """Corrects the highest of several means.

    Given the other means, the winner's lies above the second's; and it lies within a simultaneous reach of the truth,
    up to β. So its distribution F(ȳ; μ) is cut on both sides, and falls with μ: the estimate solves F = ½, the ends
    F = 1 − α̃/2 and α̃/2 with α̃ = (α − β)/(1 − β).

    Args:
        means: Means, shape (k,), finite.
        errors: Equally likely standard errors of each mean, shape (k, draws), positive; one draw where they are known.
        shared: Covariance of each two means, not negative.
        step: Smallest difference that two means can have: a winner by nothing counts as one by half a step.
        level: Level of the interval.

    Returns:
        The winner, the first of a tie; None with fewer than two means.

    Raises:
        InputError: Shapes differ, a mean is not finite, or an error is not positive.
    """
    if means.ndim != 1 or errors.ndim != 2 or len(errors) != len(means):
        raise InputError(f"means, errors: shapes {means.shape} and {errors.shape}; give (k,) and (k, draws)")
    if not np.isfinite(means).all() or not (np.isfinite(errors) & (errors > 0)).all():
        raise InputError("means, errors: a mean is not finite or an error is not positive; leave such cells out")
    if len(means) < 2:
        return None
    place = int(means.argmax())
    x, s = float(means[place]), errors[place]
    typical = np.sqrt(np.square(errors).mean(axis=1))
    others = np.delete(means, place)
    tied = min(max(shared / float(typical[place]) ** 2, 0.0), MOST_SHARED)
    # what another mean has beyond its covariance with the winner's is independent of that
    second = min(float(((others - tied * x) / (1 - tied)).max()), x) - step / 2
    error = 1 - level
    beta = BETA_SHARE * error
    reach = _reach(errors / typical[:, None], 1 - beta) * float(typical[place])
    rest = (error - beta) / (1 - beta)
    probabilities = np.array([0.5, 1 - rest / 2, rest / 2])
    low, high = np.full(3, x - reach), np.full(3, x + reach)
    for _ in range(STEPS):
        middle = (low + high) / 2
        above = _cut(x - middle, np.maximum(second - middle, -reach), reach, s) > probabilities
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    estimate, bottom, top = ((low + high) / 2).tolist()
    return Winner(place, x, estimate, Interval(bottom, top), len(others))


def _reach(errors: Floats, level: float) -> float:
    """Returns the c for which all of several independent errors lie within ±c with a probability of ``level``."""
    low, high = 0.0, 10 * float(errors.max())
    for _ in range(STEPS):
        middle = (low + high) / 2
        outside = 2 * np.asarray(_special.ndtr(-middle / errors)).mean(axis=1)
        low, high = (low, middle) if float(np.log1p(-outside).sum()) >= np.log(level) else (middle, high)
    return high


def _cut(z: Floats, least: Floats, most: float, errors: Floats) -> Floats:
    """Returns P(e ≤ z | least ≤ e ≤ most), shape (3,), from upper tails, which keep their digits far out.

    What is known of the error's size is what its draws say after the cut: large errors pass it more often.
    """
    tails = _special.ndtr(-np.stack([z, least, np.full(3, most)])[..., None] / errors).mean(axis=-1)
    return np.clip((tails[1] - tails[0]) / np.maximum(tails[1] - tails[2], 1e-300), 0.0, 1.0)
