"""The marks and intervals that stand beside the means of a table, in figures and in text alike.

One rule decides ★ and ☆ in every output: where there is noise to go by, ★ is the highest mean of a backbone and ☆ each
other cell of Hsu's best set (``ranks.best_sets``); without noise ★ is the highest mean, and nothing has a ☆.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.failure import GAMMA, find_failures
from bocb_hf.coupling.ranks import BestSets, best_sets
from bocb_hf.coupling.reading import GIVEN
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.table import Table

BEST, NEAR = "★", "☆"
DRAWS = 4000  # of Hsu's comparisons, twice those of a bootstrap by default
RULE = f"failed: diverged, or over {GAMMA:g} points below the backbone's median, interval included"
HSU = f"{BEST} highest mean of the backbone, {NEAR} not told apart from its best (Hsu, 95 % for each backbone)"
HIGHEST = f"{BEST} highest mean of the backbone; others may be as good, since noise cannot be compared here"

MarkRule = Literal["hsu", "highest_mean"]


@dataclass(frozen=True, eq=False)
class Marks:
    """The intervals and flags that a table shows beside its means.

    Attributes:
        halves: How far 95 % intervals reach up from the mean in points, shape (B, O); NaN where there is none.
        signs: ``★``, ``☆`` or an empty string for each cell, shape (B, O), by ``rule``.
        rule: The rule of ``signs``: Hsu's best sets, or the highest mean alone.
        failed: Cells that a failure rule flags, shape (B, O); None flags none.
        failure_rule: The rule that ``failed`` follows, in words.
        best: The best sets that ``signs`` follow; None without noise, or where they were not computed here.
        halved: Cells with a run whose batch norm saw fewer images at once because memory ran out, shape (B, O); None
            marks none.
        below: Points by which intervals reach further down, for rare losses, shape (B, O); None: nowhere.
        reading: What the intervals are over, in words (``reading.py``).
    """

    halves: NDArray[np.float64]
    signs: NDArray[np.str_]
    rule: MarkRule
    failed: NDArray[np.bool_] | None = None
    failure_rule: str = ""
    best: BestSets | None = None
    halved: NDArray[np.bool_] | None = None
    below: NDArray[np.float64] | None = None
    reading: str = GIVEN

    @classmethod
    def of(cls, scores: ScoreTable, table: Table | None = None, draws: int = DRAWS) -> Marks:
        """Returns signs, the flags of the default failure rule, and the intervals of the records where there are any.

        Args:
            scores: The table as scores.
            table: The same table as records; None for a table that was published as scores.
            draws: Simulated draws of the best sets.
        """
        halves, halved, below = np.full(scores.means.shape, np.nan), None, None
        if table is not None:
            rows = [table.column(b) for b in table.backbones]
            halves = np.array([[row.reach[1] if row.reach else np.nan for row in c] for c in rows])
            halved = np.array([[row.halved for row in c] for c in rows], np.bool_)
            if table.rare is not None and table.rare.loss > 0:
                below = np.array([[row.estimate.below if row.estimate else 0.0 for row in c] for c in rows])
        best = best_sets(scores, draws=draws)
        rule = "highest_mean" if best is None else "hsu"
        flags, text = find_failures(scores).failed, scores.reading.text
        return cls(halves, mark_best(scores, best), rule, flags, RULE, best, halved, below, text)

    def ends(self, b: int, o: int) -> tuple[float, float]:
        """Returns how far the interval of a cell reaches down and up from the mean, in points; NaN without one."""
        half = float(self.halves[b, o])
        return half + (0.0 if self.below is None else float(self.below[b, o])), half

    @classmethod
    def none(cls, scores: ScoreTable) -> Marks:
        """Returns marks without intervals and without flags; ★ is the highest mean."""
        return cls(np.full(scores.means.shape, np.nan), mark_best(scores, None), "highest_mean")

    @property
    def near(self) -> NDArray[np.bool_]:
        """Cells with a ☆, shape (B, O)."""
        return self.signs == NEAR

    @property
    def sign_rule(self) -> str:
        """The rule of the signs, in words."""
        return HSU if self.rule == "hsu" else HIGHEST


def mark_best(scores: ScoreTable, best: BestSets | None) -> NDArray[np.str_]:
    """Returns ★ for the highest mean of each backbone, ties included, and ☆ for the others that may be as good.

    Args:
        scores: The table; only ranked cells have a sign.
        best: Hsu's best sets of the table; None gives no ☆, since nothing is known of the noise.

    Returns:
        ``★``, ``☆`` or an empty string, shape (B, O).
    """
    means = scores.means
    known = np.isfinite(means)
    highest = np.where(known, means, -np.inf).max(axis=1, keepdims=True)
    top = known & (means == highest)
    near = np.zeros(means.shape, np.bool_) if best is None else best.candidates & known & ~top
    return np.where(top, BEST, np.where(near, NEAR, ""))
