"""``compile: auto`` of a plan: what is timed, what is decided, where that is kept, and what it makes of the runs."""

from __future__ import annotations

import io
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import make_record

from bocb_hf.errors import InputError
from bocb_hf.runs.config import RunConfig
from bocb_hf.store.contents import read_store
from bocb_hf.store.local import LocalStore
from bocb_hf.sweep import compiling
from bocb_hf.sweep.compile_times import CompileTimes
from bocb_hf.sweep.compiling import CLEARLY, choices_path, decide, read_choices
from bocb_hf.sweep.executors import work
from bocb_hf.sweep.executors.local import LocalExecutor
from bocb_hf.sweep.executors.protocol import Executor, Task
from bocb_hf.sweep.executors.work import WorkFailedError
from bocb_hf.sweep.plan import load_plan
from bocb_hf.sweep.run import Sweep
from bocb_hf.sweep.shard import Shard
from bocb_hf.sweep.view import LineView

# what each backbone would take: 1,000 steps of a run, 8 runs a backbone, 2 workers
TIMES: dict[str, CompileTimes | WorkFailedError] = {
    "tiny_resnet": CompileTimes(plain=0.10, compiled=0.06, compiling=30.0, steps=1000),
    "tiny_vit": CompileTimes(plain=0.10, compiled=0.10, compiling=30.0, steps=1000),
    "tiny_mobilenet": WorkFailedError("RuntimeError: no C++ compiler", None),
}


