"""What a table lacks, in words: the cells without a mean, what stood in for them, and why an answer is not there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bocb_hf.coupling.indices import Cost
from bocb_hf.coupling.interaction_tests import Test
from bocb_hf.coupling.ranks import Ranking
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.report.words.tables import backbone_label, cell_names, optimizer_label, some

STATES = {
    "missing": "not run",
    "interrupted": "interrupted",
    "diverged": "diverged",
    "partial": "partly diverged",
}


def lacking(scores: ScoreTable) -> str:
    """Returns which cells have no mean, by their state, as part of a sentence; nothing for a table without any."""
    parts: list[str] = []
    for state, word in STATES.items():
        places = np.argwhere(scores.status == state).tolist()
        if places:
            cells = [(scores.backbones[b], scores.optimizers[o]) for b, o in places]
            parts.append(f"{len(cells)} {word} ({cell_names(cells)})")
    return "; ".join(parts)


def lacking_text(scores: ScoreTable, not_joined: Sequence[tuple[str, str]] = ()) -> list[str]:
    """Returns sentences on the cells without a mean, and on those that nothing joins to the others."""
    found: list[str] = []
    if told := lacking(scores):
        count, cells = int((~scores.ranked).sum()), scores.ranked.size
        found.append(f"{count} of {cells} cells have no mean: {told}. What follows rests on the others.")
    if not_joined:
        found.append(
            f"{len(not_joined)} cell(s) share neither backbone nor optimizer with the others, directly or by steps, "
            f"and cannot be compared with them: {cell_names(not_joined)}. A cell that joins them would let them count."
        )
    return found


def test_basis(test: Test, scores: ScoreTable) -> str:
    """Returns the cells that the test of interaction rests on, where they are not all; otherwise nothing."""
    if test.cells == scores.ranked.size:
        return ""
    return f" on {test.cells} cells of {test.backbones} backbones and {test.optimizers} optimizers"


def stood_in(cost: Cost) -> str:
    """Returns what stood in for cells of the cost of coupling that were not run, as part of a sentence."""
    if not cost.holes:
        return ""
    total = len(cost.backbones) * len(cost.optimizers)
    return (
        f"; {len(cost.holes)} of these {total} cells were not run ({cell_names(cost.holes)}) and stand at what their "
        "backbone and optimizer lead to expect, so that all optimizers are compared over equal backbones; an interval "
        "holds what they could be"
    )


def ranking_basis(ranking: Ranking, scores: ScoreTable) -> str:
    """Returns what mean ranks rest on where cells lack a rank, in brackets; nothing where all have one."""
    if ranking.critical_difference is not None:
        return ""
    unranked = [optimizer_label(o) for o, r in zip(scores.optimizers, ranking.mean_ranks, strict=True) if np.isnan(r)]
    without = f"; without any: {some(unranked)}" if unranked else ""
    return (
        f" (adjusted for which cells are there: {ranking.cells} of "
        f"{len(ranking.backbones) * len(scores.optimizers)} have a rank{without})"
    )


def pairs_told_apart(ranking: Ranking) -> str:
    """Returns which optimizers a ranking with holes tells apart, as part of a sentence."""
    if not ranking.apart:
        return "no two optimizers are told apart (95 %, all pairs together)"
    pairs = [f"{optimizer_label(better)} before {optimizer_label(worse)}" for better, worse in ranking.apart]
    return f"told apart (95 %, all pairs together): {some(pairs)}"


def adjusted(holes: int) -> str:
    """Returns in brackets how many cells of a contrast were not run; nothing where all were."""
    return f" (adjusted for {holes} cell(s) that were not run)" if holes else ""


def rows_with_gaps(scores: ScoreTable) -> str:
    """Returns how many backbones lack a run optimizer, whose best may be one that was not run; nothing without any."""
    lacks = np.isin(scores.status, ("missing", "interrupted")).any(axis=1) & scores.ranked.any(axis=1)
    names = [backbone_label(scores.backbones[int(b)]) for b in np.flatnonzero(lacks)]
    return f" Among the optimizers that ran; some did not on {some(names)}." if names else ""
