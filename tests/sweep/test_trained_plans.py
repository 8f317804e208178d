"""Plans with variants, random search and named hyper-parameters, trained from their first trial to their table."""

from __future__ import annotations

import io
import shlex
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import yaml
from coco_scenes import write_folder

from bocb_hf.coupling.table import build_tables
from bocb_hf.results.dataset import records_parquet
from bocb_hf.runs.load_config import load_run_config
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.contents import read_store
from bocb_hf.store.local import LocalStore
from bocb_hf.sweep import forecast as module
from bocb_hf.sweep.cells import plan_cells, run_overrides
from bocb_hf.sweep.executors import work
from bocb_hf.sweep.executors.protocol import Executor, Task
from bocb_hf.sweep.executors.work import Context
from bocb_hf.sweep.job import Job
from bocb_hf.sweep.plan import SweepPlan, load_plan
from bocb_hf.sweep.run import Sweep
from bocb_hf.sweep.timing import Timed
from bocb_hf.sweep.view import LineView


class Here(Executor):
    """Does every work in this process, as a worker would."""

    name, workers, threads = "here", 1, 1

    def __init__(self) -> None:
        self.trained = 0

    def start(self, function: Any, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def on_step(step: int, total: int) -> None:
            self.trained += step == total

        try:
            future.set_result(work.perform(function, arguments, Context(lambda: False, on_step)))
        except Exception as error:
            future.set_exception(error)
        return future

    def tasks(self) -> list[Task]:
        return []

    def stop(self) -> None:
        """Nothing runs."""

    close = stop


def train(plan: dict[str, Any], sections: dict[str, Any], folder: Path) -> tuple[SweepPlan, list[RunRecord], Sweep]:
    """Trains a plan of one-epoch runs, and again, which must train nothing; returns its records."""
    for key in ("backbone", "optimizer", "seed"):
        sections.pop(key, None)
    sections["training"] |= {"epochs": 1}
    (folder / "setting.yaml").write_text(yaml.safe_dump(sections))
    (folder / "plan.yaml").write_text(
        yaml.safe_dump({"config": str(folder / "setting.yaml"), "baselines": False, "final_seeds": [1]} | plan)
    )
    loaded = load_plan(folder / "plan.yaml")
    executor = Here()
    sweep = Sweep(loaded, executor, [])
    outcome = sweep.run(LineView(io.StringIO()))
    assert outcome.failures == []
    contents = read_store(LocalStore(folder / "store"))
    assert contents.quarantined == []
    assert {record.status for record in contents.records} == {"completed"}
    assert executor.trained == len(contents.records) == sum(outcome.statuses.values()) == sweep.planned_runs()
    again = Here()
    assert Sweep(loaded, again, []).run(LineView(io.StringIO())).statuses == outcome.statuses
    assert again.trained == 0, "nothing is trained twice"
    cells = plan_cells(loaded, run_overrides(loaded, 1, []))
    assert [module.find_left(cell).runs for cell in cells] == [0] * len(cells), "the forecast finds every run"
    return loaded, list(contents.records), sweep


def test_random_search_over_variants_and_named_values(sections: dict[str, Any], tmp_path: Path) -> None:
    plan, records, sweep = train(
        {
            "name": "drawn",
            "variants": {"b20": ["training.batch_size=20"], "b50": ["training.batch_size=50"]},
            "backbones": ["tiny_vit"],
            "optimizers": ["sgdm"],
            "tuning": {
                "protocol": "random",
                "draws": 2,
                "decay_points": 3,
                "seeds": [7],
                "grid_of": {"sgdm": {"momentum": [0.5, 0.9]}},
            },
        },
        sections,
        tmp_path,
    )
    assert len(records) == 2 * (2 + 1)
    tables = build_tables(records)
    assert sorted(table.setting for table in tables) == ["short_b20", "short_b50"]
    for setting, batch in (("short_b20", 20), ("short_b50", 50)):
        own = [record for record in records if record.identity.setting == setting]
        assert {record.identity.training.batch_size for record in own} == {batch}
        trials = [record for record in own if record.role == "trial"]
        (final,) = (record for record in own if record.role == "final")
        values = [_values(record) for record in trials]
        assert len(set(values)) == 2 and {v[2] for v in values} <= {0.5, 0.9}
        assert _values(final) in values, "the final run has what one of the trials had"
        assert final.tuned is not None and final.tuned.protocol == "random"
        assert [axis.name for axis in final.tuned.axes] == ["lr", "weight_decay", "momentum"]
    # the command that repeats a run by itself is of exactly that run
    for cell in sweep.cells:
        config = next(iter(cell.finals()))
        words = shlex.split(sweep.command(Job(cell, config)))
        assert words[:3] == ["bocb", "train", "--config"]
        assert load_run_config(Path(words[3]), words[4:]) == config
    assert plan.tuning.configurations("sgdm") == 2


def test_a_grid_over_named_values_and_what_others_have_done_of_it(
    sections: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, records, _ = train(
        {
            "name": "named",
            "backbones": ["tiny_resnet"],
            "optimizers": ["adamw"],
            "tuning": {"points": 1, "max_extensions": 0, "grid_of": {"adamw": {"beta1": [0.8, 0.9]}}},
        },
        sections,
        tmp_path,
    )
    trials = {
        record.identity.optimizer.hyperparameters["beta1"]: record for record in records if record.role == "trial"
    }
    assert sorted(trials) == [0.8, 0.9]
    (final,) = (record for record in records if record.role == "final")
    scores = {value: r.metrics.val_top1.last or 0.0 for value, r in trials.items() if r.metrics.val_top1}
    assert scores[float(str(final.identity.optimizer.hyperparameters["beta1"]))] == max(scores.values())

    # a file of these records, as a results data set has it, is counted where another store holds nothing
    places = {(r.role, r.run_id): f"lab/{r.repository()}/{r.path()}" for r in records}
    done, some = tmp_path / "records.parquet", tmp_path / "some.parquet"
    done.write_bytes(records_parquet(records, places, {}))
    some.write_bytes(records_parquet([r for r in records if r.role == "trial"], places, {}))
    elsewhere = [f"runtime.store={tmp_path}/other", f"runtime.state_dir={tmp_path}/states"]

    def ask(file: Path, *more: str) -> module.Forecast:
        cells = plan_cells(plan, run_overrides(plan, 1, [*elsewhere, *more]))
        return module.forecast(plan, cells, 1, "cpu", file)

    found = ask(done)
    assert [(each.trials, each.finals, each.done_trials, each.done_finals) for each in found.cells] == [(0, 0, 2, 1)]
    assert (found.steps(), found.disk()) == (0, 0), "they are not copied"
    text = module.describe(found, None, 10**10, f"{tmp_path}/other")
    assert "in the store   0 of 2 trials, 0 of 1 final runs\nelsewhere      2 trials, 1 final runs" in text
    assert [(each.trials, each.finals, each.done_trials) for each in ask(some).cells] == [(0, 1, 2)]
    # of another batch size these are other configurations, though learning rate and beta are the same
    monkeypatch.setattr(module, "time_backbone", lambda config: Timed(0.1, 8, 10**9, 10**8, 10**6))
    assert [(each.runs, each.done_trials) for each in ask(done, "training.batch_size=20").cells] == [(3, 0)]
    # the sweep itself agrees: it trains the final run, and nothing else
    executor = Here()
    swept = Sweep(plan, executor, elsewhere, done=some)
    assert swept.run(LineView(io.StringIO())).statuses == {"completed": 3} and executor.trained == 1


def _values(record: RunRecord) -> tuple[float, float, Any]:
    optimizer = record.identity.optimizer
    return optimizer.lr, optimizer.weight_decay, optimizer.hyperparameters["momentum"]


def test_a_sweep_of_detectors_is_tuned_by_their_own_metric(tmp_path: Path) -> None:
    pytest.importorskip("faster_coco_eval", reason="the evaluator is not installed: pip install 'bocb-hf[detection]'")
    sections: dict[str, Any] = {
        "setting": "boxes",
        "data": {"name": str(write_folder(tmp_path / "scenes", 10, 3)), "image_size": 48},
        "training": {"batch_size": 4},
        "task": {"name": "detection", "options": {"channels": 16, "long_side": 64}},
        "runtime": {"store": str(tmp_path / "store"), "state_dir": str(tmp_path / "state"), "tracker": "none"},
    }
    sections["runtime"] |= {"workers": 0, "threads": 1}
    tuning = {"points": 3, "seeds": [7], "max_extensions": 0}
    plan = {"name": "boxes", "backbones": ["tiny_resnet"], "optimizers": ["adamw"], "tuning": tuning}
    _, records, _ = train(plan, sections, tmp_path)
    trials = [record for record in records if record.role == "trial"]
    (final,) = (record for record in records if record.role == "final")
    assert len(trials) == 3 and all(t.metrics.val is not None and t.metrics.val.n == 1 for t in trials)
    assert final.tuned is not None and final.metrics.name == "AP"
    (table,) = build_tables(records)
    row = table.shown("tiny_resnet", "adamw")
    assert (table.metric, row.selection, row.n) == ("AP", "validation", 1)
    assert records_parquet(records, {(r.role, r.run_id): f"local/cell/{r.path()}" for r in records}, {})
