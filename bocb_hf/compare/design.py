"""How much a comparison does, and what is cut where the time does not suffice. Pure functions; this needs no torch.

A comparison tries learning rates for each optimizer on validation images and then gives each the same number of final
runs on fresh seeds. Every cut is of all optimizers alike, so that each always gets as much as every other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bocb_hf.sweep.plan import SweepPlan

TUNING_SEEDS = (100, 101)  # final seeds count from 1
LEAST_OPTIMIZERS, LEAST_FINALS = 2, 2
WANTED_FINALS, MOST_FINALS = 3, 10
RATES = (5, 3)  # learning rates of a grid, the most first
LAST = 1  # rates in an emergency: the centre of the grid alone


@dataclass(frozen=True)
class Design:
    """The runs of a comparison.

    Attributes:
        optimizers: Ids, the most wanted first: those at the end are cut first.
        rates: Learning rates of each optimizer's grid, an odd number.
        halved: Whether the better half of the rates is tried with a second tuning seed.
        extended: Whether a rate is added beyond a winner at the edge of the grid.
        finals: Final runs of each optimizer, with the seeds 1, 2, ...
    """

    optimizers: tuple[str, ...]
    rates: int = RATES[0]
    halved: bool = True
    extended: bool = True
    finals: int = WANTED_FINALS

    @property
    def trials(self) -> int:
        """Trials of an optimizer, the one beyond the edge of its grid included."""
        return self.rates + (self.rates + 1) // 2 * self.halved + self.extended

    @property
    def runs(self) -> int:
        """Runs of all optimizers."""
        return len(self.optimizers) * (self.trials + self.finals)

    @classmethod
    def of(cls, plan: SweepPlan) -> Design:
        """The design that a plan has."""
        tuning = plan.tuning
        return cls(
            tuple(plan.optimizers),
            tuning.points,
            tuning.protocol == "halving",
            tuning.max_extensions > 0,
            len(plan.final_seeds),
        )

    def put_into(self, plan: SweepPlan) -> SweepPlan:
        """The plan with this design."""
        return SweepPlan.model_validate(plan.model_dump() | self.keys())

    def keys(self) -> dict[str, Any]:
        """The keys of a plan that say this design."""
        tuning = {
            "protocol": "halving" if self.halved else "grid",
            "points": self.rates,
            "seeds": list(TUNING_SEEDS[: 1 + self.halved]),
            "selection": "one_standard_error",
            "max_extensions": int(self.extended),
        }
        return {
            "optimizers": list(self.optimizers),
            "tuning": tuning,
            "final_seeds": list(range(1, self.finals + 1)),
        }


@dataclass(frozen=True)
class Fixed:
    """What the user has fixed, and what no cut may change.

    Attributes:
        optimizers: Whether ``--optimizers`` names them.
        rates: Whether ``--rates`` says how many.
        finals: Whether ``--seeds`` says how many.
        tuning: Whether some optimizers are tuned already, so that others must be tuned alike.
    """

    optimizers: bool = False
    rates: bool = False
    finals: bool = False
    tuning: bool = False


@dataclass(frozen=True)
class Done:
    """What has ended in the cell of one optimizer.

    Attributes:
        trials: Number of trials.
        finals: Number of final runs.
        tuned: Whether its rate is chosen, so that no further trial is needed.
    """

    trials: int = 0
    finals: int = 0
    tuned: bool = False


def ladder(full: Design, fixed: Fixed = Fixed(), emergency: bool = False) -> Iterator[Design]:
    """Designs from a full one down, in the order in which things are cut.

    First fewer final seeds, down to 2, and no rate beyond the grid; then fewer rates and no second tuning seed; then
    fewer optimizers, down to 2.

    Args:
        full: The design to begin with.
        fixed: What no cut may change.
        emergency: Whether the last step may be not to tune at all, for a comparison that has begun.
    """
    found = full
    yield found
    least = full.finals if fixed.finals else min(full.finals, LEAST_FINALS)
    if not fixed.tuning and found.extended:
        yield (found := replace(found, extended=False))
    while found.finals > least:
        yield (found := replace(found, finals=found.finals - 1))
    if not fixed.tuning:
        if not fixed.rates and found.rates > RATES[-1]:
            yield (found := replace(found, rates=RATES[-1]))
        if found.halved:
            yield (found := replace(found, halved=False))
    while not fixed.optimizers and len(found.optimizers) > LEAST_OPTIMIZERS:
        yield (found := replace(found, optimizers=found.optimizers[:-1]))
    if emergency and not fixed.tuning and not fixed.rates and found.rates > LAST:
        yield replace(found, rates=LAST)


def seconds_left(
    design: Design, seconds: Mapping[str, float], workers: int, done: Mapping[str, Done] = {}, begun: float = 0.0
) -> float:
    """Wall time that a design still takes.

    Args:
        design: The design.
        seconds: What a run of each optimizer takes.
        workers: Runs at a time.
        done: What has ended, by optimizer.
        begun: Seconds that the runs in progress have had already, summed.
    """
    work = 0.0
    for name in design.optimizers:
        had = done.get(name, Done())
        trials = 0 if had.tuned else max(0, design.trials - had.trials)
        work += seconds[name] * (trials + max(0, design.finals - had.finals))
    if work <= 0:
        return 0.0
    longest = max(seconds[name] for name in design.optimizers)
    # the last runs do not end together: half of a run is lost on all workers but one
    return max(work - begun, 0.0) / workers + longest / 2 * (1 - 1 / workers)


def describe_cuts(full: Design, kept: Design) -> list[str]:
    """What a design lacks of a full one, in words; empty where it lacks nothing."""
    cuts: list[str] = []
    if kept.rates < full.rates:
        what = "the centre of the grid alone, so that nothing was tuned" if kept.rates == LAST else f"{kept.rates}"
        cuts.append(f"learning rates of each optimizer: {what} instead of {full.rates}")
    if full.halved and not kept.halved:
        cuts.append("no second tuning seed for the better half of the rates")
    if full.extended and not kept.extended:
        cuts.append("no rate beyond the edge of a grid")
    if kept.finals < full.finals:
        cuts.append(f"final seeds: {kept.finals} instead of {full.finals}")
    if lost := [name for name in full.optimizers if name not in kept.optimizers]:
        cuts.append(f"optimizers not compared: {', '.join(lost)}")
    return cuts


@dataclass(frozen=True)
class Fit:
    """The design that fits into a time.

    Attributes:
        design: The design.
        seconds: Wall time that it takes.
        cuts: What it lacks of the full one, in words.
    """

    design: Design
    seconds: float
    cuts: list[str] = field(default_factory=list[str])


def fit(
    full: Design,
    time: float,
    seconds: Mapping[str, float],
    workers: int,
    fixed: Fixed = Fixed(),
    done: Mapping[str, Done] = {},
    begun: float = 0.0,
    emergency: bool = False,
) -> Fit | None:
    """The first design of the ladder that fits into a time in seconds; None where none does."""
    for design in ladder(full, fixed, emergency):
        needed = seconds_left(design, seconds, workers, done, begun)
        if needed <= time:
            return Fit(design, needed, describe_cuts(full, design))
    return None


def least(full: Design, fixed: Fixed = Fixed()) -> Design:
    """The smallest design that still compares."""
    return list(ladder(full, fixed))[-1]
