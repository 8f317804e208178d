"""Learning rates against their formulas and torch."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from bocb_hf.engine.schedule import learning_rate
from bocb_hf.runs.training_config import TrainingConfig


def test_cosine_schedule_with_warmup_against_the_formula() -> None:
    config = TrainingConfig(epochs=10, batch_size=1, warmup_epochs=2, min_lr=0.01)
    rates = [learning_rate(step, 100, 10, 1.0, config) for step in range(100)]
    assert rates[:20] == pytest.approx([(k + 1) / 20 for k in range(20)])
    expected = [0.01 + 0.99 * (1 + math.cos(math.pi * k / 80)) / 2 for k in range(80)]
    assert rates[20:] == pytest.approx(expected)
    assert min(rates) > 0


def test_cosine_without_warmup_equals_torch() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    config = TrainingConfig(epochs=5, batch_size=1)
    for step in range(50):
        assert learning_rate(step, 50, 10, 0.3, config) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        reference.step()


def test_constant_schedule() -> None:
    config = TrainingConfig(epochs=2, batch_size=1, schedule="constant", warmup_epochs=1)
    assert [learning_rate(s, 8, 4, 0.4, config) for s in range(8)] == pytest.approx([0.1, 0.2, 0.3, 0.4] + [0.4] * 4)
    with pytest.raises(ValidationError, match="min_lr belongs to the schedule 'cosine'; 'constant' cannot use it"):
        TrainingConfig(epochs=2, batch_size=1, schedule="constant", min_lr=0.1)


def test_step_schedule_equals_torch() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    reference = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[20, 35], gamma=0.2)
    config = TrainingConfig(epochs=5, batch_size=1, schedule="step", step_epochs=(2, 3.5), step_factor=0.2)
    for step in range(50):
        assert learning_rate(step, 50, 10, 0.3, config) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        reference.step()
    for epochs in ((), (3, 2), (0,), (5,)):
        with pytest.raises(ValidationError, match="step_epochs must rise between warmup_epochs and epochs"):
            TrainingConfig(epochs=5, batch_size=1, schedule="step", step_epochs=epochs)


def test_warmup_stable_decay_schedule() -> None:
    config = TrainingConfig(epochs=10, batch_size=1, schedule="wsd", warmup_epochs=1, decay_epochs=2)
    rates = [learning_rate(step, 40, 4, 0.8, config) for step in range(40)]
    assert rates[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert rates[4:32] == [0.8] * 28
    assert rates[32:] == pytest.approx([0.8 * (8 - k) / 8 for k in range(8)])
    with pytest.raises(ValidationError, match="a wsd schedule needs them"):
        TrainingConfig(epochs=2, batch_size=1, schedule="wsd")
