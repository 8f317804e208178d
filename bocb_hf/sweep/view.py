"""What a sweep shows while it runs: one live view in a terminal, elsewhere one line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, TextIO

from bocb_hf.runs.record import RunRecord

_LINE_EVERY = 60.0  # seconds between two lines where there is no terminal
_MAX_RUNNING = 12  # runs that the live view names


@dataclass
class Progress:
    """How far a sweep is.

    Attributes:
        planned: Number of runs that are known to be needed.
        done: Runs that have ended, those of earlier sessions included.
        failed: Jobs that failed in this session.
        running: What runs now: name, steps done, steps in all.
        scores: Test scores in percent of completed final runs, by backbone and optimizer.
        metrics: What these scores are, such as ``top-1`` or ``AP``.
        ends: When the sweep must end, as ``time.time``; None where it takes as long as it takes.
    """

    planned: int
    done: int = 0
    failed: int = 0
    running: Sequence[tuple[str, int, int]] = ()
    scores: dict[tuple[str, str], list[float]] = field(default_factory=dict[tuple[str, str], list[float]])
    ends: float | None = None
    metrics: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        self._began, self._trained = time.time(), 0

    def add(self, backbone: str, optimizer: str, record: RunRecord) -> None:
        """Counts a run that has ended."""
        if record.status == "interrupted":
            return
        self.done += 1
        self._trained += _seconds_since_epoch(record.finished_at) >= self._began - 1
        test = record.metrics.test
        if record.role == "final" and record.status == "completed" and test is not None and test.last is not None:
            self.scores.setdefault((backbone, optimizer), []).append(test.last)
            self.metrics.add(record.metrics.name)

    def per_hour(self, now: float | None = None) -> float | None:
        """Runs an hour that were trained in this session; None before the first has ended."""
        elapsed = (time.time() if now is None else now) - self._began
        return 3600 * self._trained / elapsed if self._trained and elapsed > 0 else None

    def line(self) -> str:
        """The progress in one line."""
        parts = [f"{self.done} of {self.planned} runs done", f"{len(self.running)} running", f"{self.failed} failed"]
        rate, left = self.per_hour(), self.planned - self.done - self.failed
        if self.ends is not None:
            parts.append(f"{_duration(self.ends - time.time())} of the time left")
        elif rate is not None:
            parts += [f"{rate:.0f} runs an hour", f"about {_duration(3600 * left / rate)} left"]
        return ", ".join(parts)


def _seconds_since_epoch(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class View(Protocol):
    """Shows the progress of a sweep inside its context."""

    def update(self, progress: Progress) -> None:
        """Shows how far the sweep is."""
        ...

    def say(self, message: str) -> None:
        """Prints a message that stays."""
        ...

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class LineView:
    """Prints one line a minute, the first at once and the last at the end."""

    def __init__(self, stream: TextIO, every: float = _LINE_EVERY) -> None:
        self._stream, self._every = stream, every
        self._next, self._last, self._shown = 0.0, "", ""

    def update(self, progress: Progress) -> None:
        """Prints a line when a minute has passed."""
        self._last = progress.line()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every
            self._print()

    def _print(self) -> None:
        if self._last != self._shown:
            self.say(f"{time.strftime('%H:%M:%S')} {self._last}")
        self._shown = self._last

    def say(self, message: str) -> None:
        """Prints a message."""
        print(message, file=self._stream, flush=True)

    def __enter__(self) -> LineView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._print()


class LiveView:
    """Shows counts, what runs, and the table so far in a part of the terminal that is drawn anew every second."""

    def __init__(self, console: Any) -> None:
        from rich.live import Live

        self._live = Live(console=console, refresh_per_second=2, transient=False)

    def update(self, progress: Progress) -> None:
        """Draws the view."""
        self._live.update(draw(progress))

    def say(self, message: str) -> None:
        """Prints a message above the view."""
        self._live.console.print(message, markup=False, highlight=False)

    def __enter__(self) -> LiveView:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)


def draw(progress: Progress) -> Any:
    """The live view of a progress, as something that rich prints."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = [Text(progress.line()), ProgressBar(total=max(1, progress.planned), completed=progress.done)]
    running = Table.grid(padding=(0, 2))
    for name, step, total in progress.running[:_MAX_RUNNING]:
        running.add_row(name, f"step {step} of {total}" if total else "starting")
    if len(progress.running) > _MAX_RUNNING:
        running.add_row(f"and {len(progress.running) - _MAX_RUNNING} more", "")
    parts.append(running)
    if progress.scores:
        backbones = sorted({backbone for backbone, _ in progress.scores})
        metrics = " / ".join(sorted(progress.metrics))
        table = Table(title=f"test {metrics} so far: mean (number of runs)", title_justify="left")
        table.add_column("optimizer")
        for backbone in backbones:
            table.add_column(backbone, justify="right")
        for optimizer in sorted({optimizer for _, optimizer in progress.scores}):
            found = [progress.scores.get((backbone, optimizer)) for backbone in backbones]
            table.add_row(optimizer, *(f"{sum(f) / len(f):.2f} ({len(f)})" if f else "" for f in found))
        parts.append(table)
    return Group(*parts)


def open_view(stream: TextIO | None = None) -> View:
    """The live view where the stream is a terminal, else lines."""
    shown = sys.stderr if stream is None else stream
    if not shown.isatty():
        return LineView(shown)
    from rich.console import Console

    return LiveView(Console(file=shown))
