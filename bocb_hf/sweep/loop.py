"""The loop of a sweep: hands jobs to an executor, follows what becomes of them, and keeps the view up to date."""

from __future__ import annotations

import heapq
import itertools
import queue
import signal
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

from bocb_hf.runs.record import RunRecord
from bocb_hf.store.lease import LeaseHeldError
from bocb_hf.sweep.executors.protocol import Executor, NoWorkersError, WorkerDiedError
from bocb_hf.sweep.executors.work import WorkFailedError, log_path
from bocb_hf.sweep.job import Job
from bocb_hf.sweep.view import Progress, View

MAX_DEATHS = 3  # of the workers of one run, without progress between them
_TICK = 1.0  # seconds between two updates of the view while nothing ends
_QUEUED = 1000  # jobs that wait; a plan of more is queued bit by bit, or its 150,000 jobs would take gigabytes
_AHEAD = 2  # jobs of each worker that the executor has: the one that runs, and one that none may overtake any more
_RETRY = 5.0  # seconds until a run that somebody else trains is asked for again


class TimeIsUp(Exception):
    """The jobs of a sweep have no time left: what runs saves its state, and the sweep ends."""


class Jobs(Protocol):
    """What is to be done, as ``run.Sweep`` knows it."""

    done: str | None

    def planned_runs(self) -> int:
        """Number of runs of the plan, without extensions of a grid."""
        ...

    def first(self) -> Iterator[list[Job]]:
        """The jobs that wait for no other; those of a cell together."""
        ...

    def follow(self, job: Job, record: RunRecord, waiting: Iterable[Job]) -> list[Job]:
        """The jobs that follow from a run that has ended; ``waiting`` are the jobs that have not."""
        ...

    def more(self, waiting: Iterable[Job]) -> list[Job]:
        """The jobs that may begin now beside those that have not ended; asked every second.

        Raises:
            TimeIsUp: Nothing more may begin, and what runs is to be stopped.
        """
        ...

    def fail(self, job: Job) -> None:
        """Notes that a job failed."""
        ...

    def rank(self, job: Job) -> int:
        """The place of a job in line: lower ones go first, equal ones in the order in which they were queued."""
        ...

    def command(self, job: Job) -> str:
        """The command that repeats a job by itself."""
        ...


@dataclass(frozen=True)
class Failure:
    """A job that failed: its name, the reason, the file of its log, and the command that repeats it by itself."""

    name: str
    reason: str
    log: str | None
    command: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"

    def lines(self) -> list[str]:
        """The failure in lines: what and why, where its log is, and how to repeat it."""
        more = [f"  log: {self.log}"] * (self.log is not None)
        return [f"failed: {self}", *more, f"  repeat: {self.command}"]


@dataclass(frozen=True)
class SweepOutcome:
    """Outcome of a sweep.

    Attributes:
        statuses: Number of runs that ended in this session, by status.
        failures: The jobs that failed.
        stopped: Whether Ctrl-C or SIGTERM stopped it.
        out_of_time: Whether it was stopped because its time was up.
    """

    statuses: dict[str, int]
    failures: list[Failure]
    stopped: bool
    out_of_time: bool = False


@dataclass
class _Attempts:
    """How often the worker of a job died since it made progress, and the step that it had reached then."""

    deaths: int = 0
    reached: int = 0


