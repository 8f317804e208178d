"""Runs the trials, extensions and final seeds of a plan. Runs that are in the store already are not run again."""

from __future__ import annotations

import json
import shlex
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bocb_hf.backbones.definition import check_backbone
from bocb_hf.errors import InputError
from bocb_hf.resources import find_config
from bocb_hf.runs.record import RunRecord
from bocb_hf.schema import HUB_SCHEME
from bocb_hf.store import open_store
from bocb_hf.store.read import read_repository
from bocb_hf.sweep.cells import Cell, floor_cells, plan_cells, run_overrides, start_override
from bocb_hf.sweep.compiling import settle
from bocb_hf.sweep.done import check_done
from bocb_hf.sweep.executors.protocol import Executor, WorkerDiedError
from bocb_hf.sweep.job import Job
from bocb_hf.sweep.loop import MAX_DEATHS, Loop, SweepOutcome
from bocb_hf.sweep.plan import SweepPlan
from bocb_hf.sweep.protocols import Place, Trial
from bocb_hf.sweep.shard import Shard
from bocb_hf.sweep.view import View, open_view


def cells_in(part: Shard | None, cells: Sequence[Cell], plan: str) -> list[Cell]:
    """The cells that lie in a part of a plan; all of them without a part.

    Raises:
        InputError: There are none.
    """
    found = [cell for cell in cells if _holds(part, cell)]
    if not found:
        raise InputError(f"--shard: no cell of {plan} lies in part {part}; there is nothing to run in it")
    return found


