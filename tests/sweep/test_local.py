"""Workers of this machine that die, fail, or cannot start, and what a sweep makes of it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shlex
import signal
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from builders import make_record
from runs import make
from warm import wait_for

from bocb_hf.errors import InputError
from bocb_hf.plugins import load_plugins
from bocb_hf.resources import find_config
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.load_config import load_run_config
from bocb_hf.store.lease import LeaseHeldError
from bocb_hf.sweep import loop
from bocb_hf.sweep.executors import local, work
from bocb_hf.sweep.executors.local import LocalExecutor, answer
from bocb_hf.sweep.executors.protocol import Executor, NoWorkersError, Task, WorkerDiedError
from bocb_hf.sweep.executors.work import Context, WorkFailedError, log_path
from bocb_hf.sweep.job import Job
from bocb_hf.sweep.plan import SweepPlan, load_plan
from bocb_hf.sweep.run import Sweep

IDLE = Context(lambda: False, lambda step, total: None)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers start from this process and import nothing, which is quick; ``test_sweep`` starts one as a user does."""
    fork = multiprocessing.get_context("fork")
    monkeypatch.setattr(multiprocessing, "get_context", lambda _: fork)

    def start(threads: int, plugins: Sequence[str], devices: str | None, portable: bool) -> None:
        time.sleep(0.3)
        os.environ |= {"CUDA_VISIBLE_DEVICES": devices or ""}
        load_plugins(plugins)

    monkeypatch.setattr(local, "warm_up", start)


def pids(executor: LocalExecutor) -> set[int | None]:
    return {worker.process.pid for worker in executor._workers}


def visible(context: Context, seconds: float) -> tuple[str, int]:
    """The GPUs that a worker sees, and its process."""
    work.sleep(context, seconds)
    return os.environ["CUDA_VISIBLE_DEVICES"], os.getpid()


def fail(context: Context, config: RunConfig) -> None:
    """Logs, and then fails."""
    logging.getLogger("worker").warning("about to fail")
    raise KeyError("lost")


def refuse(context: Context, config: RunConfig) -> None:
    """Finds that somebody else does the work."""
    raise LeaseHeldError("run x is in progress in another process")


@pytest.mark.usefixtures("forked")
def test_workers_see_one_gpu_each_and_outlive_the_death_of_others() -> None:
    """A worker that is killed while it starts is replaced; one that is killed at work loses that work and no other."""
    executor = LocalExecutor(2, gpus=["3", "5"])
    early = [executor.start(visible, 0.2) for _ in range(2)]
    wait_for(lambda: len(pids(executor)) == 2, 60)
    starting = pids(executor).pop()
    assert starting is not None
    os.kill(starting, signal.SIGKILL)
    seen = {future.result(timeout=60)[0] for future in early}
    while len(seen) < 2:  # on a busy machine the second worker may start when the first has done both
        seen |= {future.result(timeout=60)[0] for future in [executor.start(visible, 0.2) for _ in range(2)]}
    assert seen == {"3", "5"}
    assert starting not in pids(executor)

    long, short = executor.start(work.sleep, 300.0), executor.start(visible, 0.0)
    idle = short.result(timeout=60)[1]
    wait_for(lambda: len(executor.tasks()) == 1, 60)
    (busy,) = pids(executor) - {idle}
    assert busy is not None
    os.kill(busy, signal.SIGKILL)
    error = long.exception(timeout=60)
    assert isinstance(error, WorkerDiedError) and "ended by signal 9" in error.reason
    assert executor.start(visible, 0.0).result(timeout=60)[1] == idle, "the other worker is warm and goes on"
    executor.close()
    assert not any(psutil.pid_exists(pid) for pid in (idle, busy, starting))


def test_the_log_of_failed_work_is_kept(sections: dict[str, Any], tmp_path: Path) -> None:
    config = make(sections)
    kind, error = answer(fail, (config,), IDLE)
    assert kind == "failed" and isinstance(error, WorkFailedError) and str(error) == "KeyError: 'lost'"
    assert error.log == str(log_path(config)) and log_path(config).parent == tmp_path / "state" / "logs"
    text = log_path(config).read_text()
    assert "WARNING worker: about to fail" in text and "Traceback" in text and "KeyError: 'lost'" in text
    assert log_path(make(sections, "seed=2")) != log_path(config)

    kind, error = answer(refuse, (config,), IDLE)
    assert kind == "failed" and isinstance(error, LeaseHeldError)
    assert not log_path(config).exists(), "that somebody else does the work is no failure"
    (tmp_path / "state").rename(tmp_path / "other")
    (tmp_path / "state").write_text("no folder")
    kind, error = answer(fail, (config,), IDLE)
    assert isinstance(error, WorkFailedError) and error.log is None, "a log that cannot be written hides no error"


@pytest.mark.usefixtures("forked")
def test_a_plug_in_that_is_missing_ends_the_sweep_and_names_it() -> None:
    executor = LocalExecutor(1, plugins=["no_such_plugin"])
    with pytest.raises(NoWorkersError, match=r"a worker could not start.*no_such_plugin"):
        executor.start(work.sleep, 0.0).result(timeout=300)
    executor.stop()