class Timed(Executor):
    """Finishes every run at once, and times as ``TIMES`` says."""

    name, workers, threads = "timed", 2, 1

    def __init__(self, plain: float = 0.1) -> None:
        self.plain = plain
        self.timed: list[str] = []
        self.configs: list[RunConfig] = []

    def start(self, function: Any, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        config: RunConfig = arguments[0]
        name = config.backbone.name
        if function is work.time_step:
            future.set_result((self.plain, 1000))
        elif function is work.time_compiled:
            self.timed.append(name)
            found = TIMES[name]
            future.set_exception(found) if isinstance(found, Exception) else future.set_result(found)
        else:
            self.configs.append(config)
            optimizer = config.optimizer
            assert optimizer.lr is not None
            future.set_result(make_record(name, optimizer.name, seed=config.seed, role=config.role, lr=optimizer.lr))
        return future

    def tasks(self) -> list[Task]:
        return []

    def stop(self) -> None:
        """Nothing runs."""

    close = stop


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    data = {
        "name": "compiled",
        "compile": "auto",
        "config": "fashion_mnist_subset/demo",
        "backbones": list(TIMES),
        "optimizers": ["sgdm", "adamw"],
        "tuning": {"points": 3, "max_extensions": 0},
        "final_seeds": [1],
        "baselines": False,
    }
    path.write_text(yaml.safe_dump(data))
    return path


def run(plan: Path, executor: Executor, *more: str, part: Shard | None = None) -> None:
    folder = plan.parent
    places = [f"runtime.store={folder}/store", f"runtime.state_dir={folder}/state"]
    outcome = Sweep(load_plan(plan), executor, [*places, *more], part).run(LineView(io.StringIO()))
    assert outcome.failures == []


def switched_on(executor: Timed) -> set[str]:
    """Backbones of which runs were compiled; all runs of one agree."""
    found = {(config.backbone.name, config.runtime.compile_model) for config in executor.configs}
    assert len(found) == len({name for name, _ in found})
    return {name for name, compiled in found if compiled}


def test_what_pays_over_the_plan_is_compiled_and_decided_once(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Timed()
    run(plan, first)
    assert first.timed == list(TIMES), "once a backbone"
    assert len(first.configs) == 24 and switched_on(first) == {"tiny_resnet"}
    said = capsys.readouterr().err
    # 0.04 s a step × 1,000 steps × 8 runs, and 30 s in each of two workers
    assert "tiny_resnet is compiled: a step takes 60 ms instead of 100, which saves 320 s over 8 runs" in said
    assert "compiling takes 60 s" in said
    assert "tiny_vit is not compiled" in said
    assert "tiny_mobilenet is not compiled: it could not be compiled here: RuntimeError: no C++ compiler" in said
    path = tmp_path / "state" / "plans" / "compiled.compile.json"
    kept = {choice.backbone: choice for choice in read_choices(path)}
    assert {name for name, choice in kept.items() if choice.compiled} == {"tiny_resnet"}
    assert kept["tiny_resnet"].compile_seconds == 30.0 and kept["tiny_mobilenet"].step_seconds is None
    assert list(path.parent.iterdir()) == [path], "the lease is given back"

    before, again = path.read_bytes(), Timed()
    run(plan, again)
    assert again.timed == [] and switched_on(again) == {"tiny_resnet"} and path.read_bytes() == before
    # a plan that has grown decides about what is new, and about nothing else
    grown = yaml.safe_load(plan.read_text()) | {"variants": {"b32": ["training.batch_size=32"]}}
    plan.write_text(yaml.safe_dump(grown))
    larger = Timed()
    run(plan, larger)
    assert larger.timed == list(TIMES) and len(read_choices(path)) == 6


def test_the_rule_weighs_all_runs_of_the_plan_against_all_workers(plan: Path) -> None:
    cell = Sweep(load_plan(plan), Timed(), []).cells[0]
    times = CompileTimes(plain=0.2, compiled=0.1, compiling=10.0, steps=100)
    # each run saves 10 s, each worker spends 10 s
    assert decide(cell, times, runs=4, workers=2).compiled
    assert not decide(cell, times, runs=3, workers=2).compiled, f"{CLEARLY} times is not clearly more than that"
    assert not decide(cell, times, runs=4, workers=100).compiled, "more workers than runs: each run is compiled for"


def test_parts_of_a_plan_share_one_decision(plan: Path) -> None:
    timed = list[str]()
    for number in (1, 2, 3):
        executor = Timed()
        try:
            run(plan, executor, part=Shard(number, 3))
        except InputError as error:
            assert "no cell" in str(error)
        timed += executor.timed
        assert switched_on(executor) <= {"tiny_resnet"}
    assert sorted(timed) == sorted(TIMES), "each network by the first part that needs it"
    choices = read_choices(plan.parent / "state" / "plans" / "compiled.compile.json")
    assert {(choice.runs, choice.workers) for choice in choices} == {(8, 6)}


def test_nothing_is_timed_where_nothing_can_be_won(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = Timed(plain=0.001)
    run(plan, short)
    assert short.timed == [] and switched_on(short) == set()
    assert "its 8 runs take 8 s in all, too little to win" in capsys.readouterr().err


def test_portable_runs_are_never_compiled(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    executor = Timed()
    run(plan, executor, "runtime.portable=true")
    assert executor.timed == [] and switched_on(executor) == set()
    assert "compiled code is the host's, and runtime.portable is on" in capsys.readouterr().err


def test_old_plans_compile_nothing_and_contradictions_are_refused(plan: Path, tmp_path: Path) -> None:
    data = yaml.safe_load(plan.read_text())
    plan.write_text(yaml.safe_dump({key: value for key, value in data.items() if key != "compile"}))
    executor = Timed()
    run(plan, executor)
    assert executor.timed == [] and switched_on(executor) == set()
    assert not (tmp_path / "state").exists()
    plan.write_text(yaml.safe_dump(data))
    with pytest.raises(InputError, match=r"compile: auto decides what is compiled, so that runtime\.compile_model"):
        run(plan, executor, "runtime.compile_model=true", "runtime.cuda_graphs=true")


def test_a_damaged_decision_is_named(plan: Path) -> None:
    sweep = Sweep(load_plan(plan), Timed(), [f"runtime.state_dir={plan.parent}/state"])
    path = choices_path(sweep.cells[0].config(), "compiled")
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"compiled\.compile\.json: not a valid .* delete the file"):
        run(plan, Timed())


@pytest.mark.slow
def test_a_real_network_is_timed_compiled_and_recorded(
    plan: Path, sections: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a real compiler; the rule is made so lax that it takes whatever saves anything, or nothing."""
    monkeypatch.setattr(compiling, "SHORTEST", 0.0)
    monkeypatch.setattr(compiling, "CLEARLY", -1e9)
    for key in ("backbone", "optimizer", "seed"):
        del sections[key]
    (tmp_path / "setting.yaml").write_text(yaml.safe_dump(sections))
    data = {"config": str(tmp_path / "setting.yaml"), "backbones": ["tiny_resnet"], "optimizers": ["sgdm"]}
    plan.write_text(yaml.safe_dump(yaml.safe_load(plan.read_text()) | data))
    executor = LocalExecutor(1, cpu_only=True)
    try:
        run(plan, executor)
    finally:
        executor.close()
    (choice,) = read_choices(tmp_path / "state" / "plans" / "compiled.compile.json")
    assert choice.compiled and choice.step_seconds and choice.compiled_step_seconds
    assert choice.compile_seconds is not None and choice.compile_seconds > choice.compiled_step_seconds
    records = read_store(LocalStore(tmp_path / "store")).records
    assert len(records) == 4 and all(record.environment.compiled == ["model"] for record in records)
