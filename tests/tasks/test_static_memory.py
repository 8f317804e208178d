"""Runs of other tasks keep nothing that a replayed CUDA graph writes over."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from runs import assert_identical, make, weights_of
from static_memory import ORDINARY, STATIC
from torch import Tensor

from bocb_hf.engine import loop
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.engine.run import train_run
from bocb_hf.tasks.pose import Pose


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("task", ["pose", pytest.param("detection", marks=pytest.mark.slow)])
def test_a_run_keeps_nothing_that_the_next_pass_writes_over(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    sections: dict[str, Any] = request.getfixturevalue(task)
    monkeypatch.setattr(loop, "check_graphs", lambda *_: None)
    found: dict[str, dict[str, Tensor]] = {}
    scores: dict[str, Any] = {}
    for name, compiled in (("ordinary", ORDINARY), ("static", STATIC)):
        monkeypatch.setattr(loop, "compile_network", compiled)
        switches = ("runtime.compile_model=true", "runtime.cuda_graphs=true", f"runtime.namespace={name}")
        config = make(sections, "training.epochs=1", *switches)
        record = train_run(config)
        assert record.status == "completed"
        found[name], scores[name] = weights_of(config, record), record.metrics
    assert_identical(found["ordinary"], found["static"])
    assert scores["ordinary"] == scores["static"]


@pytest.mark.usefixtures("fresh_compiler")
@torch.no_grad()
def test_the_flip_test_keeps_the_heat_maps_of_its_first_pass(pose: dict[str, Any]) -> None:
    prepared = prepare_run(make(pose))
    task, samples = cast(Pose, prepared.task), prepared.data.test
    assert task.options.flip_test
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found: list[Any] = []
    for compiled in (ORDINARY, STATIC):
        model = prepared.build_model().eval()
        compiled(model, True)
        found.append(task._locate(model, inputs, model(inputs), samples.split, samples.label))
    for (places, heights), (others, theirs) in zip(*found, strict=True):
        assert np.array_equal(places, others)
        assert np.array_equal(heights, theirs)
