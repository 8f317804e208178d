"""The page of detection and pose: scores of trials and curves are there, and no text is that of a classifier."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from boards import contents_of
from builders import make_record, with_validation
from other_tasks import as_task

from bocb_hf.page.data import page_data
from bocb_hf.page.details import cell_more
from bocb_hf.page.read import Board, LeaderboardFile
from bocb_hf.page.write import own_rows, to_parquet
from bocb_hf.report.tabulate import Wanted, tabulate
from bocb_hf.runs.tasks import TASKS

SOURCE = Path(__file__).resolve().parents[2] / "bocb_hf" / "page" / "source" / "src"
OF_CLASSIFIERS = re.compile(r"top.?1\b|accuracy|\bnats\b", re.IGNORECASE)


def boards_of(task: str) -> dict[str, Board]:
    records = [
        with_validation(record, [20.0, 40.0])
        for optimizer in ("sgdm", "adamw")
        for record in (
            make_record("tiny_vit", optimizer, seed=1, correct=800),
            make_record("tiny_vit", optimizer, seed=2, correct=820),
            make_record("tiny_vit", optimizer, seed=100, role="trial", val_top1=41.5),
        )
    ]
    contents = contents_of([as_task(record, task) for record in records])
    return LeaderboardFile("own", to_parquet(own_rows(tabulate(contents, Wanted(50)).results, contents, None))).boards


@pytest.mark.parametrize("task", ["detection", "pose"])
def test_trials_and_curves_have_the_scores_of_the_task(task: str) -> None:
    (board,) = boards_of(task).values()
    runs = [run for run in board.runs("tiny_vit") if run.optimizer == "sgdm"]
    more = cell_more(board, board.cells["tiny_vit", "sgdm"], runs)
    assert [trial["val_top1"] for trial in more["trials"]] == [41.5]
    assert [curve["val_top1"] for curve in more["curves"]] == [[20.0, 40.0]]
    assert [run["val_top1"] for run in more["runs"]] == [[20.0, 40.0]] * 2
    assert [run["score"] for run in more["runs"]] == [40.0, 41.0]


@pytest.mark.parametrize("task", ["detection", "pose"])
def test_no_text_of_the_table_is_that_of_a_classifier(task: str) -> None:
    boards = boards_of(task)
    (table,) = json.loads(gzip.decompress(page_data(boards, "here").summary))["tables"]
    assert table["metric"] == TASKS.get(task).metric
    assert not OF_CLASSIFIERS.search(json.dumps(table, ensure_ascii=False))
    (board,) = boards.values()
    told = json.dumps(board.info.model_dump(mode="json"), ensure_ascii=False)
    assert f"validation {table['metric']} of" in told and not OF_CLASSIFIERS.search(told)


def test_the_source_of_the_page_takes_the_metric_from_the_table() -> None:
    """Only the answer of ``bocb compare``, which is of classifiers, says top-1 by itself."""
    found = {
        f"{path.name}:{number}"
        for path in sorted(SOURCE.rglob("*.ts*"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"top-1|accuracy", line, re.IGNORECASE)
    }
    assert {place.split(":")[0] for place in found} == {"lead.tsx", "words.ts"} and len(found) == 2
