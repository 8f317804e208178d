"""What is cut where time does not suffice: the order, what is never cut, and the time that is left."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from bocb_hf.compare.design import Design, Done, Fixed, describe_cuts, fit, ladder, least, seconds_left
from bocb_hf.sweep.plan import SweepPlan

FULL = Design(("adamw", "sgdm", "lamb", "adan"))
SECONDS = dict.fromkeys(FULL.optimizers, 10.0)


def plan_of(design: Design) -> SweepPlan:
    content = {"edition": 2, "name": "x", "config": "generic/finetune", "backbones": ["tiny_vit"], **design.keys()}
    return SweepPlan.model_validate(content)


def test_a_design_is_what_its_plan_runs() -> None:
    for design in ladder(FULL, emergency=True):
        plan = plan_of(design)
        assert Design.of(plan) == design
        assert {plan.tuning.trials(name) + design.extended for name in design.optimizers} == {design.trials}
        assert design.put_into(plan_of(FULL)) == plan


def test_the_order_of_the_cuts() -> None:
    steps = list(ladder(FULL))
    assert steps[0] == FULL
    assert all(after.runs < before.runs for before, after in pairwise(steps))
    changed = [
        next(
            name
            for name in ("extended", "finals", "rates", "halved", "optimizers")
            if getattr(a, name) != getattr(b, name)
        )
        for a, b in pairwise(steps)
    ]
    assert changed == ["extended", "finals", "rates", "halved", "optimizers", "optimizers"]
    last = steps[-1]
    assert last.optimizers == ("adamw", "sgdm") and last.finals == 2 and last.rates == 3
    assert least(FULL) == last
    assert [d.rates for d in ladder(FULL, emergency=True)][-1] == 1


@pytest.mark.parametrize("fixed", [Fixed(optimizers=True), Fixed(rates=True), Fixed(finals=True), Fixed(tuning=True)])
def test_what_the_user_fixed_stays(fixed: Fixed) -> None:
    for design in ladder(FULL, fixed, emergency=True):
        if fixed.optimizers:
            assert design.optimizers == FULL.optimizers
        if fixed.rates or fixed.tuning:
            assert design.rates == FULL.rates
        if fixed.tuning:
            assert (design.halved, design.extended) == (FULL.halved, FULL.extended)
        if fixed.finals:
            assert design.finals == FULL.finals
    assert len(list(ladder(FULL, fixed))) > 1


def test_the_time_that_is_left() -> None:
    assert FULL.runs == 4 * (5 + 3 + 1 + 3)
    assert seconds_left(FULL, SECONDS, 1) == 480
    assert (
        seconds_left(FULL, SECONDS, 2) == 240 + 2.5
    )  # a quarter of a run: half of the last one, on one of two workers
    done = {"adamw": Done(trials=20, finals=1, tuned=True), "sgdm": Done(trials=4)}
    assert seconds_left(FULL, SECONDS, 1, done) == 480 - 100 - 40
    assert seconds_left(FULL, SECONDS, 1, done, begun=15) == 480 - 100 - 40 - 15
    assert seconds_left(FULL, SECONDS, 1, dict.fromkeys(FULL.optimizers, Done(9, 3, True))) == 0


def test_the_first_design_that_fits_is_taken_and_its_cuts_are_named() -> None:
    whole = fit(FULL, 480, SECONDS, 1)
    assert whole is not None and whole.design == FULL and whole.cuts == []
    for time in (479, 400, 300, 200, 120):
        found = fit(FULL, time, SECONDS, 1)
        assert found is not None and found.seconds <= time and found.cuts
        before = list(ladder(FULL))
        place = before.index(found.design)
        assert seconds_left(before[place - 1], SECONDS, 1) > time  # nothing more would have fitted
    assert fit(FULL, 2 * (3 + 2) * 10 - 1, SECONDS, 1) is None
    emergency = fit(FULL, 2 * (3 + 2) * 10 - 1, SECONDS, 1, emergency=True)
    assert emergency is not None and emergency.design.rates == 1
    assert any("nothing was tuned" in cut for cut in emergency.cuts)


def test_cuts_in_words() -> None:
    cuts = describe_cuts(FULL, replace(FULL, optimizers=FULL.optimizers[:2], rates=3, finals=2, halved=False))
    assert cuts == [
        "learning rates of each optimizer: 3 instead of 5",
        "no second tuning seed for the better half of the rates",
        "final seeds: 2 instead of 3",
        "optimizers not compared: lamb, adan",
    ]
