"""The usual comes first: among what the data cannot tell apart, what vision recipes use most is recommended.

The best of 20 optimizers on seven backbones is mostly the luckiest one, and nobody follows an answer that is unusual
without reason. So (1) the answer opens with the optimizer that recipes use most, unless the data show it to be worse
than their own choice, or expect it to lose more than half of the bound beyond that choice; (2) further members are
there to bring the expected regret within the bound: of the sets that do and cannot be told apart from the best one, the
set whose members recipes use most; where none does, the best one.

*Told apart*: the difference of two regrets, averaged over backbones with their weights, has a 95 % interval above 0,
by Student's t over clusters of siblings. The data's own choice is made without the backbone on which it is judged; a
fixed usual set needs no such care, because the list knew nothing of the data. Where one backbone is judged by draws of
its own true scores, the interval is that of the draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.statistics import Interval, t_quantile
from bocb_hf.recommend.sets import BEAM, Choice, Floats, regrets

MOST = 3  # optimizers in the largest set: nobody tunes more
ENUMERATED = 4_000  # most sets of one size that are all tried; where there are more, sets grow from good smaller ones


@dataclass(frozen=True)
class Scenarios:
    """What could happen on the target: score columns of comparable backbones, or draws of its own.

    Attributes:
        scores: Scores in points, shape (S, O), finite.
        weights: Weight of each scenario for the target, shape (S,).
        others: Weight of scenario j for scenario i, shape (S, S); 0 for scenarios of the same backbone.
        places: Backbone of each scenario, shape (S,); all alike for draws of the target itself.
        clusters: Cluster of siblings of each scenario, shape (S,).
    """

    scores: Floats
    weights: Floats
    others: Floats
    places: NDArray[np.intp]
    clusters: NDArray[np.intp]

    @property
    def alone(self) -> bool:
        """Whether all scenarios are of one backbone, so that nothing can be chosen without it."""
        return len(np.unique(self.places)) < 2


@dataclass(frozen=True)
class Difference:
    """A mean over scenarios with its 95 % interval; None where a single scenario tells nothing of its error."""

    mean: float
    interval: Interval | None

    @property
    def above_zero(self) -> bool:
        """Whether the data show it to be positive."""
        return self.interval is not None and self.interval.low > 0


def average(scenarios: Scenarios, each: Floats) -> Difference:
    """Averages a figure of each scenario, shape (S,); NaN is left out."""
    mean, low, high = _average(scenarios, each[:, None])
    interval = Interval(float(low[0]), float(high[0])) if math.isfinite(low[0]) else None
    return Difference(float(mean[0]), interval)


def usual_choices(scenarios: Scenarios, counts: Sequence[int], bound: float, largest: int = MOST) -> list[Choice]:
    """Chooses a set of each size by the rule of this module.

    Args:
        scenarios: What could happen.
        counts: How many recipes use each optimizer, shape (O,).
        bound: Largest expected regret, in points.
        largest: Size of the largest set.

    Returns:
        One choice a size. Its cross-validated regret judges each backbone by what the rule chooses without it, or by
        the members themselves where those lose more: the rule may have chosen better sets for others than it does here.
    """
    picker = _Picker(scenarios, counts, bound, largest)
    total = scenarios.weights.sum()
    each = np.full((largest, len(scenarios.scores)), np.nan)
    if not scenarios.alone:
        for place in np.unique(scenarios.places):
            own = np.flatnonzero(scenarios.places == place)
            if not scenarios.others[own[0]].any():
                continue
            for size, members in enumerate(picker.pick(scenarios.others[own[0]], without=int(place))):
                each[size:, own] = regrets(scenarios.scores[own], members)
    found: list[Choice] = []
    for size, members in enumerate(picker.pick(scenarios.weights)):
        lost = regrets(scenarios.scores, members)
        regret = float(scenarios.weights @ lost / total)
        weights = np.where(np.isfinite(each[size]), scenarios.weights, 0.0)
        expected = float(weights @ np.nan_to_num(each[size]) / weights.sum()) if weights.any() else None
        if expected is not None and expected < regret:
            each[size], expected = lost, regret
        found.append(Choice(members, regret, expected, each[size].copy()))
    return found


def usual_sets(scenarios: Scenarios, counts: Sequence[int], bound: float, largest: int = MOST) -> list[tuple[int, ...]]:
    """Returns only the members of each size, without judging them; for an evaluation that judges from outside."""
    return _Picker(scenarios, counts, bound, largest).pick(scenarios.weights)


class _Picker:
    """Applies the rule to a part of the scenarios; regrets of sets are computed once for all parts."""

    def __init__(self, scenarios: Scenarios, counts: Sequence[int], bound: float, largest: int) -> None:
        self._s, self._bound = scenarios, bound
        self._counts = np.asarray(counts, np.int64)
        self._largest = min(largest, scenarios.scores.shape[1])
        self._cache: dict[tuple[int, ...], tuple[list[tuple[int, ...]], Floats]] = {}

    def pick(self, weights: Floats, without: int | None = None) -> list[tuple[int, ...]]:
        """Returns the members for each size, those of earlier sizes not necessarily among them but for the first.

        Args:
            weights: Weight of each scenario.
            without: A backbone that must not be looked at.
        """
        if without is not None:
            weights = np.where(self._s.places == without, 0.0, weights)
        singles = [(o,) for o in range(self._s.scores.shape[1])]
        values = self._values((-1,), singles)
        alike = self._alike(values, weights, self._bound / 2)
        first = _most_usual(self._counts, values, weights, alike)
        found: list[tuple[int, ...]] = [(first,)]
        smaller: list[tuple[int, ...]] = list(found)
        for size in range(2, self._largest + 1):
            if not (weights @ regrets(self._s.scores, found[-1])) > 1e-9:  # any further member would be arbitrary
                break
            sets = self._sets(first, size, smaller)
            values = self._values((first, size), sets)
            objective = np.round(weights @ values, 9)
            within = self._alike(values, weights, self._bound) & (objective / weights.sum() <= self._bound + 1e-9)
            usual = np.array([self._counts[list(s)].sum() for s in sets])
            place = _most_usual(usual, values, weights, within) if within.any() else int(objective.argmin())
            found.append(sets[place])
            smaller = [sets[i] for i in np.argsort(objective, kind="stable")[:BEAM]]
        return found

    def _alike(self, values: Floats, weights: Floats, tolerance: float) -> NDArray[np.bool_]:
        """Tells which sets are as good as the best one as far as the data tell, shape (sets,).

        Args:
            values: Regrets, shape (S, sets).
            weights: Weight of each scenario.
            tolerance: Points that a set may be expected to lose beyond the best one.
        """
        s = self._s
        if s.alone:
            best = np.full(len(values), np.round(weights @ values, 9).argmin())
        else:
            visible = np.where(weights > 0, s.others, 0.0)
            best = np.round(visible @ values, 9).argmin(axis=1)
            weights = np.where(visible.any(axis=1), weights, 0.0)
            if not weights.any():
                return np.asarray(values[0] > -1.0, np.bool_)  # regrets are never negative, so all
        own: Floats = np.take_along_axis(values, best[:, None], axis=1)
        mean, low, _ = _average(s, values - own, weights)
        return np.asarray((low <= 1e-9) & (mean <= tolerance + 1e-9), np.bool_)

    def _sets(self, first: int, size: int, smaller: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Returns the sets of a size that hold ``first``, which stands first in each."""
        rest = [o for o in range(self._s.scores.shape[1]) if o != first]
        if math.comb(len(rest), size - 1) <= ENUMERATED:
            return [(first, *s) for s in combinations(rest, size - 1)]
        grown: set[tuple[int, ...]] = {(first, *sorted({*s[1:], o})) for s in smaller for o in rest if o not in s}
        found: list[tuple[int, ...]] = sorted(grown)
        return found

    def _values(self, key: tuple[int, ...], sets: list[tuple[int, ...]]) -> Floats:
        """Returns the regret of each scenario and set, shape (S, sets)."""
        kept = self._cache.get(key)
        if kept is None or kept[0] != sets:
            scores = self._s.scores
            best = scores[:, np.array(sets, np.intp)].max(axis=2)
            kept = self._cache[key] = (sets, scores.max(axis=1, keepdims=True) - best)
        return kept[1]


