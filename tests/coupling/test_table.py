"""Records to cells: what is pooled, what is shown, and what never becomes a number."""

from __future__ import annotations

import math

import pytest
from builders import CNNS, MODERN, make_data, make_floor, make_grid, make_record

from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.row import Row
from bocb_hf.coupling.scores import scores_of
from bocb_hf.coupling.table import build_tables, floors
from bocb_hf.report.columns import COLUMNS
from bocb_hf.report.words.tables import cell_text, notes, seeds_text, sign_of, terminal_text
from bocb_hf.runs.record import RunRecord, wilson_interval

NUMBERS = ("test_top1", "test_top1_low", "test_top1_high", "survivor_top1", "test_loss", "train_loss", "wall_seconds")


def only_row(*records: RunRecord) -> Row:
    """The shown row of the first record's cell."""
    table = build_tables(records)[0]
    return table.shown(records[0].identity.backbone.name, records[0].identity.optimizer.name)


def test_mean_seeds_and_details_of_a_cell():
    row = only_row(make_record(seed=2, correct=1620), make_record(seed=1, correct=1600, wall_seconds=30.0))
    assert (row.mean, row.n, row.seeds, row.status) == (pytest.approx(80.5), 2, (1, 2), "completed")
    assert row.config_hash == make_record().config_hash and row.revision == "2337f0b"
    assert (row.lr, row.weight_decay, row.family, row.category) == (0.1, 1e-4, "classical_cnn", "a")
    assert (row.wall_seconds, row.images_per_second, row.train_loss, row.test_loss) == (25, 1000, 0.6, 0.55)


def test_two_seeds_alone_give_no_interval_and_a_table_does():
    lonely = only_row(make_record(seed=1), make_record(seed=2, correct=1620))
    assert lonely.interval is None and cell_text(lonely) == "80.5 (2)"
    grid = {(b, o): (1600, 1620 + 4 * i) for i, b in enumerate((*CNNS, *MODERN)) for o in ("sgdm", "adamw")}
    table = build_tables(make_grid(grid))[0]
    row = table.shown("tiny_resnet", "sgdm")
    assert row.interval is not None and row.interval.low < 80.5 < row.interval.high
    assert cell_text(row) == f"80.5 ± {row.interval.half_width:.1f} (2)"


def test_one_seed_everywhere_says_that_noise_cannot_be_separated():
    table = build_tables(make_grid({(b, o): (1600,) for b in CNNS for o in ("sgdm", "adamw")}))[0]
    assert all(row.interval is None and cell_text(row) == "80.0 (1)" for row in table.rows)
    assert any("noise cannot be separated" in note for note in notes(table, []))


@pytest.mark.parametrize(
    ("statuses", "status", "text"),
    [
        (("diverged", "diverged"), "diverged", "diverged 2/2"),
        (("interrupted",), "interrupted", "interrupted"),
        (("diverged", "interrupted"), "diverged", "diverged 1/1"),
        ((), "missing", "–"),
    ],
)
def test_no_number_without_a_completed_run(statuses, status, text):
    trial = make_record(role="trial", seed=0)
    row = only_row(trial, *(make_record(seed=i, status=s) for i, s in enumerate(statuses, 1)))
    assert (row.status, cell_text(row), row.n) == (status, text, 0)
    assert not row.ranked and row.mean is None and row.interval is None and row.estimate is None
    for name in NUMBERS:
        assert COLUMNS[name][1](row) is None, name


def test_a_cell_that_nobody_ran_is_missing():
    table = build_tables([make_record("tiny_resnet", "sgdm"), make_record("tiny_vit", "adamw", correct=1500)])[0]
    assert len(table.rows) == 4
    row = table.shown("tiny_vit", "sgdm")
    assert (row.status, row.config_hash, row.family, row.category) == ("missing", None, "modern", "a")
    with pytest.raises(KeyError):
        table.shown("tiny_vit", "lars")


def test_a_partial_failure_is_shown_over_survivors_and_never_ranked():
    good = make_record(seed=1, correct=1900)
    table = build_tables(
        [good, make_record(seed=2, status="diverged"), make_record("tiny_resnet", "adamw", correct=1500)]
    )[0]
    row = table.shown("tiny_resnet", "sgdm")
    assert (row.status, row.survivor_mean, cell_text(row)) == ("partial", pytest.approx(95.0), "95.0 (1/2)")
    assert row.mean is None and not row.ranked and row.test_loss is None
    assert row.failure == wilson_interval(1, 2)
    assert Marks.of(scores_of(table), table).signs.tolist() == [["", "★"]]  # survivors are never the best
    assert any("1 of 2 runs diverged" in note and "95 % [9, 91] %" in note for note in notes(table, []))


def test_wilson_interval_by_hand():
    """1 of 2 with z = 1.96: centre (1 + 1.92)/(2 + 3.84) = ½, half 1.96·√(½ + 0.96)/5.84 = 0.4055."""
    low, high = wilson_interval(1, 2)
    assert low == pytest.approx(9.45, abs=0.01) and high == pytest.approx(90.55, abs=0.01)


