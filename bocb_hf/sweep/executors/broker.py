"""The process between a sweep and a Ray cluster: it keeps actors, gives them work, and says what becomes of it."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Any

from bocb_hf.sweep.executors.local import answer, exit_with_parent
from bocb_hf.sweep.executors.work import Context, warm_up

_LOOK = 2.0  # seconds between two looks at the cluster's nodes
_ASK = 1.0  # seconds between two questions for the steps of a run
_WAIT = 0.05  # seconds that a wait for results may hold up new work
_MAX_STILLBORN = 3  # actors in a row that die before they are ready


@dataclass(frozen=True)
class Settings:
    """What a broker needs to know; see ``RayExecutor``.

    Attributes:
        folder: The folder that the sweep was started in, to which paths of a configuration are relative.
    """

    address: str | None
    workers: int | None
    threads: int
    plugins: tuple[str, ...]
    cpu_only: bool
    per_gpu: int
    folder: str


class Worker:
    """What an actor is: a process of some machine that warms up once and then does one piece of work after another.

    Args:
        settings: Of the executor.
        portable: Whether the CPU is limited to the instructions of AVX2.

    Raises:
        FileNotFoundError: This machine lacks the folder that the sweep was started in.
    """

    def __init__(self, settings: Settings, portable: bool) -> None:
        if not Path(settings.folder).is_dir():
            raise FileNotFoundError(
                f"a machine of the Ray cluster has no folder {settings.folder}, in which the sweep was started; start "
                "it in a folder that all machines share, such as one on NFS"
            )
        os.chdir(settings.folder)
        self._stop, self._step = threading.Event(), (0, 0)
        warm_up(settings.threads, settings.plugins, "" if settings.cpu_only else None, portable)

    def place(self) -> str:
        """Id of the node that the actor runs on; answered when it is ready."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def do(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[str, bytes]:
        """Does work; returns ("done", pickled result) or ("failed", pickled error)."""
        self._step = (0, 0)
        kind, value = answer(function, arguments, Context(self._stop.is_set, self._note))
        return kind, pickle.dumps(value)

    def _note(self, step: int, total: int) -> None:
        self._step = (step, total)

    def steps(self) -> tuple[int, int]:
        """Steps that the work has done, and steps in all; answered beside the work."""
        return self._step

    def stop(self) -> None:
        """Asks the work to save its state and to end; answered beside the work."""
        self._stop.set()


@dataclass
class _Actor:
    handle: Any
    pending: Any  # the reference that it owes: of its place while it starts, then of its work
    place: str | None = None
    number: int | None = None  # of its work
    asked: Any = None  # the reference of its steps


