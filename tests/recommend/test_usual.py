"""The usual comes first: the list with its sources, and the rule on tables where the right answer is plain."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bocb_hf.optim import OPTIMIZERS
from bocb_hf.recommend.preference import Scenarios, average, usual_choices, usual_sets
from bocb_hf.recommend.usual import recipes, usual


def scenarios(scores: np.ndarray, clusters: list[int] | None = None) -> Scenarios:
    places = np.arange(len(scores))
    return Scenarios(
        scores,
        np.ones(len(scores)),
        1.0 - np.eye(len(scores)),
        places,
        places if clusters is None else np.array(clusters),
    )


def test_every_recipe_names_an_optimizer_of_ours_and_its_source():
    found = recipes()
    assert len(found) >= 60 and len({(r.architecture, r.optimizer) for r in found}) == len(found)
    for recipe in found:
        assert recipe.kind in ("CNN", "modern") and recipe.optimizer in OPTIMIZERS
        # a repository at a commit, a paper, or the author's word on named weights
        assert re.search(r" at [0-9a-f]{7}, |et al\. \d{4}, section|timm's author on the weights", recipe.source)


def test_the_count_is_that_of_the_kind():
    cnn, modern, both = usual("CNN"), usual("modern"), usual("unknown")
    assert next(iter(cnn.counts)) == "sgdm" and next(iter(modern.counts)) == "adamw"
    assert cnn.total + modern.total == both.total == len(recipes()) == sum(both.counts.values())
    assert both.counts["lamb"] == cnn.counts["lamb"] + modern.counts["lamb"]


def test_of_what_cannot_be_told_apart_the_usual_comes_first():
    rng = np.random.default_rng(0)
    scores = 70 + rng.normal(size=(8, 1)) + np.array([0.0, 0.2, -5.0]) + rng.normal(size=(8, 3))
    assert usual_sets(scenarios(scores), [5, 0, 9], 1.0, 1) == [(0,)]  # 2 is the most usual, and shown to be worse
    assert usual_sets(scenarios(scores), [0, 5, 9], 1.0, 1) == [(1,)]
    assert usual_sets(scenarios(scores), [0, 0, 0], 1.0, 1) == [(int(scores.mean(axis=0).argmax()),)]


def test_a_usual_optimizer_that_is_expected_to_lose_half_of_the_bound_more_is_not_first():
    scores = np.full((6, 2), 70.0)
    scores[:, 1] += [3, -1, 3, -1, 3, -1]  # 1 point on average, with a standard error of 0.9
    assert usual_sets(scenarios(scores), [9, 0], 20.0, 1) == [(0,)]
    assert usual_sets(scenarios(scores), [9, 0], 1.0, 1) == [(1,)]


def test_further_members_bring_the_regret_within_the_bound_and_the_usual_of_those_is_taken():
    base = np.full((8, 4), 70.0)
    base[::2, 0] -= 4  # the first loses 4 on every second backbone; 1 and 2 save that, 3 saves nothing
    base[0, 1] -= 2  # in 1 not quite
    base[1::2, 1:3] -= 4
    base[:, 3] = base[:, 0] - 1
    found = usual_choices(scenarios(base), [9, 5, 0, 7], 1.0, 2)
    assert [c.members for c in found] == [(0,), (0, 1)]
    assert found[1].regret == pytest.approx(0.25) and found[1].expected is not None
    assert usual_choices(scenarios(base), [9, 5, 0, 7], 0.1, 2)[1].members == (0, 2)


def test_siblings_count_as_one_where_an_interval_is_made():
    each = np.array([0.0, 0.1, 0.9, 1.0, 1.0, 1.0, 1.0])
    apart, together = (average(scenarios(np.zeros((7, 2)), c), each) for c in (None, [0, 1, 2, 3, 3, 3, 3]))
    assert apart.mean == pytest.approx(together.mean)
    assert apart.interval is not None and together.interval is not None
    assert together.interval.half_width > apart.interval.half_width
    assert apart.above_zero and not together.above_zero


def test_one_scenario_tells_nothing_apart():
    lone = Scenarios(np.array([[70.0, 90.0]]), np.ones(1), np.zeros((1, 1)), np.zeros(1, np.intp), np.zeros(1, np.intp))
    assert average(lone, np.array([1.0])).interval is None
    assert usual_sets(lone, [3, 0], 100.0, 1) == [(0,)] and usual_sets(lone, [3, 0], 1.0, 1) == [(1,)]
