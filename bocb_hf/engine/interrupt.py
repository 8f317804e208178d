"""Turns SIGTERM and SIGINT into a flag that the loop reads between steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class StopSignal:
    """Context in which SIGTERM and SIGINT ask the run to save and stop; a second SIGINT raises KeyboardInterrupt.

    Outside the main thread, where Python takes no signals, it changes nothing.
    """

    def __init__(self, signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)) -> None:
        self._signals = signals
        self._previous: dict[signal.Signals, object] = {}
        self.received: signal.Signals | None = None

    @property
    def requested(self) -> bool:
        """Whether the run should save and stop."""
        return self.received is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            self._previous = {s: signal.signal(s, self._handle) for s in self._signals}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type] - what signal() has returned
