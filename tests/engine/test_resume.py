"""Stopped, continued and superseded runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from runs import StopAfter, assert_identical, make, weights_of

from bocb_hf.engine import checkpoint, run
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.engine.run import train_run
from bocb_hf.errors import InputError
from bocb_hf.runs.record import RunRecord


@pytest.mark.parametrize(
    ("optimizer", "backbone"),
    [
        *((name, "tiny_resnet") for name in ("sgdm", "adamw", "lamb", "lars", "rmsprop")),
        *((name, "tiny_vit") for name in ("sgdm", "adamw")),
    ],
)
def test_stopped_and_continued_run_is_bit_identical(sections: dict[str, Any], backbone: str, optimizer: str) -> None:
    names = (f"backbone.name={backbone}", f"optimizer.name={optimizer}", "training.ema_decay=0.9")
    whole = make(sections, *names, "runtime.namespace=whole")
    reference = train_run(whole)
    config = make(sections, *names, "runtime.namespace=parts")
    statuses = []
    for steps in (1, 4, 6):  # stops at steps 1, 5 and 11: inside epochs, outside logged steps
        record = train_run(config, StopAfter(steps))
        statuses.append((record.status, record.stopped_step))
        assert record.metrics.test_top1 is None
    assert statuses == [("interrupted", 1), ("interrupted", 5), ("interrupted", 11)]
    record = train_run(config)
    assert (record.status, record.cost.resumed) == ("completed", 3)
    assert_identical(weights_of(whole, reference), weights_of(config, record))
    assert record.curve == reference.curve
    assert record.metrics == reference.metrics
    assert record.correctness == reference.correctness
    assert record.run_id == reference.run_id


def test_a_trial_that_is_killed_after_its_last_step_keeps_its_validation_bits(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = train_run(make(sections, "role=trial", "runtime.namespace=whole"))
    config = make(sections, "role=trial", "runtime.namespace=parts")

    def killed(*_: Any) -> RunRecord:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run, "finish_run", killed)
        train_run(config)
    record = train_run(config)
    assert (record.status, record.cost.resumed) == ("completed", 1)
    assert record.val_correctness is not None and record.val_correctness == reference.val_correctness


def test_damaged_resume_state_is_passed_over(sections: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    whole = make(sections, "runtime.namespace=whole")
    reference = train_run(whole)
    config = make(sections, "runtime.namespace=parts", "runtime.save_every=3")
    assert train_run(config, StopAfter(8)).status == "interrupted"
    states = sorted(prepare_run(config).state_dir.glob("step-*"))
    assert [p.name[-2:] for p in states] == ["06", "08"]
    target = states[-1] / "optimizer.bin"
    target.write_bytes(target.read_bytes()[:-100])
    record = train_run(config)
    assert "is damaged (optimizer.bin has changed)" in caplog.text
    assert record.cost.resumed == 1
    assert_identical(weights_of(whole, reference), weights_of(config, record))


def test_unfinished_save_is_never_read(tmp_path: Path) -> None:
    accelerator = Accelerator(cpu=True)
    (tmp_path / "partial-0000000005").mkdir()
    assert not checkpoint.load_newest(accelerator, tmp_path)


def test_stopping_a_superseding_run_keeps_the_finished_one(sections: dict[str, Any]) -> None:
    config = make(sections)
    first = train_run(config)
    weights = weights_of(config, first)
    again = make(sections, "runtime.supersede=true")
    assert train_run(again, StopAfter(4)).status == "interrupted"
    assert train_run(config) == first
    assert_identical(weights, weights_of(config, first))


def test_an_interrupted_run_in_between_does_not_lose_what_was_superseded(sections: dict[str, Any]) -> None:
    first = train_run(make(sections))
    other = make(sections, "optimizer.lr=0.002", "runtime.supersede=true")
    assert train_run(other, StopAfter(4)).status == "interrupted"
    assert train_run(other).supersedes == first.sha256()


def test_accumulation_may_change_on_resume(sections: dict[str, Any]) -> None:
    common = ("training.batch_size=50", "optimizer.name=sgdm", "optimizer.lr=0.02")
    whole = make(sections, *common, "runtime.namespace=whole")
    parts = make(sections, *common, "runtime.namespace=parts")
    assert train_run(parts, StopAfter(3)).status == "interrupted"
    record = train_run(make(sections, *common, "runtime.namespace=parts", "runtime.accumulation=2"))
    assert (record.cost.resumed, record.environment.micro_batch) == (1, 25)
    a, b = weights_of(whole, train_run(whole)), weights_of(parts, record)
    for name in a:
        assert torch.allclose(a[name], b[name], atol=2e-5), name


def test_all_resume_states_damaged_is_an_error(sections: dict[str, Any]) -> None:
    config = make(sections)
    assert train_run(config, StopAfter(5)).status == "interrupted"
    for path in prepare_run(config).state_dir.glob("step-*/optimizer.bin"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"every saved state in .* is damaged; delete"):
        train_run(config)
