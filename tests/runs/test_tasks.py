"""Tasks as rows, and what a record of another task than classification holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import make_data, make_record
from other_tasks import as_task

from bocb_hf.errors import InputError
from bocb_hf.runs.card import make_block
from bocb_hf.runs.measurements import Curve, Measurement, Metrics
from bocb_hf.runs.record import RunRecord, parse_record
from bocb_hf.runs.tasks import CLASSIFICATION, TASKS, TaskIdentity


def detected(seed: int = 1, ap: float = 31.5, status: Any = "completed") -> RunRecord:
    """A record of detection, made of one of classification."""
    return as_task(make_record(seed=seed, correct=round(20 * ap), status=status))


def changed(record: RunRecord, **metrics: Any) -> str:
    """The error of a record whose metrics are changed."""
    data = json.loads(record.to_json())
    data["metrics"] |= metrics
    with pytest.raises(InputError) as raised:
        parse_record(json.dumps(data).encode(), "record")
    return str(raised.value)


def test_each_row_resolves_to_plain_values_and_refuses_others() -> None:
    assert TASKS.names()[:3] == [CLASSIFICATION, "detection", "pose"]
    for row in TASKS:
        resolved = row.resolve({})
        assert json.loads(json.dumps(resolved)) == resolved and row.resolve(resolved) == resolved
        with pytest.raises(InputError, match="nonsense: unknown key"):
            row.resolve({"nonsense": 1})
    assert TASKS.get("pose").resolve({"sigmas": [0.1, 0.2]})["sigmas"] == [0.1, 0.2]
    with pytest.raises(InputError, match="sigmas: each must be above 0"):
        TASKS.get("pose").resolve({"sigmas": [0.0]})


def test_the_default_task_leaves_no_trace_in_an_identity() -> None:
    plain = make_record()
    assert "task" not in plain.to_json()
    assert plain.identity.task == TaskIdentity() and plain.metrics.name == "top-1"
    assert plain.metrics.test is plain.metrics.test_top1


def test_a_record_of_another_task_names_it_and_its_metric() -> None:
    record = detected()
    assert (record.metrics.name, record.identity.task.name) == ("AP", "detection")
    assert record.metrics.test is not None and record.metrics.test.last == 31.5
    assert parse_record(record.to_json().encode(), "again") == record
    assert record.identity.cell().data[-1] == "task=detection"
    assert record.identity.cell() != make_record(data=make_data(num_classes=2)).identity.cell()
    diverged = detected(status="diverged")
    assert diverged.metrics.test is None and diverged.metrics.name == "AP"


def test_a_record_whose_parts_are_of_two_tasks_is_refused() -> None:
    record, plain = detected(), make_record()
    percent = {"unit": "percent", "n": 40, "last": 50.0}
    assert "must hold no top-1" in changed(record, test_top1=percent)
    assert "need the name of the metric in score" in changed(record, score=None)
    assert "metrics.score is AP, but the task is classification" in changed(
        plain, score="AP", test_top1=None, test_score=percent, train_loss=None, test_loss=None
    )
    assert "train_loss must be in loss, not nats" in changed(record, train_loss={"unit": "nats", "n": 1, "last": 1.0})
    assert "train_loss must be in nats, not loss" in changed(plain, train_loss={"unit": "loss", "n": 1, "last": 1.0})
    assert "a completed final run needs test_score" in changed(record, test_score=None)
    assert "test_details.AP50: input should be less than or equal to 100" in changed(
        record, test_details={"AP50": 101.0}
    )
    data = json.loads(record.to_json())
    data["correctness"] = json.loads(plain.to_json())["correctness"]
    with pytest.raises(InputError, match="scored by AP must hold no correctness"):
        parse_record(json.dumps(data).encode(), "record")


def test_a_curve_has_top1_or_the_score_of_a_task() -> None:
    steps: dict[str, Any] = {"step": [1, 2], "lr": [0.1, 0.1], "train_loss": [2.0, 1.0]}
    curve = Curve(**steps, train_top1=[], val_step=[2], val_loss=[1.0], val_top1=[], val_score=[40.0])
    assert curve.validated == [40.0]
    with pytest.raises(ValueError, match="neither train_top1 nor val_top1"):
        Curve(**steps, train_top1=[1.0, 2.0], val_step=[], val_loss=[], val_top1=[], val_score=[])
    with pytest.raises(ValueError, match=r"curve\.val_score has 2 entries for 1 steps"):
        Curve(**steps, train_top1=[], val_step=[2], val_loss=[1.0], val_top1=[], val_score=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"curve\.train_top1 has 0 entries for 2 steps"):
        Curve(**steps, train_top1=[], val_step=[], val_loss=[], val_top1=[])


def test_a_classifier_has_two_classes() -> None:
    with pytest.raises(ValueError, match="a classifier needs 2 classes or more"):
        make_record(data=make_data(num_classes=1))


def test_a_card_projects_the_score_of_the_task() -> None:
    block = make_block([detected(1), detected(2, 33.0)], [])
    assert (block.task, block.metric) == ("detection", "AP")
    assert [entry.value for entry in block.runs] == [31.5, 33.0]
    assert all(entry.test_top1 is None and entry.correct is None for entry in block.runs)
    plain = make_block([make_record()], []).model_dump(mode="json")
    assert not {"task", "metric"} & plain.keys() and "score" not in plain["runs"][0]


def test_measurements_of_a_task_are_in_range() -> None:
    with pytest.raises(ValueError, match="outside the range of loss"):
        Measurement(unit="loss", n=1, last=-1.0)
    with pytest.raises(ValueError, match="String should match pattern"):
        Metrics(score="<b>")
