"""Runs a comparison: looks, decides, trains in time, and answers. It can be stopped and continued anywhere."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from bocb_hf.compare.answer import Answer, entries_of, find_answer
from bocb_hf.compare.asked import Asked
from bocb_hf.compare.choose import Chooser, look, refitted
from bocb_hf.compare.decide import duration
from bocb_hf.compare.design import Fixed, fit
from bocb_hf.compare.folder import Folder, Known, Session, check_same, default_folder, plan_text, time_for
from bocb_hf.compare.measure import Stopwatch
from bocb_hf.compare.steps import lines_of, next_steps
from bocb_hf.compare.timed import TimedSweep
from bocb_hf.compare.words import floor_lines, legend, sentence, table, wrap
from bocb_hf.coupling.table import Floor, build_tables, floors
from bocb_hf.errors import InputError
from bocb_hf.runs.load_config import write_override
from bocb_hf.runs.record import RunRecord
from bocb_hf.store import open_store
from bocb_hf.store.contents import StoreContents, read_store
from bocb_hf.store.lease import Lease
from bocb_hf.sweep.executors.local import LocalExecutor, visible_gpus
from bocb_hf.sweep.loop import SweepOutcome
from bocb_hf.sweep.plan import SweepPlan
from bocb_hf.sweep.timing import free_memory, this_device
from bocb_hf.sweep.view import Progress, View, open_view

_END = 5.0  # seconds that reading the records and writing the answer take
_HEARTBEAT = 5.0  # seconds between two notes of the time that a session has had
_SMALLEST = 20.0  # seconds that a continued session is given at least

Say = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """How a comparison ended.

    Attributes:
        folder: Its folder.
        answer: The answer; None after ``--dry-run``.
        outcome: How the sweep ended; None after ``--dry-run``.
        stopped: Whether Ctrl-C or SIGTERM stopped it.
    """

    folder: Folder
    answer: Answer | None = None
    outcome: SweepOutcome | None = None
    stopped: bool = False


class Comparison:
    """One comparison: one backbone on one data set.

    Args:
        asked: What the user asks for.
        command: The command, as it can be given again.
        began: When the time began to count, as ``time.monotonic``.
        plugins: Modules that workers import.
        say: Function that prints a line.
    """

    def __init__(self, asked: Asked, command: str, began: float, plugins: Sequence[str], say: Say) -> None:
        self.asked, self.command, self.began, self.say = asked, command, began, say
        self.folder = Folder(asked.out or default_folder(asked))
        gpus = visible_gpus()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = asked.workers or len(gpus) or cores
        threads = 1 if gpus else max(1, cores // workers)
        self.executor = LocalExecutor(workers, threads, plugins=plugins, gpus=gpus)

    def run(self, dry_run: bool = False) -> Result:
        """Runs it, or with ``dry_run`` prints the plan and its cost.

        Raises:
            InputError: Something that is asked for is wrong, or the time is too short.
        """
        try:
            known = self.folder.read()
            self.say(f"looking at {self.asked.data} and {self.asked.backbone} ...")
            found = look(self.asked)
            if known is not None:
                check_same(self.asked, known[1], found.facts.revision, self.folder)
                return self._continue(*known, dry_run)
            on_gpu = this_device().type == "cuda"
            chooser = Chooser(self.asked, found, self.folder.path, self.executor.threads, on_gpu)
            watch = Stopwatch(self.executor, chooser.config_of, chooser.images)
            self.say(f"timing steps on {self.executor.workers} worker(s) ...")
            decision = chooser.decide(lambda: self._left(self.asked.seconds), self.executor.workers, watch)
            self._fit_memory(watch.memory)
            plan, fresh = chooser.plan(decision), chooser.known(decision)
            self._say_plan(plan, fresh)
            if dry_run:
                body = [line for line in plan_text(plan, fresh, self.command).splitlines() if not line.startswith("#")]
                self.say("\n" + "\n".join(body))
                self.say(f"\nThe plan would be written to {self.folder.plan_file}; nothing was trained.")
                self.executor.stop()
                return Result(self.folder)
            return self._train(plan, fresh, self.asked.seconds, chooser.fixed)
        except BaseException:
            self.executor.stop()
            raise

    def _left(self, seconds: float) -> float:
        return seconds - (time.monotonic() - self.began) - _END

    def _fit_memory(self, memory: int) -> None:
        """Takes fewer workers where memory does not suffice for all of them."""
        free = free_memory() + memory * self.executor.workers  # the workers hold what they have timed
        if memory and memory * self.executor.workers > free:
            self.executor.workers = max(1, free // memory)
            self.say(f"Workers: {self.executor.workers}, since each takes {memory / 1e9:.1f} GB of memory. (--workers)")

    def _say_plan(self, plan: SweepPlan, known: Known) -> None:
        for reason in known.reasons:
            self.say(wrap(reason))
        self.say(wrap(f"Workers: {self.executor.workers}. (--workers)"))
        if known.cuts:
            self.say("Cut, to fit into the time:")
            for cut in known.cuts:
                self.say(wrap(f"- {cut}", "  "))
        rate = f"{', '.join(plan.optimizers)} × {plan.tuning.points} rates, {len(plan.final_seeds)} final seeds"
        self.say(f"Plan: {rate}, setting {plan.config}.")

    def _continue(self, plan: SweepPlan, known: Known, dry_run: bool) -> Result:
        """Goes on with a comparison: what is missing, then optimizers that were cut, then further final seeds."""
        seconds = max(time_for(self.asked.seconds, known.sessions), _SMALLEST)
        plan = self._where_data_are(plan, known)
        decided = self.asked.decided()
        fixed = Fixed("optimizers" in known.decided, "rates" in known.decided, "seeds" in decided)
        had = duration(known.taken)
        self.say(f"{self.folder.path}: continuing after {had}, for {duration(seconds)}")
        if dry_run:
            self._say_plan(plan, known)
            self.say("nothing was trained")
            self.executor.stop()
            return Result(self.folder)
        return self._train(plan, known, seconds, fixed, continued=True)

    def _where_data_are(self, plan: SweepPlan, known: Known) -> SweepPlan:
        """The plan with the folder of the data where it is now: the same images may have been moved."""
        now = Path(self.asked.data)
        if not now.is_dir() or str(now.resolve()) == known.data:
            return plan
        known.data = str(now.resolve())
        pairs = [pair for pair in plan.overrides if not pair.startswith("data.name=")]
        return plan.model_copy(update={"overrides": [*pairs, write_override("data.name", known.data)]})

    def _train(self, plan: SweepPlan, known: Known, seconds: float, fixed: Fixed, continued: bool = False) -> Result:
        """Trains until the time is up or nothing is left to do, and answers.

        Raises:
            InputError: Another process works in the same folder, or it cannot be written.
        """
        lease = Lease(self.folder.path / ".lease", f"the comparison in {self.folder.path}")
        try:
            lease.acquire()
        except OSError as error:
            raise InputError(f"--out: cannot write {self.folder.path}: {error.strerror}") from error
        try:
            return self._train_alone(plan, known, seconds, fixed, continued)
        finally:
            lease.release()

    def _train_alone(self, plan: SweepPlan, known: Known, seconds: float, fixed: Fixed, continued: bool) -> Result:
        session = Session(asked=self.asked.seconds)
        known.sessions.append(session)
        before = known.taken
        ends = self.began + seconds - _END
        view = _View(open_view(), ends)

        def changed(new: SweepPlan, cuts: list[str]) -> None:
            known.cuts = list(dict.fromkeys([*known.cuts, *cuts]))
            self.folder.write(new, known, self.command)
            if cuts:
                view.say(wrap(f"steps are slower than timed; cut: {'; '.join(cuts)}"))

        self.folder.write(plan, known, self.command)
        expected = dict.fromkeys(dict.fromkeys([*known.full, *plan.optimizers]), known.seconds)
        sweep = TimedSweep(plan, self.executor, expected, ends, fixed, changed, known.floors)
        if continued:
            self._widen(sweep, known, ends)

        def heartbeat() -> None:
            session.taken = round(time.monotonic() - self.began, 1)
            self.folder.note(known)

        view.follow(sweep, heartbeat)
        outcome = sweep.run(view)
        if not outcome.stopped and not outcome.out_of_time:
            self.executor.close()
        session.ended = "stopped" if outcome.stopped else "time" if outcome.out_of_time else "complete"
        heartbeat()
        answer = self.answer(sweep.plan, known, before + session.taken)
        session.taken = round(time.monotonic() - self.began, 1)
        self.folder.note(known)
        return Result(self.folder, answer, outcome, outcome.stopped)

    def _widen(self, sweep: TimedSweep, known: Known, ends: float) -> None:
        """Takes back in what was cut, as far as the time of this session goes."""
        aim = refitted(sweep.plan, known, self.asked.seeds)
        fixed = replace(sweep.fixed, tuning=bool(sweep.chosen))
        found = fit(aim, ends - time.monotonic(), sweep.seconds, self.executor.workers, fixed, sweep.had())
        if found is not None and found.design != aim.of(sweep.plan):
            sweep.change(replace(found, cuts=[]))

    def answer(self, plan: SweepPlan, known: Known, seconds: float) -> Answer:
        """Reads the records, prints the answer, and writes it beside the page.

        Args:
            plan: The plan.
            known: What is known of the comparison.
            seconds: Time that the comparison has had.
        """
        contents = read_store(open_store(str(self.folder.store)))
        records, below = records_of(contents, plan)
        answer = find_answer(entries_of(records, [*plan.optimizers]), self.executor.workers)
        first = sentence(answer, seconds, known.probe)
        body = [*table(answer), "", *map(wrap, legend(answer)), *map(wrap, floor_lines(answer, below))]
        body += [wrap(f"Cut, to fit into the time: {cut}.") for cut in known.cuts]
        steps = next_steps(answer, contents, plan, self.folder, self.command)
        text = "\n".join([wrap(first), "", *body, "", *lines_of(steps)]) + "\n"
        self.folder.write_file("answer.txt", text.encode())
        self.say("\n" + text.rstrip("\n"))
        from bocb_hf.compare.page import answer_page  # takes a second, which training may use

        html = answer_page(first, answer, below, known, contents, steps)
        self.say(f"The page: {self.folder.write_file('answer.html', html)}")
        return answer


def records_of(contents: StoreContents, plan: SweepPlan) -> tuple[list[RunRecord], list[Floor]]:
    """The records of the plan's runs, and the floors of their data."""
    tables = build_tables(contents.records)
    records = [record for record in contents.records if record.identity.optimizer.name in plan.optimizers]
    return records, floors(tables[0], contents.floors) if tables else []


