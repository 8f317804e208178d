"""The answer of one source for one backbone: which optimizers, with which expected regret, from which cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.statistics import Interval
from bocb_hf.errors import InputError
from bocb_hf.recommend.evidence import Evidence
from bocb_hf.recommend.sets import (
    LARGEST_SET,
    Choice,
    Floats,
    choose_sets,
    fill_missing,
    improvement,
    regrets,
    smallest_set,
)
from bocb_hf.recommend.tags import Tags, known_tags, similarity

DRAWS = 200  # draws of the noise of the target's own cells
PROBES = 2  # largest number of optimizers outside the set that are named as worth a run


@dataclass(frozen=True)
class Answer:
    """The answer of one source for one backbone.

    Attributes:
        target: The backbone that is asked about.
        own: Whether the source holds scores of this backbone itself.
        reference: Backbones whose columns are scenarios, with their weights; empty where its own column is complete.
        candidates: Optimizers that a set could hold.
        choices: The best set of each size.
        chosen: The smallest set with bounded expected regret, or else the set with the smallest expected regret.
        bounded: Whether the chosen set keeps the bound.
        bound: Largest expected regret that was asked for, in points.
        interval: 95 % interval of the expected regret by a bootstrap over the reference backbones; None where the
            regret is not cross-validated.
        noise_known: Whether all completed cells of the target have a known spread over seeds.
        probes: Further optimizers by the points that they are expected to add; a guess, made to choose a run.
        without_own: The set that would have been chosen without the target's own scores and its regret on them; None
            for a backbone that the source does not hold, or holds incompletely.
        guessed: Missing cells that were guessed to make scenarios complete.
        failed: Diverged or partly diverged cells, taken as chance.
        left_out: Backbones of the source that are not used as scenarios, with the reason.
    """

    source: Evidence
    target: Tags
    own: bool
    reference: Mapping[str, float]
    candidates: tuple[str, ...]
    choices: tuple[Choice, ...]
    chosen: Choice
    bounded: bool
    bound: float
    interval: Interval | None
    noise_known: bool
    probes: tuple[tuple[str, float], ...]
    without_own: tuple[tuple[str, ...], float] | None
    guessed: int
    failed: int
    left_out: Mapping[str, str]

    def names(self, choice: Choice) -> tuple[str, ...]:
        """The optimizers of a set."""
        return tuple(self.candidates[o] for o in choice.members)


def answer(source: Evidence, target: Tags, bound: float, largest: int = LARGEST_SET) -> Answer:
    """Computes the answer for one backbone from one source.

    A backbone without scores is judged by the columns of comparable ones (``similarity``). A backbone with scores of
    its own is judged by them; holes of its column are filled from comparable columns, moved to its level.

    Args:
        source: The table to answer from; it may have holes.
        target: The backbone that is asked about.
        bound: Largest expected regret, in points.
        largest: Size of the largest set that is looked at.

    Raises:
        InputError: The source has no backbone or optimizer to compare with, or the backbone's own runs all failed.
    """
    scores = source.scores
    values = _usable(scores)
    own = _own_row(scores, values, target)
    rest = [i for i in range(len(scores.backbones)) if i != own]
    columns, rows, left_out = _comparable(scores, values, rest, own)
    candidates = tuple(scores.optimizers[c] for c in columns)
    names = [scores.backbones[i] for i in rows]
    tags = [known_tags(name) for name in names]
    filled = fill_missing(values[np.ix_(rows, columns)]) if rows else np.empty((0, len(columns)))
    weights = similarity(target, tags) if rows else np.empty(0)
    # where the design of the target is unknown, each scenario must be judged as if its own were unknown, too
    others = _pairwise(tags) if target.kind != "unknown" else np.ones((len(tags), len(tags)))
    guessed = int(np.isnan(values[np.ix_(rows, columns)])[weights > 0].sum()) if rows else 0
    check, noise_known = None, False
    if own is None:
        if not weights.any():
            raise InputError("recommend: the source has no backbone to compare with")
        scenarios, scenario_weights, scenario_others, places = filled, weights, others, list(range(len(rows)))
    else:
        mine, errors = values[own, columns], _errors(source, own, columns)
        told = errors[scores.ranked[own, columns]]  # holes and failures have no noise that could be known
        noise_known = bool(told.size and np.isfinite(told).all() and told.max() > 0)
        holes = np.isnan(mine)
        if rows and not holes.any():
            alone = choose_sets(filled, weights, others, largest)
            picked, _ = smallest_set(alone, bound)
            check = (tuple(candidates[o] for o in picked.members), float(regrets(mine[None], picked.members)[0]))
        guessed = int(holes.sum())
        scenarios, scenario_weights, scenario_others, places = _own_scenarios(mine, errors, filled, weights, others)
    choices = choose_sets(scenarios, scenario_weights, scenario_others, largest)
    chosen, bounded = smallest_set(choices, bound)
    gains = improvement(scenarios, scenario_weights, chosen.members)
    order = [int(o) for o in np.argsort(-gains, kind="stable") if gains[o] > 0.005]
    used = {names[i]: float(w) for i, w in enumerate(weights) if w > 0} if own is None or len(places) else {}
    seen = [*(i for i in rows if scores.backbones[i] in used), *([own] if own is not None else [])]
    return Answer(
        source=source,
        target=target,
        own=own is not None,
        reference=used,
        candidates=candidates,
        choices=tuple(choices),
        chosen=chosen,
        bounded=bounded,
        bound=bound,
        interval=_interval(chosen.each, scenario_weights, places),
        noise_known=noise_known,
        probes=tuple((candidates[o], float(gains[o])) for o in order[:PROBES]),
        without_own=check,
        guessed=guessed,
        failed=int(_failed(scores)[np.ix_(seen, columns)].sum()),
        left_out=left_out,
    )


def _own_row(scores: ScoreTable, values: Floats, target: Tags) -> int | None:
    """Returns the row of the target in a source; None where the source has no score of it.

    Raises:
        InputError: The source has runs of the target, and all failed.
    """
    own = next((i for i, b in enumerate(scores.backbones) if b == (target.row or target.name)), None)
    if own is None or np.isfinite(values[own]).any():
        return own
    if _failed(scores)[own].any():
        raise InputError(
            f"recommend: every optimizer that was tried on {target.name} in this source diverged in some run, so "
            "nothing says which works; try smaller learning rates first"
        )
    return None


def _usable(scores: ScoreTable) -> Floats:
    """Returns means, with chance for a cell that diverged in any run, shape (B, O); NaN where there is no run.

    Chance stands for a failed cell here only, where it keeps a set from resting on it; no table shows it. A backbone on
    which nothing completed has nothing at all: no choice loses a point there, which would make every set look good.
    """
    lowest = scores.chance if scores.chance is not None else 0.0
    some = scores.ranked.any(axis=1, keepdims=True)
    return np.where(_failed(scores) & some, lowest, scores.means)


def _failed(scores: ScoreTable) -> NDArray[np.bool_]:
    """Returns the cells that diverged in some run, shape (B, O)."""
    return np.isin(scores.status, ("diverged", "partial"))


def _comparable(
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


def _pairwise(tags: list[Tags]) -> Floats:
    """Returns the weight of backbone j for backbone i, judged without i itself, shape (B, B)."""
    weights = np.zeros((len(tags), len(tags)))
    for i, one in enumerate(tags):
        others = [j for j in range(len(tags)) if j != i]
        weights[i, others] = similarity(one, [tags[j] for j in others])
    return weights


def _errors(source: Evidence, own: int, columns: list[int]) -> Floats:
    """Returns the standard error over seeds of the target's means, in points; NaN where noise cannot be separated."""
    return np.full(len(columns), np.nan) if source.errors is None else source.errors[own, columns]


