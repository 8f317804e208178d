"""The smallest set of optimizers within a bound, against brute force; guesses for missing cells."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bocb_hf.errors import InputError
from bocb_hf.recommend.sets import choose_sets, fill_missing, improvement, regrets, smallest_set

SCORES = st.integers(2, 5).flatmap(
    lambda o: st.lists(st.lists(st.integers(0, 30), min_size=o, max_size=o), min_size=2, max_size=6)
)


@settings(max_examples=60)
@given(SCORES, st.data())
def test_sets_against_brute_force(values, data):
    scores = np.array(values, np.float64)
    weights = np.array(data.draw(st.lists(st.integers(1, 4), min_size=len(values), max_size=len(values))), np.float64)
    others = np.ones((len(values), len(values)))
    for choice in choose_sets(scores, weights, others):
        size = len(choice.members)
        all_sets = list(combinations(range(scores.shape[1]), size))

        def mean(members, w):
            return float(w @ regrets(scores, members) / w.sum())

        assert choice.regret == pytest.approx(min(mean(s, weights) for s in all_sets))
        assert mean(choice.members, weights) == pytest.approx(choice.regret)
        for i in range(len(scores)):  # each scenario is judged by a set that is best for the others
            rest = np.where(np.arange(len(scores)) == i, 0.0, 1.0)
            best = min(mean(s, rest) for s in all_sets)
            good = [s for s in all_sets if mean(s, rest) == pytest.approx(best, abs=1e-9)]
            assert any(choice.each[i] == pytest.approx(regrets(scores[[i]], s)[0]) for s in good)
        assert choice.expected == pytest.approx(float(weights @ choice.each / weights.sum()))


@settings(max_examples=40)
@given(SCORES, st.permutations(range(6)))
def test_order_and_level_of_backbones_do_not_matter(values, order):
    scores = np.array(values, np.float64) + 0.001 * np.arange(len(values[0]))  # no ties between optimizers
    rows = [i for i in order if i < len(scores)]
    shifted = scores[rows] + 7.0 * np.arange(len(scores))[:, None]
    ones, pairs = np.ones(len(scores)), np.ones((len(scores), len(scores)))
    for a, b in zip(choose_sets(scores, ones, pairs), choose_sets(shifted, ones, pairs), strict=True):
        assert a.regret == pytest.approx(b.regret, abs=1e-9)


def test_the_smallest_set_within_a_bound():
    scores = np.array([[10.0, 0, 5], [0, 10, 5], [10, 0, 5], [0, 10, 5]])
    choices = choose_sets(scores, np.ones(4), np.ones((4, 4)))
    assert [c.regret for c in choices] == [5, 0]
    assert set(choices[1].members) == {0, 1}
    assert choices[0].expected == 10  # the others, two against one, choose the wrong one for each
    assert smallest_set(choices, 10)[0].members == choices[0].members
    assert smallest_set(choices, 1) == (choices[1], True)
    assert smallest_set(choices[:1], 1) == (choices[0], False)


def test_many_optimizers_are_searched_without_looking_at_all_sets():
    rng = np.random.default_rng(0)
    scores = rng.normal(70, 3, size=(30, 60))
    choices = choose_sets(scores, np.ones(30), np.ones((30, 30)))
    sizes = [len(c.members) for c in choices]
    found = [c.regret for c in choices]
    assert sizes == [1, 2, 3, 4, 5] and found == sorted(found, reverse=True)
    exact = min(float(regrets(scores, s).mean()) for s in combinations(range(60), 2))
    assert found[1] == pytest.approx(exact)


def test_scores_without_a_number_are_refused():
    with pytest.raises(InputError, match="finite"):
        choose_sets(np.array([[1.0, np.nan]]), np.ones(1), np.ones((1, 1)))


def test_missing_cells_are_guessed_from_additive_effects():
    additive = 60 + np.array([0.0, 5, 9])[:, None] + np.array([0.0, -2, 3, 1])
    holes = additive.copy()
    holes[1, 2] = holes[2, 0] = np.nan
    assert fill_missing(holes) == pytest.approx(additive)
    collapsed = holes.copy()
    collapsed[0, 3] = 1.0  # a collapsed cell stays what it is and moves no guess
    assert fill_missing(collapsed)[1, 2] == pytest.approx(additive[1, 2])
    with pytest.raises(InputError, match="leave it out"):
        fill_missing(np.array([[1.0, np.nan], [2.0, np.nan]]))


def test_improvement_is_what_another_optimizer_would_add():
    scores = np.array([[10.0, 12, 9], [10.0, 8, 9]])
    assert improvement(scores, np.array([3.0, 1.0]), [0]) == pytest.approx([0, 1.5, 0])
