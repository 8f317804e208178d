"""Rare failures, rare losses and the luck of the best, in words; and intervals whose sides differ."""

from __future__ import annotations

import json

import numpy as np
import pytest
from builders import CNNS, MODERN, make_grid, make_record

from bocb_hf.coupling.analysis import analyse
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.scores import scores_of
from bocb_hf.coupling.table import Table, build_tables
from bocb_hf.coupling.winners import winners
from bocb_hf.report.findings import find
from bocb_hf.report.tables import cell_text as table_cell_text
from bocb_hf.report.tables import score_frame, table_files
from bocb_hf.report.words.analysis import analysis_text
from bocb_hf.report.words.rare import failure_text, loss_text, rare_text, winner_text
from bocb_hf.report.words.summary import summary_text
from bocb_hf.report.words.tables import cell_text, reach_text

OPTIMIZERS = ("sgdm", "adamw", "lars")


def grid(lost: int = 0) -> Table:
    """Three runs of 12 cells; one run of the first cell has so many images less."""
    rng = np.random.default_rng(0)
    cells = {
        (b, o): tuple(int(x) for x in 1600 + 40 * i + 12 * rng.normal(size=3))
        for i, o in enumerate(OPTIMIZERS)
        for b in (*CNNS, *MODERN)
    }
    first = next(iter(cells))
    cells[first] = (cells[first][0] - lost, *cells[first][1:])
    return build_tables(make_grid(cells))[0]


def test_the_summary_names_rare_losses_and_the_failures_that_others_make_likely():
    table = grid(lost=400)
    scores = scores_of(table)
    marks = Marks.of(scores, table, 200)
    text = summary_text(find(scores, marks, table, draws=50), table, lines=200)
    (loss,) = loss_text(table)
    joined = " ".join(text.split())
    assert loss in joined and "So few runs cannot show rare failures" not in joined
    assert "or −/+ its two sides where they differ" in joined
    diverged = build_tables([*table.records, make_record(seed=4, status="diverged")])[0]
    scores = scores_of(diverged)
    text = summary_text(find(scores, Marks.of(scores, diverged, 200), diverged, draws=50), diverged, lines=200)
    assert "So few runs cannot show rare failures" in " ".join(text.split())


def test_a_collapsed_run_is_told_as_a_failure():
    table = grid(lost=1500)
    (sentence,) = loss_text(table)
    assert table.rare is not None and table.rare.loss == 0
    assert "1 of 36 runs, in 1 cell(s), completed but collapsed while others of their cell did not" in sentence
    assert "intervals are of runs that do not" in sentence
    assert Marks.of(scores_of(table), table, 200).below is None


def test_no_failure_in_three_runs_leaves_56_percent_possible():
    (sentence,) = failure_text(grid().rows)
    assert "where 0 of 3 runs of a cell diverged, up to 56 % is possible" in sentence
    runs = 3 * len(OPTIMIZERS) * len((*CNNS, *MODERN))
    assert f"0 of {runs} diverged" in sentence
    assert failure_text(build_tables([make_record(seed=1, status="diverged")])[0].rows) == []


def test_rare_losses_are_told_and_intervals_reach_further_down():
    table = grid(lost=400)
    assert table.rare is not None
    (sentence,) = loss_text(table)
    assert sentence.startswith(f"Rare losses: 1 of {int(table.rare.runs.sum())} runs, in 1 cell(s)")
    row = table.rows[-1]
    assert row.reach is not None and row.reach[0] > row.reach[1] + 0.1
    down, up = row.reach
    assert cell_text(row) == f"{row.mean:.1f} −{down:.1f}/+{up:.1f} (3)"
    assert loss_text(grid()) == []


def test_tables_keep_both_sides_of_an_interval():
    table = grid(lost=400)
    scores = scores_of(table)
    marks = Marks.of(scores, table)
    frame = score_frame(scores, marks)
    for (_, line), row in zip(frame.iterrows(), [r for b in table.backbones for r in table.column(b)], strict=True):
        assert row.interval is not None
        assert (line["low"], line["high"]) == pytest.approx((row.interval.low, row.interval.high))
    assert "/+" in table_cell_text(scores, marks, len(scores.backbones) - 1, 0)
    plain = Marks.of(scores_of(grid()), grid())
    assert plain.below is None and "±" in table_cell_text(scores_of(grid()), plain, 0, 0)


def test_the_best_is_given_without_its_luck():
    table = grid()
    scores = scores_of(table)
    (sentence,) = winner_text(scores, winners(scores))
    assert sentence.count("instead of") == len(table.backbones) and "Andrews, Kitagawa and McCloskey" in sentence
    assert analysis_text(analyse(scores, draws=50)).count(sentence) == 1 and sentence not in rare_text(table)
    single = build_tables(make_grid({(b, o): (1600,) for b in CNNS for o in OPTIMIZERS}))[0]
    assert winner_text(scores_of(single), winners(scores_of(single))) == []


def test_the_files_of_a_table_hold_its_winners():
    scores = scores_of(grid())
    rows = json.loads(table_files(scores, Marks.none(scores))["scores.json"])
    best = [row for row in rows if row["winner_estimate"] is not None]
    assert [row["backbone"] for row in best] == list(scores.backbones)
    for row in best:
        others = [r["mean"] for r in rows if r["backbone"] == row["backbone"]]
        assert row["mean"] == max(others) and row["winner_low"] < row["winner_estimate"] < row["winner_high"]
    single = scores_of(build_tables(make_grid({(b, o): (1600,) for b in CNNS for o in OPTIMIZERS}))[0])
    assert "winner" not in table_files(single, Marks.none(single))["scores.json"].decode()


@pytest.mark.parametrize(("down", "up", "text"), [(1.2, 1.2, "± 1.2"), (1.24, 1.21, "± 1.2"), (2.4, 1.2, "−2.4/+1.2")])
def test_a_reach_shows_two_sides_only_where_they_differ(down, up, text):
    assert reach_text(down, up) == text
