"""The trials of a table, as drawing the choice of every cell's configuration again takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.row import Row
from bocb_hf.coupling.selection import Candidate, candidates_of, choose_candidate
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.tuned import LR, WEIGHT_DECAY, SelectionRule, Tuned, TunedAxis

UNTUNED = "there are no trials"
ONE_SEED = "rates were tried with one seed"


@dataclass(frozen=True, eq=False)
class CellTuning:
    """The trials among which the configuration of one cell was chosen.

    Attributes:
        top1: Last-epoch validation top-1 in points, shape (C, S) for C configurations in rising order and S tuning
            seeds; NaN where a trial did not complete.
        distance: Steps of each configuration from the centre of its grid, shape (C,).
        images: Number of validation images.
        rule: The rule that chose.
        chosen: Place of the configuration that it chose.
        halving: Whether only the better half, rounded up, of the configurations got each further seed.
        packed: Which validation images each trial classifies correctly, shape (C, S, ⌈images/8⌉) as ``numpy.packbits``
            gives them, zeros where a trial did not complete; None where any completed trial does not tell.
    """

    top1: NDArray[np.float64]
    distance: NDArray[np.float64]
    images: int
    rule: SelectionRule
    chosen: int
    packed: NDArray[np.uint8] | None = None
    halving: bool = False

    @property
    def full(self) -> NDArray[np.bool_]:
        """Configurations with a score for as many seeds as any: only these can be chosen; shape (C,)."""
        done = np.isfinite(self.top1).sum(axis=1)
        return (done == done.max()) & (done > 0)

    @property
    def possible(self) -> NDArray[np.bool_]:
        """Configurations that other noise might have chosen: with halving, all that have the first seed; shape (C,)."""
        return np.isfinite(self.top1[:, 0]) if self.halving else self.full


@dataclass(frozen=True, eq=False)
class Tuning:
    """The trials of a table's cells.

    Attributes:
        cells: The trials of each cell whose choice can be drawn again, by its place (backbone, optimizer).
        unknown: Why it cannot, by the place of each other cell that has a final run.
        shape: Number of backbones and of optimizers.
        whole: The trials of the table that this is a part of, and the places of this part's backbones and optimizers in
            it; None for a whole table. What tuning adds to the noise is learned from the whole.
    """

    cells: Mapping[tuple[int, int], CellTuning]
    unknown: Mapping[tuple[int, int], str]
    shape: tuple[int, int]
    whole: tuple[Tuning, tuple[int, ...], tuple[int, ...]] | None = None

    def select(self, rows: Sequence[int], columns: Sequence[int]) -> Tuning:
        """Returns the trials of some backbones and optimizers, given by their places."""
        places = {(b, o): (i, j) for i, b in enumerate(rows) for j, o in enumerate(columns)}
        top, above, beside = self.whole or (self, range(self.shape[0]), range(self.shape[1]))
        return Tuning(
            {places[k]: v for k, v in self.cells.items() if k in places},
            {places[k]: v for k, v in self.unknown.items() if k in places},
            (len(rows), len(columns)),
            (top, tuple(above[b] for b in rows), tuple(beside[o] for o in columns)),
        )

    def reason(self, needed: NDArray[np.bool_]) -> str | None:
        """Returns why the part of the tuning in the noise cannot be known; None where it can.

        Args:
            needed: The cells that must be known, shape (B, O).
        """
        reasons = [
            self.unknown.get((b, o), UNTUNED) for b, o in np.argwhere(needed).tolist() if (b, o) not in self.cells
        ]
        if not reasons:
            return None
        common = max(sorted(set(reasons)), key=reasons.count)
        count = "" if len(reasons) == needed.sum() else f" in {reasons.count(common)} of {int(needed.sum())} cells"
        return common + count


def tuning_of(rows: Sequence[Sequence[Row]]) -> Tuning:
    """Collects the trials of a table.

    Args:
        rows: The shown rows, backbones × optimizers.
    """
    cells: dict[tuple[int, int], CellTuning] = {}
    unknown: dict[tuple[int, int], str] = {}
    for b, line in enumerate(rows):
        for o, row in enumerate(line):
            if not row.finals:
                continue
            found = _cell(row)
            if isinstance(found, str):
                unknown[b, o] = found
            else:
                cells[b, o] = found
    return Tuning(cells, unknown, (len(rows), len(rows[0])))


def _cell(row: Row) -> CellTuning | str:
    """Returns the trials of a cell, or why its choice cannot be drawn again."""
    if not row.trials:
        return UNTUNED
    final = row.finals[0]
    tuned = final.tuned or _supposed(row)
    if len(tuned.seeds) < 2:
        return ONE_SEED
    candidates = candidates_of(row.trials, final.model_copy(update={"tuned": tuned}))
    if not any(value is not None for c in candidates for value in c.top1):
        return "no trial that differs from the final runs in the tuned values alone completed"
    chosen = choose_candidate(candidates, tuned.selection)
    if chosen.config_hash != final.config_hash:
        return "the trials do not choose the configuration of the final runs"
    top1 = np.array([[np.nan if v is None else v for v in c.top1] for c in candidates], np.float64)
    if int(np.isfinite(top1).sum(axis=1).max()) < 2:
        return ONE_SEED
    distance = np.array([c.distance for c in candidates])
    images = max(c.images for c in candidates)
    packed = _bits(candidates, row.trials, tuned.seeds, images)
    place = candidates.index(chosen)
    return CellTuning(top1, distance, images, tuned.selection, place, packed, tuned.protocol == "halving")


def _supposed(row: Row) -> Tuned:
    """Returns what older records do not say: they were tuned by the highest mean, in learning rate and weight decay."""
    optimizer = row.finals[0].identity.optimizer
    axes = (TunedAxis(name=LR, centre=optimizer.lr), TunedAxis(name=WEIGHT_DECAY, centre=optimizer.weight_decay))
    return Tuned(protocol="grid", selection="best", seeds=tuple(sorted({t.seed for t in row.trials})), axes=axes)


def _bits(
    candidates: Sequence[Candidate], trials: Sequence[RunRecord], seeds: Sequence[int], images: int
) -> NDArray[np.uint8] | None:
    """Returns which images each trial classifies correctly, in the order of the candidates; None where any lacks it."""
    right = {(t.config_hash, t.seed): t.val_correctness for t in trials}
    found = np.zeros((len(candidates), len(seeds), (images + 7) // 8), np.uint8)
    for c, candidate in enumerate(candidates):
        for s, seed in enumerate(seeds):
            if candidate.top1[s] is None:
                continue
            own = right[candidate.config_hash, seed]
            if own is None or own.n != images:
                return None
            found[c, s] = np.packbits(own.bits())
    return found