def test_an_interrupted_run_is_work_left_not_a_failure():
    row = only_row(make_record(seed=1), make_record(seed=2, status="interrupted"))
    assert (row.status, row.mean, row.n, row.interrupted) == ("completed", 80.0, 1, 1)


def test_failures_do_not_inform_the_spread():
    grid = make_grid({(b, "adamw"): (1500, 1520) for b in (*CNNS, *MODERN)})
    wild = [make_record("tiny_vit", "lars", seed=1, correct=200), make_record("tiny_vit", "lars", seed=2, correct=1500)]
    failed = make_record("tiny_vit", "lars", seed=3, status="diverged")
    assert build_tables([*grid, *wild, failed])[0].prior == build_tables(grid)[0].prior
    assert build_tables([*grid, *wild])[0].prior != build_tables(grid)[0].prior


def trial(lr: float, val_top1: float, val_loss: float = 0.5, seed: int = 0, **kwargs) -> RunRecord:
    return make_record(role="trial", seed=seed, lr=lr, val_top1=val_top1, val_loss=val_loss, **kwargs)


def test_configurations_are_never_pooled_and_validation_chooses():
    """The configuration with the worse test score is shown, because validation preferred it."""
    low = [make_record(seed=s, lr=0.03, correct=1500) for s in (1, 2)]
    high = [make_record(seed=s, lr=0.3, correct=1700) for s in (3, 4, 5)]
    table = build_tables([*low, *high, trial(0.03, 81.0), trial(0.3, 80.0)])[0]
    shown = table.shown("tiny_resnet", "sgdm")
    assert (shown.mean, shown.n, shown.lr, shown.selection) == (75.0, 2, 0.03, "validation")
    (other,) = [row for row in table.rows if not row.shown]
    assert (other.mean, other.n, other.lr, other.selection) == (85.0, 3, 0.3, None)
    assert {row.config_hash for row in table.rows} == {low[0].config_hash, high[0].config_hash}
    assert any("not pooled" in note for note in notes(table, []))


def test_ties_on_validation_go_to_the_lower_loss():
    finals = [make_record(lr=0.03), make_record(lr=0.3, seed=2)]
    assert only_row(*finals, trial(0.03, 80.0, 0.6), trial(0.3, 80.0, 0.5)).lr == 0.3
    assert only_row(*finals, trial(0.03, 80.0, 0.5), trial(0.3, 80.0, 0.6)).lr == 0.03


def test_several_trials_of_a_configuration_are_averaged():
    finals = [make_record(lr=0.03), make_record(lr=0.3, seed=2)]
    mixed = [trial(0.03, 90.0, seed=10), trial(0.03, 70.0, seed=11), trial(0.3, 81.0)]
    assert only_row(*finals, *mixed).lr == 0.3


def test_a_diverged_trial_is_no_score():
    finals = [make_record(lr=0.03), make_record(lr=0.3, seed=2)]
    row = only_row(*finals, trial(0.03, 99.0, status="diverged"), trial(0.3, 10.0))
    assert (row.lr, row.selection) == (0.3, "validation")


def test_a_better_trial_without_final_runs_is_named():
    table = build_tables([make_record(lr=0.03), trial(0.03, 80.0), trial(0.3, 85.0)])[0]
    row = table.shown("tiny_resnet", "sgdm")
    assert (row.lr, row.selection) == (0.03, "not_best")
    assert any("another configuration scored higher" in note for note in notes(table, []))


def test_without_trials_most_completed_runs_decide_then_the_hash():
    few, many = [make_record(lr=0.03)], [make_record(lr=0.3, seed=s, correct=100) for s in (2, 3)]
    row = only_row(*few, *many)
    assert (row.lr, row.selection) == (0.3, "untuned")
    a, b = make_record(lr=0.03), make_record(lr=0.3, seed=2)
    assert only_row(a, b).config_hash == min(a.config_hash, b.config_hash)
    failed = [make_record(lr=0.01, seed=s, status="diverged") for s in (4, 5, 6)]
    assert only_row(*few, *failed).lr == 0.03


@pytest.mark.parametrize(
    ("lr", "tried", "edge", "extensions"),
    [
        (0.1, (0.03, 0.1, 0.3), False, 0),
        (0.3, (0.03, 0.1, 0.3), True, 0),
        (0.03, (0.03, 0.1, 0.3), True, 0),
        (0.3, (0.03, 0.1, 0.3, 0.9), False, 1),
        (2.7, (0.03, 0.1, 0.3, 0.9, 2.7), True, 2),
        (0.1, (0.1,), True, 0),
        (0.1, (), None, 0),
    ],
)
def test_edge_and_extensions(lr, tried, edge, extensions):
    row = only_row(make_record(lr=lr), *(trial(x, 80.0) for x in tried))
    assert (row.edge, row.extensions, row.trial_lrs) == (edge, extensions, tried)


