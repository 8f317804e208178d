"""Workers that die: at once while they start, or later; a sweep starts new ones, a few times."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from builders import make_record
from runs import make

from bocb_hf.errors import InputError
from bocb_hf.runs.config import RunConfig
from bocb_hf.sweep.local import LocalExecutor
from bocb_hf.sweep.plan import SweepPlan, load_plan
from bocb_hf.sweep.run import Sweep


def test_a_worker_that_is_killed_while_it_starts_is_told_by_the_future(sections: dict[str, Any]) -> None:
    config, executor = make(sections), LocalExecutor(1)
    future = executor.time_step(config)
    deadline = time.monotonic() + 60
    while not (workers := [c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(workers[0].pid, signal.SIGKILL)
    assert isinstance(future.exception(timeout=60), BrokenProcessPool)
    assert isinstance(executor.submit(config).exception(timeout=60), BrokenProcessPool), "also of what comes after"
    executor.restart()
    executor.close()


class Mortal:
    """Its workers die at the first jobs that they get, so many times, and then finish every job at once."""

    workers, threads = 2, 1

    def __init__(self, deaths: int) -> None:
        self.deaths, self.restarts = deaths, 0

    def _end(self, result: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.restarts < self.deaths:
            future.set_exception(BrokenProcessPool("died"))
        else:
            future.set_result(result)
        return future

    def time_step(self, config: RunConfig) -> Future[tuple[float, int]]:
        return self._end((0.01, 100))

    def submit(self, config: RunConfig) -> Future[Any]:
        lr = config.optimizer.lr
        assert lr is not None
        return self._end(make_record(config.backbone.name, config.optimizer.name, seed=1, role=config.role, lr=lr))

    def submit_floor(self, config: RunConfig, floor: str) -> Future[Any]:
        return self._end(None)

    def restart(self) -> None:
        self.restarts += 1

    def stop(self) -> None:
        """Nothing runs."""


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


@pytest.mark.parametrize("deaths", [0, 1, 3])
def test_a_sweep_outlives_workers_that_die_while_they_start(
    plan: SweepPlan, tmp_path: Path, deaths: int, capsys: pytest.CaptureFixture[str]
) -> None:
    executor: Any = Mortal(deaths)
    sweep = Sweep(plan, executor, [f"runtime.store={tmp_path}/store"])
    assert "5 of 5 runs to do" in sweep.estimate()
    assert executor.restarts == deaths
    assert capsys.readouterr().err.count("a worker process died; starting new ones") == deaths
    executor.deaths = max(deaths, min(3, deaths + 1))  # and once more while it runs, as far as it may
    outcome = sweep.run()
    assert outcome.statuses == {"completed": 5} and not outcome.failures
    assert executor.restarts == executor.deaths


def test_a_sweep_gives_up_on_workers_that_keep_dying(plan: SweepPlan, tmp_path: Path) -> None:
    executor: Any = Mortal(9)
    with pytest.raises(InputError, match="worker processes died 4 times, most likely for lack of memory"):
        Sweep(plan, executor, [f"runtime.store={tmp_path}/store"]).estimate()