def broke(connection: Connection, settings: Settings) -> None:
    """Connects to the cluster and serves the sweep until it says ``close`` and everything is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=exit_with_parent, daemon=True).start()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    try:
        _ring(settings.address)
        ray.init(address=settings.address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    except Exception as error:  # Ray has many kinds of it
        connection.send(("unreachable", f"{type(error).__name__}: {error}"))
        return
    broker = _Broker(ray, connection, settings)
    connection.send(("connected", broker.room()))
    broker.serve()
    connection.send(("closed", None))


def _ring(address: str | None) -> None:
    """Makes sure that somebody listens at an address with a port, since Ray would try for many minutes.

    Raises:
        OSError: Nobody does.
    """
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


class _Broker:
    def __init__(self, ray: Any, connection: Connection, settings: Settings) -> None:
        self._ray, self._connection, self._settings = ray, connection, settings
        self._queue: deque[tuple[int, Any, Any, bool]] = deque()
        self._actors: list[_Actor] = []
        self._closing = self._stopping = False
        self._portable: bool | None = None
        self._stillborn = 0
        self._looked = self._asked = 0.0
        self._room = 0
        for method in (Worker.steps, Worker.stop):  # these are answered beside the work
            ray.method(concurrency_group="control")(method)
        self._class = ray.remote(concurrency_groups={"control": 1})(Worker)

    def room(self) -> int:
        """How many actors the cluster has room for, as far as the sweep may use it."""
        resources, settings = self._ray.cluster_resources(), self._settings
        room = int(resources.get("CPU", 0)) // settings.threads
        gpus = 0 if settings.cpu_only else int(resources.get("GPU", 0))
        if gpus:
            room = min(room, gpus * settings.per_gpu)
        self._share = 1 / settings.per_gpu if gpus else 0
        return room if settings.workers is None else min(room, settings.workers)

    def serve(self) -> None:
        """Gives out work and hears of it until there is no more."""
        while True:
            self._listen()
            busy = any(actor.number is not None for actor in self._actors)
            if self._closing and not self._queue and not busy:
                break
            now = monotonic()
            if now - self._looked > _LOOK:
                self._look(now)
            self._fit()
            self._assign()
            if now - self._asked > _ASK:
                self._asked = now
                self._ask()
            references = [each for actor in self._actors for each in (actor.pending, actor.asked) if each is not None]
            if references:
                ready, _ = self._ray.wait(references, num_returns=1, timeout=_WAIT)
                for reference in ready:
                    self._hear(reference)
            else:
                self._connection.poll(_WAIT)
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._ray.shutdown()

    def _listen(self) -> None:
        while self._connection.poll():
            kind, value = self._connection.recv()
            if kind == "task":
                number, function, arguments = value
                portable = any(getattr(getattr(each, "runtime", None), "portable", False) for each in arguments)
                self._queue.append((number, function, arguments, portable))
                self._portable = portable if self._portable is None else self._portable
            elif kind == "stop":
                self._queue.clear()
                for actor in self._actors:
                    actor.handle.stop.remote()
            elif kind == "close":
                self._closing = True

    def _look(self, now: float) -> None:
        self._looked, before = now, self._room
        self._room = self.room()
        if self._room != before and self._room:
            self._connection.send(("workers", self._room))

    def _fit(self) -> None:
        """Starts actors while there is work for them and room, and ends those that wait in vain for room."""
        starting = sum(actor.place is None for actor in self._actors)
        free = sum(actor.place is not None and actor.number is None for actor in self._actors)
        while len(self._queue) > starting + free and len(self._actors) < self._room:
            settings = self._settings
            actor = self._class.options(num_cpus=settings.threads, num_gpus=self._share, max_restarts=0)
            handle = actor.remote(settings, bool(self._portable))
            self._actors.append(_Actor(handle, handle.place.remote()))
            starting += 1
        for actor in [each for each in self._actors if each.place is None][: max(0, len(self._actors) - self._room)]:
            self._actors.remove(actor)
            self._ray.kill(actor.handle)

    def _assign(self) -> None:
        for actor in self._actors:
            if not self._queue:
                return
            if actor.place is not None and actor.number is None:
                number, function, arguments, _ = self._queue.popleft()
                actor.number = number
                actor.pending = actor.handle.do.remote(function, arguments)
                self._connection.send(("began", (number, None)))

    def _ask(self) -> None:
        for actor in self._actors:
            if actor.number is not None and actor.asked is None:
                actor.asked = actor.handle.steps.remote()

    def _hear(self, reference: Any) -> None:
        actor = next(each for each in self._actors if reference in (each.pending, each.asked))
        try:
            value = self._ray.get(reference)
        except self._ray.exceptions.RayActorError as error:
            if reference == actor.asked:
                actor.asked = None  # the reference of the work says the same
            else:
                self._bury(actor, error)
            return
        except self._ray.exceptions.RayError as error:  # the result is lost, though the actor may live
            if reference == actor.asked:
                actor.asked = None
                return
            self._ray.kill(actor.handle)
            self._bury(actor, error)
            return
        if reference == actor.asked:
            actor.asked = None
            if actor.number is not None:
                self._connection.send(("step", (actor.number, value)))
        elif actor.number is None:
            actor.place, actor.pending, self._stillborn = value, None, 0
        else:
            kind, content = value
            self._connection.send((kind, (actor.number, content)))
            actor.number = actor.pending = None

    def _bury(self, actor: _Actor, error: Exception) -> None:
        self._actors.remove(actor)
        if actor.number is not None:
            alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
            gone = actor.place not in alive
            reason = "the machine of its Ray actor left the cluster" if gone else "its Ray actor died"
            self._connection.send(("died", (actor.number, (reason, gone))))
            return
        cause = getattr(error, "cause", None) or error
        self._stillborn += 1
        if self._stillborn > _MAX_STILLBORN:
            self._stillborn = 0
            self._queue.clear()
            text = str(cause).strip().splitlines()[-1] if str(cause).strip() else type(error).__name__
            self._connection.send(
                ("unfit", f"Ray actors died {_MAX_STILLBORN + 1} times while they started; the last said: {text}")
            )
