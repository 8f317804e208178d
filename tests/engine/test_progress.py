"""Divergence: what it is, and that it is a result."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from runs import folder_of, make

from bocb_hf.engine.progress import DIVERGED_ABOVE, Progress
from bocb_hf.engine.run import train_run


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_loss_is_found_at_its_step(bad: float) -> None:
    progress = Progress(step=10)
    assert not progress.watch([2.0] * 10, stretch=5)
    progress.step = 15
    assert progress.watch([2.0, 1.9, bad, 1.0, 1.0], stretch=5)
    assert progress.diverged_at == 13
    assert str(bad) in (progress.reason or "")


def test_rising_loss_is_divergence_whatever_the_logging_interval() -> None:
    losses = [2.0] + [1.5] * 20 + [4.0] * 40
    found = set()
    for interval in (1, 3, 10, 61):
        progress = Progress()
        for start in range(0, len(losses), interval):
            part = losses[start : start + interval]
            progress.step += len(part)
            if progress.watch(part, stretch=10):
                break
        found.add((progress.diverged_at, progress.reason))
    assert len(found) == 1
    ((step, reason),) = found
    # mean of ten losses of 1.5 and 4.0 above 1.05 × 2.0: three high ones give 2.25
    assert step == 24
    assert "above 1.05 times its start of 2" in (reason or "")


def test_noise_around_chance_is_not_divergence() -> None:
    rng = np.random.default_rng(0)
    losses = (math.log(10) + 0.05 * rng.standard_normal(5000)).tolist()
    progress = Progress(step=5000)
    assert not progress.watch(losses, stretch=50)
    assert DIVERGED_ABOVE > 1


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