def test_unequal_trials_and_edges_are_noted():
    records = [make_record(), trial(0.1, 80.0), make_record("tiny_resnet", "adamw"), trial(0.1, 80.0, seed=5)]
    found = " ".join(notes(build_tables(records)[0], []))
    assert "Trials per cell differ: 0 to 2" in found and "at the edge" in found and "untuned" in found


def test_data_revisions_and_settings_have_their_own_tables():
    records = [
        make_record(),
        make_record(data=make_data(revision="abcdef0")),
        *make_grid({("tiny_resnet", "sgdm"): (1, 2)}, setting="long"),
    ]
    tables = build_tables(records)
    assert [(t.setting, t.revision) for t in tables] == [("long", "2337f0b"), ("demo", "2337f0b"), ("demo", "abcdef0")]
    assert all(len(t.rows) == 1 for t in tables)


def test_the_best_has_a_star_and_what_is_not_told_apart_an_open_one():
    scores = {("tiny_resnet", "sgdm"): (1700, 1704), ("tiny_resnet", "adamw"): (1702, 1700)}
    others = {(b, o): (1400, 1404) for b in MODERN for o in ("sgdm", "adamw")} | {("tiny_resnet", "lars"): (900, 904)}
    table = build_tables(make_grid(scores | others))[0]
    marks = Marks.of(scores_of(table), table)
    signs = {r.cell.optimizer: sign_of(table, marks, r) for r in table.rows if r.cell.backbone == "tiny_resnet" and r.n}
    assert signs == {"sgdm": "★", "adamw": "☆", "lars": ""}


def test_floors_match_name_revision_and_split_rule():
    table = build_tables([make_record()])[0]
    matching, other = make_floor(), make_floor(data=make_data(revision="abcdef0"))
    drawn = make_floor(data=make_data(validation_fraction=0.1, validation_indices_sha256="0" * 64))
    chance, pixels = floors(table, [other, matching, drawn])
    assert (chance.top1, chance.n, chance.interval) == (10, None, None)
    assert (pixels.top1, pixels.n) == (82, 2000) and "logistic regression" in pixels.name
    assert pixels.interval is not None
    assert (pixels.interval.low, pixels.interval.high) == wilson_interval(1640, 2000)


def test_a_frozen_backbone_is_the_floor_of_its_own_column():
    table = build_tables([make_record(correct=1000), make_record("tiny_vit", correct=1300)])[0]
    frozen = [make_floor(k, backbone=b) for k, b in ((1100, "tiny_resnet"), (1200, "tiny_vit"), (900, "tiny_mlp"))]
    rows = floors(table, [*frozen, make_floor()])
    assert [row.backbone for row in rows] == [None, None, "tiny_resnet", "tiny_vit"]
    assert rows[2].name == "tiny_resnet, frozen with random weights (seed 0), and a linear head"
    assert (rows[2].top1, rows[2].n) == (55, 2000)
    found = notes(table, rows)
    assert "1 of 2 cells lie below a linear head on their own backbone, frozen untrained." in found
    assert "2 of 2 cells lie below logistic regression on pixels (82.0)." in found


def test_few_epochs_measure_speed_and_the_floor_is_compared():
    table = build_tables([make_record(correct=1600), make_record("tiny_vit", correct=1660)])[0]
    found = notes(table, floors(table, [make_floor()]))
    assert "speed of optimisation" in found[0] and "After 4 epochs" in found[0]
    assert "1 of 2 cells lie below logistic regression on pixels (82.0)." in found
    long = build_tables([make_record(epochs=100)])[0]
    assert not any("speed" in note for note in notes(long, []))


def test_terminal_text_shows_everything_with_its_n():
    table = build_tables(
        [make_record(), make_record(seed=2, status="diverged"), make_record("tiny_vit", "lars", status="diverged")]
    )[0]
    text = terminal_text(table, floors(table, [make_floor()]), Marks.of(scores_of(table), table))
    for expected in (
        "80.0 (1/2)",
        "diverged 1/1",
        "–",
        "chance, 10 classes: 10.0",
        "[80.3, 83.6]",
        "2337f0b",
        "seeds 1",
    ):
        assert expected in text
    assert "nan" not in text.lower().replace("resnet", "")
    assert seeds_text([]) == "no completed run"


def test_wide_tables_are_printed_in_blocks():
    table = build_tables(make_grid({(f"net{i}", "sgdm"): (1600, 1610) for i in range(8)}))[0]
    lines = terminal_text(table, [], Marks.of(scores_of(table), table)).splitlines()
    assert [sum(f"net{i}" in line for i in range(8)) for line in lines if "net" in line] == [6, 2]


def test_order_of_records_does_not_matter():
    records = make_grid({(b, o): (1500, 1600) for b in (*CNNS, *MODERN) for o in ("sgdm", "lars", "adamw")})
    table = build_tables(records)[0]
    assert table == build_tables(records[::-1])[0]
    assert table.optimizers == ("sgdm", "adamw", "lars") and set(table.backbones[:2]) == set(CNNS)
    assert all(row.estimate is not None and math.isfinite(row.estimate.mean) for row in table.rows)
