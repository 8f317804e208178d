"""The local executor, which keeps warm worker processes on this machine.

Starting a process that imports torch takes about 10 s, so each worker does it once and then does one piece of work
after another. Each has one thread and one core: two torch processes with two threads on two cores slow each other down.
One thread of the sweep's process serves all workers. A worker that dies takes its own work with it and nothing else.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

from bocb_hf.sweep.executors.protocol import Executor, NoWorkersError, Task, WorkerDiedError
from bocb_hf.sweep.executors.work import Context, perform, warm_up

T = TypeVar("T")

_MAX_STILLBORN = 3  # workers in a row that die before they are ready
_REPORT = 0.5  # seconds between two reports of a run's steps


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    slot: int
    ready: bool = False
    task: Task | None = None


class LocalExecutor(Executor):
    """Does work in processes of this machine.

    Args:
        workers: Number of worker processes.
        threads: Number of threads of each worker.
        plugins: Names of modules that every worker imports, for the rows that they add.
        cpu_only: Whether GPUs are hidden from the workers.
        gpus: Ids of GPUs, as ``CUDA_VISIBLE_DEVICES`` takes them. Each worker sees one of them, in turn; with none
            given, it sees what this process sees.
    """

    name = "local"

    def __init__(
        self,
        workers: int,
        threads: int = 1,
        plugins: Sequence[str] = (),
        cpu_only: bool = False,
        gpus: Sequence[str] = (),
    ) -> None:
        self.workers, self.threads = workers, threads
        self._plugins, self._devices = tuple(plugins), [""] if cpu_only else list(gpus)
        self._context = multiprocessing.get_context("spawn")
        self._stop: Event = self._context.Event()
        self._awake, self._wake = self._context.Pipe(duplex=False)
        self._lock = threading.Lock()  # of the queue and of the two flags below
        self._queue: deque[Task] = deque()
        self._closing = False
        self._manager: threading.Thread | None = None
        self._workers: list[_Worker] = []
        self._portable: bool | None = None
        self._stillborn = 0

    def start(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Queues work; the first decides whether the workers are limited to AVX2, since torch asks only once."""
        task = Task(Future(), function, arguments)
        with self._lock:
            if self._closing:
                raise RuntimeError("the executor is closed")
            self._queue.append(task)
            if self._portable is None:
                self._portable = task.portable
            if self._manager is None:
                self._manager = threading.Thread(target=self._manage, name="bocb-workers", daemon=True)
                self._manager.start()
        self._wake.send_bytes(b".")
        return task.future

    def tasks(self) -> list[Task]:
        """The work that runs now."""
        return [worker.task for worker in list(self._workers) if worker.task is not None]

    def stop(self) -> None:
        """Drops queued work and asks running runs to save; returns when they have saved and the workers have ended."""
        self._stop.set()
        with self._lock:
            dropped, self._queue = list(self._queue), deque()
        for task in dropped:
            task.future.cancel()
        self.close()

    def close(self) -> None:
        """Ends the workers after they have done what is queued."""
        with self._lock:
            self._closing = True
            manager = self._manager
        if manager is not None:
            self._wake.send_bytes(b".")
            manager.join()

    def _manage(self) -> None:
        """Serves all workers until the executor is closed and nothing is left to do."""
        while True:
            self._assign()
            with self._lock:
                if self._closing and not self._queue and not self.tasks():
                    break
            sources: dict[Any, _Worker | None] = {self._awake: None}
            for worker in self._workers:
                sources[worker.connection] = sources[worker.process.sentinel] = worker
            # a dead worker is found twice, by its connection and by its process, but mended only once
            for worker in {id(w): w for w in (sources[source] for source in wait(list(sources)))}.values():
                if worker is None:
                    while self._awake.poll():
                        self._awake.recv_bytes()
                else:
                    self._hear(worker)
        for worker in self._workers:
            with suppress(OSError):  # it has died meanwhile
                worker.connection.send(None)
        for worker in self._workers:
            worker.process.join()

    def _assign(self) -> None:
        """Gives queued work to workers that are ready, and starts workers while there is more work than workers."""
        for worker in self._workers:
            if worker.ready and worker.task is None:
                with self._lock:
                    if not self._queue:
                        break
                    task = self._queue.popleft()
                self._give(worker, task)
        with self._lock:
            queued = len(self._queue)
        unready = sum(not worker.ready for worker in self._workers)
        while queued > unready and len(self._workers) < self.workers:
            self._spawn()
            unready += 1

    def _give(self, worker: _Worker, task: Task) -> None:
        worker.task = task
        try:
            worker.connection.send((task.function, task.arguments))
        except OSError:  # it has just died, so nobody has begun the work
            worker.task = None
            with self._lock:
                self._queue.appendleft(task)
            worker.ready = False
        except Exception as error:  # what cannot be pickled is the fault of whoever queued it
            worker.task = None
            task.future.set_exception(error)

    def _spawn(self) -> None:
        taken = {worker.slot for worker in self._workers}
        slot = next(k for k in range(self.workers) if k not in taken)
        devices = self._devices[slot % len(self._devices)] if self._devices else None
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve,
            args=(theirs, self._stop, self.threads, self._plugins, devices, bool(self._portable)),
            name=f"bocb-worker-{slot}",
        )
        process.start()
        theirs.close()
        self._workers.append(_Worker(process, ours, slot))

    def _hear(self, worker: _Worker) -> None:
        """Takes what a worker says, or notes that it has died."""
        try:
            while worker.connection.poll():
                kind, value = worker.connection.recv()
                if kind == "ready":
                    worker.ready, self._stillborn = True, 0
                elif kind == "unfit":
                    self._give_up(NoWorkersError(value))
                elif worker.task is not None:
                    if kind == "step":
                        worker.task.step, worker.task.total = value
                    else:
                        task, worker.task = worker.task, None
                        settle(task.future, kind, value)
        except (EOFError, OSError):  # also when it died in the middle of a message
            pass
        else:
            if worker.process.is_alive():
                return
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        code = worker.process.exitcode
        how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
        if worker.task is not None:
            died = WorkerDiedError(f"the worker process {how}", worker.task.step)
            worker.task.future.set_exception(died)
        elif not worker.ready:
            self._stillborn += 1
            if self._stillborn > _MAX_STILLBORN:
                self._stillborn = 0
                self._give_up(
                    NoWorkersError(
                        f"worker processes died {_MAX_STILLBORN + 1} times while they started (the last {how}), most "
                        "likely for lack of memory; use fewer --workers and run the same command again: it continues "
                        "where it stopped"
                    )
                )

    def _give_up(self, error: NoWorkersError) -> None:
        with self._lock:
            dropped, self._queue = list(self._queue), deque()
        for task in dropped:
            task.future.set_exception(error)


