"""AdamW with one fault at a time: which check finds it where the row names no reference, and what the verdict says."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from bocb_hf.optim import hyperparameters as hp
from bocb_hf.optim.conformance.suite import Outcome, judge, run_check
from bocb_hf.optim.row import Centre, OptimizerRow

# Each fault with a check that finds it.
FOUND = {
    "decay makes weights larger": "decay",
    "decay acts twice": "decay",
    "decay joins the gradient": "decay",
    "decay without the learning rate": "decay",
    "decay of what is exempt": "group_decay",
    "decay of what has no gradient": "unused",
    "no decay at all": "group_decay",
    "decay changes the gradient": "gradient_kept",
    "scales the gradient in place": "gradient_kept",
    "goes up": "quadratic",
    "ignores a new learning rate": "lr_change",
    "learning rate of the first group": "group_lr",
    "square of the learning rate": "lr_scale",
    "acts in every other step": "every_step",
    "stops after ten steps": "every_step",
    "steps grow with their number": "step_size",
    "keeps every gradient": "growth",
    "state outside of the state_dict": "resume",
    "one count for all tensors": "counter",
    "counts twice": "counter",
    "one state for a shape": "independent",
    "random noise": "deterministic",
    "drops a hyper-parameter": "hyperparameters",
    "swallows NaN": "gradient_nan",
    "channels last by rows of memory": "layout",
}
# These are other equations that nothing but a reference tells from the row's.
ONLY_A_REFERENCE = ("no bias correction", "mean of absolute values")


class Faulty(torch.optim.Optimizer):
    """AdamW with one fault."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, h: hp.AdamHyperparameters, fault: str) -> None:
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0, "beta1": h.beta1, "beta2": h.beta2, "eps": h.eps})
        self.fault, self.first_lr, self.hidden, self.calls = fault, lr, {}, 0

    def _state(self, p: Tensor) -> dict[str, Any]:
        if self.fault == "state outside of the state_dict":
            return self.hidden.setdefault(p, {})
        if self.fault == "one state for a shape":
            first = next(q for group in self.param_groups for q in group["params"] if q.shape == p.shape)
            return self.state[first]
        return self.state[p]

    @torch.no_grad()
    # narrower than in the base class, as it is called here
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        self.calls += 1
        if self.fault == "acts in every other step" and self.calls % 2:
            return
        if self.fault == "stops after ten steps" and self.calls > 10:
            return
        for group in self.param_groups:
            for p in group["params"]:
                self._update(p, group)

    def _update(self, p: Tensor, group: dict[str, Any]) -> None:
        fault, lr, decay = self.fault, group["lr"], group["weight_decay"]
        if fault == "ignores a new learning rate":
            lr = self.first_lr
        elif fault == "learning rate of the first group":
            lr = self.param_groups[0]["lr"]
        elif fault == "square of the learning rate":
            lr = lr * lr / self.first_lr
        if fault == "decay of what is exempt":
            decay = 0.1
        if p.grad is None:
            if fault == "decay of what has no gradient":
                p.mul_(1 - lr * decay)
            return
        grad = p.grad.nan_to_num() if fault == "swallows NaN" else p.grad
        if fault == "decay joins the gradient":
            grad = grad + decay * p
        elif fault == "decay changes the gradient":
            grad.add_(p, alpha=1e-3 * decay)
        elif fault == "scales the gradient in place":
            grad.mul_(1 - 1e-6)
        elif fault == "random noise":
            grad = grad + 1e-3 * torch.randn_like(grad)
        factor = {
            "decay makes weights larger": 1 + lr * decay,
            "decay acts twice": (1 - lr * decay) ** 2,
            "decay without the learning rate": 1 - 0.01 * decay,
            "decay joins the gradient": 1.0,
            "no decay at all": 1.0,
        }.get(fault, 1 - lr * decay)
        state = self._state(p)
        if "step" not in state:
            state |= {"step": 0, "m": torch.zeros_like(p), "v": torch.zeros_like(p)}
        state["step"] += 2 if fault == "counts twice" else 1
        t = state["step"]
        if fault == "one count for all tensors":
            self.param_groups[0]["steps"] = t = self.param_groups[0].get("steps", 0) + 1
        if fault == "keeps every gradient":
            state.setdefault("gradients", []).append(grad.clone())
        beta1 = 0.9 if fault == "drops a hyper-parameter" else group["beta1"]
        state["m"].lerp_(grad, 1 - beta1)
        if fault == "mean of absolute values":
            state["v"].sqrt_().lerp_(grad.abs(), 1 - group["beta2"]).square_()
        else:
            state["v"].lerp_(grad * grad, 1 - group["beta2"])
        mean, square = state["m"] / (1 - beta1**t), state["v"] / (1 - group["beta2"] ** t)
        if fault == "no bias correction":
            mean, square = state["m"], state["v"]
        update = mean / (square.sqrt() + group["eps"])
        if fault == "channels last by rows of memory" and update.ndim == 4:
            # as a kernel does that takes every tensor for a contiguous one
            update = update.as_strided(p.shape, torch.empty(p.shape).stride()).contiguous()
        if fault == "steps grow with their number":
            update = t * update
        p.mul_(factor).add_(update, alpha=lr if fault == "goes up" else -lr)


def row_under_test(monkeypatch: pytest.MonkeyPatch, fault: str) -> OptimizerRow:
    monkeypatch.setattr(
        sys.modules[__name__], "build_faulty", lambda groups, lr, h: Faulty(groups, lr, h, fault), raising=False
    )
    return OptimizerRow(
        id="undertest",
        short="Under test",
        category="b",
        paper="-",
        implementation="-",
        variant="-",
        why="-",
        decay="decoupled",
        centres={"default": Centre(1e-3, 0.05, "ours")},
        hyperparameters=hp.AdamHyperparameters,
        build=f"{__name__}:build_faulty",
        state_floats=2,
    )


def test_there_are_27_faults() -> None:
    assert len(FOUND) + len(ONLY_A_REFERENCE) == 27


@pytest.mark.parametrize("check", sorted(set(FOUND.values())))
def test_what_has_no_fault_passes(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run_check(row_under_test(monkeypatch, "none"), check)
    assert outcome.status == "pass", outcome.detail


@pytest.mark.parametrize(("fault", "check"), FOUND.items())
def test_a_fault_is_found_without_a_reference(fault: str, check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run_check(row_under_test(monkeypatch, fault), check)
    assert outcome.status == "fail", outcome.detail


@pytest.mark.parametrize("fault", ONLY_A_REFERENCE)
def test_a_fault_that_is_not_found_never_conforms(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = row_under_test(monkeypatch, fault)
    outcomes = [run_check(row, check) for check in ("update", "decay", "counter", "every_step", "lr_scale")]
    assert {o.status for o in outcomes[1:]} == {"pass"}
    assert (judge(outcomes).exit_status, outcomes[0].status) == (3, "unchecked")


# the verdict


def outcome(check: str, status: Any) -> Outcome:
    return Outcome(check, status, "why")


def test_the_verdict_says_what_was_not_checked() -> None:
    held, beside = outcome("decay", "pass"), outcome("paths", "not applicable")
    assert (judge([held, beside]).text, judge([held, beside]).exit_status) == ("conforms", 0)
    unchecked = judge([held, outcome("update", "unchecked"), beside])
    assert unchecked.exit_status == 3
    assert unchecked.text == "not shown to conform: 1 checks hold, but not checked: update"
    failed = judge([outcome("resume", "fail"), outcome("update", "unchecked"), held])
    assert (failed.text, failed.exit_status) == ("1 failed: resume", 1)
