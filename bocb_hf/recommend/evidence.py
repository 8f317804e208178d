"""The evidence of a recommendation: one table with its noise and its tuning, from records or from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bocb_hf.coupling.ledger import Entry, ledger, unequal
from bocb_hf.coupling.robustness import Offset, best_configuration, best_offset
from bocb_hf.coupling.scores import ScoreTable, scores_of
from bocb_hf.coupling.table import Table
from bocb_hf.recommend.sets import Floats


@dataclass(frozen=True)
class Tried:
    """The best trial of one cell by its validation score.

    Attributes:
        trials: Number of trials of the cell, diverged ones included.
        steps: Steps of (lr, weight decay) from the centre of the optimizer's own grid; None where only one value was
            tried.
    """

    backbone: str
    optimizer: str
    lr: float
    weight_decay: float
    trials: int
    steps: tuple[int, int] | None


@dataclass(frozen=True)
class Evidence:
    """A table that a recommendation rests on: one published table, or one table of records. Two are never pooled.

    Attributes:
        label: The name of the source for people.
        scores: The scores of the table.
        errors: Standard error of each mean over seeds in points, shape (B, O), NaN where noise cannot be separated;
            None for a published table, which has no seeds.
        tried: Best trials; None for a published table, which has none.
        unequal: The differences in tuning and budget between the cells of the table.
        caution: What limits an answer for a backbone that the table does not hold, as a sentence; None where nothing
            but the design of its backbones does.
    """

    label: str
    scores: ScoreTable
    errors: Floats | None = None
    tried: Sequence[Tried] | None = None
    unequal: Sequence[str] = ()
    caution: str | None = None

    def tried_with(self, optimizer: str) -> Mapping[str, Tried]:
        """Returns the best trials of an optimizer by backbone."""
        return {t.backbone: t for t in self.tried or () if t.optimizer == optimizer}


def evidence_of(
    table: Table, label: str, uri: str, scores: ScoreTable | None = None, entries: Sequence[Entry] | None = None
) -> Evidence:
    """Takes a table of records as evidence.

    Args:
        table: The table.
        label: What the table is of, in words.
        uri: The store that it is from.
        scores: Its scores; None computes them.
        entries: Its ledger; None computes it.
    """
    scores = scores_of(table, uri) if scores is None else scores
    entries = ledger(table) if entries is None else entries
    errors = [[table.shown(b, o).standard_error for o in scores.optimizers] for b in scores.backbones]
    return Evidence(label, scores, np.array(errors, np.float64), tried_of(table), unequal(entries))


def tried_of(table: Table) -> list[Tried]:
    """Returns the best trial of every cell in which a trial completed."""
    found: list[Tried] = []
    for row in (row for row in table.rows if row.shown):
        best = best_configuration(row.trials)
        if best is None:
            continue
        offset = best_offset(row)
        steps = (offset.lr, offset.weight_decay) if isinstance(offset, Offset) else None
        found.append(Tried(row.cell.backbone, row.cell.optimizer, *best, len(row.trials), steps))
    return found
