"""Trains what the edge check of the laptop study asks for, in a store of its own: no table counts these trials.

    python benchmarks/study_trials.py outputs/study/edges
    python benchmarks/study_records.py outputs/study/edges benchmarks/laptop_study/edges.parquet

The next rate beyond, with the tuning seeds, of every cell of the plan that is tuned and whose rate lies at an edge of
its grid. What ``edges.parquet`` holds already is not trained again. ``study_report.py`` tells what they say.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from study_edges import beyond

from bocb_hf.errors import InputError
from bocb_hf.resources import find_config
from bocb_hf.runs.record import RunRecord
from bocb_hf.sweep.cells import Cell, plan_cells, run_overrides
from bocb_hf.sweep.done import done_records
from bocb_hf.sweep.executors.local import LocalExecutor
from bocb_hf.sweep.job import Job
from bocb_hf.sweep.left import find_left
from bocb_hf.sweep.loop import Loop
from bocb_hf.sweep.plan import load_plan
from bocb_hf.sweep.view import open_view

PLAN = "laptop-study"
FOLDER = Path(__file__).resolve().parent / "laptop_study"
RECORDS, EDGES = FOLDER / "records.parquet", FOLDER / "edges.parquet"


def trials_beyond(cells: Iterable[Cell]) -> list[Job]:
    """The trials of the next rates beyond, of tuned cells that have their rate at an edge."""
    jobs: list[Job] = []
    for cell in cells:
        axis, rate = cell.space.axes[0], float(cell.chosen()[0])
        next_rate = beyond(rate, [float(value) for value in axis.values], axis.tuned.factor)
        if next_rate is None:
            continue
        places = [((next_rate,), seed) for seed in cell.plan.tuning.seeds]
        jobs += [Job(cell, cell.trial(place), place=place) for place in places]
    return jobs


class Trials:
    """Trials that wait for no other, for the loop of a sweep."""

    def __init__(self, jobs: Sequence[Job], done: Path | None) -> None:
        self.done = str(done) if done is not None else None
        self._jobs = jobs

    def planned_runs(self) -> int:
        """Number of trials."""
        return len(self._jobs)

    def first(self) -> Iterator[list[Job]]:
        """Each by itself."""
        return ([job] for job in self._jobs)

    def follow(self, job: Job, record: RunRecord, waiting: Iterable[Job]) -> list[Job]:
        """None."""
        del job, record, waiting
        return []

    def more(self, waiting: Iterable[Job]) -> list[Job]:
        """None."""
        del waiting
        return []

    def fail(self, job: Job) -> None:
        """Nothing waits for it."""
        del job

    def rank(self, job: Job) -> int:
        """In their order."""
        return self._jobs.index(job)

    def command(self, job: Job) -> str:
        """The command that repeats it."""
        del job
        return "run the same command again"


def main() -> int:
    """Trains what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", help="the store of these trials")
    parser.add_argument("overrides", nargs="*", metavar="section.key=value", help="values for every run")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="number of processes")
    options = parser.parse_args()
    executor = LocalExecutor(options.workers, cpu_only=True)
    try:
        plan = load_plan(find_config(PLAN, "recipes/sweeps"))
        changes = [*options.overrides, f"runtime.store={options.store}"]
        cells = plan_cells(plan, run_overrides(plan, executor.threads, changes))
        records = done_records(RECORDS, [cell.names() for cell in cells])
        tuned = [cell for cell in cells if not find_left(cell, records.get(cell.names(), [])).trials]
        jobs = trials_beyond(tuned)
        print(f"{len(tuned)} of {len(cells)} cells are tuned; {len(jobs)} trials lie beyond an edge", flush=True)
        outcome = Loop(Trials(jobs, EDGES if EDGES.exists() else None), executor, open_view()).run()
        executor.close()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(", ".join(f"{count} {status}" for status, count in sorted(outcome.statuses.items())) or "nothing ran")
    for failure in outcome.failures:
        print("\n".join(failure.lines()), file=sys.stderr)
    return 1 if outcome.failures or outcome.stopped else 0


if __name__ == "__main__":
    raise SystemExit(main())
