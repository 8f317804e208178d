"""The smallest set of optimizers with bounded expected regret. Pure functions of score matrices.

The regret of a set T on a backbone is ρ(T) = max_o y_o − max_{o∈T} y_o: the points that are lost by trying nothing
outside T. What a new backbone will do is not known, so ρ is averaged over *scenarios*: the score columns of comparable
backbones, each with a weight. Their number is small, and a set that was chosen on them looks better on them than it is.
The expected regret that is given is therefore cross-validated: each scenario is judged by the set that the others
choose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from bocb_hf.errors import InputError

Floats = NDArray[np.float64]
LARGEST_SET = 5
EXHAUSTIVE = 60_000  # most sets of one size that are all tried; where there are more, sets grow from good smaller ones
BEAM = 50


@dataclass(frozen=True)
class Choice:
    """The best set of one size.

    Attributes:
        members: Columns of the optimizers, the best single one first.
        regret: Weighted mean regret over the scenarios that the set was chosen on, in points: too small by the choice.
        expected: Cross-validated regret in points; None where there is only one scenario.
        each: The cross-validated regret of every scenario, NaN where there is none, shape (scenarios,).
    """

    members: tuple[int, ...]
    regret: float
    expected: float | None
    each: Floats


def regrets(scores: Floats, members: Sequence[int]) -> Floats:
    """Computes ρ(T) of every scenario, shape (scenarios,).

    Args:
        scores: Scores, shape (scenarios, optimizers), finite.
        members: Columns of T, at least one.
    """
    return scores.max(axis=1) - scores[:, list(members)].max(axis=1)


def choose_sets(scores: Floats, weights: Floats, others: Floats, largest: int = LARGEST_SET) -> list[Choice]:
    """Finds the best set of each size, 1 to ``largest``, or to the first that loses nothing on any scenario.

    Args:
        scores: Scores in points, shape (scenarios, optimizers), finite.
        weights: Weight of each scenario for the target, shape (scenarios,), not all zero.
        others: Weight of scenario j for scenario i, shape (scenarios, scenarios), for the cross-validation; the
            diagonal is not read, and a row without any weight elsewhere has no cross-validated regret.
        largest: Size of the largest set; never more than there are optimizers.

    Raises:
        InputError: There is no scenario, or a score is not finite.
    """
    if not scores.size or not np.isfinite(scores).all():
        raise InputError("recommend: scores must be finite, with at least one backbone and one optimizer")
    apart = np.where(np.eye(len(scores), dtype=np.bool_), 0.0, others)
    judged = apart.sum(axis=1) > 0
    counted = np.where(judged, weights, 0.0)
    found: list[Choice] = []
    candidates: list[tuple[int, ...]] = [()]
    for size in range(1, min(largest, scores.shape[1]) + 1):
        candidates = _sets(scores.shape[1], size, candidates)
        values = _regret_matrix(scores, candidates)  # (scenarios, sets)
        objective = _objective(weights, values)
        chosen = int(objective.argmin())
        by_others = np.argmin(_objective(apart, values), axis=1)
        each = np.where(judged, values[np.arange(len(scores)), by_others], np.nan)
        expected = float(np.nansum(counted * each) / counted.sum()) if counted.sum() > 0 else None
        members = _by_mean(candidates[chosen], scores, weights)
        found.append(Choice(members, float(objective[chosen] / weights.sum()), expected, each))
        if found[-1].regret < 1e-9:  # any further member of such a set would be arbitrary
            break
        candidates = [candidates[i] for i in np.argsort(objective, kind="stable")[:BEAM]]
    return found


def smallest_set(choices: Sequence[Choice], bound: float) -> tuple[Choice, bool]:
    """Returns the smallest set whose expected regret is within the bound, and whether there is such a set.

    Where no size keeps the bound, the set with the smallest expected regret is returned; without cross-validation, the
    regret on the scenarios themselves decides.
    """

    def judged(choice: Choice) -> float:
        return choice.regret if choice.expected is None else choice.expected

    for choice in choices:
        if judged(choice) <= bound + 1e-9:
            return choice, True
    return min(choices, key=lambda c: (judged(c), len(c.members))), False


def improvement(scores: Floats, weights: Floats, members: Sequence[int]) -> Floats:
    """Computes the expected points that each further optimizer would add to a set, shape (optimizers,)."""
    gain = np.maximum(scores - scores[:, list(members)].max(axis=1, keepdims=True), 0)
    return weights @ gain / weights.sum()


def fill_missing(scores: Floats) -> Floats:
    """Replaces NaN by backbone + optimizer effects, by medians, so that a collapsed cell moves no other one.

    The filled values are guesses: they may choose a run and are never shown as a result.

    Args:
        scores: Scores, shape (backbones, optimizers), with a number in every row and column.

    Raises:
        InputError: A row or column has no number.
    """
    known = np.isfinite(scores)
    if not known.any(axis=1).all() or not known.any(axis=0).all():
        raise InputError("recommend: a backbone or optimizer without any score cannot be guessed; leave it out")
    rows, columns = np.zeros((scores.shape[0], 1)), np.zeros((1, scores.shape[1]))
    for _ in range(20):  # Tukey's median polish; it settles in a few passes
        rows = np.nanmedian(scores - columns, axis=1, keepdims=True)
        columns = np.nanmedian(scores - rows, axis=0, keepdims=True)
    return np.where(known, scores, np.clip(rows + columns, 0, 100))


def _sets(optimizers: int, size: int, smaller: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Returns all sets of a size, or, where these are too many, the good smaller ones with one more member."""
    if math.comb(optimizers, size) <= EXHAUSTIVE:
        return list(combinations(range(optimizers), size))
    grown = {tuple(sorted((*s, o))) for s in smaller for o in range(optimizers) if o not in s}
    return sorted(grown)


def _regret_matrix(scores: Floats, sets: Sequence[tuple[int, ...]]) -> Floats:
    """Computes ρ of every scenario and set, shape (scenarios, sets)."""
    members = np.array(sets, np.intp)  # (sets, size)
    best = scores[:, members[:, 0]].copy()
    for column in members.T[1:]:
        np.maximum(best, scores[:, column], out=best)
    return scores.max(axis=1, keepdims=True) - best


def _objective(weights: Floats, values: Floats) -> Floats:
    """Computes weighted sums of regret, rounded so that the order of a sum does not decide a tie."""
    return np.round(weights @ values, 9)


def _by_mean(members: tuple[int, ...], scores: Floats, weights: Floats) -> tuple[int, ...]:
    """Sorts members by falling weighted mean."""
    means = weights @ scores / weights.sum()
    return tuple(sorted(members, key=lambda o: (-means[o], o)))
