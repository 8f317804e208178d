"""Published files hold the score of every task, and files from before they did are read as ever."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from boards import contents_of
from builders import make_record
from other_tasks import as_task

from bocb_hf.report.cards import _rows as rows_of_card
from bocb_hf.results.card import results_card
from bocb_hf.results.dataset import records_parquet
from bocb_hf.results.submission.known import KnownRuns
from bocb_hf.runs.card import make_block
from bocb_hf.runs.record import RunRecord, parse_record
from bocb_hf.runs.tasks import CLASSIFICATION, TASKS
from bocb_hf.sweep.done import check_done, done_records, find_done

ADDED = ("metric", "test_score")
RECORDS = [
    make_record(seed=1, correct=1640),
    as_task(make_record(seed=1, correct=630), "detection"),
    as_task(make_record(seed=2, correct=1690), "pose"),
    as_task(make_record(seed=3, role="trial", val_top1=33.0), "detection"),
    as_task(make_record(seed=4, status="diverged"), "pose"),
]


def published(records: list[RunRecord]) -> bytes:
    return records_parquet(records, {(r.role, r.run_id): f"lab/{r.repository()}/{r.path()}" for r in records}, {})


def test_a_record_of_each_task_comes_back_with_its_score() -> None:
    rows = pq.read_table(io.BytesIO(published(RECORDS))).to_pylist()
    assert [row["metric"] for row in rows] == ["top-1", "AP", "OKS AP", "AP", "OKS AP"]
    assert [row["test_score"] for row in rows] == [82.0, 31.5, 84.5, None, None]
    assert [row["test_top1"] for row in rows] == [82.0, None, None, None, None]
    assert [row["correct"] for row in rows] == [1640, None, None, None, None]
    assert [row["test_images"] for row in rows] == [2000, 40, 40, None, None]
    for row, record in zip(rows, RECORDS, strict=True):
        assert parse_record(row["record"].encode(), "row") == record
        assert list(row)[-1] == "record"


@pytest.mark.parametrize("old", [False, True])
def test_files_with_and_without_these_columns_are_read_alike(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "records.parquet"
    table = pq.read_table(io.BytesIO(published(RECORDS)))
    assert set(ADDED) < set(table.column_names)
    pq.write_table(table.drop_columns(list(ADDED)) if old else table, path)
    assert check_done(path) == len(RECORDS)
    for record in RECORDS:
        assert find_done(path, record.role, record.run_id) == record
    names = RECORDS[1].identity.cell().names
    assert done_records(path, [names]) == {names: [r for r in RECORDS if r.identity.cell().names == names]}
    known = KnownRuns()
    known.add_published(path)
    assert known.digests.keys() == {record.sha256() for record in RECORDS}


@pytest.mark.parametrize("task", [CLASSIFICATION, "detection", "pose"])
def test_a_row_of_a_card_has_the_score_of_the_task(task: str) -> None:
    plain = [make_record(seed=1, correct=1640), make_record(seed=2, status="diverged")]
    finals = plain if task == CLASSIFICATION else [as_task(record, task) for record in plain]
    first, second = rows_of_card("lab/x", "0" * 40, make_block(finals, []), {})
    assert first["metric"] == second["metric"] == TASKS.get(task).metric
    assert (first["test_score"], second["test_score"]) == (82.0, None)
    assert first["test_top1"] == (82.0 if task == CLASSIFICATION else None)


def test_the_card_of_the_data_set_has_the_tags_of_its_tasks() -> None:
    rows = {f"data/{name}.parquet": 1 for name in ("leaderboard", "coupling", "records")}
    plain, all_tasks = (
        results_card("hf://datasets/lab/results", contents_of(records), rows, "2026-01-01")
        for records in (RECORDS[:1], RECORDS)
    )
    assert "image-classification" in plain and "object-detection" not in plain
    for tag in ("image-classification", "keypoint-detection", "object-detection"):
        assert f"- {tag}\n" in all_tasks