def _most_usual(counts: NDArray[np.int64], values: Floats, weights: Floats, allowed: NDArray[np.bool_]) -> int:
    """Returns the place of the most usual among the allowed, the one with the smallest regret where they tie."""
    objective = np.round(weights @ values, 9)
    order = np.lexsort((np.arange(len(counts)), objective, -counts))
    return next((int(i) for i in order if allowed[i]), int(objective.argmin()))


def _average(scenarios: Scenarios, each: Floats, weights: Floats | None = None) -> tuple[Floats, Floats, Floats]:
    """Returns weighted means and the ends of their 95 % intervals, each of shape (figures,); infinite without any.

    Args:
        scenarios: Whose weights and clusters count.
        each: A figure of each scenario, shape (S, figures); NaN is left out.
        weights: Weights in place of those of the scenarios.
    """
    known: NDArray[np.bool_] = np.asarray(np.isfinite(each).all(axis=1))
    w = np.where(known, scenarios.weights if weights is None else weights, 0.0)
    values = np.where(known[:, None], each, 0.0)
    mean: Floats = w @ values / w.sum()
    if scenarios.alone:
        if len(values) < 2:
            return mean, mean - np.inf, mean + np.inf
        ends: Floats = np.quantile(values[w > 0], [0.025, 0.975], axis=0)
        return mean, ends[0], ends[1]
    names = np.unique(scenarios.clusters[w > 0])
    if len(names) < 2:
        return mean, mean - np.inf, mean + np.inf
    member = (scenarios.clusters == names[:, None]) * w  # (clusters, S)
    off = member @ (values - mean) / w.sum()
    half = t_quantile(0.975, len(names) - 1) * np.sqrt(len(names) / (len(names) - 1) * np.square(off).sum(axis=0))
    return mean, mean - half, mean + half
