"""Documents that other people wrote: whatever they hold is refused in one printable line, or is harmless."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from builders import make_floor, make_record

from bocb_hf.errors import InputError
from bocb_hf.results.submission.document import Submission, parse_submission
from bocb_hf.runs.record import FloorRecord, RunRecord, parse_record
from bocb_hf.runs.retraction import Retraction, make_retraction, parse_retraction
from bocb_hf.runs.verification import Verification, parse_verification
from bocb_hf.schema import Document, canonical_json, one_line

RECORD = make_record()
SUBMISSION = Submission(schema_version=1, repository="bob/x", revision="a" * 40, records=[RECORD.sha256()])
VERIFICATION = Verification(
    **{"schema_version": 1, "level": "verified", "repository": "lab/x", "run_id": RECORD.run_id},
    **{"record_sha256": RECORD.sha256(), "weights_sha256": "0" * 64, "claimed": 1, "measured": 1, "differing": 0},
    **{"images": 2, "tolerance": 0.1, "measured_on": "cpu", "measured_at": "2026-01-02T03:04:05Z"},
)
Parse = Callable[[bytes], Document]
KINDS: dict[str, tuple[Document, Parse]] = {
    "record": (RECORD, lambda content: parse_record(content, "x.json", RunRecord)),
    "floor": (make_floor(), lambda content: parse_record(content, "x.json", FloorRecord)),
    "tombstone": (make_retraction(RECORD, "wrong labels"), lambda content: parse_retraction(content, "x.json")),
    "verification": (VERIFICATION, lambda content: parse_verification(content, "x.json")),
    "submission": (SUBMISSION, lambda content: parse_submission(content, SUBMISSION.path())),
}


def refused(parse: Parse, content: bytes) -> str:
    """The reason, which every path of a document shows to people."""
    with pytest.raises(InputError) as raised:
        parse(content)
    text = str(raised.value)
    assert text.isprintable() and len(text) < 6000
    return text


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_of_tricks_is_refused_in_one_line(kind: str) -> None:
    document, parse = KINDS[kind]
    text = document.to_json()
    assert parse(text.encode()) == document
    twice = text.replace('"schema_version":1', '"schema_version":1,"schema_version":1')
    assert "duplicate key 'schema_version'" in refused(parse, twice.encode())
    for added in (
        '"\\u001b[2J\\u202e":1',  # a key that a terminal would obey
        f'"{"k" * 9_000}":1',
        '"a\\u0000b":1',
        '"\\ud800":1',
        f'"x":{"1" * 5000}',
        f'"x":{"[" * 3000}{"]" * 3000}',
    ):
        refused(parse, text.replace("{", "{" + added + ",", 1).encode())
    for content in (
        b"\xef\xbb\xbf" + text.encode(),
        text.encode("utf-16"),
        text.encode() + b"{}",
        b"\0" + text.encode(),
    ):
        refused(parse, content)


def test_duplicate_keys_are_found_at_any_depth() -> None:
    text = RECORD.to_json().replace('"momentum":0.9', '"momentum":0.5,"momentum":0.9')
    assert "duplicate key 'momentum'" in refused(KINDS["record"][1], text.encode())


UNPRINTABLE = ("\x1b[31mred", "a\0b", "a\u202eb", "a\nb", "a\u2028b", "a\x7fb", "a\u200fb", "\ufeffb")


@pytest.mark.parametrize("sign", UNPRINTABLE)
def test_no_text_of_a_document_is_obeyed_where_it_is_shown(sign: str) -> None:
    """Terminals, pages and cards show these fields: no escape codes, no line breaks, no change of direction."""
    for path in (
        *("reason", "test_split", "environment.device", "environment.platform", "environment.libraries.torch"),
        *("identity.data.evaluation_split", "identity.data.image_column", "identity.backbone.pretrained"),
        *("identity.optimizer.hyperparameters.momentum", "identity.backbone.args"),
    ):
        data: Any = json.loads(RECORD.to_json())
        *parts, last = path.split(".")
        part = data
        for name in parts:
            part = part[name]
        part[last] = {"a": [{"b": sign}]} if last == "args" else sign
        assert "control character" in refused(KINDS["record"][1], canonical_json(data).encode()), path
    for document, parse, field in (
        (KINDS["tombstone"][0], KINDS["tombstone"][1], "reason"),
        (VERIFICATION, KINDS["verification"][1], "measured_on"),
    ):
        changed = document.model_dump(mode="json") | {field: sign}
        assert "control character" in refused(parse, canonical_json(changed).encode())


@pytest.mark.parametrize("value", [10**30, 2**63, -1, 10**4000])
@pytest.mark.parametrize(
    "path",
    [
        *("total_steps", "cost.peak_memory_bytes", "cost.parameters", "cost.flops_per_image", "cost.resumed"),
        *("environment.processes", "environment.threads", "metrics.test_loss.n", "curve.step.1"),
    ],
)
def test_a_count_that_no_column_holds_is_refused(path: str, value: int) -> None:
    data: Any = json.loads(RECORD.to_json())
    *parts, last = path.split(".")
    part = data
    for name in parts:
        part = part[name]
    part[int(last) if last.isdigit() else last] = value
    assert "input should be" in refused(KINDS["record"][1], json.dumps(data).encode())


def test_a_reason_that_is_typed_is_checked_when_it_is_given() -> None:
    assert make_retraction(RECORD, " a\n b ").reason == "a b"
    for reason in ("", " \n", "x" * 501, "a\x1b[31m"):
        with pytest.raises(InputError, match="1 to 500 plain characters"):
            make_retraction(RECORD, reason)
    assert isinstance(make_retraction(RECORD, "x"), Retraction)


def test_one_line_is_short_and_printable() -> None:
    assert one_line("a\x1b[31m\u202e\nb\u2028c") == "a [31m  b c"
    assert one_line("x" * 1_000_000) == "x" * 500
    assert one_line("é 猫 ±") == "é 猫 ±"