def _own_scenarios(
    mine: Floats, errors: Floats, filled: Floats, weights: Floats, others: Floats
) -> tuple[Floats, Floats, Floats, list[int]]:
    """Makes scenarios of a backbone with scores of its own: its scores with their noise, holes from comparable columns.

    Returns:
        Scores, weights, pairwise weights, and the reference backbone of each scenario (empty when none is needed).
    """
    holes = np.isnan(mine)
    noise = np.where(np.isfinite(errors), errors, 0.0)
    rng = np.random.default_rng(0)  # a fixed seed, so that the same question has the same answer
    if not holes.any() or not weights.any():
        known = np.where(holes, np.nanmin(mine), mine)
        draws = DRAWS if noise.any() else 1
        values = known + noise * rng.standard_normal((draws, len(mine)))
        return values, np.ones(draws), np.zeros((draws, draws)), []
    used = np.flatnonzero(weights > 0)
    repeats = max(1, DRAWS // len(used)) if noise.any() else 1
    places = np.repeat(used, repeats)
    level = np.mean(mine[~holes]) - filled[:, ~holes].mean(axis=1)  # (backbones,)
    values: Floats = filled[places] + level[places][:, None]
    drawn: Floats = mine + noise * rng.standard_normal(values.shape)
    values = np.where(holes, np.clip(values, 0, 100), drawn)
    apart = places[:, None] != places[None, :]
    return values, weights[places], np.where(apart, others[np.ix_(places, places)], 0.0), [int(p) for p in places]


def _interval(each: Floats, weights: Floats, places: list[int]) -> Interval | None:
    """Returns the 95 % interval of the weighted mean of ``each``, drawing reference backbones with their scenarios."""
    known = np.isfinite(each) & (weights > 0)
    names = sorted({p for p, k in zip(places, known, strict=True) if k}) if places else []
    if len(names) < 3:
        return None
    weighted = np.where(known, weights, 0.0)
    total = np.array([sum(weighted[i] for i, p in enumerate(places) if p == n) for n in names])
    sums = np.array([sum(weighted[i] * each[i] for i, p in enumerate(places) if p == n and known[i]) for n in names])
    picks = np.random.default_rng(0).integers(len(names), size=(10_000, len(names)))
    means = sums[picks].sum(axis=1) / total[picks].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(low), float(high))
