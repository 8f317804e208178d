"""What every executor does: it queues work, keeps warm workers for it, and says how far each of them is."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from bocb_hf.errors import InputError
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.record import RunRecord
from bocb_hf.sweep.executors import work
from bocb_hf.sweep.executors.work import Floor

T = TypeVar("T")


class WorkerDiedError(Exception):
    """The worker died while it did this work.

    Args:
        reason: How it died.
        reached: The step that a run had reached; 0 when it had reached none.
        lost_place: Whether the place that it worked in is gone too, such as a machine that left the cluster.
    """

    def __init__(self, reason: str, reached: int = 0, lost_place: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.reached, self.lost_place = reason, reached, lost_place


class NoWorkersError(InputError):
    """No worker could be started, again and again."""


@dataclass
class Task:
    """Work that waits or runs.

    Attributes:
        future: What whoever queued the work waits for.
        function: A function of a module that every worker can import; its first argument is a ``Context``.
        arguments: The other arguments.
        step: Steps that it has done, where it is a run.
        total: Steps of the run; 0 until it is known.
    """

    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    step: int = 0
    total: int = 0

    @property
    def portable(self) -> bool:
        """Whether the work limits the instructions of its worker, which a process can do only before it uses torch."""
        return any(isinstance(each, RunConfig) and each.runtime.portable for each in self.arguments)


class Executor(Protocol):
    """Queues work for warm workers, each of which does one thing at a time.

    Attributes:
        name: Name of the kind of executor.
        workers: Number of workers that work at a time.
        threads: Number of CPU threads of each.
    """

    name: str
    workers: int
    threads: int

    def start(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Queues work.

        Args:
            function: A function of a module that every worker can import. It gets a ``Context`` first.
            arguments: What it gets then; they are pickled.

        Returns:
            A future. It fails with ``WorkerDiedError`` when the worker died, and with ``NoWorkersError`` when none can
            be started; the caller may queue the work again.
        """
        ...

    def tasks(self) -> list[Task]:
        """The work that runs now, with the steps that it has done."""
        ...

    def stop(self) -> None:
        """Drops what is queued and asks what runs to save its state; returns when the workers have ended."""
        ...

    def close(self) -> None:
        """Ends the workers when they have done what is queued."""
        ...

    def submit(self, config: RunConfig, done: str | None = None) -> Future[RunRecord]:
        """Queues a run; ``done`` is a file of records that need not be trained again, see ``work.train``."""
        return self.start(work.train, config, done)

    def submit_floor(self, config: RunConfig, floor: Floor) -> Future[None]:
        """Queues a floor of a run's data set: from its pixels, or from features of the run's backbone."""
        return self.start(work.compute_floor, config, floor)

    def time_step(self, config: RunConfig) -> Future[tuple[float, int]]:
        """Queues a timing; its result is (median seconds of a step, steps of the run)."""
        return self.start(work.time_step, config)
