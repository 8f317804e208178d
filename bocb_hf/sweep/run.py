"""Runs the trials, extensions and final seeds of a plan. Runs that are in the store already are not run again."""

from __future__ import annotations

import signal
import statistics
import sys
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import FrameType
from typing import Any

from tqdm import tqdm

from bocb_hf.backbones.definition import check_backbone
from bocb_hf.errors import InputError
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.record import RunRecord
from bocb_hf.store import open_training_store
from bocb_hf.store.read import read_repository
from bocb_hf.sweep.cells import Cell, floor_cells, plan_cells, run_overrides
from bocb_hf.sweep.local import Floor, LocalExecutor
from bocb_hf.sweep.plan import SweepPlan
from bocb_hf.sweep.protocols import Place, Trial

_MAX_RESTARTS = 3


@dataclass(frozen=True)
class Job:
    """One run of a cell; a job without a cell is a floor of the data, from pixels or from features of a backbone.

    Attributes:
        place: Of a trial, its configuration and seed.
    """

    cell: Cell | None
    config: RunConfig
    floor: Floor = "logistic_regression"
    place: Place | None = None

    def __str__(self) -> str:
        return f"{self.cell} seed {self.config.seed}" if self.cell else f"floor {self.floor}"


@dataclass(frozen=True)
class SweepOutcome:
    """Outcome of a sweep: number of runs that ended in this session, by status, and failed runs with their reason."""

    statuses: dict[str, int]
    failures: list[str]
    stopped: bool


