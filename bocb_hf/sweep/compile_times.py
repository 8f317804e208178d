"""What timing a network without and with compiling shows, for ``sweep/compiling.py``. Importing this needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CompileTimes:
    """What compiling a network costs and saves on the machine of a worker.

    Attributes:
        plain: Seconds of an optimizer step without compiling.
        compiled: Seconds of one with it.
        compiling: Seconds until the compiled network has trained and evaluated for the first time.
        steps: Optimizer steps of a run.
    """

    plain: float
    compiled: float
    compiling: float
    steps: int