class _View:
    """The view of a sweep, with the time that is left, and a note of the time now and then."""

    def __init__(self, inner: View, ends: float) -> None:
        self._inner, self._ends, self._noted = inner, time.time() + ends - time.monotonic(), 0.0
        self._sweep: TimedSweep | None = None
        self._heartbeat: Callable[[], None] | None = None
        self._before: int | None = None

    def follow(self, sweep: TimedSweep, heartbeat: Callable[[], None]) -> None:
        """Follows a sweep: how many runs its plan has, and what earlier sessions have done of them."""
        self._sweep, self._heartbeat = sweep, heartbeat
        self._before = sum(done.trials + done.finals for done in sweep.had().values())

    def update(self, progress: Progress) -> None:
        """Shows how far the sweep is."""
        if self._before:
            progress.done, self._before = progress.done + self._before, 0
        if self._sweep is not None:
            progress.planned = max(self._sweep.planned_runs(), progress.done)
        progress.ends = self._ends
        self._inner.update(progress)
        if self._heartbeat is not None and time.monotonic() - self._noted > _HEARTBEAT:
            self._noted = time.monotonic()
            with suppress(InputError):  # a full disk stops the runs themselves, with their own message
                self._heartbeat()

    def say(self, message: str) -> None:
        """Prints a message that stays."""
        self._inner.say(message)

    def __enter__(self) -> _View:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)
