"""What a run remembers between steps, and when it finds that it has diverged."""

from __future__ import annotations

import math
from typing import Any

import datasets
import numpy as np
import pytest
from accelerate import Accelerator
from runs import folder_of, make
from torch import nn

from bocb_hf.engine.divergence import DivergenceRule
from bocb_hf.engine.processes import all_finite
from bocb_hf.engine.progress import Progress
from bocb_hf.engine.run import train_run
from bocb_hf.runs.diagnosis import diagnose

FIRST_STEP, END = DivergenceRule(2.3, stretch=5), DivergenceRule(2.3)


@pytest.mark.parametrize("rule", [FIRST_STEP, END])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_loss_is_found_at_its_step(bad: float, rule: DivergenceRule) -> None:
    progress = Progress(step=10)
    assert not progress.watch([2.0] * 10, rule)
    progress.step = 15
    assert progress.watch([2.0, 1.9, bad, 1.0, 1.0], rule)
    assert progress.diverged_at == 13
    assert str(bad) in (progress.reason or "")


def test_a_rising_loss_ends_only_runs_of_the_rule_of_the_first_step() -> None:
    losses = [2.0] + [1.5] * 20 + [4.0] * 40
    found = set()
    for interval in (1, 3, 10, 61):
        progress = Progress()
        for start in range(0, len(losses), interval):
            part = losses[start : start + interval]
            progress.step += len(part)
            if progress.watch(part, DivergenceRule(2.3, stretch=10)):
                break
        found.add((progress.diverged_at, progress.reason))
    assert len(found) == 1
    ((step, reason),) = found
    # mean of ten losses of 1.5 and 4.0 above 1.05 × 2.0: three high ones give 2.25
    assert step == 24
    assert "above 1.05 times its start of 2" in (reason or "")
    assert not Progress(step=len(losses)).watch(losses, END)


def test_noise_around_chance_is_not_divergence() -> None:
    rng = np.random.default_rng(0)
    losses = (math.log(10) + 0.05 * rng.standard_normal(5000)).tolist()
    progress = Progress(step=5000)
    assert not progress.watch(losses, DivergenceRule(math.log(10), stretch=50))


@pytest.mark.parametrize(
    ("epochs", "diverged"),
    [
        ([9.0, 2.5, 2.4], False),  # a chaotic start that came back, though not below the reference
        ([2.4, 9.0, 2.2], False),  # it learned more than the frequencies
        ([1.0, 1.0, 1.5], False),  # worse than its start, from good weights, but better than the reference
        ([2.4, 2.3, 2.5], True),
        ([2.5], False),  # one epoch cannot be above itself
    ],
)
def test_a_run_is_judged_by_its_last_epoch(epochs: list[float], diverged: bool) -> None:
    progress = Progress()
    for i, loss in enumerate(epochs, start=1):
        progress.step += 4
        assert not progress.watch([loss] * 4, END)
        progress.end_epoch(END, last=i == len(epochs))
        assert progress.diverged_at is None or i == len(epochs)
    assert progress.diverged_at == (progress.step if diverged else None)
    if diverged:
        # its type allows None, which it is not here
        assert "last epoch was 2.5 nats, above 2.4 of the first epoch and above 2.3 of a predictor" in progress.reason  # type: ignore[operator]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_weight_or_a_buffer_that_is_not_finite_is_found(bad: float) -> None:
    accelerator = Accelerator(cpu=True)
    for name in ("0.weight", "1.running_var"):
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        assert all_finite(accelerator, model)
        model.state_dict()[name].view(-1)[2] = bad
        assert not all_finite(accelerator, model)


def test_diverged_run_is_a_recorded_result(sections: dict[str, Any]) -> None:
    config = make(sections, "optimizer.name=sgdm", "optimizer.lr=1e20", "training.warmup_epochs=0")
    record = train_run(config)
    assert record.status == "diverged"
    assert record.stopped_step is not None and 1 <= record.stopped_step <= 16
    assert record.metrics.test_top1 is None and record.correctness is None
    assert record.metrics.train_loss is None or record.metrics.train_loss.last is None
    folder = folder_of(config, record)
    assert not list(folder.rglob("*.safetensors"))
    assert "diverged at step" in (folder / "README.md").read_text()
    assert train_run(config) == record  # a result: it is not run again


@pytest.mark.parametrize(("lr", "status"), [(3e-5, "diverged"), (6e-5, "completed")])
def test_a_run_that_has_not_trained_is_marked_or_diverged(sections: dict[str, Any], lr: float, status: str) -> None:
    """Rates far too small: the loss stays above the reference, with the smaller one also above its first epoch."""
    record = train_run(make(sections, "optimizer.name=sgdm", f"optimizer.lr={lr}", "training.label_smoothing=0.1"))
    # a folder gives a dictionary of splits
    labels = datasets.load_dataset(sections["data"]["name"])["train"]["label"]  # type: ignore[index]
    targets = 0.9 * np.bincount(labels, minlength=10) / 200 + 0.01
    assert record.status == status
    assert record.reference_loss is not None
    assert record.reference_loss == pytest.approx(-(targets * np.log(targets)).sum(), rel=1e-9)
    assert record.metrics.train_loss is not None
    last = record.metrics.train_loss.last
    if status == "completed":
        assert last is not None and record.reference_loss is not None and last > record.reference_loss
        assert [d.finding for d in diagnose(record)][:1] == ["not_trained"]
    else:
        assert last is None and record.stopped_step == record.total_steps == 16
        assert "of a predictor that knows only the class frequencies" in (record.reason or "")
