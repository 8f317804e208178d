"""Runs the trials, extensions and final seeds of a plan. Runs that are in the store already are not run again."""

from __future__ import annotations

import shlex
import statistics
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from bocb_hf.backbones.definition import check_backbone
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.resources import find_config
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.load_config import load_run_config
from bocb_hf.runs.naming import repository_name
from bocb_hf.runs.record import RunRecord
from bocb_hf.schema import HUB_SCHEME
from bocb_hf.store import open_store
from bocb_hf.store.read import read_repository
from bocb_hf.sweep.done import check_done
from bocb_hf.sweep.executors.protocol import Executor, WorkerDiedError
from bocb_hf.sweep.job import Cell, Job
from bocb_hf.sweep.loop import MAX_DEATHS, Loop, SweepOutcome
from bocb_hf.sweep.plan import SweepPlan, Trial, best_trial, next_rates
from bocb_hf.sweep.shard import Shard
from bocb_hf.sweep.view import View, open_view


class Sweep:
    """Runs a plan.

    Args:
        plan: The plan that says which cells are run.
        executor: The executor that the runs are queued at.
        overrides: Further pairs ``section.key=value``, such as ``runtime.store=...``.
        shard: The part of the cells and floors that is run; None runs all.
        done: A Parquet file of records of runs that need not be run again, see ``sweep.done``.

    Raises:
        InputError: A backbone, the setting, an override or the file is wrong, or no cell lies in the part.
    """

    def __init__(
        self,
        plan: SweepPlan,
        executor: Executor,
        overrides: list[str],
        shard: Shard | None = None,
        done: Path | None = None,
    ) -> None:
        self.plan, self.executor, self.shard = plan, executor, shard
        self.done = str(done.resolve()) if done is not None else None
        if done is not None:
            check_done(done)
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
            if self._in_shard(backbone, optimizer)
        ]
        if not self.cells:
            raise InputError(f"--shard: no cell of {plan.name} lies in part {shard}; there is nothing to run in it")

    def _in_shard(self, backbone: str, optimizer: str) -> bool:
        if self.shard is None:
            return True
        config = self._config(backbone, optimizer, [])
        return self.shard.holds(config.data.name, config.setting, backbone, optimizer)

    def _centre(self, backbone: str, optimizer: str) -> float:
        config, row = self._config(backbone, optimizer, []), OPTIMIZERS.get(optimizer)
        return row.centre(config.setting, config.data.name, config.training.batch_size, config.optimizer.grid).lr

    def _config(self, backbone: str, optimizer: str, more: list[str]) -> RunConfig:
        names = [f"backbone.name={backbone}", f"optimizer.name={optimizer}"]
        return load_run_config(self._path, [*names, *self._overrides, *more])

    def _trial(self, cell: Cell, lr: float, is_extension: bool = False) -> Job:
        more = ["role=trial", f"seed={self.plan.tuning.seed}", f"optimizer.lr={lr!r}"]
        return Job(cell, self._config(cell.backbone, cell.optimizer, more), is_extension=is_extension)

    def _finals(self, cell: Cell) -> Iterator[Job]:
        lr = best_trial(list(cell.trials.values())).lr
        for seed in self.plan.final_seeds:
            more = ["role=final", f"seed={seed}", f"optimizer.lr={lr!r}"]
            yield Job(cell, self._config(cell.backbone, cell.optimizer, more))

    def planned_runs(self) -> int:
        """Number of runs of the plan, without extensions of a grid."""
        return len(self.cells) * (self.plan.tuning.points + len(self.plan.final_seeds))

    def stored(self) -> Iterator[tuple[Cell, str, list[RunRecord]]]:
        """Each cell with its repository, and the records there of runs that have ended."""
        config = self._config(self.cells[0].backbone, self.cells[0].optimizer, [])
        store = open_store(self.store)
        for cell in self.cells:
            name = repository_name(config.data.name, config.setting, cell.backbone, cell.optimizer)
            repository = f"{config.runtime.namespace}/{name}"
            contents = read_repository(store, repository)
            records = [*contents.finals.values(), *contents.trials.values()]
            yield cell, repository, [record for record in records if record.status != "interrupted"]

    @property
    def store(self) -> str:
        """Folder of the store that runs are trained into."""
        runtime = self._config(self.cells[0].backbone, self.cells[0].optimizer, []).runtime
        return runtime.local_store if runtime.store.startswith(HUB_SCHEME) else runtime.store

    def stored_runs(self) -> int:
        """Number of runs of these cells that have ended and are in the store."""
        return sum(len(records) for _, _, records in self.stored())

    def estimate(self) -> str:
        """Times a few steps of each backbone in the workers and says how long the rest will take.

        Raises:
            InputError: Workers died again and again.
        """
        probes = [
            self._config(backbone, self.plan.optimizers[0], [])
            for backbone in dict.fromkeys(cell.backbone for cell in self.cells)
        ]
        runs, deaths = list[float](), 0
        while not runs:
            timed = [self.executor.time_step(config) for config in probes]
            try:
                runs = [seconds * steps for seconds, steps in (future.result() for future in timed)]
            except WorkerDiedError as error:
                deaths += 1
                if deaths > MAX_DEATHS:
                    raise InputError(
                        f"while the first steps were timed, {error.reason} {deaths} times, most likely for lack of "
                        "memory; use fewer --workers and run the same command again"
                    ) from error
                print(f"while the first steps were timed, {error.reason}; starting again", file=sys.stderr)
        left = max(0, self.planned_runs() - self.stored_runs())
        # evaluation, saving, and optimizers that are slower than the first add about a third
        minutes = 1.35 * statistics.mean(runs) * left / self.executor.workers / 60
        extra = self.plan.tuning.max_extensions * len(self.cells)
        each = ", ".join(
            f"{b} {s:.0f} s" for b, s in zip((config.backbone.name for config in probes), runs, strict=True)
        )
        return (
            f"{left} of {self.planned_runs()} runs to do, up to {extra} more where a grid must be extended; "
            f"about {minutes:.0f} min on {self.executor.workers} workers (training of one run: {each})"
        )

    def run(self, view: View | None = None) -> SweepOutcome:
        """Runs everything that is missing. Ctrl-C and SIGTERM save the runs in progress and return.

        Args:
            view: What shows the progress; by default one on standard error.

        Raises:
            InputError: No worker can be started.
        """
        return Loop(self, self.executor, view or open_view()).run()

    def first(self) -> Iterator[Job]:
        """The floors, and the trials of every grid."""
        if self.plan.baselines:  # in the part of the first cell that needs them, so that no part holds a floor alone
            optimizer = self.plan.optimizers[0]
            if self._in_shard(self.plan.backbones[0], optimizer):
                yield Job(None, self._config(self.plan.backbones[0], optimizer, []))
            for backbone in self.plan.backbones:
                if self._in_shard(backbone, optimizer):
                    yield Job(None, self._config(backbone, optimizer, []), "frozen_backbone")
        for cell in self.cells:
            for lr in next_rates(cell.centre, self.plan.tuning, []):
                yield self._trial(cell, lr)

    def follow(self, job: Job, record: RunRecord, waiting: Iterable[Job]) -> list[Job]:
        """The jobs that follow from a run that has ended: an extension of the grid, or the final runs of its cell.

        Args:
            job: The run.
            record: Its record.
            waiting: The jobs that have not ended.
        """
        cell = job.cell
        if cell is None or record.role == "final" or record.status == "interrupted":
            return []
        trial = Trial.from_record(record)
        cell.trials[trial.lr] = trial
        if cell.failed or any(other.cell is cell for other in waiting):
            return []  # what was chosen without a trial that failed would not be what the plan's rule chooses
        rates = next_rates(cell.centre, self.plan.tuning, list(cell.trials.values()))
        return [self._trial(cell, lr, is_extension=True) for lr in rates] or list(self._finals(cell))

    def command(self, job: Job) -> str:
        """The command that repeats a job by itself."""
        config = job.config
        if job.cell is None:
            return "run the same sweep again"
        names = [f"backbone.name={config.backbone.name}", f"optimizer.name={config.optimizer.name}"]
        own = [f"role={config.role}", f"seed={config.seed}", f"optimizer.lr={config.optimizer.lr!r}"]
        return shlex.join(["bocb", "train", "--config", str(self._path), *names, *self._overrides, *own])
