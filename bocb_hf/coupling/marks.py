"""The marks and intervals that stand beside the means of a table, in figures and in text alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.failure import GAMMA, find_failures
from bocb_hf.coupling.reading import GIVEN
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.table import Table

RULE = f"failed: diverged, or over {GAMMA:g} points below the backbone's median, interval included"


@dataclass(frozen=True)
class Marks:
    """The intervals and flags that a table shows beside its means.

    Attributes:
        halves: Half widths of 95 % intervals in points, shape (B, O); NaN where there is none.
        near: Cells that may be as good as their backbone's best, shape (B, O), by ``near_rule``.
        failed: Cells that a failure rule flags, shape (B, O); None flags none.
        rule: The rule that ``failed`` follows, in words.
        near_rule: The rule that ``near`` follows, in words.
        reading: What the intervals are over, in words (``reading.py``).
    """

    halves: NDArray[np.float64]
    near: NDArray[np.bool_]
    failed: NDArray[np.bool_] | None = None
    rule: str = ""
    near_rule: str = "inside the interval of the best"
    reading: str = GIVEN

    @classmethod
    def of(cls, scores: ScoreTable, table: Table | None = None) -> Marks:
        """Returns the flags of the default failure rule, and the intervals of the records where there are any."""
        blank = np.full(scores.means.shape, np.nan)
        near = np.zeros(scores.means.shape, np.bool_)
        if table is not None:
            rows = [table.column(b) for b in table.backbones]
            blank = np.array([[row.interval.half_width if row.interval else np.nan for row in c] for c in rows])
            near = np.array([[table.near_best(row) for row in c] for c in rows])
        return cls(blank, near, find_failures(scores).failed, RULE, reading=scores.reading.text)

    @classmethod
    def none(cls, scores: ScoreTable) -> Marks:
        """Returns marks without intervals and without flags."""
        return cls(np.full(scores.means.shape, np.nan), np.zeros(scores.means.shape, np.bool_))
