"""The words and files of the three-way table: every number with its n and interval, and what cannot be said."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from fine_tuned import Regime, draw_table, make_transfer_records, table_of

from bocb_hf import cli
from bocb_hf.coupling.transfer import analyse_transfer, transfer_tables
from bocb_hf.page.transfers import transfer_info
from bocb_hf.report.transfer import transfer_blocks, transfer_lead, write_transfer
from bocb_hf.report.words.transfer import answer_text, table_lines, transfer_text

STRONG = draw_table(Regime("", interaction=6.0, agreement=0.99), np.random.default_rng(0))


def test_an_interaction_is_answered_in_three_sentences_with_n_and_intervals() -> None:
    found = analyse_transfer(table_of(STRONG))
    answer = answer_text(found)
    assert len(answer) == 3
    assert answer[0].startswith("The interaction of pre-training and fine-tuning optimizer is more than noise (p ")
    assert "95 % [" in answer[0] and "n = 6 runs a cell from 2 pre-training seed(s)" in answer[0]
    assert "over what both main effects give" in answer[1] and "n = 6 runs" in answer[1]
    assert answer[2].startswith("The rank correlation of pre-training and fine-tuning scores over 4 pre-training")


def test_no_interaction_is_said_to_be_not_shown() -> None:
    found = analyse_transfer(table_of(draw_table(Regime(""), np.random.default_rng(1))))
    assert answer_text(found)[0].startswith(
        "An interaction of pre-training and fine-tuning optimizer beyond noise is not"
    )
    assert "−" in " ".join(answer_text(found)) and "[-" not in " ".join(answer_text(found))


def test_one_checkpoint_each_is_said_to_be_a_condition() -> None:
    found = analyse_transfer(table_of(draw_table(Regime("", shape=(2, 3, 3, 1, 3)), np.random.default_rng(2))))
    assert "given these checkpoints" in answer_text(found)[0]
    assert any("another one may answer otherwise" in line for line in transfer_text(found))
    assert "each has one pre-training seed, so there is no interval" in answer_text(found)[2]


def test_the_table_shows_each_cell_with_its_interval_and_n() -> None:
    found = analyse_transfer(table_of(STRONG))
    lines = table_lines(found)
    assert len(lines) == 3 * 5 + 2
    assert lines[0].split() == ["backbone0", "AdamW", "LAMB", "Muon", "SGD-M"]
    assert lines[1].count("±") == 4 and lines[1].count("(6)") == 4
    info = transfer_info(found)
    assert [row.pretraining for row in info.backbones[0].rows] == ["AdamW", "LAMB", "Muon", "SGD-M"]
    assert info.backbones[0].rows[0].cells[0] in lines[1]


def test_files_hold_every_cell(tmp_path: Path) -> None:
    scores = np.random.default_rng(3).integers(1400, 1800, size=(2, 3, 3, 2, 2))
    found = [analyse_transfer(table) for table in transfer_tables(make_transfer_records(scores))]
    paths = write_transfer(found, tmp_path)
    rows = list(csv.DictReader((tmp_path / "transfer.csv").open(newline="")))
    assert len(rows) == 18 and {row["n"] for row in rows} == {"4"}
    first = rows[0]
    assert (first["pretraining"], first["optimizer"], first["same_optimizer"]) == ("adamw", "adamw", "True")
    assert float(first["mean"]) == pytest.approx(scores[0, 0, 0].mean() / 20)
    assert float(first["low"]) < float(first["mean"]) < float(first["high"]) and len(first["config_hash"]) == 12
    (plain,) = json.loads((tmp_path / "transfer.json").read_text())
    assert plain["answer"] == answer_text(found[0]) and plain["matching"]["interval"]["low"] is not None
    assert [path.name for path in paths] == ["transfer.csv", "transfer.json"]
    assert write_transfer([], tmp_path / "none") == [] and transfer_lead([]) == []
    assert len(transfer_blocks(found)) == 3


def test_the_published_detection_table_says_what_it_confounds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["aggregate", "--source", "paper:coco_detection", "--draws", "100", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    short = capsys.readouterr().out
    assert len(short.splitlines()) <= 40
    assert "cannot be said: its spread, noise included, is" in short.replace("\n  ", " ")
    assert cli.main([*words, "--full"]) == 0
    full = capsys.readouterr().out.replace("\n  ", " ")
    assert "confounded with epochs and recipe" in full
    assert "pre-trained by LAMB alone, the mean over fine-tuning optimizers is" in full
    assert "of equal epochs (100), mean over fine-tuning optimizers: SGD" in full
    assert (tmp_path / "transfer.csv").is_file()