def _holds(part: Shard | None, cell: Cell) -> bool:
    if part is None:
        return True
    return part.holds(*cell.names())


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
        self.plan, self.executor = plan, executor
        self.done = str(done.resolve()) if done is not None else None
        if done is not None:
            check_done(done)
        for name in plan.backbones:
            check_backbone(name)
        every = plan_cells(plan, run_overrides(plan, executor.threads, overrides))
        self.cells = cells_in(shard, every, plan.name)
        self._places = {id(cell): place for place, cell in enumerate(self.cells)}
        self._every, self._parts = every, shard.count if shard is not None else 1
        # a floor belongs to the part of the first cell that needs it, so that no part holds a floor alone
        floors = floor_cells(every).items() if plan.baselines else ()
        self._floors = [
            Job(None, c.floor_config(), floor) for floor, cells in floors for c in cells if _holds(shard, c)
        ]
        self._settled = False  # whether it is decided what is compiled
        self._failed: set[int] = set()  # cells of which a trial failed, by their id

    def _trial(self, cell: Cell, place: Place, is_extension: bool = False) -> Job:
        return Job(cell, cell.trial(place), place=place, is_extension=is_extension)

    def planned_runs(self) -> int:
        """Number of runs of the plan, without extensions of a grid."""
        trials = sum(self.plan.trials(cell.place.optimizer) for cell in self.cells)
        return trials + len(self.cells) * len(self.plan.final_seeds)

    def stored(self) -> Iterator[tuple[Cell, str, list[RunRecord]]]:
        """Each cell with its repository, and the records there of runs that have ended."""
        store = open_store(self.store)
        for cell in self.cells:
            config = cell.config()
            repository = f"{config.runtime.namespace}/{cell.repository(config)}"
            contents = read_repository(store, repository)
            records = [*contents.finals.values(), *contents.trials.values()]
            yield cell, repository, [record for record in records if record.status != "interrupted"]

    @property
    def store(self) -> str:
        """Folder of the store that runs are trained into."""
        runtime = self.cells[0].config().runtime
        return runtime.local_store if runtime.store.startswith(HUB_SCHEME) else runtime.store

    def stored_runs(self) -> int:
        """Number of runs of these cells that have ended and are in the store."""
        return sum(len(records) for _, _, records in self.stored())

    def estimate(self) -> str:
        """Times a few steps of each backbone in the workers and says how long the rest will take.

        Raises:
            InputError: Workers died again and again.
        """
        first = {cell.place.backbone: cell for cell in reversed(self.cells)}
        backbones = [backbone for backbone in self.plan.backbones if backbone in first]
        probes = [first[backbone].config() for backbone in backbones]
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
        extra = self.plan.extensions * len(self.cells)
        each = ", ".join(f"{b} {s:.0f} s" for b, s in zip(backbones, runs, strict=True))
        return (
            f"{left} of {self.planned_runs()} runs to do, up to {extra} more where a grid must be extended; "
            f"about {minutes:.0f} min on {self.executor.workers} workers (training of one run: {each})"
        )

    def run(self, view: View | None = None) -> SweepOutcome:
        """Runs everything that is missing. Ctrl-C and SIGTERM save the runs in progress and return.

        Args:
            view: What shows the progress; by default one on standard error.

        Raises:
            InputError: No worker can be started, or what is compiled cannot be decided.
        """
        if self.plan.compile == "auto" and not self._settled:
            self._settled = True
            settle(self.cells, self._every, self.executor, self._parts, lambda line: print(line, file=sys.stderr))
        return Loop(self, self.executor, view or open_view()).run()

    def first(self) -> Iterator[list[Job]]:
        """The floors, and the runs that wait for no other, those of a cell together.

        They are trials, or the final runs of a cell that keeps its rates.
        """
        for floor in self._floors:
            yield [floor]
        for cell in self.cells:
            trials = [self._trial(cell, place) for place in cell.next_trials()]
            yield trials or [Job(cell, config) for config in cell.finals()]

    def follow(self, job: Job, record: RunRecord, waiting: Iterable[Job]) -> list[Job]:
        """The jobs that follow from a run that has ended: further trials, or the final runs of its cell.

        Args:
            job: The run.
            record: Its record.
            waiting: The jobs that have not ended.
        """
        cell = job.cell
        if cell is None or job.place is None or record.role == "final" or record.status == "interrupted":
            return []
        cell.trials[job.place] = Trial.from_record(record)
        if id(cell) in self._failed or any(other.cell is cell for other in waiting):
            return []  # what was chosen without a trial that failed would not be what the plan's rule chooses
        places = cell.next_trials()
        left = self.plan.trials(cell.place.optimizer) - len(cell.trials)  # of those that the plan counts
        trials = [self._trial(cell, place, is_extension=k >= left) for k, place in enumerate(places)]
        return trials or [Job(cell, config) for config in cell.finals()]

    def more(self, waiting: Iterable[Job]) -> list[Job]:
        """None: every job of a plan begins at once, or follows from another."""
        del waiting
        return []

    def fail(self, job: Job) -> None:
        """Notes that a job failed: without one of its trials, a cell has no final runs."""
        if job.cell is not None and job.place is not None:
            self._failed.add(id(job.cell))

    def rank(self, job: Job) -> int:
        """The cells in the order of the plan, each with all of its runs, so that what is done is a smaller study.

        A floor goes with the first cell of its backbone.
        """
        if job.cell is not None:
            return self._places[id(job.cell)]
        name = job.config.backbone.name
        return next(k for k, cell in enumerate(self.cells) if cell.place.backbone == name)

    def command(self, job: Job) -> str:
        """The command that repeats a job by itself."""
        cell = job.cell
        if cell is None:
            return "run the same sweep again"
        config = job.config
        path = find_config(cell.place.config, "recipes/configs")
        own = [f"role={config.role}", f"seed={config.seed}", f"optimizer.lr={config.optimizer.lr!r}"]
        if config.optimizer.weight_decay is not None:
            own.append(f"optimizer.weight_decay={config.optimizer.weight_decay!r}")
        named = config.optimizer.hyperparameters.items()
        own += [f"optimizer.hyperparameters.{name}={json.dumps(value)}" for name, value in named]
        if cell.starts:
            own.append(start_override(str(config.backbone.pretrained)))
        if config.tuned is not None:
            own.append(f"tuned={config.tuned.model_dump_json(exclude_unset=True)}")
        return shlex.join(["bocb", "train", "--config", str(path), *cell.base, *own])
