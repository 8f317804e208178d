"""The page's view of transfer: the words of the terminal, in the data of every table that took part."""

from __future__ import annotations

import gzip
import json

import numpy as np
from boards import contents_of
from fine_tuned import make_transfer_records

from bocb_hf.page.data import page_data
from bocb_hf.page.locate import published_boards
from bocb_hf.page.read import LeaderboardFile
from bocb_hf.page.write import own_rows, to_parquet
from bocb_hf.report.tabulate import Wanted, tabulate
from bocb_hf.report.transfer import transfer_lead
from bocb_hf.report.words.transfer import answer_text

SCORES = np.random.default_rng(0).integers(1400, 1800, size=(1, 2, 2, 2, 2))


def test_the_page_says_what_the_terminal_says() -> None:
    contents = contents_of(make_transfer_records(SCORES, optimizers=("adamw", "sgdm")))
    tabulated = tabulate(contents, Wanted(100))
    (found,) = tabulated.transfers
    boards = LeaderboardFile("own", to_parquet(own_rows(tabulated.results, contents, None))).boards
    summary = json.loads(gzip.decompress(page_data(boards | published_boards(), "here").summary))
    tables = {table["id"]: table["transfers"] for table in summary["tables"]}
    own = [transfers for name, transfers in tables.items() if not name.startswith("published")]
    assert len(own) == 5  # pre-training, and each of two seeds of two pre-trainings
    for transfers in own:
        (shown,) = transfers
        assert shown["answer"] == answer_text(found)
        assert [row["pretraining"] for row in shown["backbones"][0]["rows"]] == ["AdamW", "SGD-M"]
        assert all("±" in cell and "(4)" in cell for row in shown["backbones"][0]["rows"] for cell in row["cells"])
    assert shown["answer"][0][:40] in " ".join(transfer_lead(tabulated.transfers)).replace("- ", "")
    assert tables["published-cifar100"] == [] == tables["published-coco_pose"]
    (published,) = tables["published-coco_detection"]
    assert any("confounded with epochs" in sentence for sentence in published["sentences"])


def test_a_store_without_fine_tuned_runs_has_no_such_table() -> None:
    records = [
        r
        for r in make_transfer_records(SCORES, optimizers=("adamw", "sgdm"))
        if r.identity.backbone.pretraining is None
    ]
    contents = contents_of(records)
    rows = list(own_rows(tabulate(contents, Wanted(100)).results, contents, None))
    assert all('"transfers"' not in row["payload"] for row in rows if row["kind"] == "table")
