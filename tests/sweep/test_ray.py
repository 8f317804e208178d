"""The Ray executor on a cluster of two nodes on this machine: actors, nodes and the head are killed while it works."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import make
from warm import wait_for

from bocb_hf.errors import InputError
from bocb_hf.sweep.executors import work
from bocb_hf.sweep.executors.protocol import NoWorkersError, WorkerDiedError
from bocb_hf.sweep.executors.ray import RayExecutor


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs ray.*bocb-hf\[ray\]"):
        RayExecutor()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray_cluster import TwoNodes

    made = TwoNodes()
    yield made
    made.kill()


@pytest.mark.slow
def test_actors_nodes_and_a_head_may_die(cluster: Any, sections: dict[str, Any], tmp_path: Path) -> None:
    """Actors are warm, work of a dead actor or node fails and can be queued again, and a new head is found."""
    executor = RayExecutor(cluster.address)
    assert executor.workers == 2
    sleeps = [executor.start(work.sleep, 0.1) for _ in range(6)]
    assert [future.result(timeout=300) for future in sleeps] == [0.1] * 6
    started = time.monotonic()
    executor.start(work.sleep, 0.0).result(timeout=60)
    assert time.monotonic() - started < 5, "a warm actor starts nothing anew"
    wait_for(lambda: len(cluster.actors()) == 2, 120)  # on a busy machine the first may have done all six

    record = executor.submit(make(sections)).result(timeout=300)
    assert record.status == "completed" and (tmp_path / "store" / "models").is_dir()

    long = [executor.start(work.sleep, 60.0) for _ in range(2)]
    wait_for(lambda: len(executor.tasks()) == 2)
    os.kill(cluster.actors()[0].pid, signal.SIGKILL)
    wait_for(lambda: any(future.done() for future in long), 120)
    died = next(future.exception() for future in long if future.done())
    assert isinstance(died, WorkerDiedError) and not died.lost_place
    cluster.kill_node()
    cluster.kill_node()
    cluster.add()
    wait_for(lambda: all(future.done() for future in long), 120)
    assert {type(future.exception()) for future in long} == {WorkerDiedError}
    assert executor.start(work.sleep, 0.1).result(timeout=300) == 0.1, "the node that came is used"

    future = executor.start(work.sleep, 3.0)
    wait_for(lambda: len(executor.tasks()) == 1, 60)
    cluster.kill()
    cluster.start()
    assert future.result(timeout=300) == 3.0, "a restarted head gets what has no result yet"

    stopped, queued = executor.submit(make(sections, "seed=2", "training.epochs=400")), executor.start(work.sleep, 9.0)
    wait_for(lambda: any(task.step > 0 for task in executor.tasks()), 300)
    executor.stop()
    assert stopped.result().status == "interrupted"
    assert queued.cancelled() or queued.done()


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_named() -> None:
    from ray_cluster import free_port

    with pytest.raises(NoWorkersError, match="no Ray cluster answers at"):
        RayExecutor(f"127.0.0.1:{free_port()}", patience=1)