def visible_gpus() -> list[str]:
    """Ids of the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` takes them; none without torch's CUDA."""
    import torch

    count = torch.cuda.device_count()  # counted by the driver's library, without starting CUDA in this process
    named = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return named[:count] if named else [str(k) for k in range(count)]


def settle(future: Future[Any], kind: str, value: Any) -> None:
    """Gives a future the result, or the error, that a worker has sent."""
    if kind == "done":
        future.set_result(value)
    else:
        future.set_exception(value)


def answer(function: Callable[..., Any], arguments: Sequence[Any], context: Context) -> tuple[str, Any]:
    """Does work in a worker; returns ("done", result) or ("failed", error), for ``settle``."""
    try:
        return "done", perform(function, arguments, context)
    except Exception as error:  # it crosses to the process that asked for the work
        return "failed", error


def _serve(
    connection: Connection, stop: Event, threads: int, plugins: Sequence[str], devices: str | None, portable: bool
) -> None:
    """Runs in every worker process: warms up, then does work until there is no more. Ctrl-C is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # after multiprocessing has cleaned up, and before extension modules print all that they leak
    atexit.register(os._exit, 0)
    threading.Thread(target=exit_with_parent, daemon=True).start()
    try:
        warm_up(threads, plugins, devices, portable)
    except Exception as error:  # no other worker would fare better
        connection.send(("unfit", f"a worker could not start: {type(error).__name__}: {error}"))
        return
    connection.send(("ready", None))
    told = 0.0

    def on_step(step: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told > _REPORT:
            told = now
            connection.send(("step", (step, total)))

    context = Context(stop.is_set, on_step)
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        if message is None:
            return
        told, (function, arguments) = 0.0, message
        connection.send(answer(function, arguments, context))


def exit_with_parent() -> None:
    """Ends this process when its parent is gone: the saved state is on disk, and nobody waits for the result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
