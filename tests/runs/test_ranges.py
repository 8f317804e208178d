"""The range of every measured field: what no honest run can hold is no valid record, what one can hold is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import make_floor, make_record, with_patterns
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import mixed_records

from bocb_hf.errors import InputError
from bocb_hf.runs.measurements import Cost, Environment
from bocb_hf.runs.record import FloorRecord, RunRecord, parse_record

FINAL = json.loads(with_patterns(make_record()).to_json())
TRIAL = json.loads(make_record(role="trial", seed=0).to_json())
DIVERGED = json.loads(make_record(status="diverged").to_json())

# field, smallest and largest valid value; one step beyond either is refused
NUMBERS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("cost.wall_seconds", "cost.train_seconds", "cost.evaluation_seconds"), (0.0, 1e9)),
    **dict.fromkeys(("cost.data_seconds", "cost.forward_backward_seconds", "cost.optimizer_seconds"), (0.0, 1e9)),
    "cost.feature_seconds": (0.0, 1e9),
    "cost.waited_seconds": (0.0, 1e9),
    "cost.images_per_second": (0.0, 1e12),
    "cost.peak_memory_bytes": (0, 2**50),
    "cost.parameters": (1, 10**14),
    "cost.flops_per_image": (1, 10**18),
    "cost.resumed": (0, 10**6),
    "cost.replayed_epochs": (0, 10**6),
    "environment.processes": (1, 10**6),
    "environment.micro_batch": (1, 10**9),
    "environment.threads": (1, 10**6),
    "environment.memory_halvings": (0, 30),
    "metrics.train_loss.n": (1, 10**12),
    "curve.lr.0": (0.0, 1e6),
    "curve.train_top1.0": (0.0, 100.0),
    "total_steps": (20, 10**12),  # the curve of the record ends at step 20
    "seed": (0, 2**31 - 1),
}


def changed(data: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A copy with other values at dotted keys, ``__`` for the dot."""
    copy = json.loads(json.dumps(data))
    for key, value in fields.items():
        *way, last = key.split("__")
        place: Any = copy
        for part in way:
            place = place[int(part) if isinstance(place, list) else part]
        place[int(last) if isinstance(place, list) else last] = value
    if "seed" in fields:
        copy["run_id"] = f"{copy['config_hash']}-{copy['seed']}"
    return copy


def read(data: dict[str, Any]) -> RunRecord:
    return parse_record(json.dumps(data).encode(), "record")


def refused(data: dict[str, Any], reason: str = "") -> None:
    with pytest.raises(InputError, match=f"^record: not a valid record: .*{reason}"):
        read(data)


@pytest.mark.parametrize("field", NUMBERS)
def test_the_ends_of_each_range(field: str) -> None:
    low, high = NUMBERS[field]
    key = field.replace(".", "__")
    for value in (low, high):
        read(changed(FINAL, **{key: value}))
    step = 1 if isinstance(low, int) else 1e-9
    for value in (low - step, high + max(step, abs(high) * 1e-6 if isinstance(high, float) else 1)):
        refused(changed(FINAL, **{key: value}))


@settings(max_examples=40)
@given(st.sampled_from(sorted(NUMBERS)), st.floats(0, 1), st.floats(allow_nan=True))
def test_a_value_is_valid_exactly_within_its_range(field: str, share: float, wild: float) -> None:
    low, high = NUMBERS[field]
    whole = isinstance(low, int)
    inside = low + share * (high - low)
    read(changed(FINAL, **{field.replace(".", "__"): min(int(inside), high) if whole else inside}))
    if whole or not low <= wild <= high:
        text = json.dumps(changed(FINAL, **{field.replace(".", "__"): wild}))
        with pytest.raises(InputError):
            parse_record(text.encode(), "record")


@pytest.mark.parametrize("top5", [79.9, 100.1, -0.1])
def test_the_right_class_among_five_is_no_rarer_than_the_first(top5: float) -> None:
    entry = {"unit": "percent", "n": 2000, "initial": None, "best": None, "last": top5}
    refused(changed(FINAL, metrics__test_top5=entry), "top5|outside the range")
    read(changed(FINAL, metrics__test_top5=entry | {"last": 80.0}))
    refused(changed(TRIAL, metrics__val_top5=entry | {"n": 999, "last": 90.0}), "999 images")


def test_what_must_agree() -> None:
    refused(changed(FINAL, metrics__test_top1__best=80.0), "neither initial nor best")
    refused(changed(FINAL, metrics__test_loss__n=1999), "test_loss is of 1999 images")
    refused(changed(DIVERGED, stopped_step=101), "the run has 100 steps")
    read(changed(DIVERGED, stopped_step=100))
    refused(changed(FINAL, curve__step=[10, 101]), "goes to 101, but the run has 100 steps")
    refused(changed(FINAL, cost__energy_joules=5.0), "go together")
    refused(changed(FINAL, cost__energy_source="nvml"), "go together")
    read(changed(FINAL, cost__energy_source="nvml", cost__energy_joules=0.0))
    refused(changed(FINAL, patterns__layers__0__name="a\u202eb"), "direction of text")
    floor = json.loads(make_floor().to_json())
    with pytest.raises(InputError, match="test_split is train, not test"):
        parse_record(json.dumps(floor | {"test_split": "train"}).encode(), "record", FloorRecord)
    with pytest.raises(InputError, match="seconds"):
        parse_record(json.dumps(floor | {"seconds": 1e10}).encode(), "record", FloorRecord)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("2024-02-29T23:59:59Z", True),
        ("2026-01-02T03:04:05Z", True),
        ("2023-02-29T00:00:00Z", False),
        ("2026-13-01T00:00:00Z", False),
        ("2026-01-01T24:00:00Z", False),
        ("9999-99-99T99:99:99Z", False),
        ("٢٠٢٦-01-01T00:00:00Z", False),
        ("2026-01-01T00:00:00Z\n", False),
    ],
)
def test_a_time_is_one_of_the_calendar(text: str, valid: bool) -> None:
    data = changed(FINAL, finished_at=text)
    if valid:
        assert read(data).finished_at == text
    else:
        refused(data, "finished_at")


def test_every_number_of_cost_and_environment_has_a_range_here() -> None:
    numbers = {f"cost.{field}" for field in Cost.model_fields}
    numbers |= {f"environment.{field}" for field in Environment.model_fields}
    others = {"cost.memory_kind", "cost.energy_joules", "cost.energy_source"}
    others |= {f"environment.{name}" for name in ("device", "deterministic", "tf32", "channels_last", "compiled")}
    others |= {f"environment.{name}" for name in ("python", "platform", "libraries", "code_version", "code_commit")}
    others |= {f"environment.{name}" for name in ("cpu_capability", "onednn_isa", "processor")}
    others |= {"environment.portable", "environment.batch_norm_halved"}
    assert numbers - others == {field for field in NUMBERS if field.split(".")[0] in ("cost", "environment")}


def test_honest_records_stay_valid_and_keep_their_bytes() -> None:
    for record in mixed_records():
        assert parse_record(record.to_json().encode(), "record") == record
