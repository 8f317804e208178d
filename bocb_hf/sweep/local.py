"""The local executor, which keeps warm worker processes on this machine.

Starting a process that imports torch takes about 10 s, so each worker does it once and then runs one configuration
after another. Each has one thread and one core: two torch processes with two threads on two cores slow each other down.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from typing import Any, Literal, TypeVar

from bocb_hf.engine.portable import limit_instructions
from bocb_hf.plugins import load_plugins
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.record import RunRecord
from bocb_hf.terminal import make_streams_readable

Floor = Literal["logistic_regression", "frozen_backbone"]
T = TypeVar("T")


class LocalExecutor:
    """Runs configurations in worker processes.

    Args:
        workers: Number of worker processes.
        threads: Number of threads of each worker.
        plugins: Names of modules that every worker imports, for the rows that they add.
        cpu_only: Whether GPUs are hidden from the workers.
    """

    def __init__(self, workers: int, threads: int = 1, plugins: Sequence[str] = (), cpu_only: bool = False) -> None:
        self.workers, self.threads, self._plugins, self._cpu_only = workers, threads, tuple(plugins), cpu_only
        self._context = multiprocessing.get_context("spawn")
        self._stop = self._context.Event()
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, config: RunConfig) -> Future[RunRecord]:
        """Queues a run."""
        return self._queue(_train, config)

    def submit_floor(self, config: RunConfig, floor: Floor) -> Future[Any]:
        """Queues a floor of a run's data set: from its pixels, or from features of the run's backbone."""
        return self._queue(_compute_floor, config, floor)

    def time_step(self, config: RunConfig) -> Future[tuple[float, int]]:
        """Queues a timing; its result is (median seconds of a step, steps of the run)."""
        return self._queue(_time_step, config)

    def restart(self) -> None:
        """Replaces the workers after one of them died; the next job starts new ones."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._stop, self._pool = self._context.Event(), None

    def stop(self) -> None:
        """Drops queued runs and asks running ones to save; returns when they have saved."""
        self._stop.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Ends the workers after they have done the queued runs."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)

    def _queue(self, job: Callable[..., T], config: RunConfig, *more: Any) -> Future[T]:
        """Queues a job; the first one decides whether the workers are limited to AVX2, since torch asks only once.

        A job that finds the workers dead gets a future that fails with that error, as does the job that they died of.
        """
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.workers,
                mp_context=self._context,
                initializer=_warm_up,
                initargs=(self._stop, self.threads, self._plugins, self._cpu_only, config.runtime.portable),
            )
        try:
            return self._pool.submit(job, config, *more)
        except BrokenProcessPool as error:
            future: Future[T] = Future()
            future.set_exception(error)
            return future


_stop_event: Event | None = None


def _warm_up(stop: Event, threads: int, plugins: Sequence[str], cpu_only: bool, portable: bool) -> None:
    """Runs once in every worker: imports libraries and plug-ins, sets threads, and leaves Ctrl-C to the parent."""
    if cpu_only:  # torch and accelerate read the variables when they start
        os.environ |= {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    make_streams_readable()
    if portable:
        limit_instructions()
    global _stop_event  # noqa: PLW0603 - the initializer has no other way to reach the tasks of its process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _stop_event = stop
    import torch

    import bocb_hf.engine.run  # noqa: F401 - imported here, before the first run

    torch.set_num_threads(threads)
    import datasets

    datasets.disable_progress_bars()
    load_plugins(plugins)


def _exit_with_parent() -> None:
    """Ends this worker when the parent is gone: the saved state is on disk, and nobody waits for the result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _train(config: RunConfig) -> RunRecord:
    from bocb_hf.engine.interrupt import StopSignal
    from bocb_hf.engine.run import train_run

    class _Stop(StopSignal):
        @property
        def requested(self) -> bool:
            return super().requested or (_stop_event is not None and _stop_event.is_set())

    with _Stop((signal.SIGTERM,)) as stop:
        return train_run(config, stop)


def _compute_floor(config: RunConfig, floor: Floor) -> None:
    from bocb_hf.store import open_training_store
    from bocb_hf.store.push import push_after_training
    from bocb_hf.sweep.floors import store_frozen_backbone, store_logistic_regression

    runtime = config.runtime
    store, _ = open_training_store(runtime.store, runtime.local_store)
    if floor == "frozen_backbone":
        record = store_frozen_backbone(config, store)
    else:
        record = store_logistic_regression(config.data, store, runtime.namespace)
    push_after_training(store, runtime, f"{runtime.namespace}/{record.repository()}", record.path())


def _time_step(config: RunConfig) -> tuple[float, int]:
    from bocb_hf.engine.dry_run import time_steps
    from bocb_hf.engine.plan import make_plan
    from bocb_hf.engine.prepare import prepare_run

    prepared = prepare_run(config)
    model = prepared.build_model()
    plan = make_plan(prepared.identity, prepared.optimizer.row, config.runtime, len(prepared.data.train), 1)
    optimizer = prepared.build_optimizer(model)
    seconds, _ = time_steps(model, optimizer, plan.micro_batch, config.data.image_size, prepared.optimizer.row.needs)
    return seconds * config.runtime.accumulation, plan.total_steps
