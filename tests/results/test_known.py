"""Records are parsed: text inside one that looks like a field of another takes nobody's place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from builders import make_floor, make_record

from bocb_hf.errors import InputError
from bocb_hf.results.dataset import records_parquet
from bocb_hf.results.submission.document import parse_submission
from bocb_hf.results.submission.known import KnownRuns
from bocb_hf.runs.naming import make_run_id
from bocb_hf.runs.record import FloorRecord, RunRecord, parse_record
from bocb_hf.runs.retraction import make_retraction, parse_retraction

VICTIM = "f" * 64


def with_arguments(arguments: dict[str, Any], **changes: Any) -> RunRecord:
    """A valid record whose backbone has these arguments."""
    record = make_record(**changes)
    backbone = record.identity.backbone.model_copy(update={"args": arguments})
    identity = record.identity.model_copy(update={"backbone": backbone})
    digest = identity.config_hash()
    made = record.model_copy(
        update={"identity": identity, "config_hash": digest, "run_id": make_run_id(digest, record.seed)}
    )
    return parse_record(made.to_json().encode(), "record")


def published(tmp_path: Path, *records: RunRecord) -> Path:
    places = {(r.role, r.run_id): f"eve/{r.repository()}/{r.path()}" for r in records}
    path = tmp_path / "records.parquet"
    path.write_bytes(records_parquet(list(records), places, {}))
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        {"weights_sha256": VICTIM},
        {"a": {"weights_sha256": VICTIM}},
        {"a": [f'"weights_sha256":"{VICTIM}"']},
        {f'"weights_sha256":"{VICTIM}"': 1},
    ],
)
@pytest.mark.parametrize("changes", [{"seed": 1}, {"status": "diverged"}, {"role": "trial", "seed": 0}])
def test_no_valid_record_takes_the_place_of_somebody_elses_weights(
    tmp_path: Path, arguments: dict[str, Any], changes: dict[str, Any]
) -> None:
    known = KnownRuns()
    record = with_arguments(arguments, **changes)
    known.add_published(published(tmp_path, record))
    assert known.weights == (
        {} if record.weights_sha256 is None else {record.weights_sha256: f"eve/{record.repository()}"}
    )
    mine = make_record(optimizer="adamw").model_copy(update={"weights_sha256": VICTIM})
    assert known.copied("me/x", mine) is None
    copy = make_record(optimizer="lamb")
    reason = known.copied("me/x", copy)
    assert (reason is not None) == (record.weights_sha256 == copy.weights_sha256)


@pytest.mark.parametrize("text", ["{", "[]", '"weights_sha256"', "{}", "[" * 100_000, '{"weights_sha256":["x"]}'])
def test_a_row_that_is_no_record_is_named_and_not_passed_over(tmp_path: Path, text: str) -> None:
    columns = {name: ["x"] for name in ("repository", "role", "run_id", "record_sha256")}
    pq.write_table(pa.table(columns | {"record": [text]}), tmp_path / "records.parquet")
    with pytest.raises(InputError, match=r"records\.parquet cannot be read as published records"):
        KnownRuns().add_published(tmp_path / "records.parquet")


def test_a_version_inside_a_record_is_no_version_of_it() -> None:
    record = with_arguments({"schema_version": 7, "a": [{"schema_version": 9}], "b": '"schema_version": 8'})
    assert parse_record(record.to_json().encode(), "record") == record
    newer = json.dumps(json.loads(record.to_json()) | {"schema_version": 2})
    with pytest.raises(InputError, match="schema version 2 is newer than 1, the newest readable here; upgrade bocb-hf"):
        parse_record(newer.encode(), "record")


def test_every_kind_of_document_says_so_when_it_is_newer() -> None:
    floor = json.dumps(json.loads(make_floor().to_json()) | {"schema_version": 12, "new": 1}).encode()
    with pytest.raises(InputError, match=r"^x: schema version 12 is newer than 1"):
        parse_record(floor, "x", FloorRecord)
    tombstone = json.dumps(json.loads(make_retraction(make_record(), "wrong").to_json()) | {"schema_version": 3})
    with pytest.raises(InputError, match=r"^x: schema version 3 is newer than 1"):
        parse_retraction(tombstone.encode(), "x")
    # text that only looks like a version does not help a file that is none
    for content in (
        b'"schema_version": 7',
        b'{"a": "\\"schema_version\\": 7"}',
        b'{"schema_version": "7"}',
        b"7",
        b"[7]",
    ):
        with pytest.raises(InputError, match=r"not a valid submission"):
            parse_submission(content, "submissions/a__b.json")
