"""Cautious weight decay: for which optimizers it is offered, and what it does."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.compiled import compile_step, set_lr
from bocb_hf.optim.conformance import bench as cb
from bocb_hf.optim.resolve import resolve_hyperparameters

PLAIN = [row.id for row in OPTIMIZERS if row.plain_decay]
DECAY = 0.3


def stepped(bench: cb.Bench, decay: float) -> dict[str, Tensor]:
    """One more step of a copy of a bench, with another decay for the tensors that decay."""
    other = cb.make_bench(bench.row, bench.values(), weight_decay=decay)
    state = copy.deepcopy(bench.optimizer.state_dict())
    for group in state["param_groups"]:
        group["weight_decay"] = decay if group["weight_decay"] else 0.0
    other.optimizer.load_state_dict(state)
    other.steps = bench.steps
    return cb.run_noise(other, 1)


@pytest.mark.parametrize("name", PLAIN)
def test_decay_acts_where_the_step_goes_towards_zero(name: str) -> None:
    """For every row that offers it: the step without decay, less lr·λ·θ where that step has the sign of θ."""
    row = OPTIMIZERS.get(name)
    tensors = cb.start(cb.SMALL)
    plain = cb.make_bench(row, tensors, weight_decay=DECAY)
    cautious = cb.make_bench(row, tensors, weight_decay=DECAY, hyperparameters={"cautious_decay": True})
    rate = row.centre("default").lr * DECAY
    cb.run_noise(cautious, 5)
    cb.run_noise(plain, 5)
    for bench, careful in ((plain, False), (cautious, True)):
        before, without = bench.values(), stepped(bench, 0.0)
        after = cb.run_noise(bench, 1)
        for key, value in before.items():
            step = value - without[key]
            mask = (step * value >= 0) if careful else torch.ones_like(value, dtype=torch.bool)
            expected = without[key] - (rate * value * mask if value.ndim > 1 else 0.0)
            # some decay what the step has already moved
            moved = rate * step.abs().max() if value.ndim > 1 and not careful else 0.0
            assert (after[key] - expected).abs().max() <= moved + 1e-9 * step.abs().max(), key
            if careful and value.ndim > 1:
                assert mask.any() and not mask.all()


def test_the_option_resumes_and_leaves_the_groups_as_they_were() -> None:
    tensors = cb.start(cb.SMALL)
    options: dict[str, Any] = {"weight_decay": DECAY, "hyperparameters": {"cautious_decay": True}}
    whole = cb.make_bench(OPTIMIZERS.get("adamw"), tensors, **options)
    cb.run_noise(whole, 4)
    assert [group["weight_decay"] for group in whole.optimizer.param_groups] == [DECAY, 0.0]
    later = cb.make_bench(OPTIMIZERS.get("adamw"), whole.values(), **options)
    later.optimizer.load_state_dict(copy.deepcopy(whole.optimizer.state_dict()))
    later.steps = whole.steps
    a, b = cb.run_noise(later, 3), cb.run_noise(whole, 3)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_parameter_without_a_gradient_does_not_decay() -> None:
    bench = cb.make_bench(
        OPTIMIZERS.get("lion"), cb.start(cb.SMALL), weight_decay=DECAY, hyperparameters={"cautious_decay": True}
    )
    before = bench.values()
    bench.optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in bench.values().items())


def test_a_compiled_step_decays_the_same() -> None:
    row = OPTIMIZERS.get("lion")
    options: dict[str, Any] = {"weight_decay": DECAY, "hyperparameters": {"cautious_decay": True}}
    plain, compiled = (cb.make_bench(row, cb.start(cb.SMALL), **options) for _ in range(2))
    compile_step(compiled.optimizer, row, "eager")
    for step in range(3):
        for bench in (plain, compiled):
            for group in bench.optimizer.param_groups:
                set_lr(group, 1e-3 / (step + 1), compiled=bench is compiled)
            cb.run_noise(bench, 1)
    torch.compiler.reset()
    assert all(torch.equal(value, compiled.values()[name]) for name, value in plain.values().items())


def test_who_has_the_option() -> None:
    assert {row.decay for row in OPTIMIZERS if row.plain_decay} == {"decoupled"}
    # decay inside the trust ratio, the momentum or the average, scaled by more than the rate, proximal, or a constraint
    others = {"adamp", "adan", "lamb", "lars", "novograd", "prodigy", "schedulefreeadamw", "scion", "sgdp"}
    others |= {"sgdpupstream", "splus", "stableadamw"}
    assert {row.id for row in OPTIMIZERS if row.decay == "decoupled" and not row.plain_decay} == others
    for name in (*sorted(others), "sgdm", "adam"):
        with pytest.raises(InputError, match=f"cautious_decay: {name} has no decay"):
            resolve_hyperparameters(OPTIMIZERS.get(name), {"cautious_decay": True})


def test_the_option_is_hashed_only_when_it_is_on() -> None:
    row = OPTIMIZERS.get("adamw")
    assert resolve_hyperparameters(row, {"cautious_decay": False}) == resolve_hyperparameters(row, {})
    assert resolve_hyperparameters(row, {"cautious_decay": True})["cautious_decay"] is True
    with pytest.raises(InputError, match="cautious_decay: must be true or false, not 1"):
        resolve_hyperparameters(row, {"cautious_decay": 1})
