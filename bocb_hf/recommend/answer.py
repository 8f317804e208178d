"""The answer of one source for one backbone: which optimizers, with which expected regret, from which cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.statistics import Interval
from bocb_hf.errors import InputError
from bocb_hf.recommend.evidence import Evidence
from bocb_hf.recommend.preference import MOST, Difference, Scenarios, average, usual_choices, usual_sets
from bocb_hf.recommend.scenarios import (
    DRAWS,
    comparable,
    drawn_scores,
    errors_of,
    failed,
    further_scores,
    own_scenarios,
    pairwise,
    reference_scenarios,
    usable,
)
from bocb_hf.recommend.sets import Choice, Floats, choose_sets, fill_missing, improvement, regrets, smallest_set
from bocb_hf.recommend.tags import Tags, known_tags, similarity
from bocb_hf.recommend.usual import Usual, usual

PROBES = 2  # largest number of optimizers outside the set that are named as worth a run


@dataclass(frozen=True)
class UsualLoss:
    """What the usual optimizer is expected to lose here.

    Attributes:
        optimizer: The candidate that recipes for this kind use most.
        recipes: The count that says so.
        loss: Points below the best of all candidates.
        excess: Points that it loses more than the data's own best single choice, which is made without the backbone on
            which it is judged.
        rival: That choice; None where it is the usual optimizer itself.
        backbones: Number of backbones that ``loss`` is the mean over; None where it is of the target alone.
    """

    optimizer: str
    recipes: Usual
    loss: Difference
    excess: Difference
    rival: str | None
    backbones: int | None


@dataclass(frozen=True)
class Answer:
    """The answer of one source for one backbone.

    Attributes:
        target: The backbone that is asked about.
        own: Whether the source holds scores of this backbone itself.
        reference: Backbones whose columns are scenarios, with their weights; empty where its own column is complete.
        candidates: Optimizers that a set could hold.
        choices: The set of each size, the usual first among those that cannot be told apart (``preference.py``).
        chosen: The smallest set with bounded expected regret, or else the set with the smallest expected regret.
        bounded: Whether the chosen set keeps the bound.
        bound: Largest expected regret that was asked for, in points.
        interval: 95 % interval of the regret of ``chosen``: of its mean over backbones like the reference; or the
            shortest of the draws of the target's own true scores. None where neither can be had.
        usual: What the usual optimizer is expected to lose; None where no recipe of the list uses any candidate.
        worst: The largest regret of ``chosen`` on a single reference backbone, and that backbone; None without any.
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
    usual: UsualLoss | None
    worst: tuple[float, str] | None
    noise_known: bool
    probes: tuple[tuple[str, float], ...]
    without_own: tuple[tuple[str, ...], float] | None
    guessed: int
    failed: int
    left_out: Mapping[str, str]

    def names(self, choice: Choice) -> tuple[str, ...]:
        """The optimizers of a set."""
        return tuple(self.candidates[o] for o in choice.members)


