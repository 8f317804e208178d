"""Runs the trials, extensions and final seeds of a plan. Runs that are in the store already are not run again."""

from __future__ import annotations

import signal
import statistics
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from tqdm import tqdm

from bocb_hf.backbones.definition import check_backbone
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.resources import find_config
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.load_config import load_run_config
from bocb_hf.runs.naming import repository_name
from bocb_hf.runs.record import RunRecord
from bocb_hf.store import open_training_store
from bocb_hf.store.read import read_repository
from bocb_hf.sweep.local import Floor, LocalExecutor
from bocb_hf.sweep.plan import SweepPlan, Trial, best_trial, next_rates

_MAX_RESTARTS = 3


@dataclass
class Cell:
    """One cell of a plan (backbone × optimizer), and its finished trials."""

    backbone: str
    optimizer: str
    centre: float
    trials: dict[float, Trial] = field(default_factory=dict[float, Trial])

    def __str__(self) -> str:
        return f"{self.backbone} × {self.optimizer}"


@dataclass(frozen=True)
class Job:
    """One run of a cell; a job without a cell is a floor of the data, from pixels or from features of a backbone."""

    cell: Cell | None
    config: RunConfig
    floor: Floor = "logistic_regression"

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
        self._path = find_config(plan.config, "recipes/configs")
        # no tracker, since it would take as long as the training of a short trial
        grid = f"optimizer.grid={plan.tuning.grid}"
        self._overrides = [
            "runtime.tracker=none",
            grid,
            *plan.overrides,
            f"runtime.threads={executor.threads}",
            *overrides,
        ]
        self.cells = [
            Cell(backbone, optimizer, self._centre(backbone, optimizer))
            for backbone in plan.backbones
            for optimizer in plan.optimizers
        ]
        self._jobs: dict[Future[Any], Job] = {}
        self._statuses: dict[str, int] = {}
        self._failures: list[str] = []
        self._restarts = 0

    def _centre(self, backbone: str, optimizer: str) -> float:
        config, row = self._config(backbone, optimizer, []), OPTIMIZERS.get(optimizer)
        return row.centre(config.setting, config.data.name, config.training.batch_size, config.optimizer.grid).lr

    def _config(self, backbone: str, optimizer: str, more: list[str]) -> RunConfig:
        names = [f"backbone.name={backbone}", f"optimizer.name={optimizer}"]
        return load_run_config(self._path, [*names, *self._overrides, *more])

    def _trial(self, cell: Cell, lr: float) -> Job:
        more = ["role=trial", f"seed={self.plan.tuning.seed}", f"optimizer.lr={lr!r}"]
        return Job(cell, self._config(cell.backbone, cell.optimizer, more))

    def _finals(self, cell: Cell) -> Iterator[Job]:
        lr = best_trial(list(cell.trials.values())).lr
        for seed in self.plan.final_seeds:
            more = ["role=final", f"seed={seed}", f"optimizer.lr={lr!r}"]
            yield Job(cell, self._config(cell.backbone, cell.optimizer, more))

    def planned_runs(self) -> int:
        """Number of runs of the plan, without extensions of a grid."""
        return len(self.cells) * (self.plan.tuning.points + len(self.plan.final_seeds))

    def stored_runs(self) -> int:
        """Number of runs of these cells that have ended and are in the store."""
        config = self._config(self.cells[0].backbone, self.cells[0].optimizer, [])
        (store, _), count = open_training_store(config.runtime.store, config.runtime.local_store), 0
        for cell in self.cells:
            name = repository_name(config.data.name, config.setting, cell.backbone, cell.optimizer)
            contents = read_repository(store, f"{config.runtime.namespace}/{name}")
            records = [*contents.finals.values(), *contents.trials.values()]
            count += sum(record.status != "interrupted" for record in records)
        return count

    def estimate(self) -> str:
        """Times a few steps of each backbone in the workers and says how long the rest will take.

        Raises:
            InputError: Workers died again and again.
        """
        probes = [self._config(backbone, self.plan.optimizers[0], []) for backbone in self.plan.backbones]
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
        first = self._config(self.cells[0].backbone, self.cells[0].optimizer, [])
        if self.plan.baselines:
            self._submit(Job(None, first))
            for backbone in dict.fromkeys(cell.backbone for cell in self.cells):
                config = self._config(backbone, self.cells[0].optimizer, [])
                self._submit(Job(None, config, "frozen_backbone"))
        for cell in self.cells:
            for lr in next_rates(cell.centre, self.plan.tuning, []):
                self._submit(self._trial(cell, lr))
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
        trial = Trial.from_record(record)
        cell.trials[trial.lr] = trial
        waiting = {job.config.optimizer.lr for job in self._jobs.values() if job.cell is cell}
        rates = next_rates(cell.centre, self.plan.tuning, list(cell.trials.values()))
        if waiting:
            return
        if rates:
            bar.total += len(rates)
            for lr in rates:
                self._submit(self._trial(cell, lr))
        else:
            for final in self._finals(cell):
                self._submit(final)


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
