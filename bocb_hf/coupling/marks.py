"""What stands beside the means of a table, in figures and in text alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.table import Table


@dataclass(frozen=True)
class Marks:
    """What a table of means says beside them.

    Attributes:
        halves: Half widths of 95 % intervals in points, shape (B, O); NaN where there is none.
        near: Cells inside the interval of their backbone's best, shape (B, O).
        failed: Cells that a failure rule flags, shape (B, O); None flags none.
        rule: The rule in words.
    """

    halves: NDArray[np.float64]
    near: NDArray[np.bool_]
    failed: NDArray[np.bool_] | None = None
    rule: str = ""

    @classmethod
    def of(cls, table: Table) -> Marks:
        """What the records of a table say."""
        rows = [table.column(b) for b in table.backbones]
        halves = [[row.interval.half_width if row.interval else np.nan for row in column] for column in rows]
        return cls(np.array(halves), np.array([[table.near_best(row) for row in column] for column in rows]))

    @classmethod
    def none(cls, scores: ScoreTable) -> Marks:
        """No interval is known."""
        shape = scores.means.shape
        return cls(np.full(shape, np.nan), np.zeros(shape, np.bool_))
