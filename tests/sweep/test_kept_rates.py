"""A plan that keeps the rates of another study: no trials, the same optimizers, other images."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from builders import make_record

from bocb_hf.errors import InputError
from bocb_hf.results.dataset import records_parquet
from bocb_hf.runs.record import RunRecord
from bocb_hf.sweep.cells import plan_cells, run_overrides
from bocb_hf.sweep.left import find_left
from bocb_hf.sweep.plan import SweepPlan, load_plan
from bocb_hf.sweep.run import Sweep

RATES = {("tiny_resnet", "sgdm"): 0.03333, ("tiny_resnet", "adamw"): 0.000123456}


def tuned_records() -> list[RunRecord]:
    """Final runs with two seeds at each rate, and a trial at another."""
    found: list[RunRecord] = []
    for (backbone, optimizer), lr in RATES.items():
        for seed in (1, 2):
            found.append(make_record(backbone, optimizer, seed=seed, lr=lr, setting="tuned"))
        found.append(make_record(backbone, optimizer, seed=100, lr=3 * lr, setting="tuned", role="trial"))
    return found


def write(path: Path, records: list[RunRecord]) -> Path:
    places = {(r.role, r.run_id): f"lab/{r.repository()}/{r.path()}" for r in records}
    path.write_bytes(records_parquet(records, places, {}))
    return path


def plan_of(tmp_path: Path, **changes: Any) -> SweepPlan:
    content = {
        "edition": 2,
        "name": "kept",
        "config": "fashion_mnist_subset/demo",
        "backbones": ["tiny_resnet"],
        "optimizers": ["sgdm", "adamw"],
        "kept": {"source": str(tmp_path / "records.parquet"), "setting": "tuned"},
        "final_seeds": [1, 2, 3],
    }
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return load_plan(path)


def overrides(plan: SweepPlan, tmp_path: Path) -> list[str]:
    return run_overrides(plan, 1, [f"runtime.store={tmp_path}/store", f"runtime.state_dir={tmp_path}/state"])


def test_every_final_run_has_the_kept_rate_and_nothing_is_tried(tmp_path: Path) -> None:
    records = tuned_records()
    write(tmp_path / "records.parquet", records)
    plan = plan_of(tmp_path)
    cells = plan_cells(plan, overrides(plan, tmp_path))
    assert [plan.trials(name) for name in plan.optimizers] == [0, 0]
    by_cell = {(r.identity.backbone.name, r.identity.optimizer.name): r.identity.optimizer for r in records}
    for cell in cells:
        before = by_cell[cell.place.backbone, cell.place.optimizer]
        assert cell.next_trials() == []
        finals = list(cell.finals())
        assert [config.seed for config in finals] == [1, 2, 3]
        for config in finals:
            assert config.optimizer.lr == RATES[cell.place.backbone, cell.place.optimizer]  # to the last digit
            assert config.optimizer.weight_decay == before.weight_decay
            assert config.optimizer.hyperparameters == before.hyperparameters
            assert config.tuned is None
        left = find_left(cell)
        assert (left.trials, left.finals, left.extensions) == (0, 3, 0)


def test_a_sweep_begins_with_the_final_runs(tmp_path: Path) -> None:
    write(tmp_path / "records.parquet", tuned_records())
    plan = plan_of(tmp_path, baselines=False)
    sweep = Sweep(plan, cast(Any, SimpleNamespace(threads=1, workers=1)), overrides(plan, tmp_path))
    jobs = [job for several in sweep.first() for job in several]
    found = [(job.config.role, job.config.optimizer.name, job.config.seed) for job in jobs]
    assert found == [("final", name, seed) for name in plan.optimizers for seed in plan.final_seeds]
    assert sweep.planned_runs() == len(found)


@pytest.mark.parametrize(
    "given", ["optimizer.lr=0.1", "optimizer.weight_decay=0.0", "optimizer.hyperparameters.momentum=0.5"]
)
def test_an_override_that_the_kept_rates_would_undo_is_refused(tmp_path: Path, given: str) -> None:
    write(tmp_path / "records.parquet", tuned_records())
    plan = plan_of(tmp_path, optimizers=["sgdm"])
    said = f"kept: it decides about {given.partition('=')[0]}, which is also given"
    with pytest.raises(InputError, match=said):
        plan_cells(plan, [*overrides(plan, tmp_path), given])
    plan = plan_of(tmp_path, optimizers=["sgdm"], variants={"a": [], "b": [given]})
    with pytest.raises(InputError, match=said):
        plan_cells(plan, overrides(plan, tmp_path))


def test_an_unfinished_run_keeps_no_rate(tmp_path: Path) -> None:
    other = make_record("tiny_resnet", "sgdm", seed=3, lr=0.5, setting="tuned", status="interrupted")
    write(tmp_path / "records.parquet", [*tuned_records(), other])
    plan = plan_of(tmp_path)
    assert len(plan_cells(plan, overrides(plan, tmp_path))) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"setting": "other"}, "has no final run of tiny_resnet × sgdm with setting other"),
        ({"dataset": "other"}, "has no final run of tiny_resnet × sgdm"),
        ({"source": "nowhere.parquet"}, "kept.source: cannot read nowhere.parquet"),
    ],
)
def test_rates_that_are_not_there_are_an_error(tmp_path: Path, change: dict[str, str], said: str) -> None:
    write(tmp_path / "records.parquet", tuned_records())
    kept = {"source": str(tmp_path / "records.parquet"), "setting": "tuned"} | change
    plan = plan_of(tmp_path, kept=kept)
    with pytest.raises(InputError, match=said):
        plan_cells(plan, overrides(plan, tmp_path))


def test_final_runs_of_two_rates_are_an_error(tmp_path: Path) -> None:
    other = make_record("tiny_resnet", "sgdm", seed=1, lr=0.5, setting="tuned")
    write(tmp_path / "records.parquet", [*tuned_records(), other])
    plan = plan_of(tmp_path)
    with pytest.raises(InputError, match=r"final runs of 2 configurations of tiny_resnet × sgdm.*0\.0333"):
        plan_cells(plan, overrides(plan, tmp_path))


def test_a_plan_that_keeps_rates_has_no_section_tuning_and_may_take_any_seed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing is tuned"):
        plan_of(tmp_path, tuning={"protocol": "random", "draws": 25})
    assert plan_of(tmp_path, edition=1, final_seeds=[0, 1]).final_seeds == [0, 1]
