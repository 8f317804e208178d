"""How the hyper-parameters of a final run were chosen among the trials of its cell, as its record keeps it.

With this block and the trials in the store, an analysis can draw the choice again; the rules themselves are in
``coupling/selection.py``.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator

from bocb_hf.optim.row import SMALLEST_DECAY
from bocb_hf.schema import Frozen, Printable, Scalar, Seed

# ``best``: highest mean. ``one_standard_error``: among those within one standard error of the best, the safest.
SelectionRule = Literal["best", "one_standard_error"]
Protocol = Literal["grid", "random", "halving"]
LR, WEIGHT_DECAY = "lr", "weight_decay"  # every other axis is a hyper-parameter of the optimizer by its own name


class TunedAxis(Frozen):
    """One hyper-parameter that was tuned.

    Attributes:
        name: ``lr``, ``weight_decay``, or the name of a hyper-parameter of the optimizer.
        centre: The value that tuning was centred at.
        factor: Ratio of two neighbouring values; None where the values are listed, which have no distances.
    """

    name: Annotated[Printable, Field(min_length=1, max_length=100)]
    centre: Scalar
    factor: float | None = Field(default=None, gt=1, le=1e6)

    def steps(self, value: Scalar) -> float:
        """Distance of a value from the centre in steps of ``factor``, to 2 decimals, so that two sides can tie.

        A listed value lies 1 step from the centre, unless it is the centre. From a weight decay of 0 it is 1 step to
        the smallest positive one of a grid, as in ``OptimizerRow.decay_grid``, and from a positive centre 3 steps to 0.
        """
        if self.factor is None:
            return float(value != self.centre)
        low, high = sorted((float(value), float(self.centre)))
        if low > 0:
            return round(math.log(high / low) / math.log(self.factor), 2)
        if high == 0:
            return 0.0
        if float(self.centre) > 0:
            return 3.0
        return 1.0 + max(0.0, round(math.log(high / SMALLEST_DECAY) / math.log(self.factor), 2))


class Tuned(Frozen):
    """The choice that led to a final run.

    Attributes:
        protocol: How the trials were laid out: ``grid``, ``random`` or ``halving``.
        selection: The rule that chose among them.
        seeds: The seeds of the trials, each trial being one configuration with one seed.
        axes: What was tuned; everything else was the same in all trials.
    """

    protocol: Protocol
    selection: SelectionRule
    seeds: tuple[Seed, ...] = Field(min_length=1, max_length=100)
    axes: tuple[TunedAxis, ...] = Field(min_length=1, max_length=20)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("holds a seed twice")
        return seeds
