"""The Ray executor, which keeps warm actors on the machines of a Ray cluster.

Each actor takes ``threads`` CPUs and, where there are GPUs, a part of one, so that Ray's own placement decides where it
runs. As many actors are kept as there is work and room for; nodes may come and go meanwhile. Work of an actor that dies
fails with ``WorkerDiedError``, and the sweep queues it again.

Ray ends a process that was connected to a cluster whose head is gone. Therefore not the sweep is connected, but a
process of its own, the broker. When that ends, another one connects as soon as there is a cluster at the address, and
gets everything that has no result yet.
"""

from __future__ import annotations

import importlib.util
import itertools
import multiprocessing
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

from bocb_hf.errors import missing_extra
from bocb_hf.sweep.executors.broker import Settings, broke
from bocb_hf.sweep.executors.local import settle
from bocb_hf.sweep.executors.protocol import Executor, NoWorkersError, Task, WorkerDiedError

T = TypeVar("T")

PATIENCE = 600.0  # seconds that a cluster may be away
_PAUSE = 2.0  # seconds between two attempts to reach it


class RayExecutor(Executor):
    """Does work in actors of a Ray cluster.

    Args:
        address: Address of the cluster, as ``ray.init`` takes it; None takes the one that ``RAY_ADDRESS`` names or that
            runs here, and else starts one on this machine alone.
        workers: Largest number of actors; None takes as many as the cluster has room for.
        threads: CPUs, and CPU threads, of each.
        plugins: Names of modules that every actor imports, for the rows that they add.
        cpu_only: Whether GPUs are hidden from the actors.
        per_gpu: Number of actors that share a GPU.
        patience: Seconds that the cluster may be away.

    Raises:
        InputError: Ray is not installed.
        NoWorkersError: There is no cluster at the address.
    """

    name = "ray"

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        threads: int = 1,
        plugins: Sequence[str] = (),
        cpu_only: bool = False,
        per_gpu: int = 1,
        patience: float = PATIENCE,
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise missing_extra("ray", "ray")
        self.threads, self._patience = threads, patience
        self._settings = Settings(address, workers, threads, tuple(plugins), cpu_only, per_gpu, str(Path.cwd()))
        self._context = multiprocessing.get_context("spawn")
        self._lock = threading.Lock()  # of the tasks, of the broker and of the two flags
        self._open: dict[int, Task] = {}
        self._running: set[int] = set()
        self._numbers = itertools.count()
        self._stopping = self._closing = False
        self._error: NoWorkersError | None = None
        self.workers = 0
        self._process, self._connection = self._connect(time.monotonic())
        self._manager = threading.Thread(target=self._manage, name="bocb-ray", daemon=True)
        self._manager.start()

    def _connect(self, until: float) -> tuple[BaseProcess, Connection]:
        """Starts a broker and waits until it is connected.

        Args:
            until: Time until which a cluster that is not there is tried again.

        Raises:
            NoWorkersError: It is not there for longer.
        """
        while True:
            ours, theirs = self._context.Pipe()
            process = self._context.Process(target=broke, args=(theirs, self._settings), name="bocb-ray-broker")
            process.start()
            theirs.close()
            try:
                kind, value = ours.recv()
            except (EOFError, OSError):
                kind, value = "unreachable", "the process that connects to it died"
            if kind == "connected":
                self.workers = int(value)
                return process, ours
            process.join()
            ours.close()
            if time.monotonic() >= until or self._stopping:
                where = self._settings.address or "the address of RAY_ADDRESS, or on this machine"
                raise NoWorkersError(f"--address: no Ray cluster answers at {where}: {value}")
            time.sleep(_PAUSE)

    def start(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Queues work."""
        task = Task(Future(), function, arguments)
        with self._lock:
            if self._closing:
                raise RuntimeError("the executor is closed")
            if self._error is not None:
                task.future.set_exception(self._error)
                return task.future
            number = next(self._numbers)
            self._open[number] = task
            self._send("task", (number, function, arguments))
        return task.future

    def tasks(self) -> list[Task]:
        """The work that runs now."""
        with self._lock:
            return [self._open[number] for number in sorted(self._running) if number in self._open]

    def stop(self) -> None:
        """Drops queued work and asks running runs to save; returns when they have saved and the actors have ended."""
        with self._lock:
            self._stopping = True
            for number, task in list(self._open.items()):
                if number not in self._running:
                    del self._open[number]
                    task.future.cancel()
            self._send("stop", None)
        self.close()

    def close(self) -> None:
        """Ends the actors after they have done what is queued."""
        with self._lock:
            self._closing = True
            self._send("close", None)
        self._manager.join()

    def _send(self, kind: str, value: Any) -> None:
        with suppress(OSError):  # the broker has died; the next one is told everything again
            self._connection.send((kind, value))

    def _manage(self) -> None:
        """Takes what the broker says, and replaces it when it ends before its time."""
        while True:
            try:
                while True:
                    wait([self._connection, self._process.sentinel])
                    if not self._connection.poll():
                        raise EOFError
                    kind, value = self._connection.recv()
                    if kind == "closed":
                        self._process.join()
                        return
                    self._hear(kind, value)
            except (EOFError, OSError):
                self._process.join()
            if not self._again():
                return

    def _again(self) -> bool:
        """Connects anew after the broker has ended; returns whether there is anything left to do."""
        with self._lock:
            self._running.clear()
            if self._stopping or (self._closing and not self._open):
                self._drop(NoWorkersError("the Ray cluster ended while the runs were saving their state"))
                return False
        try:
            process, connection = self._connect(time.monotonic() + self._patience)
        except NoWorkersError as error:
            with self._lock:
                self._error = error
                self._drop(error)
            return False
        with self._lock:
            self._process, self._connection = process, connection
            for number, task in self._open.items():
                self._send("task", (number, task.function, task.arguments))
            if self._closing:
                self._send("close", None)
        return True

    def _drop(self, error: NoWorkersError) -> None:
        for task in self._open.values():
            task.future.set_exception(error)
        self._open.clear()

    def _hear(self, kind: str, value: Any) -> None:
        if kind == "workers":
            self.workers = value
            return
        if kind == "unfit":
            with self._lock:
                self._drop(NoWorkersError(value))
            return
        number, value = value
        with self._lock:
            task = self._open.get(number)
            if task is None:
                return
            if kind == "began":
                self._running.add(number)
                task.step = task.total = 0
                return
            if kind == "step":
                task.step, task.total = value
                return
            del self._open[number]
            self._running.discard(number)
        if kind == "died":
            reason, lost_place = value
            task.future.set_exception(WorkerDiedError(reason, task.step, lost_place))
        else:
            settle(task.future, kind, pickle.loads(value))  # noqa: S301 - from an actor that this sweep has started
