"""Training processes that take turns on a machine: all but one are stopped (SIGSTOP) at any time.

So loops that live in processes of their own, with workers of their own, alternate within one run, and each has the
whole machine in its turn. A loop says ``REPORT <seconds>`` on its output after every step: how long it waited for its
inputs or made them. timm's train.py says the same in its own words.
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import psutil

REPORT = re.compile(r"REPORT (?P<waited>\S+)|Train: .* Data: (?P<timm>[\d.]+) \(")
FEWEST = 3  # steps of a turn


class Step(NamedTuple):
    """The report of one step: when it came, and the seconds in which the loop waited for or made its inputs."""

    at: float
    waited: float


class Turn(NamedTuple):
    """What one loop did in its turn: images a second, and shares of data in percent."""

    rate: float
    waited: float
    loaders: float


class Running:
    """The processes of one loop, stopped but in their turn.

    Args:
        commands: One for each process.
        threads: Of torch in each.
        batch: Images of a step.
    """

    def __init__(self, commands: list[list[str]], threads: int, batch: int, folder: str) -> None:
        self._batch = batch
        environment = os.environ | {"HF_DATASETS_CACHE": f"{folder}/cache", "HF_HUB_OFFLINE": "1"}
        environment |= {"OMP_NUM_THREADS": str(threads)}
        self._processes = [
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
                start_new_session=True,
            )
            for command in commands
        ]
        self._steps: list[list[Step]] = [[] for _ in commands]
        self._said: list[str] = []
        for process, steps in zip(self._processes, self._steps, strict=True):
            threading.Thread(target=self._listen, args=(process, steps), daemon=True).start()

    def _listen(self, process: subprocess.Popen[str], steps: list[Step]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            found = REPORT.search(line)
            if found is None:
                self._said.append(line)
            else:
                steps.append(Step(time.perf_counter(), float(found["waited"] or found["timm"])))

    def warm_up(self, steps: int) -> None:
        """Waits until every process has done so many steps, and stops it."""
        while any(len(done) < steps for done in self._steps):
            time.sleep(0.05)
            self._check()
        self._signal(signal.SIGSTOP)

    def take_turn(self, seconds: float) -> Turn:
        """Lets the processes run so long."""
        starts = [len(steps) for steps in self._steps]
        before = self._processor_seconds()
        self._signal(signal.SIGCONT)
        time.sleep(seconds)
        while any(len(steps) < start + FEWEST for steps, start in zip(self._steps, starts, strict=True)):
            time.sleep(0.05)
            self._check()
        self._signal(signal.SIGSTOP)
        after = self._processor_seconds()
        time.sleep(0.1)  # what was written before the stop has arrived
        rates, shares = [], []
        for steps, start in zip(self._steps, starts, strict=True):
            turn = steps[start:]  # the first report ends a step that was stopped
            spent = turn[-1].at - turn[0].at
            rates.append((len(turn) - 1) * self._batch / spent)
            shares.append(sum(step.waited for step in turn[1:]) / spent)
        own, loaders = (b - a for a, b in zip(before, after, strict=True))
        return Turn(sum(rates), 100 * statistics.mean(shares), 100 * loaders / (own + loaders))

    def end(self) -> None:
        """Ends the processes."""
        self._signal(signal.SIGKILL)
        for process in self._processes:
            process.wait()

    def _check(self) -> None:
        if any(process.poll() is not None for process in self._processes):
            raise SystemExit("".join(self._said[-40:]))

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, number)

    def _processor_seconds(self) -> tuple[float, float]:
        """Of the processes that train, and of their loaders."""
        own = loaders = 0.0
        for process in map(psutil.Process, (p.pid for p in self._processes)):
            own += sum(process.cpu_times()[:2])
            loaders += sum(sum(child.cpu_times()[:2]) for child in process.children(recursive=True))
        return own, loaders


def alternate(starts: dict[str, Callable[[], Running]], rounds: int, seconds: float) -> dict[str, list[Turn]]:
    """The turns of all loops, a list of ``rounds`` for each; they are started one after another."""
    loops: dict[str, Running] = {}
    try:
        for name, start in starts.items():
            loops[name] = start()
            loops[name].warm_up(5)
        turns: dict[str, list[Turn]] = {name: [] for name in loops}
        for _ in range(rounds):
            for name, running in loops.items():
                turns[name].append(running.take_turn(seconds))
        return turns
    finally:
        for running in loops.values():
            running.end()
