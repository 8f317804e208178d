"""What a bootstrap's draws are compared with where a table lacks cells that a statistic speaks of."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bocb_hf.coupling.additive import Mask
from bocb_hf.coupling.combination import Unseen
from bocb_hf.coupling.contrast_design import NoDesign, design, unseen
from bocb_hf.coupling.holes import HoleDraws, cost_part, fill, fillable
from bocb_hf.coupling.indices import naive_cost
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable
from bocb_hf.coupling.world import World

# a statistic takes cell means (D, B, O) and noise variances of a mean (D, B, O), or None for no noise, and gives (D,
# ...)
Statistic = Callable[[Floats, Floats | None], Floats]


class WholeTable:
    """The truth that a draw is compared with: that of the whole table, where it lacks cells that a statistic speaks of.

    The cost and the contrast are those of all their cells, so what the missing ones could be is drawn as well; all
    others are those of the cells that are there.
    """

    def __init__(self, scores: ScoreTable, draws: HoleDraws | None, unseen: Unseen | None, seed: int) -> None:
        self._cost = cost_statistic(scores, np.zeros(scores.ranked.shape, np.bool_)) if draws is not None else None
        self._draws, self._unseen = draws, unseen
        self._generator = np.random.default_rng((seed, 1))

    @classmethod
    def of(
        cls, scores: ScoreTable, scale: Scale, world: World, wanted: Mapping[str, Statistic], seed: int
    ) -> WholeTable:
        """Takes what the missing cells could be, for the statistics that are wanted."""
        draws = unseen_cells = None
        if "cost" in wanted:
            draws = HoleDraws.of(scores, scale, None if world.noise is None else world.noise[0])
        if "contrast" in wanted and not isinstance(found := design(scores), NoDesign):
            unseen_cells = unseen(scores, found, scale, seed=seed)
        return cls(scores, draws, unseen_cells, seed)

    def truth(self, name: str, f: Statistic, means: Floats, draws: int) -> Floats:
        """Returns the truth of a statistic, one for all draws or one for each, shape (1 or draws, ...)."""
        if name == "cost" and self._draws is not None and self._cost is not None:
            return self._cost(self._draws.draw(self._generator, draws, means), None)
        truth = f(means[None], None)
        if name == "contrast" and self._unseen is not None:
            error = np.sqrt(self._generator.choice(self._unseen.draws, draws))
            return truth + error * self._generator.standard_normal(draws)
        return truth


def cost_statistic(scores: ScoreTable, holes: Mask) -> Statistic | None:
    """Returns the naive cost of means in which some cells must be filled; None where the table has none."""
    part, kept = cost_part(scores), scores.ranked
    if part is None:
        return None
    rows, columns = part
    lost = ~(kept | fillable(scores))[np.ix_(rows, columns)]

    def cost(means: Floats, noise: Floats | None) -> Floats:
        whole = fill(means, kept, holes)[:, rows][:, :, columns]
        return naive_cost(np.where(lost, -np.inf, whole))

    return cost