def answer(source: Evidence, target: Tags, bound: float, largest: int = MOST) -> Answer:
    """Computes the answer for one backbone from one source.

    A backbone without scores is judged by the columns of comparable ones (``similarity``). A backbone with scores of
    its own is judged by draws of its true ones (``coupling/posterior.py``); holes of its column are filled from
    comparable columns, moved to its level.

    Args:
        source: The table to answer from; it may have holes.
        target: The backbone that is asked about.
        bound: Largest expected regret, in points.
        largest: Size of the largest set that is looked at.

    Raises:
        InputError: The source has no backbone or optimizer to compare with, or the backbone's own runs all failed.
    """
    scores = source.scores
    values = usable(scores)
    own = _own_row(scores, values, target)
    rest = [i for i in range(len(scores.backbones)) if i != own]
    columns, rows, left_out = comparable(scores, values, rest, own)
    candidates = tuple(scores.optimizers[c] for c in columns)
    recipes = usual(target.kind)
    counts = [recipes.counts.get(name, 0) for name in candidates]
    names = [scores.backbones[i] for i in rows]
    tags = [known_tags(name) for name in names]
    filled = fill_missing(values[np.ix_(rows, columns)]) if rows else np.empty((0, len(columns)))
    weights = similarity(target, tags) if rows else np.empty(0)
    # where the design of the target is unknown, each scenario must be judged as if its own were unknown, too
    others = pairwise(tags) if target.kind != "unknown" else np.ones((len(tags), len(tags)))
    clusters = np.unique([scores.clusters[i] for i in rows], return_inverse=True)[1]
    guessed = int(np.isnan(values[np.ix_(rows, columns)])[weights > 0].sum()) if rows else 0
    check, noise_known = None, False
    if own is None:
        if not weights.any():
            raise InputError("recommend: the source has no backbone to compare with")
        drawn = drawn_scores(scores, rows, columns, filled)
        scenarios = reference_scenarios(drawn, weights, others, clusters)
    else:
        errors = errors_of(source, own, columns)
        told = errors[scores.ranked[own, columns]]  # holes and failures have no noise that could be known
        noise_known = bool(told.size and np.isfinite(told).all() and told.max() > 0)
        mine = values[own, columns]
        holes = np.isnan(mine)
        if rows and not holes.any():
            alone = usual_choices(reference_scenarios(filled[:, None], weights, others, clusters), counts, bound)
            picked, _ = smallest_set(alone, bound)
            check = (tuple(candidates[o] for o in picked.members), float(regrets(mine[None], picked.members)[0]))
        guessed = int(holes.sum())
        drawn = drawn_scores(scores, [own], columns, np.where(holes, 0.0, mine)[None])[0]
        if drawn.shape[0] == 1 and noise_known:  # a table of one backbone has no posterior, but its own noise
            noise = np.where(np.isfinite(errors), errors, 0.0)
            drawn = drawn + noise * np.random.default_rng(0).standard_normal((DRAWS, len(mine)))
        scenarios = own_scenarios(mine, drawn, filled, weights, others, clusters)
    compared = scenarios
    if own is not None and rows and not noise_known and not np.isnan(values[own, columns]).any():
        compared = _joined(values[own, columns], filled, [*tags, target], clusters)
        choices = _with_own_best(scenarios, compared, values[own, columns], counts, bound)
    else:
        choices = usual_choices(scenarios, counts, bound, largest)
    chosen, bounded = smallest_set(choices, bound)
    further = None if scenarios.alone else further_scores(scores, rows, columns, weights)
    gains = improvement(scenarios.scores, scenarios.weights, chosen.members)
    order = [int(o) for o in np.argsort(-gains, kind="stable") if gains[o] > 0.005]
    used = {names[i]: float(w) for i, w in enumerate(weights) if w > 0} if own is None or not scenarios.alone else {}
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
        interval=regret_interval(scenarios, chosen, further),
        usual=_usual_loss(compared, candidates, counts, recipes),
        worst=_worst(scenarios, chosen, names),
        noise_known=noise_known,
        probes=tuple((candidates[o], float(gains[o])) for o in order[:PROBES]),
        without_own=check,
        guessed=guessed,
        failed=int(failed(scores)[np.ix_(seen, columns)].sum()),
        left_out=left_out,
    )


def regret_interval(scenarios: Scenarios, chosen: Choice, further: Floats | None) -> Interval | None:
    """Returns the 95 % interval of the regret of a choice, as ``Answer.interval`` says.

    A regret is 0 on many backbones and large on a few, so Student's t over eight of them holds its mean in 74 to 80 %
    of simulated tables. The draws of further backbones know the shape of the differences from all cells.

    Args:
        scenarios: Draws of the target's own scores, or comparable backbones.
        chosen: The set, with its cross-validated regret.
        further: Draws of further backbones like the comparable ones, shape (draws, backbones, O); None without any.
    """
    if scenarios.alone:
        return _shortest(regrets(scenarios.scores, chosen.members))
    if further is None or chosen.expected is None:
        found = average(scenarios, chosen.each).interval if chosen.expected is not None else None
        return None if found is None else Interval(max(0.0, found.low), found.high)
    lost = regrets(further.reshape(-1, further.shape[2]), chosen.members).reshape(further.shape[:2]).mean(axis=1)
    low, high = np.quantile(lost, [0.025, 0.975])
    # what was cross-validated lies inside, even where the draws expect something else
    return Interval(min(float(low), chosen.expected), max(float(high), chosen.expected))


