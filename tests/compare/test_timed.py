"""A sweep that ends in time, on a clock of our own: what is run in which order, what is cut, and that all get alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from builders import make_record

from bocb_hf.compare import timed
from bocb_hf.compare.design import Design, Fixed
from bocb_hf.compare.timed import TimedSweep
from bocb_hf.runs.config import RunConfig
from bocb_hf.sweep.executors.protocol import Executor
from bocb_hf.sweep.job import Job
from bocb_hf.sweep.loop import TimeIsUp
from bocb_hf.sweep.plan import SweepPlan

NAMES = ("adamw", "sgdm", "lamb", "adan")
FULL, NOTHING = Design(NAMES), Fixed()


@dataclass
class Clock:
    """Time that passes only when a run ends."""

    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


class Nobody:
    """An executor that only says how many workers it has."""

    threads = 1

    def __init__(self, workers: int) -> None:
        self.workers = workers


@dataclass
class Simulated:
    """A sweep whose runs take a time that a function says."""

    folder: Path
    clock: Clock
    takes: Callable[[str, float], float]
    time: float
    expected: float = 10.0
    workers: int = 2
    fixed: Fixed = NOTHING
    design: Design = FULL
    fails: tuple[str, ...] = ()
    jobs: list[Job] = field(default_factory=list[Job])
    ended: list[Job] = field(default_factory=list[Job])
    cuts: list[str] = field(default_factory=list[str])
    out_of_time: bool = False

    def __post_init__(self) -> None:
        keys = self.design.keys()
        more = [f"runtime.store={self.folder / 'store'}", f"runtime.state_dir={self.folder / 'state'}"]
        content = {"edition": 2, "name": "x", "config": "fashion_mnist_subset/demo", "backbones": ["tiny_resnet"]}
        self.plan = SweepPlan.model_validate(content | keys | {"overrides": more, "baselines": False})
        self.begun = self.clock.now

    def changed(self, plan: SweepPlan, cuts: list[str]) -> None:
        self.plan = plan
        self.cuts += cuts

    def run(self) -> TimedSweep:
        """Runs it as the loop does: each job ends after its time, and then more may begin."""
        executor = cast(Executor, Nobody(self.workers))
        seconds = dict.fromkeys(self.design.optimizers, self.expected)
        sweep = TimedSweep(self.plan, executor, seconds, self.begun + self.time, self.fixed, self.changed)
        running: list[tuple[float, Job]] = []
        self._begin((job for jobs in sweep.first() for job in jobs), running)
        try:
            while running:
                running.sort(key=lambda each: each[0])
                self.clock.now, job = running.pop(0)
                if self.clock.now > self.begun + self.time:
                    self.clock.now = self.begun + self.time
                    sweep.more([])
                self.ended.append(job)
                if name_of(job) in self.fails:
                    sweep.fail(job)
                else:
                    sweep.follow(job, self.record(job.config), [each for _, each in running])
                self._begin(sweep.more([each for _, each in running]), running)
        except TimeIsUp:
            self.out_of_time = True
        return sweep

    def _begin(self, jobs: Iterable[Job], running: list[tuple[float, Job]]) -> None:
        for job in jobs:
            self.jobs.append(job)
            running.append((self.clock.now + self.takes(name_of(job), self.clock.now - self.begun), job))
        assert len(running) <= self.workers

    def record(self, config: RunConfig) -> Any:
        lr = config.optimizer.lr
        assert lr is not None
        rising = 80.0 + lr  # the highest rate is the best, so that the winner is at the edge
        return make_record(
            "tiny_resnet", config.optimizer.name, seed=config.seed, role=config.role, lr=lr, val_top1=min(rising, 99.0)
        )

    def of(self, role: str) -> dict[str, int]:
        """How many runs of a role ended, by optimizer."""
        counted = Counter(name_of(job) for job in self.ended if job.config.role == role)
        return {name: counted[name] for name in self.design.optimizers}


def name_of(job: Job) -> str:
    return job.config.optimizer.name


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(timed, "time", found)
    return found


def steady(seconds: float) -> Callable[[str, float], float]:
    return lambda name, now: seconds


def test_with_enough_time_all_is_done_and_the_rest_goes_into_seeds(clock: Clock, tmp_path: Path) -> None:
    found = Simulated(tmp_path, clock, steady(10.0), time=400.0)
    sweep = found.run()
    assert not found.out_of_time and found.cuts == []
    assert set(found.of("trial").values()) == {5 + 1 + 3}  # five rates, one beyond the edge, the better half again
    finals = set(found.of("final").values())
    assert len(finals) == 1 and finals.pop() > 3  # equally many for all, and more than were planned
    assert 400 - 4 * 10 / 2 - 10 <= clock.now <= 400
    assert sweep.left() == 0
    assert Design.of(found.plan).finals == len(sweep.ended["adamw"])


def test_centres_first_and_seed_by_seed(clock: Clock, tmp_path: Path) -> None:
    found = Simulated(tmp_path, clock, steady(10.0), time=400.0)
    found.run()
    first = [name_of(job) for job in found.jobs[:4]]
    assert sorted(first) == sorted(NAMES)
    centres = {job.config.optimizer.lr for job in found.jobs[:4]}
    assert len(centres) > 1 and all(job.place is not None and job.place[1] == 100 for job in found.jobs[:20])
    seeds = [job.config.seed for job in found.jobs if job.config.role == "final"]
    assert all(abs(seed - other) <= 1 for seed, other in pairwise(seeds))
    assert len(
        {(name_of(job), job.config.role, job.config.seed, job.config.optimizer.lr) for job in found.jobs}
    ) == len(found.jobs)


@pytest.mark.parametrize("slower", [1.5, 2.5, 4.0])
def test_slower_steps_cut_the_plan_for_all_alike(slower: float, clock: Clock, tmp_path: Path) -> None:
    found = Simulated(tmp_path, clock, steady(10.0 * slower), time=260.0)
    sweep = found.run()
    assert clock.now <= 260 and found.cuts
    kept = sweep.plan.optimizers
    finals = {name: count for name, count in found.of("final").items() if name in kept}
    assert len(kept) >= 2 and min(finals.values()) >= 2
    assert max(finals.values()) - min(finals.values()) <= 1
    assert SweepPlan.model_validate(found.plan.model_dump()) == sweep.plan


def test_what_becomes_slow_late_still_ends_with_an_answer(clock: Clock, tmp_path: Path) -> None:
    found = Simulated(tmp_path, clock, lambda name, now: 10.0 if now < 90 else 22.0, time=300.0)
    sweep = found.run()
    assert clock.now <= 300
    assert all(len(sweep.ended[name]) >= 2 for name in sweep.plan.optimizers)


def test_an_optimizer_that_is_slow_counts_by_its_own_time(clock: Clock, tmp_path: Path) -> None:
    found = Simulated(tmp_path, clock, lambda name, now: 40.0 if name == "adan" else 5.0, time=400.0, expected=5.0)
    sweep = found.run()
    assert clock.now <= 400
    assert sweep.seconds["adan"] == 40 and sweep.seconds["adamw"] == 5


def test_nothing_begins_that_cannot_end(clock: Clock, tmp_path: Path) -> None:
    found = Simulated(tmp_path, clock, steady(10.0), time=33.0, workers=1, fixed=Fixed(True, True, True))
    found.run()
    assert clock.now == 30 and len(found.jobs) == 3 and not found.out_of_time


def test_the_time_is_up_while_runs_are_in_progress(clock: Clock, tmp_path: Path) -> None:
    found = Simulated(tmp_path, clock, lambda name, now: 10.0 if now < 20 else 1e6, time=100.0)
    found.run()
    assert found.out_of_time and clock.now == 100


def test_what_fails_leaves_the_others_alone(clock: Clock, tmp_path: Path) -> None:
    found = Simulated(tmp_path, clock, steady(10.0), time=500.0, fails=("lamb",))
    sweep = found.run()
    assert len([job for job in found.jobs if name_of(job) == "lamb"]) <= 2
    assert len({len(sweep.ended[name]) for name in NAMES if name != "lamb"}) == 1
    assert len(sweep.ended["adamw"]) > 3


def test_what_the_user_fixed_stays(clock: Clock, tmp_path: Path) -> None:
    found = Simulated(tmp_path, clock, steady(10.0), time=600.0, fixed=Fixed(finals=True))
    sweep = found.run()
    assert {len(sweep.ended[name]) for name in NAMES} == {3} and clock.now < 500