@dataclass
class Loop:
    """One session of a sweep."""

    jobs: Jobs
    executor: Executor
    view: View
    statuses: dict[str, int] = field(default_factory=dict[str, int])
    failures: list[Failure] = field(default_factory=list[Failure])

    def __post_init__(self) -> None:
        self._open: dict[int, Job] = {}
        self._attempts: dict[int, _Attempts] = {}
        self._ended: queue.SimpleQueue[tuple[Job, Future[Any]]] = queue.SimpleQueue()
        self._postponed: list[tuple[float, Job]] = []
        self._names: dict[int, str] = {}  # of the jobs that the executor has, by the id of their future
        self._line: list[tuple[int, int, Job]] = []  # a heap of those that wait: rank, number, job
        self._numbers = itertools.count()
        self.progress = Progress(self.jobs.planned_runs())

    def run(self) -> SweepOutcome:
        """Runs everything that is missing. Ctrl-C and SIGTERM save the runs in progress and return.

        Raises:
            NoWorkersError: No worker can be started.
        """
        previous = signal.signal(signal.SIGTERM, _raise_interrupt)
        stopped = out_of_time = False
        try:
            with self.view:
                try:
                    self._follow_all(self.jobs.first())
                except KeyboardInterrupt:
                    stopped = True
                    self.view.say("stopping: the runs in progress save their state ...")
                    self.executor.stop()
                except TimeIsUp:
                    out_of_time = True
                    self.view.say("the time is up: the runs in progress save their state ...")
                    self.executor.stop()
        finally:
            signal.signal(signal.SIGTERM, previous)
        return SweepOutcome(self.statuses, self.failures, stopped, out_of_time)

    def _follow_all(self, first: Iterator[list[Job]]) -> None:
        more = True
        while more or self._open:
            more = more and self._fill(first)
            self._hand_over()
            try:
                ended = [self._ended.get(timeout=_TICK)]
                while not self._ended.empty():
                    ended.append(self._ended.get())
            except queue.Empty:
                ended = []
            for job, future in ended:
                self._take(job, future)
            now = time.monotonic()
            due = [job for when, job in self._postponed if when <= now]
            self._postponed = [(when, job) for when, job in self._postponed if when > now]
            for job in [*due, *self.jobs.more(self._open.values())]:
                self._submit(job)
            self._hand_over()
            self._show()

    def _fill(self, first: Iterator[list[Job]]) -> bool:
        """Queues jobs until enough of them wait; returns whether there are more."""
        while len(self._open) < max(_QUEUED, 4 * self.executor.workers):
            jobs = next(first, None)
            if jobs is None:
                return False
            for job in jobs:
                self._submit(job)
        return True

    def _submit(self, job: Job) -> None:
        """Puts a job in line."""
        self._open[id(job)] = job
        heapq.heappush(self._line, (self.jobs.rank(job), next(self._numbers), job))

    def _hand_over(self) -> None:
        """Gives the executor the first in line, a few more than its workers can begin with."""
        while self._line and len(self._names) < _AHEAD * max(1, self.executor.workers):
            self._start(heapq.heappop(self._line)[-1])

    def _start(self, job: Job) -> None:
        if job.cell is not None:
            future = self.executor.submit(job.config, self.jobs.done)
        else:
            future = self.executor.submit_floor(job.config, job.floor)
        self._names[id(future)] = str(job)
        future.add_done_callback(lambda done: self._ended.put((job, done)))

    def _take(self, job: Job, future: Future[Any]) -> None:
        """Counts a job that has ended and queues what follows from it."""
        self._names.pop(id(future), None)
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, NoWorkersError):
            raise error
        if isinstance(error, LeaseHeldError):
            if not self._postponed:
                self.view.say(f"{job} is in progress elsewhere; it is asked for again later")
            self._postponed.append((time.monotonic() + _RETRY, job))
            return
        if isinstance(error, WorkerDiedError):
            self._bury(job, error)
            return
        del self._open[id(job)]
        self._attempts.pop(id(job), None)
        if error is not None:
            self._fail(job, str(error), error.log if isinstance(error, WorkFailedError) else None)
        elif job.cell is not None:
            record: RunRecord = future.result()
            self.statuses[record.status] = self.statuses.get(record.status, 0) + 1
            self.progress.add(job.cell.place.backbone, job.cell.place.optimizer, record)
            more = self.jobs.follow(job, record, self._open.values())
            self.progress.planned += sum(each.is_extension for each in more)
            for each in more:
                self._submit(each)

    def _bury(self, job: Job, error: WorkerDiedError) -> None:
        """Queues a job again after its worker died, unless that goes on happening at the same place."""
        attempts = self._attempts.setdefault(id(job), _Attempts())
        if error.reached > attempts.reached:
            attempts.deaths, attempts.reached = 0, error.reached
        attempts.deaths += not error.lost_place
        if attempts.deaths > MAX_DEATHS:
            del self._open[id(job)], self._attempts[id(job)]
            reason = (
                f"{error.reason}, {attempts.deaths} times without progress between them, most likely for lack of "
                "memory; use fewer --workers"
            )
            kept = log_path(job.config)
            self._fail(job, reason, str(kept) if kept.is_file() else None)
            return
        self.view.say(f"{job}: {error.reason}; it goes on from its saved state")
        self._submit(job)

    def _fail(self, job: Job, reason: str, log: str | None) -> None:
        failure = Failure(str(job), reason, log, self.jobs.command(job))
        self.failures.append(failure)
        self.progress.failed += 1
        self.jobs.fail(job)
        self.view.say(f"failed: {failure}")

    def _show(self) -> None:
        tasks = self.executor.tasks()
        self.progress.running = [(self._names.get(id(t.future), "?"), t.step, t.total) for t in tasks]
        self.view.update(self.progress)


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