def _shortest(values: Floats) -> Interval | None:
    """Returns the shortest interval that holds 95 % of some draws; None for a single one."""
    if len(values) < 2:
        return None
    ordered = np.sort(values)
    held = math.ceil(0.95 * len(ordered))
    start = int((ordered[held - 1 :] - ordered[: len(ordered) - held + 1]).argmin())
    return Interval(float(ordered[start]), float(ordered[start + held - 1]))


def _usual_loss(
    scenarios: Scenarios, candidates: tuple[str, ...], counts: list[int], recipes: Usual
) -> UsualLoss | None:
    """Returns what the most usual candidate loses; the better of two that are as usual."""
    if not any(counts):
        return None
    lost = scenarios.scores.max(axis=1, keepdims=True) - scenarios.scores  # (S, O)
    means = scenarios.weights @ lost
    place = min(range(len(counts)), key=lambda o: (-counts[o], float(means[o])))
    best = choose_sets(scenarios.scores, scenarios.weights, scenarios.others, 1)[0]
    rival = best.members[0]
    each = lost[:, rival] if best.expected is None else best.each
    return UsualLoss(
        candidates[place],
        recipes,
        average(scenarios, lost[:, place]),
        average(scenarios, lost[:, place] - each),
        None if rival == place else candidates[rival],
        None if scenarios.alone else len(np.unique(scenarios.places)),
    )


def _worst(scenarios: Scenarios, chosen: Choice, names: list[str]) -> tuple[float, str] | None:
    """Returns the largest cross-validated regret of a reference backbone, and that backbone."""
    if scenarios.alone or not np.isfinite(chosen.each).any():
        return None
    means = {int(p): float(np.mean(chosen.each[scenarios.places == p])) for p in np.unique(scenarios.places)}
    place = max(means, key=lambda p: -math.inf if math.isnan(means[p]) else means[p])
    return means[place], names[place]


def _own_row(scores: ScoreTable, values: Floats, target: Tags) -> int | None:
    """Returns the row of the target in a source; None where the source has no score of it.

    Raises:
        InputError: The source has runs of the target, and all failed.
    """
    own = next((i for i, b in enumerate(scores.backbones) if b == (target.row or target.name)), None)
    if own is None or np.isfinite(values[own]).any():
        return own
    if failed(scores)[own].any():
        raise InputError(
            f"recommend: every optimizer that was tried on {target.name} in this source diverged in some run, so "
            "nothing says which works; try smaller learning rates first"
        )
    return None


def _joined(mine: Floats, filled: Floats, tags: list[Tags], clusters: NDArray[np.intp]) -> Scenarios:
    """Lets the target's own column count as one more of the comparable ones: its noise is as unknown as theirs.

    Args:
        mine: Its scores, shape (O,).
        filled: Scores of the other backbones, shape (B, O).
        tags: Tags of the others, and its own last.
        clusters: Clusters of the others.
    """
    others = pairwise(tags) if tags[-1].kind != "unknown" else np.ones((len(tags), len(tags)))
    table = np.vstack([filled, mine])[:, None]
    return reference_scenarios(table, similarity(tags[-1], tags), others, np.append(clusters, clusters.max() + 1))


def _with_own_best(
    scenarios: Scenarios, compared: Scenarios, mine: Floats, counts: list[int], bound: float
) -> list[Choice]:
    """Chooses for a backbone whose own scores have an unknown noise, so that they alone tell nothing apart.

    Args:
        scenarios: Draws of its true scores, by which the sets are judged.
        compared: Comparable backbones and its own column, by which the first optimizer is chosen. The best of its
            column is the second, where it is another one.
        mine: Its scores, shape (O,).
        counts: How many recipes use each optimizer.
        bound: Largest expected regret, in points.
    """
    first = usual_sets(compared, counts, bound, 1)[0][0]
    best = int(mine.argmax())
    sets = [(first,)] if mine[first] >= mine[best] else [(first,), (first, best)]
    lost = [float(regrets(scenarios.scores, s).mean()) for s in sets]
    nothing = np.full(len(scenarios.scores), np.nan)
    return [Choice(s, regret, None, nothing) for s, regret in zip(sets, lost, strict=True)]
