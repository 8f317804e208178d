"""The section ``tuning`` of a plan: what is tried in each cell, with which seeds, and which rule chooses."""

from __future__ import annotations

from typing import Annotated, Any, cast

from pydantic import Field, field_validator, model_validator

from bocb_hf.optim.row import Grid
from bocb_hf.runs.tuned import Protocol, SelectionRule
from bocb_hf.schema import Frozen, Scalar, Seed

Odd = Annotated[int, Field(ge=1, le=9)]
Factor = Annotated[float, Field(gt=1, le=100)]


class Tuning(Frozen):
    """Settings by which a cell is tuned, by last-epoch validation score; ``protocols.py`` says what is tried.

    Attributes:
        protocol: ``grid`` tries every configuration with every seed, ``random`` draws them, and ``halving`` tries all
            with the first seed and the better half of what is left with each further seed.
        points: Number of learning rates in the grid, an odd number around the centre; for ``random`` the width of the
            range in steps, plus one.
        factor: Ratio of two neighbouring learning rates.
        decay_points: Number of weight decays in the grid, an odd number; 1 leaves weight decay at the centre.
        decay_factor: Ratio of two neighbouring weight decays.
        grid_of: Values of named hyper-parameters, by optimizer: ``{sgdm: {momentum: [0.8, 0.9, 0.95]}}``. The
            optimizer's default counts as the centre, and must be among the values.
        draws: Number of configurations that ``random`` draws in each cell.
        seeds: Seeds of the trials; the seeds of final runs are other ones. ``seed: 0`` is the same as ``seeds: [0]``.
        selection: The rule that chooses among the configurations (``coupling/selection.py``).
        max_extensions: How often a winner at the edge of the grid adds one more value beyond it, on each axis that has
            a factor.
        grid: Which centres the grid has: those of ``ours`` let weight decay act alike for all optimizers, those of
            ``released`` are of the study's released code.
    """

    protocol: Protocol = "grid"
    points: Odd = 3
    factor: Factor = 3.0
    decay_points: Odd = 1
    decay_factor: Factor = 3.0
    grid_of: dict[str, dict[str, Annotated[list[Scalar], Field(min_length=2, max_length=50)]]] = Field(
        default_factory=dict[str, dict[str, list[Scalar]]]
    )
    draws: int = Field(default=10, ge=1, le=1000)
    seeds: list[Seed] = Field(default_factory=lambda: [0], min_length=1, max_length=20)
    selection: SelectionRule = "best"
    max_extensions: int = Field(default=2, ge=0, le=10)
    grid: Grid = "ours"

    @model_validator(mode="before")
    @classmethod
    def _one_seed(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "seed" not in data:
            return data
        given = dict(cast(dict[str, Any], data))
        if "seeds" in given:
            raise ValueError("seed and seeds say the same; keep `seeds: [...]`")
        return {"seeds": [given.pop("seed")], **given}

    @field_validator("points", "decay_points")
    @classmethod
    def _odd(cls, points: int) -> int:
        if points % 2 == 0:
            raise ValueError("must be odd, so that the centre is one of the points")
        return points

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("holds a seed twice")
        return seeds

    @model_validator(mode="after")
    def _consistent(self) -> Tuning:
        if self.protocol == "halving" and len(self.seeds) < 2:
            raise ValueError("halving tries fewer configurations with each further seed; give `seeds` two or more")
        return self

    def configurations(self, optimizer: str) -> int:
        """Number of configurations that are tried in a cell of an optimizer before any extension."""
        if self.protocol == "random":
            return self.draws
        count = self.points * self.decay_points
        for values in self.grid_of.get(optimizer, {}).values():
            count *= len(values)
        return count

    def trials(self, optimizer: str) -> int:
        """Number of trials of a cell of an optimizer before any extension."""
        count, total = self.configurations(optimizer), 0
        for _ in self.seeds:
            total += count
            if self.protocol == "halving":
                count = (count + 1) // 2
        return total
