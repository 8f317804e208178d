"""Times of steps that are only tried."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from runs import make
from torch import Tensor, nn

from bocb_hf.engine.dry_run import describe_run, time_precisions, time_steps
from bocb_hf.engine.prepare import prepare_run


class Slow(nn.Module):
    """Takes longer in bf16, and notes the dtype and the number of images of every pass."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.passes = nn.Linear(3 * 16, 2), list[tuple[torch.dtype, int]]()

    def forward(self, x: Tensor) -> Tensor:
        found = self.linear(x.flatten(1))
        self.passes.append((found.dtype, len(x)))
        time.sleep(0.05 if found.dtype == torch.bfloat16 else 0.005)
        return found


def test_steps_are_timed_in_the_precision_that_is_asked_for() -> None:
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        model = Slow()
        # a parametrized word, one of those that the type lists
        seconds, _ = time_steps(model, torch.optim.SGD(model.parameters()), 4, 4, (), precision)  # type: ignore[arg-type]
        assert {kind for kind, _ in model.passes} == {dtype}
        assert seconds > (0.05 if precision == "bf16" else 0.005)


def test_a_precision_that_is_far_slower_is_not_timed_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    model = Slow()
    full, half = time_precisions(model, torch.optim.SGD(model.parameters()), 100, 4, ())
    assert half > 3 * full
    assert model.passes == [(torch.float32, 32)] * 6 + [(torch.bfloat16, 32)]


def test_a_dry_run_says_which_precision_is_faster_here(sections: dict[str, Any]) -> None:
    text = describe_run(prepare_run(make(sections, "training.precision=bf16")), 1)
    (line,) = (line for line in text.splitlines() if line.startswith("precision      "))
    head, _, tail = line.partition("bf16 has ")
    assert head == "precision      bf16; of this network "
    assert float(tail.partition(" times the speed of fp32 here")[0]) > 0


def test_a_step_of_several_micro_batches_costs_as_many(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def time_a_step(_model: Any, _optimizer: Any, batch: int, *_: Any, **__: Any) -> tuple[float, int]:
        asked.append(batch)
        return 6.0, 0

    monkeypatch.setattr("bocb_hf.engine.dry_run.time_steps", time_a_step)
    monkeypatch.setattr("bocb_hf.engine.dry_run.time_precisions", lambda *_: (1.0, 1.0))
    text = describe_run(prepare_run(make(sections, "runtime.accumulation=5")), 1)
    assert asked == [5] and "time           about 8.0 min" in text and "30000 ms a step" in text, "16 steps"
