"""Which backbones and optimizers of a source an answer rests on, and the scores that could be true on the target."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.posterior import posterior
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.errors import InputError
from bocb_hf.recommend.evidence import Evidence
from bocb_hf.recommend.preference import Scenarios
from bocb_hf.recommend.sets import Floats
from bocb_hf.recommend.tags import Tags, similarity

DRAWS = 400  # draws of the true scores, over all scenarios


def usable(scores: ScoreTable) -> Floats:
    """Returns means, with chance for a cell that diverged in any run, shape (B, O); NaN where there is no run.

    Where chance has no known score, it is 0. Chance stands for a failed cell here only, where it keeps a set from
    resting on it; no table shows it. A backbone on which nothing completed has nothing at all: no choice loses a point
    there, which would make every set look good.
    """
    lowest = scores.chance if scores.chance is not None else 0.0
    some = scores.ranked.any(axis=1, keepdims=True)
    return np.where(failed(scores) & some, lowest, scores.means)


def failed(scores: ScoreTable) -> NDArray[np.bool_]:
    """Returns the cells that diverged in some run, shape (B, O)."""
    return np.isin(scores.status, ("diverged", "partial"))


def comparable(
    scores: ScoreTable, values: Floats, rest: list[int], own: int | None
) -> tuple[list[int], list[int], dict[str, str]]:
    """Selects optimizers that enough backbones tried, then backbones that tried enough of these.

    Raises:
        InputError: Fewer than two optimizers remain.
    """
    known = np.isfinite(values)
    tried = known[rest].mean(axis=0) if rest else np.zeros(len(scores.optimizers))
    columns = [o for o in range(len(scores.optimizers)) if tried[o] >= 0.5 or (own is not None and known[own, o])]
    if len(columns) < 2:
        raise InputError(
            "recommend: fewer than two optimizers were tried on enough backbones of this source; run more cells"
        )
    rows = [i for i in rest if known[i, columns].mean() >= 0.5]
    left_out = {
        scores.backbones[i]: "fewer than half of its cells have a score"
        if known[i].any()
        else "nothing completed on it"
        for i in rest
        if i not in rows
    }
    # holes of the target are filled from other backbones; an optimizer that none of them tried is no candidate
    if own is not None:
        columns = [o for o in columns if known[own, o] or known[rows, o].any()]
    rows = [i for i in rows if known[i, columns].any()]
    if rows:
        blank = [o for o in columns if not known[rows, o].any()]
        if blank:  # only the target itself has tried these, so the others cannot judge them
            rows = [] if known[own, columns].all() else rows
            columns = columns if not rows else [o for o in columns if o not in blank]
    return columns, rows, left_out


def pairwise(tags: list[Tags]) -> Floats:
    """Returns the weight of backbone j for backbone i, judged without i itself, shape (B, B)."""
    weights = np.zeros((len(tags), len(tags)))
    for i, one in enumerate(tags):
        others = [j for j in range(len(tags)) if j != i]
        weights[i, others] = similarity(one, [tags[j] for j in others])
    return weights


def errors_of(source: Evidence, own: int, columns: list[int]) -> Floats:
    """Returns the standard error over seeds of the target's means, in points; NaN where noise cannot be separated."""
    return np.full(len(columns), np.nan) if source.errors is None else source.errors[own, columns]


def drawn_scores(scores: ScoreTable, rows: list[int], columns: list[int], known: Floats) -> Floats:
    """Returns draws of the true scores of some backbones, shape (backbones, draws, columns).

    Args:
        scores: The table.
        rows: Backbones of the table.
        columns: Optimizers of the table.
        known: Scores with which cells that are not ranked stand in every draw, shape (backbones, columns); they stand
            alone, as the only draw, where the table has no posterior, or n = 1 and several backbones are asked for:
            their own differences then tell more than a guess of how much of them is noise.
    """
    found = None
    if len(rows) == 1 or not scores.single:
        with suppress(InputError):  # blocks that share nothing
            found = posterior(scores)
    if found is None:
        return known[:, None]
    each = max(1, DRAWS // len(rows))
    places = np.linspace(0, len(found.means) - 1, each).astype(np.intp)
    drawn = np.moveaxis(found.means[places][:, rows][:, :, columns], 0, 1)
    ranked = scores.ranked[np.ix_(rows, columns)][:, None]
    return np.where(ranked, np.clip(drawn, 0, 100), known[:, None])


def further_scores(scores: ScoreTable, rows: list[int], columns: list[int], weights: Floats) -> Floats | None:
    """Returns draws of further backbones like those that have a weight, shape (draws, backbones, columns).

    Returns:
        The draws, up to a level for each backbone; None where fewer than three backbones have a weight, or their table
        has no posterior.
    """
    used = [scores.backbones[row] for row, weight in zip(rows, weights, strict=True) if weight > 0]
    if len(used) < 3:
        return None
    whole = len(used) == len(scores.backbones) and columns == list(range(len(scores.optimizers)))
    try:  # the whole table has been asked for already
        found = posterior(scores if whole else scores.select(used, [scores.optimizers[c] for c in columns]))
    except InputError:  # blocks that share nothing
        return None
    return None if found is None else found.further


def reference_scenarios(drawn: Floats, weights: Floats, others: Floats, clusters: NDArray[np.intp]) -> Scenarios:
    """Makes scenarios of backbones, each as often as it has draws; backbones without weight are left out."""
    used = np.flatnonzero(weights > 0)
    places = np.repeat(used, drawn.shape[1])
    apart = places[:, None] != places[None, :]
    return Scenarios(
        drawn[used].reshape(len(places), -1),
        weights[places],
        np.where(apart, others[np.ix_(places, places)], 0.0),
        places,
        clusters[places],
    )


def own_scenarios(
    mine: Floats, drawn: Floats, filled: Floats, weights: Floats, others: Floats, clusters: NDArray[np.intp]
) -> Scenarios:
    """Makes scenarios of a backbone with scores of its own: draws of its true ones, holes from comparable columns."""
    holes = np.isnan(mine)
    if not holes.any() or not weights.any():
        values = np.where(holes, np.nanmin(mine), drawn)
        draws, place = len(values), np.zeros(len(values), np.intp)
        return Scenarios(values, np.ones(draws), np.zeros((draws, draws)), place, place)
    used = np.flatnonzero(weights > 0)
    level = np.mean(mine[~holes]) - filled[used][:, ~holes].mean(axis=1)  # (backbones,)
    moved = np.clip(filled[used] + level[:, None], 0, 100)
    picks = drawn[np.arange(max(len(used), len(drawn) - len(drawn) % len(used))) % len(drawn)]
    several = picks.reshape(-1, len(used), len(mine)).swapaxes(0, 1)  # (backbones, draws, O)
    values = np.where(holes, moved[:, None], several)
    table = np.zeros((len(weights), *values.shape[1:]))
    table[used] = values
    return reference_scenarios(table, weights, others, clusters)
