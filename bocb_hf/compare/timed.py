"""A sweep that ends in time: it begins a run only where there is time for it, and cuts the least valuable work.

The order of the work makes an answer early: the centre of every grid first, its edges next, the second tuning seed,
then the final runs seed by seed, each for all optimizers. Before each run the time that is left is compared with what
runs have taken so far; where it does not suffice, the design is cut (``design.ladder``), for all optimizers alike, and
the plan is written anew. What is left over at the end goes into further final seeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from bocb_hf.compare.design import MOST_FINALS, Design, Done, Fit, Fixed, fit, seconds_left
from bocb_hf.coupling.selection import Values, distance_of, values_of
from bocb_hf.runs.record import RunRecord
from bocb_hf.sweep.cells import Cell, floor_cells, plan_cells, run_overrides
from bocb_hf.sweep.executors.protocol import Executor
from bocb_hf.sweep.executors.work import Floor
from bocb_hf.sweep.forecast import find_left
from bocb_hf.sweep.job import Job
from bocb_hf.sweep.loop import TimeIsUp
from bocb_hf.sweep.plan import SweepPlan
from bocb_hf.sweep.protocols import Place, Trial, choose, describe_choice
from bocb_hf.sweep.run import Sweep

SLACK = 1.05  # a design is cut when what is left would take so many times the time that is left
_NEWEST = 4  # runs of an optimizer whose mean time counts
_WARM_UP = 1.0  # seconds below which a run tells nothing of what the others take


class TimedSweep(Sweep):
    """Runs as much of a plan of one backbone as a time allows.

    Args:
        plan: The plan.
        executor: The executor.
        seconds: What a run of each optimizer is expected to take, until runs have ended.
        ends: When the sweep must end, as ``time.monotonic``.
        fixed: What no cut may change.
        changed: Function that gets every plan that takes the place of the one before, and what was cut, in words.
        floors: Floors that are computed first, unless the store has them.

    Raises:
        InputError: See ``Sweep``.
    """

    def __init__(
        self,
        plan: SweepPlan,
        executor: Executor,
        seconds: Mapping[str, float],
        ends: float,
        fixed: Fixed,
        changed: Callable[[SweepPlan, list[str]], None],
        floors: Sequence[Floor] = (),
    ) -> None:
        super().__init__(plan, executor, [])
        self.ends, self.fixed, self._changed = ends, fixed, changed
        self.expected = dict(seconds)
        self._took: dict[str, list[float]] = {}
        self._began: dict[int, tuple[Job, float]] = {}  # runs in progress, by the id of their job
        self.chosen: dict[str, Values] = {}  # the rate of each tuned optimizer, which stays once it has a final run
        self.ended: dict[str, set[int]] = {}  # seeds of the final runs of that rate
        self._lost: set[str] = set()  # optimizers of which a run failed
        own: dict[Floor, Floor] = {"logistic_regression": "logistic_regression", "frozen_backbone": "frozen_backbone"}
        if any(pair.startswith("backbone.pretrained=") for pair in plan.overrides):
            own["frozen_backbone"] = "pretrained_backbone"  # what these weights are worth without any training
        cells = floor_cells(self.cells)
        self._floors = [Job(None, cell.config(), own[kind]) for kind in floors for cell in cells[kind]]
        for cell in self.cells:
            self._take_stored(cell, find_left(cell).records)

    def _take_stored(self, cell: Cell, records: Iterable[RunRecord]) -> None:
        """Notes what an earlier session has done; ``find_left`` has put the trials into the cell."""
        name, records = cell.place.optimizer, list(records)
        took = [r.cost.wall_seconds for r in records if r.status == "completed" and r.cost.wall_seconds > _WARM_UP]
        self._took[name] = took if took else self._took.get(name, [])
        finals = sorted((r for r in records if r.role == "final"), key=lambda r: r.seed)
        self.ended[name] = set()
        if finals:
            values = values_of(finals[0], cell.space.tuned)
            assert values is not None  # the record is of this very optimizer
            self.chosen[name] = values
            self.ended[name] = {r.seed for r in finals if values_of(r, cell.space.tuned) == values}

    @property
    def seconds(self) -> dict[str, float]:
        """What a run of each optimizer takes: what its newest ones took, or as expected, scaled by what others took."""
        took = {name: fmean(found[-_NEWEST:]) for name, found in self._took.items() if found}
        factor = fmean(took[name] / self.expected[name] for name in took) if took else 1.0
        return {name: took.get(name, expected * factor) for name, expected in self.expected.items()}

    def had(self) -> dict[str, Done]:
        """What has ended, by optimizer."""
        return {
            cell.place.optimizer: Done(
                len(cell.trials), len(self.ended[cell.place.optimizer]), cell.place.optimizer in self.chosen
            )
            for cell in self.cells
        }

    def left(self, design: Design | None = None) -> float:
        """Wall seconds that a design still takes; without one, that of the plan."""
        given = design or Design.of(self.plan)
        return seconds_left(self._without_lost(given), self.seconds, self.executor.workers, self.had(), self._begun())

    def _without_lost(self, design: Design) -> Design:
        return replace(design, optimizers=tuple(name for name in design.optimizers if name not in self._lost))

    def _begun(self) -> float:
        """Seconds of work that the runs in progress have behind them, none more than such a run takes."""
        now, seconds = time.monotonic(), self.seconds
        return sum(min(now - began, seconds[_name(job)]) for job, began in self._began.values())

    # what the loop asks

    def first(self) -> Iterator[list[Job]]:
        """The floors, which other runs need not wait for, and the first runs."""
        yield list(self._floors)
        yield self.more([], reserved=len(self._floors))

    def more(self, waiting: Iterable[Job], reserved: int = 0) -> list[Job]:
        """The runs for which there is a worker and time, the most valuable first.

        Raises:
            TimeIsUp: The time is up.
        """
        left, busy = self.ends - time.monotonic(), sum(1 for _ in waiting) + reserved
        if left <= 0:
            raise TimeIsUp
        free = self.executor.workers - busy
        if free <= 0:
            return []
        self._replan(left)
        found: list[Job] = []
        for _ in range(max(free, 0)):
            job = self._next()
            if job is None and self._add_seed(left):
                job = self._next()
            if job is None or self.seconds[_name(job)] > left:
                break
            self._began[id(job)] = (job, time.monotonic())
            found.append(job)
        return found

    def rank(self, job: Job) -> int:
        """All alike: ``more`` gives them in their order, for each worker one."""
        del job
        return 0

    def follow(self, job: Job, record: RunRecord, waiting: Iterable[Job]) -> list[Job]:
        """Notes a run that has ended; what follows from it is for ``more`` to say."""
        del waiting
        _, began = self._began.pop(id(job), (job, None))
        if job.cell is None or record.status == "interrupted":
            return []
        name = _name(job)
        if began is not None and time.monotonic() - began > _WARM_UP:
            self._took.setdefault(name, []).append(time.monotonic() - began)
        if job.place is not None:
            for cell in self.cells:
                if cell.place.optimizer == name:
                    cell.trials[job.place] = Trial.from_record(record)
        else:
            self.ended[name].add(record.seed)
        return []

    def fail(self, job: Job) -> None:
        """Notes that a run failed: its optimizer gets no further ones, since it could not get as many as the others."""
        super().fail(job)
        self._began.pop(id(job), None)
        if job.cell is not None:
            self._lost.add(_name(job))

    # what comes next

    def _next(self) -> Job | None:
        """The most valuable run that waits for no other and is not in progress; None where there is none."""
        running = {_place_of(job) for job, _ in self._began.values()}
        offers: list[tuple[tuple[float, ...], Cell, Place | int]] = []
        for place, cell in enumerate(self.cells):
            name = cell.place.optimizer
            if name in self._lost:
                continue
            if name not in self.chosen:
                trials = cell.next_trials()
                for values, seed in trials:
                    if (name, (values, seed)) not in running:
                        rung = self.plan.tuning.seeds.index(seed)
                        key = (rung, distance_of(values, cell.space.tuned), place)
                        offers.append((key, cell, (values, seed)))
                if trials:
                    continue
                self.chosen[name] = choose(cell.space, self.plan.tuning, cell.trials)
            for rank, seed in enumerate(self.plan.final_seeds):
                if seed not in self.ended[name] and (name, seed) not in running:
                    # every trial comes before a final run, so that no optimizer is ahead of another for long
                    offers.append(((len(self.plan.tuning.seeds) + rank, 0.0, place), cell, seed))
                    break
        if not offers:
            return None
        _, cell, what = min(offers, key=lambda offer: offer[0])
        return self._final(cell, what) if isinstance(what, int) else Job(cell, cell.trial(what), place=what)

    def _final(self, cell: Cell, seed: int) -> Job:
        values = cell.space.overrides(self.chosen[cell.place.optimizer])
        config = cell.config(["role=final", f"seed={seed}", *values])
        return Job(cell, config.model_copy(update={"tuned": describe_choice(cell.space, self.plan.tuning)}))

    # what is cut, and what is added

    def _replan(self, left: float) -> None:
        """Cuts the design where it would take longer than the time that is left."""
        if self.left() <= SLACK * left:
            return
        design = Design.of(self.plan)
        fixed = replace(self.fixed, tuning=self.fixed.tuning or bool(self.chosen))
        found = fit(design, left, self.seconds, self.executor.workers, fixed, self.had(), self._begun(), emergency=True)
        if found is not None and found.design != design:
            self.change(found)

    def _add_seed(self, left: float) -> bool:
        """Gives every optimizer one more final run where nothing else is to be done and there is time for it."""
        design = Design.of(self.plan)
        more = replace(design, finals=design.finals + 1)
        if self.fixed.finals or more.finals > MOST_FINALS or not self._complete(design) or self.left(more) > left:
            return False
        self.change(Fit(more, self.left(more)))
        return True

    def _complete(self, design: Design) -> bool:
        """Whether every optimizer has its final runs, those in progress included."""
        running = [_name(job) for job, _ in self._began.values() if job.place is None]
        alive = [name for name in design.optimizers if name not in self._lost]
        return bool(alive) and all(len(self.ended[n]) + running.count(n) >= design.finals for n in alive)

    def change(self, found: Fit) -> None:
        """Puts another design in place of the plan's, with what has ended kept."""
        self.plan = found.design.put_into(self.plan)
        before = {cell.place.optimizer: cell for cell in self.cells}
        self.cells = plan_cells(self.plan, run_overrides(self.plan, self.executor.threads, []))
        for cell in self.cells:
            name = cell.place.optimizer
            if name in before:
                cell.trials.update(before[name].trials)
            else:
                self._take_stored(cell, find_left(cell).records)
        self._changed(self.plan, found.cuts)


def _place_of(job: Job) -> tuple[str, Place | int]:
    """Which run a job is: its optimizer, and the rate and seed of a trial or the seed of a final run."""
    return _name(job), job.config.seed if job.place is None else job.place


def _name(job: Job) -> str:
    assert job.cell is not None
    return job.cell.place.optimizer
