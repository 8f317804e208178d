"""What the page shows of tuning and of the weights of runs: rates, curves, patterns, inspections."""

from __future__ import annotations

from typing import Any

import pytest
from boards import contents_of
from builders import make_record, with_inspections, with_patterns
from compared import compared_records

from bocb_hf.page.details import by_rate, cell_more
from bocb_hf.page.layout import Trial
from bocb_hf.page.read import Board, LeaderboardFile
from bocb_hf.page.record_rows import POINTS
from bocb_hf.page.write import own_rows, to_parquet
from bocb_hf.report.tabulate import Wanted, tabulate
from bocb_hf.runs.record import RunRecord


def board_of(records: list[RunRecord]) -> Board:
    contents = contents_of(records)
    rows = own_rows(tabulate(contents, Wanted(100)).results, contents)
    return next(iter(LeaderboardFile("x", to_parquet(rows)).boards.values()))


def more_of(board: Board, backbone: str, optimizer: str) -> dict[str, Any]:
    runs = [run for run in board.runs(backbone) if run.optimizer == optimizer]
    return cell_more(board, board.cells[backbone, optimizer], runs)


@pytest.fixture(scope="module")
def more() -> dict[str, Any]:
    return more_of(board_of(compared_records()), "tiny_vit", "sgdm")


def test_an_exponent_stands_only_where_its_fit_is_good(more: dict[str, Any]) -> None:
    run = more["runs"][0]
    layers = run["patterns"]["layers"]
    assert [layer["fit"] for layer in layers] == ["ok", "poor fit", "too few eigenvalues"]
    assert [layer["alpha"] for layer in layers] == [3.55, None, None]
    assert [layer["stable_rank"] for layer in layers] == [2.0, 3.0, 4.0]
    assert "a kernel is one matrix" in run["patterns"]["rules"]
    # records from before there were fits
    old = more_of(board_of([with_patterns(make_record(seed=seed)) for seed in (1, 2)]), "tiny_resnet", "sgdm")
    for layer in old["runs"][0]["patterns"]["layers"]:
        assert layer["alpha"] is None and layer["fit"] is None and layer["entropy"] > 4


def test_inspections_have_their_steps_and_their_sharpness(more: dict[str, Any]) -> None:
    first, second = more["runs"][0]["inspections"]
    assert (first["step"], first["share"], first["epoch"]) == (10, 0.1, pytest.approx(0.4))  # 4 epochs of 100 steps
    assert (first["sharpness"], first["converged"], first["images"]) == (12.5, False, 256)
    assert second["sharpness"] is None and second["reason"] == "no second derivative here"
    assert first["layers"][0]["entropy"] == 4.1 and second["layers"][0]["entropy"] == 4.2
    lost = more_of(board_of([with_inspections(make_record(seed=1, status="diverged"))]), "tiny_resnet", "sgdm")
    assert lost["ridge"] is None and len(lost["runs"][0]["inspections"]) == 2


def test_a_ridge_is_the_mean_over_runs_of_the_configuration_that_is_shown() -> None:
    records = [with_patterns(make_record(seed=seed)) for seed in (1, 2)]
    found = more_of(board_of(records), "tiny_resnet", "sgdm")["ridge"]
    assert found["runs"] == 2 and found["layers"] == [f"layers.{i}.weight" for i in range(3)]
    layers = [record.patterns.layers for record in records if record.patterns is not None]
    for measure in ("entropy", "norm", "energy"):
        means = [(getattr(one, measure) + getattr(two, measure)) / 2 for one, two in zip(*layers, strict=True)]
        assert found[measure] == pytest.approx(means, rel=1e-4)
    assert found["alpha"] == found["stable_rank"] == [None, None, None]
    other = with_patterns(make_record(seed=3), layers=2)
    assert more_of(board_of([*records, other]), "tiny_resnet", "sgdm")["ridge"]["runs"] == 2


def test_rates_are_means_over_tuning_seeds_of_their_best_decay(more: dict[str, Any]) -> None:
    assert more["rates"] == [
        {"lr": 1e-3, "val_top1": None, "trials": 2},  # diverged
        {"lr": 3e-3, "val_top1": 77.0, "trials": 2},
        {"lr": 1e-2, "val_top1": 74.0, "trials": 2},
    ]
    trials = [
        Trial(lr=0.1, weight_decay=d, val_top1=v) for d, v in ((0.0, 70.0), (0.0, 72.0), (1e-4, 99.0), (1e-4, None))
    ]
    assert by_rate(trials) == [{"lr": 0.1, "val_top1": 71.0, "trials": 4}], "survivors are never ranked"
    assert by_rate([]) == []


def test_curves_are_those_of_the_trials_at_the_chosen_rate(more: dict[str, Any]) -> None:
    assert [curve["seed"] for curve in more["curves"]] == [100, 101]
    for curve in more["curves"]:
        assert curve["val_top1"] == [40.0, 60.0, 77.0]
        assert curve["epochs"] == pytest.approx([4 / 3, 8 / 3, 4], abs=0.03)


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    from builders import with_validation

    trial = make_record(seed=100, role="trial")
    trial = trial.model_copy(update={"total_steps": 10_000})
    trial = with_validation(trial, [float(i % 100) for i in range(1001)])
    (curve,) = more_of(board_of([trial, make_record(seed=1)]), "tiny_resnet", "sgdm")["curves"]
    assert POINTS / 2 < len(curve["epochs"]) <= POINTS
    assert curve["epochs"][-1] == pytest.approx(4.0, abs=0.01) and curve["val_top1"][-1] == 0.0
