"""Records: read back equal, refused where they contradict themselves."""

from __future__ import annotations

import base64
import copy
import json
import re
from typing import Any

import numpy as np
import pytest
from builders import make_bits, make_data, make_floor, make_record
from cards import tuned
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from bocb_hf.errors import InputError
from bocb_hf.runs.measurements import Correctness, Measurement, StartingWeights
from bocb_hf.runs.record import MAX_BYTES, FloorRecord, RunRecord, parse_record, wilson_interval
from bocb_hf.runs.tuned import Tuned, TunedAxis
from bocb_hf.schema import parse_strict

SHAPES: dict[str, RunRecord] = {
    "final": make_record(),
    "trial": make_record(role="trial"),
    "diverged": make_record(status="diverged"),
    "interrupted": make_record(status="interrupted"),
    "diverged_trial": make_record(role="trial", status="diverged"),
    "odd_count": make_record(correct=[True, False, True] * 7),
    "no_row": make_record("resnet18.a1_in1k", "madeup"),
    "superseding": make_record(supersedes="a" * 64),
}
FINAL = json.loads(SHAPES["final"].to_json())


def put(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value changed; a path that ends with an index changes a list."""
    data = copy.deepcopy(data)
    *parents, last = path.split(".")
    node: Any = data
    for part in parents:
        node = node[part]
    node[int(last) if isinstance(node, list) else last] = value
    return data


def read(data: Any) -> RunRecord:
    return parse_record(json.dumps(data).encode(), "r.json")


# round trip


@pytest.mark.parametrize("shape", SHAPES)
def test_a_record_is_read_back_equal(shape: str) -> None:
    record = SHAPES[shape]
    text = record.to_json()
    again = parse_record(text.encode(), "r.json")
    assert again == record
    assert again.to_json() == text
    assert again.sha256() == record.sha256()
    assert text.endswith("}\n")
    assert "\n" not in text[:-1]


def test_the_bytes_do_not_depend_on_the_order_in_which_a_record_was_written() -> None:
    turned = {key: FINAL[key] for key in reversed(FINAL)}
    pretty = json.dumps(turned, indent=2).encode()
    assert parse_record(pretty, "r.json").to_json() == SHAPES["final"].to_json()


def test_a_floor_of_an_untrained_backbone_names_it() -> None:
    record = make_floor(backbone="tiny_vit")
    assert re.fullmatch(r"baselines/frozen_backbone-[0-9a-f]{12}\.json", record.path())
    assert record.path() != make_floor(backbone="tiny_resnet").path()
    assert parse_record(record.to_json().encode(), "x", type(record)) == record
    for kind, change in (("frozen_backbone", {"seed": None}), ("logistic_regression", {})):
        data = record.model_dump(mode="json") | {"kind": kind} | change
        with pytest.raises(InputError, match="backbone and seed are given exactly for a frozen backbone"):
            parse_record(json.dumps(data).encode(), "x", type(record))
    # a record of before there were such floors keeps its bytes
    assert "backbone" not in make_floor().to_json()


def test_a_baseline_is_read_back_equal() -> None:
    record = make_floor()
    assert parse_record(record.to_json().encode(), "b.json", FloorRecord) == record
    assert re.fullmatch(r"baselines/logistic_regression-[0-9a-f]{12}\.json", record.path())
    other = make_floor(data=make_data(revision="abcdef0"))
    assert other.path() != record.path()  # one for each revision of the data
    assert other.repository() == record.repository()
    with pytest.raises(InputError, match="not a valid record"):
        parse_record(record.to_json().encode(), "b.json")
    with pytest.raises(InputError, match="not a valid record"):
        parse_record(SHAPES["final"].to_json().encode(), "b.json", FloorRecord)


# consistency

NOT_A_BYTE = base64.b64encode(np.packbits(make_bits(1600)).tobytes()[:-1]).decode()
PADDED = base64.b64encode(np.packbits([1, 0, 1, 1]).tobytes()).decode()

BROKEN: dict[str, tuple[str, Any, str]] = {
    "wrong hash": ("config_hash", "0" * 12, r"config_hash is 000000000000, but the identity gives"),
    "wrong run id": ("run_id", "0" * 12 + "-1", r"run_id is 000000000000-1, but must be"),
    "seed without its run id": ("seed", 2, r"run_id is .*-1, but must be .*-2"),
    "edited identity": ("identity.optimizer.lr", 0.2, "config_hash is"),
    "trial with test metric": ("role", "trial", "a completed trial run must hold no test metric"),
    "diverged without reason": ("status", "diverged", "reason is given exactly when a run did not complete"),
    "completed with reason": ("reason", "because", "reason is given exactly when"),
    "completed with stopped step": ("stopped_step", 3, "reason and stopped_step go together"),
    "without bits": ("correctness", None, "a completed final run needs test_top1, test_split and correctness"),
    "without test top-1": ("metrics.test_top1", None, "a completed final run needs"),
    "without a last value": ("metrics.test_top1.last", None, "a completed final run needs"),
    "without the hash of its weights": ("weights_sha256", None, "a completed final run needs weights_sha256"),
    "without split": ("test_split", None, "a completed final run needs"),
    "another split": ("test_split", "validation", "test_split is validation, not test"),
    "top-1 off by one image": ("metrics.test_top1.last", 80.05, "test_top1 is 80.05 of 2000, but the bits give 80.0"),
    "top-1 of other images": ("metrics.test_top1.n", 1000, "test_top1 is 80.0 of 1000"),
    "count against bits": ("correctness.k", 1599, "packed holds 1600 correct images, but k is 1599"),
    "too few bytes": ("correctness.packed", NOT_A_BYTE, "packed holds 249 bytes, but 2000 images need 250"),
    "not base64": ("correctness.packed", "####", "correctness: "),
    "no images": ("correctness.n", 0, "correctness.n: input should be greater than or equal to 1"),
    "NaN": ("metrics.test_loss.last", float("nan"), r"metrics\.test_loss\.last: input should be a finite number"),
    "infinity": ("metrics.test_loss.last", float("inf"), "finite number"),
    "NaN in the curve": ("curve.train_loss.0", float("nan"), r"curve\.train_loss\.0: input should be a finite"),
    "NaN learning rate": ("identity.optimizer.lr", float("nan"), "finite number"),
    "NaN argument": ("identity.backbone.args", {"x": float("nan")}, r"identity\.backbone\.args: out of range float"),
    "string for a number": ("metrics.test_top1.last", "80.0", r"metrics\.test_top1\.last: input should be a valid num"),
    "string for a count": ("total_steps", "100", "total_steps: input should be a valid integer"),
    "percent over 100": ("metrics.train_loss", {"unit": "percent", "n": 1, "last": 101.0}, "outside the range of perc"),
    "negative percent": ("metrics.val_top1", {"unit": "percent", "n": 1, "best": -0.1}, "outside the range of percent"),
    "negative loss": ("metrics.train_loss.last", -0.1, "last -0.1 is outside the range of nats"),
    "accuracy in nats": ("metrics.val_top1", {"unit": "nats", "n": 1}, "val_top1 must be in percent, not nats"),
    "loss in percent": ("metrics.val_loss", {"unit": "percent", "n": 1}, "val_loss must be in nats, not percent"),
    "unknown unit": (
        "metrics.test_top1.unit",
        "fraction",
        r"metrics\.test_top1\.unit: input should be 'percent', 'nats' or",
    ),
    "negative time": ("cost.wall_seconds", -1.0, "cost.wall_seconds: input should be greater than or equal to 0"),
    "unknown key": ("hostname", "box", "hostname: unknown key"),
    "unknown nested key": ("cost.wal_seconds", 1.0, "cost.wal_seconds: unknown key; did you mean 'wall_seconds'"),
    "unknown status": ("status", "finished", "status: input should be 'completed', 'diverged' or 'interrupted'"),
    "unknown category": ("category", "e", "category: input should be"),
    "curve too short": ("curve.lr", [0.1], "curve.lr has 1 entries for 2 steps"),
    "validation curve too long": ("curve.val_loss", [0.1], "curve.val_loss has 1 entries for 0 steps"),
    "steps that stand still": ("curve.step", [10, 10], "steps of a curve must increase"),
    "steps that go back": ("curve.step", [20, 10], "steps of a curve must increase"),
    "local time": ("finished_at", "2026-01-02T03:04:05+01:00", "finished_at: string should match pattern"),
    "null": ("identity", None, "identity: input should be an object"),
    "schema 0": ("schema_version", 0, "schema_version: input should be 1"),
    "a list": ("metrics", [], "metrics: input should be an object"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_record_that_contradicts_itself_is_refused(name: str) -> None:
    path, value, message = BROKEN[name]
    with pytest.raises(InputError, match=r"^r\.json: not a valid record: ") as raised:
        read(put(FINAL, path, value))
    assert re.search(message, str(raised.value))


def test_bits_beyond_the_last_image_are_refused() -> None:
    assert Correctness(n=4, k=3, packed=PADDED).bits().tolist() == [True, False, True, True]
    with pytest.raises(ValueError, match="bits beyond the last image"):
        Correctness(n=3, k=2, packed=PADDED)


def test_unfinished_runs_hold_no_test_metric() -> None:
    for shape in ("diverged", "interrupted", "trial"):
        data = json.loads(SHAPES[shape].to_json())
        for path in ("metrics.test_top1", "metrics.test_loss"):
            value = {"unit": "percent" if "top" in path else "nats", "n": 10, "last": 1.0}
            with pytest.raises(InputError, match="must hold no test metric"):
                read(put(data, path, value))
        with pytest.raises(InputError, match="must hold no test metric"):
            read(put(data, "test_split", "test"))


def test_a_completed_trial_needs_its_validation_score() -> None:
    with pytest.raises(InputError, match="a completed trial needs val_top1"):
        read(put(json.loads(SHAPES["trial"].to_json()), "metrics.val_top1", None))


def test_the_validation_bits_of_a_trial_agree_with_its_score() -> None:
    bits = np.arange(600) % 5 != 0
    trial = make_record(role="trial", val_correct=bits)
    assert trial.val_correctness is not None and (trial.val_correctness.bits() == bits).all()
    assert parse_record(trial.to_json().encode(), "t.json") == trial
    data = json.loads(trial.to_json())
    for path, value, message in (
        ("metrics.val_top1.last", 80.1, "val_top1 is 80.1 of 600, but val_correctness gives 80.0 of 600"),
        ("metrics.val_top1.n", 500, "val_top1 is 80.0 of 500, but val_correctness gives 80.0 of 600"),
        ("val_correctness.k", 479, "packed holds 480 correct images, but k is 479"),
    ):
        with pytest.raises(InputError, match=message):
            read(put(data, path, value))
    held = data["val_correctness"]
    for shape in ("final", "diverged_trial", "interrupted"):
        other = json.loads(SHAPES[shape].to_json())
        with pytest.raises(InputError, match="must hold no val_correctness"):
            read({**other, "val_correctness": held})
    # an older trial has no bits, and keeps its bytes
    assert "val_correctness" not in SHAPES["trial"].to_json()


def test_a_final_run_says_how_it_was_tuned() -> None:
    axes = (TunedAxis(name="lr", centre=0.1, factor=3.0), TunedAxis(name="nesterov", centre=True))
    tuned = Tuned(protocol="grid", selection="one_standard_error", seeds=(0, 3), axes=axes)
    record = make_record(tuned=tuned)
    assert parse_record(record.to_json().encode(), "r.json") == record
    with pytest.raises(InputError, match="a trial must not say how it was tuned"):
        read({**json.loads(SHAPES["trial"].to_json()), "tuned": tuned.model_dump(mode="json")})
    with pytest.raises(InputError, match="holds a seed twice"):
        read(put(json.loads(record.to_json()), "tuned.seeds", [3, 3]))
    assert "tuned" not in FINAL


@pytest.mark.parametrize(
    ("name", "centre", "factor", "value", "steps"),
    [
        ("lr", 0.1, 3.0, 0.1, 0.0),
        ("lr", 0.1, 3.0, 0.3, 1.0),
        ("lr", 0.1, 3.0, 0.03333, 1.0),
        ("lr", 0.1, 3.0, 0.2, 0.63),
        ("weight_decay", 0.0, 3.0, 0.0, 0.0),
        ("weight_decay", 0.0, 3.0, 1e-5, 1.0),
        ("weight_decay", 0.0, 3.0, 9e-5, 3.0),
        ("weight_decay", 0.05, 3.0, 0.0, 3.0),
        ("nesterov", True, None, False, 1.0),
        ("mode", "a", None, "a", 0.0),
    ],
)
def test_steps_from_the_centre(name: str, centre: Any, factor: float | None, value: Any, steps: float) -> None:
    assert TunedAxis(name=name, centre=centre, factor=factor).steps(value) == steps


def test_starting_weights_belong_to_a_fine_tuned_run() -> None:
    found = {"taken": 45, "drawn": ["fc.bias", "fc.weight"]}
    with pytest.raises(InputError, match="a run from scratch must hold no starting weights"):
        read(put(json.loads(SHAPES["trial"].to_json()), "starting_weights", found))
    record = tuned(SHAPES["trial"])
    held = record.model_copy(update={"starting_weights": StartingWeights.model_validate(found)})
    # an older record has none and keeps its bytes; zeros are not written
    assert (
        "starting_weights" not in record.to_json() and '"drawn":["fc.bias","fc.weight"],"taken":45}' in held.to_json()
    )
    assert read(json.loads(held.to_json())) == held and held.config_hash == record.config_hash


LATER = {"patterns", "inspections", "data_notes", "starting_weights", "grid", "reference_loss", "val_correctness"}
LATER |= {"tuned"}


@pytest.mark.parametrize("field", sorted(set(RunRecord.model_fields) - LATER))
def test_every_field_must_be_there(field: str) -> None:
    data = copy.deepcopy(FINAL)
    del data[field]
    with pytest.raises(InputError, match=f"{field}: missing"):
        read(data)


def test_a_newer_schema_asks_for_an_upgrade() -> None:
    newer = put(FINAL, "schema_version", 2) | {"a new field": 1}
    for text in (json.dumps(newer), json.dumps(newer, indent=1)):
        with pytest.raises(InputError, match=r"schema version 2 is newer than 1.*upgrade bocb-hf"):
            parse_record(text.encode(), "r.json")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"schema_version": 1}'])
def test_what_is_no_record_is_an_input_error(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^r\.json: not a valid record"):
        parse_record(content, "r.json")


def test_a_record_over_the_size_limit_is_refused_unread() -> None:
    with pytest.raises(InputError, match=r"r\.json: larger than 20000000 bytes"):
        parse_record(b"{" + b" " * MAX_BYTES, "r.json")


def test_an_error_lists_at_most_five_problems() -> None:
    with pytest.raises(InputError) as raised:
        parse_record(b"{}", "r.json")
    assert str(raised.value).count(";") < 12  # each problem holds one of its own


# parts


@settings(max_examples=60)
@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_correctness_packs_and_unpacks(values: list[bool]) -> None:
    bits = np.array(values)
    correctness = Correctness.from_bits(bits)
    assert (correctness.n, correctness.k) == (len(values), sum(values))
    assert len(base64.b64decode(correctness.packed)) == (len(values) + 7) // 8
    assert correctness.bits().dtype == np.bool_
    assert correctness.bits().tolist() == values
    assert parse_strict(Correctness, correctness.model_dump()) == correctness


@settings(max_examples=60)
@given(st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_is_scipys(counts: tuple[int, int]) -> None:
    k, n = counts
    expected = binomtest(k, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson_interval(k, n) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-9)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 2000), (2000, 2000)])
def test_the_wilson_interval_stays_inside_at_the_ends(k: int, n: int) -> None:
    low, high = wilson_interval(k, n)
    assert 0 <= low < high <= 100
    assert low - 1e-12 <= 100 * k / n <= high + 1e-12


def test_measurements_and_curves_take_the_ends_of_their_range() -> None:
    assert Measurement(unit="percent", n=1, initial=0.0, best=100.0).last is None
