"""SGDP and AdamP go on from what timm's classes have saved, which was built before."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from timm.optim.adamp import AdamP
from timm.optim.sgdp import SGDP

from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.conformance import bench as cb
from bocb_hf.optim.projected import radial_part

TIMM: dict[str, Any] = {
    "sgdp": lambda groups: SGDP(groups, lr=0.1, momentum=0.9),  # type: ignore[arg-type] - groups, not parameters
    "adamp": lambda groups: AdamP(groups, lr=1e-3),
}


@pytest.mark.parametrize("name", TIMM)
@pytest.mark.parametrize("invariant", [False, True])
def test_a_state_of_timms_class_goes_on(name: str, invariant: bool) -> None:
    row = OPTIMIZERS.get(name)
    lr = {"sgdp": 0.1, "adamp": 1e-3}[name]
    ours = cb.make_bench(row, cb.start(cb.SMALL), weight_decay=0.1, lr=lr)
    theirs = cb.make_bench(row, cb.start(cb.SMALL), weight_decay=0.1, lr=lr)
    groups = [{"params": g["params"], "weight_decay": g["weight_decay"]} for g in theirs.optimizer.param_groups]
    theirs.optimizer = TIMM[name](groups)

    def fill(bench: cb.Bench) -> None:
        cb.fill_noise(bench)()
        for p in bench.parameters.values():
            if invariant and p.ndim > 1 and p.grad is not None:
                p.grad -= (p.grad * p).sum().detach() / p.square().sum().detach() * p.detach()

    for _ in range(3):
        theirs.step(lambda: fill(theirs))
    ours.optimizer.load_state_dict(copy.deepcopy(theirs.optimizer.state_dict()))
    for key, value in theirs.values().items():
        ours.parameters[key].data.copy_(value)
    ours.steps = theirs.steps
    for bench in (ours, theirs):
        for _ in range(3):
            bench.step(lambda bench=bench: fill(bench))
    for key, value in theirs.values().items():
        torch.testing.assert_close(ours.values()[key], value, rtol=0, atol=1e-13)


def test_what_counts_as_scale_invariant() -> None:
    weight = torch.eye(3, 4, dtype=torch.float64)
    step = torch.ones(3, 4, dtype=torch.float64)
    across = torch.roll(weight, 1, 1)  # every row of it is at a right angle to that of the weight
    radial = radial_part(weight, across, step, 0.1, 1e-8)
    assert radial is not None
    torch.testing.assert_close(radial, weight, rtol=1e-6, atol=0)
    balanced = weight * torch.tensor([[1.0], [-1.0], [0.0]], dtype=torch.float64)  # at a right angle as a whole only
    radial = radial_part(weight, balanced, step, 0.1, 1e-8)
    assert radial is not None
    torch.testing.assert_close(radial, weight, rtol=1e-6, atol=0)
    assert radial_part(weight, weight, step, 0.1, 1e-8) is None
    assert radial_part(weight[0], across[0], step[0], 0.1, 1e-8) is None  # vectors never
    assert radial_part(weight, torch.full_like(weight, torch.nan), step, 0.1, 1e-8) is None
