"""Patterns and sharpness during training: right, and without a trace in the run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from runs import StopAfter, assert_identical, make, weights_of
from torch import nn
from torch.nn import functional

from bocb_hf.engine.inspection import inspected_steps
from bocb_hf.engine.run import train_run
from bocb_hf.engine.sharpness import measure_sharpness
from bocb_hf.errors import InputError


def test_the_steps_that_are_inspected() -> None:
    assert inspected_steps(1000, (0.5, 1.0)) == {100: 0.1, 500: 0.5, 1000: 1.0}
    assert inspected_steps(30, (0.1,)) == {3: 0.1}
    assert inspected_steps(16, (0.1, 0.11, 0.12)) == {2: 0.1}  # the first step at or after each share, once
    assert inspected_steps(1, (1.0,)) == {1: 0.1}


class Small(nn.Module):
    """A network with attention, batch norm and dropout, small enough for its whole Hessian."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.first, self.last = nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.drop, self.unused = nn.Dropout(0.5), nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.first(self.norm(x))[:, None, None, :]
        h = functional.scaled_dot_product_attention(h, h, h)[:, 0, 0] + torch.tanh(h[:, 0, 0])
        return self.last(self.drop(h))


def test_sharpness_is_the_largest_eigenvalue_of_the_hessian() -> None:
    torch.manual_seed(0)
    model = Small()
    inputs, labels = 3 * torch.randn(12, 4), torch.randint(3, (12,))
    before = {name: t.clone() for name, t in model.state_dict().items()}
    whole = measure_sharpness(model, [(inputs, labels)], functional.cross_entropy, tolerance=1e-6, most=2000)
    parts = [(inputs[:5], labels[:5]), (inputs[5:], labels[5:])]
    cut = measure_sharpness(model, parts, functional.cross_entropy, tolerance=1e-6, most=2000)
    assert_identical(model.state_dict(), before)
    assert model.training and all(p.grad is None for p in model.parameters())
    model.eval()
    names = [name for name, _ in model.named_parameters()]

    def loss(*values: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(
            torch.func.functional_call(model, dict(zip(names, values, strict=True)), (inputs,)), labels
        )

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        blocks = torch.autograd.functional.hessian(loss, tuple(p.detach() for p in model.parameters()))
    rows = [
        torch.cat([b.reshape(p.numel(), -1) for b in line], 1)
        for p, line in zip(model.parameters(), blocks, strict=True)
    ]
    largest = float(torch.linalg.eigvalsh(torch.cat(rows)).max())
    assert whole.converged and whole.value == pytest.approx(largest, rel=1e-3) and whole.images == 12
    assert cut.value == pytest.approx(largest, rel=1e-3)


class Quadratic(nn.Module):
    """Its loss has the Hessian diag(−5, 2, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, 1.0, 1.0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.tensor([-2.5, 1.0, 0.5]) * self.w**2).sum().expand(len(x), 1)


def test_a_dominant_negative_eigenvalue_does_not_hide_the_largest() -> None:
    parts = [(torch.zeros(2, 1), torch.zeros(2))]
    found = measure_sharpness(Quadratic(), parts, lambda logits, _: logits.mean(), tolerance=1e-7, most=500)
    assert found.value == pytest.approx(2.0, rel=1e-4)


def test_a_loss_that_is_not_finite_has_no_sharpness() -> None:
    model = Quadratic()
    model.w.data[0] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        measure_sharpness(model, [(torch.zeros(1, 1), torch.zeros(1))], lambda logits, _: (logits**2).mean())


@pytest.mark.parametrize("backbone", ["tiny_resnet", "tiny_vit"])
def test_a_run_that_is_inspected_is_the_same_run_also_resumed(sections: dict[str, Any], backbone: str) -> None:
    name, inspected = f"backbone.name={backbone}", "runtime.inspect_at=[0.1,0.6,1.0]"
    plain = make(sections, name, "runtime.namespace=plain")
    reference = train_run(plain)
    assert reference.inspections == () and '"inspections"' not in reference.to_json()
    whole = make(sections, name, inspected, "runtime.namespace=whole")
    record = train_run(whole)
    assert_identical(weights_of(plain, reference), weights_of(whole, record))
    assert (record.curve, record.metrics, record.run_id) == (reference.curve, reference.metrics, reference.run_id)
    assert [(i.step, i.share) for i in record.inspections] == [(2, 0.1), (10, 0.6), (16, 1.0)]
    for found in record.inspections:
        assert found.sharpness is not None and found.sharpness.images == 25 and found.sharpness.value > 0
        assert found.sharpness_seconds > 0
    assert record.inspections[-1].patterns == record.patterns
    assert record.inspections[0].patterns != record.patterns
    parts = make(sections, name, inspected, "runtime.namespace=parts")
    for steps in (1, 6):  # stops at steps 1 and 7, before and after the first inspection
        assert train_run(parts, StopAfter(steps)).status == "interrupted"
    resumed = train_run(parts)
    assert_identical(weights_of(plain, reference), weights_of(parts, resumed))
    values = [[(i.step, i.patterns, i.sharpness) for i in r.inspections] for r in (record, resumed)]
    assert values[0] == values[1]


def test_a_trial_is_not_inspected_and_compiling_refuses_it(sections: dict[str, Any]) -> None:
    trial = train_run(make(sections, "role=trial", "runtime.inspect_at=[0.1]", "training.epochs=1"))
    assert trial.inspections == ()
    with pytest.raises(InputError, match="second derivative"):
        make(sections, "runtime.inspect_at=[0.1]", "runtime.compile_model=true")
    with pytest.raises(InputError, match="inspect_at"):
        make(sections, "runtime.inspect_at=[1.5]")