class Sweep:
    """Runs a plan.

    Args:
        plan: The plan that says which cells are run.
        executor: The executor that the runs are queued at.
        overrides: Further pairs ``section.key=value``, such as ``runtime.store=...``.

    Raises:
        InputError: A backbone, the setting or an override is wrong.
    """

    def __init__(self, plan: SweepPlan, executor: LocalExecutor, overrides: list[str]) -> None:
        self.plan, self.executor = plan, executor
        for name in plan.backbones:
            check_backbone(name)
        self.cells = plan_cells(plan, run_overrides(plan, executor.threads, overrides))
        self._jobs: dict[Future[Any], Job] = {}
        self._statuses: dict[str, int] = {}
        self._failures: list[str] = []
        self._restarts = 0

    def _trial(self, cell: Cell, place: Place) -> Job:
        return Job(cell, cell.trial(place), place=place)

    def planned_runs(self) -> int:
        """Number of runs of the plan, without extensions of a grid."""
        trials = sum(self.plan.tuning.trials(cell.place.optimizer) for cell in self.cells)
        return trials + len(self.cells) * len(self.plan.final_seeds)

    def stored_runs(self) -> int:
        """Number of runs of these cells that have ended and are in the store."""
        config = self.cells[0].config()
        (store, _), count = open_training_store(config.runtime.store, config.runtime.local_store), 0
        for cell in self.cells:
            contents = read_repository(store, f"{config.runtime.namespace}/{cell.repository(cell.config())}")
            records = [*contents.finals.values(), *contents.trials.values()]
            count += sum(record.status != "interrupted" for record in records)
        return count

    def estimate(self) -> str:
        """Times a few steps of each backbone in the workers and says how long the rest will take.

        Raises:
            InputError: Workers died again and again.
        """
        first = {cell.place.backbone: cell for cell in reversed(self.cells)}
        probes = [first[backbone].config() for backbone in self.plan.backbones]
        runs: list[float] = []
        while not runs:
            timed = [self.executor.time_step(config) for config in probes]
            try:
                runs = [seconds * steps for seconds, steps in (future.result() for future in timed)]
            except BrokenProcessPool:
                print(self._restart_workers(), file=sys.stderr)
        left = max(0, self.planned_runs() - self.stored_runs())
        # evaluation, saving, and optimizers that are slower than the first add about a third
        minutes = 1.35 * statistics.mean(runs) * left / self.executor.workers / 60
        extra = self.plan.tuning.max_extensions * len(self.cells)
        each = ", ".join(f"{b} {s:.0f} s" for b, s in zip(self.plan.backbones, runs, strict=True))
        return (
            f"{left} of {self.planned_runs()} runs to do, up to {extra} more where a grid must be extended; "
            f"about {minutes:.0f} min on {self.executor.workers} workers (training of one run: {each})"
        )

    def run(self) -> SweepOutcome:
        """Runs everything that is missing. Ctrl-C and SIGTERM save the runs in progress and return.

        Raises:
            InputError: Workers died again and again.
        """
        previous = signal.signal(signal.SIGTERM, _raise_interrupt)
        stopped = False
        try:
            with tqdm(total=self.planned_runs(), unit="run", file=sys.stderr, smoothing=0.05) as bar:
                try:
                    self._loop(bar)
                except KeyboardInterrupt:
                    stopped = True
                    bar.write("stopping: the runs in progress save their state ...", file=sys.stderr)
                    self.executor.stop()
        finally:
            signal.signal(signal.SIGTERM, previous)
        return SweepOutcome(self._statuses, self._failures, stopped)

    def _loop(self, bar: tqdm[Any]) -> None:
        if self.plan.baselines:
            for floor, cells in floor_cells(self.cells).items():
                for cell in cells:
                    self._submit(Job(None, cell.config(), floor))
        for cell in self.cells:
            for place in cell.next_trials():
                self._submit(self._trial(cell, place))
        while self._jobs:
            done, _ = wait(self._jobs, return_when=FIRST_COMPLETED)
            for future in done:
                job = self._jobs.pop(future)
                try:
                    record = future.result()
                except BrokenProcessPool:
                    self._revive(job, bar)
                    break
                except Exception as error:  # one bad run must not end the others; all are listed at the end
                    kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
                    self._failures.append(f"{job}: {kind}{error}")
                    bar.write(f"failed: {self._failures[-1]}", file=sys.stderr)
                    continue
                if job.cell is not None:
                    self._advance(job, job.cell, record, bar)

    def _submit(self, job: Job) -> None:
        config = job.config
        if job.cell is not None:
            self._jobs[self.executor.submit(config)] = job
        else:
            self._jobs[self.executor.submit_floor(config, job.floor)] = job

    def _revive(self, job: Job, bar: tqdm[Any]) -> None:
        """Starts new workers after one died and queues all open jobs again; finished runs return at once."""
        lost = [job, *self._jobs.values()]
        self._jobs = {}
        bar.write(self._restart_workers(), file=sys.stderr)
        for each in lost:
            self._submit(each)

    def _restart_workers(self) -> str:
        """Replaces the workers after one died, and returns a message about it.

        Raises:
            InputError: The workers died too often.
        """
        self._restarts += 1
        if self._restarts > _MAX_RESTARTS:
            raise InputError(
                f"worker processes died {self._restarts} times, most likely for lack of memory; use fewer --workers "
                "and run the same command again: it continues where it stopped"
            )
        self.executor.restart()
        return "a worker process died; starting new ones"

    def _advance(self, job: Job, cell: Cell, record: RunRecord, bar: tqdm[Any]) -> None:
        """Counts a finished run and queues what follows from it."""
        self._statuses[record.status] = self._statuses.get(record.status, 0) + 1
        bar.update()
        bar.set_postfix_str(f"{cell} {record.role} {record.status}")
        if record.role == "final" or record.status == "interrupted":
            return
        assert job.place is not None
        cell.trials[job.place] = Trial.from_record(record)
        if any(other.cell is cell for other in self._jobs.values()):
            return
        places = cell.next_trials()
        # a grid that was extended, beyond what the plan counts
        bar.total += max(0, len(cell.trials) + len(places) - self.plan.tuning.trials(cell.place.optimizer))
        for place in places:
            self._submit(self._trial(cell, place))
        if not places:
            for config in cell.finals():
                self._submit(Job(cell, config))


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