class Scripted(Executor):
    """Its first answers are the given errors; then it finishes every run at once."""

    name, workers, threads = "scripted", 2, 1

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.asked = list(errors), list[RunConfig]()

    def start(self, function: Any, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        config: RunConfig = arguments[0]
        self.asked.append(config)
        if self.errors:
            future.set_exception(self.errors.pop(0))
        elif function is work.train:
            lr = config.optimizer.lr
            assert lr is not None
            names = config.backbone.name, config.optimizer.name
            future.set_result(make_record(*names, seed=config.seed, role=config.role, lr=lr))
        else:
            future.set_result((0.01, 100) if function is work.time_step else None)
        return future

    def tasks(self) -> list[Task]:
        return []

    def stop(self) -> None:
        """Nothing runs."""

    close = stop


@pytest.fixture
def plan(tmp_path: Path) -> SweepPlan:
    data = {
        "name": "small",
        "config": "fashion_mnist_subset/demo",
        "backbones": ["tiny_vit"],
        "optimizers": ["sgdm"],
        "tuning": {"points": 3, "max_extensions": 0},
        "final_seeds": [1, 2],
    }
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(data))
    return load_plan(path)


SETTING = find_config("fashion_mnist_subset/demo", "recipes/configs")
DIED = WorkerDiedError("the worker process was ended by signal 9")


def sweep(plan: SweepPlan, tmp_path: Path, *errors: Exception) -> tuple[Sweep, Scripted]:
    executor = Scripted(*errors)
    return Sweep(plan, executor, [f"runtime.store={tmp_path}/store", f"runtime.state_dir={tmp_path}/state"]), executor


def test_timing_outlives_workers_that_die_a_few_times(
    plan: SweepPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, _ = sweep(plan, tmp_path, DIED, DIED, DIED)
    assert "5 of 5 runs to do" in made.estimate()
    assert capsys.readouterr().err.count("was ended by signal 9; starting again") == 3
    with pytest.raises(InputError, match="ended by signal 9 4 times, most likely for lack of memory; use fewer"):
        sweep(plan, tmp_path, *[DIED] * 4)[0].estimate()


def test_a_run_whose_worker_dies_goes_on_and_is_given_up_when_it_makes_no_progress(
    plan: SweepPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Deaths count anew after progress, and not at all when the machine was lost; the one bad run fails its cell."""
    plan = plan.model_copy(update={"baselines": False, "tuning": plan.tuning.model_copy(update={"points": 1})})
    further = [WorkerDiedError("died", reached) for reached in (0, 0, 0, 5, 5, 5, 9)]
    moved = [WorkerDiedError("its machine left", lost_place=True)] * 9
    outcome = sweep(plan, tmp_path, *further, *moved)[0].run()
    assert outcome.statuses == {"completed": 3} and not outcome.failures

    capsys.readouterr()
    made, executor = sweep(plan, tmp_path, *[DIED] * 4)
    outcome = made.run()
    assert outcome.statuses == {} and len(executor.asked) == 4, "no final run of a cell whose tuning failed"
    (failure,) = outcome.failures
    text = "\n".join(failure.lines())
    assert "ended by signal 9, 4 times without progress between them, most likely for lack of memory" in text
    assert f"repeat: bocb train --config {SETTING} backbone.name=tiny_vit optimizer.name=sgdm" in text
    assert "role=trial seed=0 optimizer.lr=" in text
    assert "failed: tiny_vit × sgdm seed 0" in capsys.readouterr().err


def test_the_command_that_repeats_a_job_is_of_exactly_that_run(plan: SweepPlan, tmp_path: Path) -> None:
    tuning = {"points": 3, "decay_points": 3, "grid_of": {"sgdm": {"momentum": [0.8, 0.9]}}, "max_extensions": 0}
    plan = plan.model_copy(update={"tuning": plan.tuning.model_validate(tuning), "baselines": False})
    made, executor = sweep(plan, tmp_path)
    assert made.run().statuses == {"completed": 20} and len(executor.asked) == 20
    for config in executor.asked:
        command = shlex.split(made.command(Job(made.cells[0], config)))
        assert command[:4] == ["bocb", "train", "--config", str(SETTING)]
        assert load_run_config(SETTING, command[4:]) == config
    assert {config.tuned is not None for config in executor.asked} == {False, True}


def test_a_run_in_progress_elsewhere_is_asked_for_again(
    plan: SweepPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(loop, "_RETRY", 0.05)
    monkeypatch.setattr(loop, "_TICK", 0.05)
    plan = plan.model_copy(update={"baselines": False})
    outcome = sweep(plan, tmp_path, *[LeaseHeldError("in progress")] * 4)[0].run()
    assert outcome.statuses == {"completed": 5} and not outcome.failures
    assert "is in progress elsewhere; it is asked for again later" in capsys.readouterr().err


def test_no_worker_at_all_ends_the_sweep(plan: SweepPlan, tmp_path: Path) -> None:
    with pytest.raises(NoWorkersError, match="none"):
        sweep(plan, tmp_path, NoWorkersError("none"))[0].run()
