"""Five formats, one set of numbers."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from builders import make_grid, make_record
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import mixed_records

from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.published import published
from bocb_hf.coupling.scores import ScoreTable, make_scores, scores_of
from bocb_hf.coupling.table import build_tables
from bocb_hf.report.tables import cell_text, score_frame, table_files, tuning_files
from bocb_hf.report.words.tables import backbone_label, optimizer_label

TABLE = build_tables(mixed_records())[0]
MIXED = scores_of(TABLE)
SOURCES: dict[str, tuple[ScoreTable, Marks]] = {
    "records": (MIXED, Marks.of(MIXED, TABLE)),
    "paper": (published("cifar100"), Marks.of(published("cifar100"))),
}


def csv_rows(content: bytes) -> dict[tuple[str, str], dict[str, str]]:
    frame = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    return {(row["backbone"], row["optimizer"]): row for row in frame.to_dict("records")}


def grid(text: str, separator: str, scores: ScoreTable) -> dict[tuple[str, str], str]:
    """The cells of a Markdown or LaTeX table by (backbone, optimizer), without bold and marks."""
    backbones = {backbone_label(b): b for b in scores.backbones}
    optimizers = {optimizer_label(o): o for o in scores.optimizers}
    found: dict[tuple[str, str], str] = {}
    head: list[str] = []
    for line in text.splitlines():
        cells = [c.strip() for c in line.removesuffix("\\\\").strip().strip("|").split(separator)]
        if cells[0].lower() == "optimizer":
            head = cells[1:]
        elif cells[0] in optimizers:
            for label, cell in zip(head, cells[1:], strict=True):
                plain = re.sub(r"\*\*|\\textbf\{|\}|[★☆] |\$\\star\$ ", "", cell)
                found[backbones[label], optimizers[cells[0]]] = plain.replace("$\\pm$", "±").replace("--", "–")
    return found


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_numbers_in_each_format(source):
    scores, marks = SOURCES[source]
    files = table_files(scores, marks)
    assert sorted(files) == ["scores.csv", "scores.json", "scores.md", "scores.parquet", "scores.tex"]
    csv = csv_rows(files["scores.csv"])
    parquet = pd.read_parquet(io.BytesIO(files["scores.parquet"]))
    rows = json.loads(files["scores.json"])
    markdown = grid(files["scores.md"].decode(), "|", scores)
    latex = grid(files["scores.tex"].decode(), "&", scores)
    assert len(csv) == len(parquet) == len(rows) == len(markdown) == len(latex) == scores.means.size
    assert markdown == latex
    for row, line in zip(rows, parquet.astype(object).to_dict("records"), strict=True):
        key = (row["backbone"], row["optimizer"])
        for column in ("mean", "low", "high", "n", "diverged"):
            text = csv[key][column]
            value = None if pd.isna(line[column]) else float(line[column])
            assert (float(text) if text else None) == row[column] == value
        assert csv[key]["status"] == row["status"] == line["status"]
        shown = markdown[key]
        if row["mean"] is None:
            assert not re.match(r"\d+\.", shown)
            continue
        number, _, half = shown.partition(" (")[0].partition(" ± ")
        assert number == f"{row['mean']:.2f}" and f"({row['n']})" in shown
        assert (half == f"{(row['high'] - row['low']) / 2:.2f}") if half else row["low"] is None


def test_a_cell_without_a_mean_says_why():
    words = {MIXED.status[b, o]: cell_text(MIXED, Marks.none(MIXED), b, o) for b in range(4) for o in range(4)}
    assert words["diverged"] == "diverged" and words["partial"] == "1 of 2 diverged"
    assert words["interrupted"] == "interrupted" and words["missing"] == "–"


def test_the_best_is_bold_ties_included():
    scores = make_scores([[70.0, 71, 71]], ["resnet50"], ["sgdm", "adamw", "lars"], unit="percent")
    files = table_files(scores, Marks.none(scores))
    assert files["scores.md"].decode().count("**★ 71.00 (1)**") == 2
    assert files["scores.tex"].decode().count("\\textbf{71.00 (1)}") == 2


NAME = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12)


@settings(max_examples=40)
@given(st.lists(NAME, min_size=2, max_size=2, unique=True), st.lists(NAME, min_size=2, max_size=2, unique=True))
def test_any_name_keeps_the_shape_of_the_tables(backbones, optimizers):
    scores = make_scores([[50.0, 51], [52, 53]], backbones, optimizers, unit="percent")
    files = table_files(scores, Marks.none(scores))
    lines = [line for line in files["scores.md"].decode().splitlines() if line.startswith("|")]
    assert len(lines) == 4 and all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in lines)
    rows = [line for line in files["scores.tex"].decode().splitlines() if line.endswith("\\\\")]
    assert len(rows) == 3 and all(len(re.findall(r"(?<!\\)&", line)) == 2 for line in rows)
    assert all(not re.search(r"(?<!\\)[_#%]", line) for line in rows)
    frame = score_frame(scores, Marks.none(scores))
    assert list(frame["mean"]) == [50, 51, 52, 53]
    assert [r["backbone"] for r in json.loads(files["scores.json"])] == list(frame["backbone"])


def test_the_caption_tells_n_source_and_revision():
    scores, marks = SOURCES["paper"]
    text = table_files(scores, marks)["scores.md"].decode().splitlines()[-1]
    for part in ("no interval", "n = 1", "mean of 3 trials", "2410.06373", "cifar100"):
        assert part in text
    assert "± half of the 95 % interval" in table_files(*SOURCES["records"])["scores.tex"].decode()


@pytest.mark.parametrize("source", SOURCES)
def test_latex_is_ascii_with_closed_environments_and_even_rows(source):
    scores, marks = SOURCES[source]
    text = table_files(scores, marks)["scores.tex"].decode()
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert all(line.isascii() for line in body)
    columns = 0
    depth = 0
    for line in body:
        if begin := re.fullmatch(r"\\begin\{tabular\}\{(l(r+))\}", line):
            depth, columns = depth + 1, len(begin.group(1))
        elif line == "\\end{tabular}":
            depth -= 1
        elif line.endswith("\\\\"):
            assert depth == 1 and line.count("&") == columns - 1 and line.count("{") == line.count("}")
        else:
            assert line in ("", "\\toprule", "\\midrule", "\\bottomrule", "\\addlinespace")
    assert depth == 0 and columns > 1


def test_tuning_files_hold_the_numbers_of_the_figures():
    records = [
        make_record("tiny_vit", "sgdm", role="trial", seed=0, lr=lr, val_top1=v) for lr, v in ((0.03, 60), (0.1, 70))
    ]
    files = tuning_files(build_tables([*records, *make_grid({("tiny_vit", "sgdm"): (1600, 1610)})])[0])
    assert sorted(files) == ["distances.csv", "ledger.csv", "pareto.csv", "trials.csv"]
    trials = pd.read_csv(io.BytesIO(files["trials.csv"]))
    assert list(trials[trials["backbone"] == "tiny_vit"]["val_top1"]) == [65, 70]
    assert list(trials[trials["backbone"] == "mean over backbones"]["shortfall"]) == [5, 0]
    (ledger,) = pd.read_csv(io.BytesIO(files["ledger.csv"])).to_dict("records")
    assert (ledger["rates"], ledger["trials"], ledger["finals"]) == ("0.03 0.1", 2, 2)
    distances = pd.read_csv(io.BytesIO(files["distances.csv"]))
    assert list(distances[["lr", "distance_in_backbone"]].iloc[0]) == [0, 0]
    pareto = pd.read_csv(io.BytesIO(files["pareto.csv"]))
    assert set(pareto["axis"]) == {"seconds", "memory", "tuning"} and list(pareto["on_front"]) == [True] * 3
    assert np.isclose(pareto["mean"], 80.25).all()


def test_a_table_without_trials_has_no_empty_file():
    files = tuning_files(build_tables(make_grid({("tiny_vit", "sgdm"): (1600, 1610)}))[0])
    assert sorted(files) == ["ledger.csv", "pareto.csv"]
