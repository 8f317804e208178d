"""What the recommender is worth on the published table, leaving out what it answers for."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bocb_hf.coupling.published import published
from bocb_hf.recommend.evaluate import (
    FIXED,
    HELD_OUT,
    RULES,
    SHIPPED,
    compare,
    held_out_regrets,
    nested_regrets,
    single_regrets,
)
from bocb_hf.recommend.tags import similarity

TABLE = published("cifar100")


def test_the_rivals_of_the_published_table():
    """shared/statistics.md: always AdamW 1.86; best fixed set 0.65, 0.31, 0.29."""
    assert single_regrets(TABLE, "adamw").mean() == pytest.approx(1.86, abs=0.005)
    fixed = held_out_regrets(TABLE, RULES[FIXED], (1, 2, 3)).mean(axis=1)
    assert fixed == pytest.approx([0.65, 0.31, 0.29], abs=0.005)


def test_it_is_better_at_each_size_than_the_best_fixed_set():
    ours, fixed = (held_out_regrets(TABLE, RULES[name], (1, 2, 3)) for name in (SHIPPED, FIXED))
    assert ours.mean(axis=1) == pytest.approx([0.452, 0.225, 0.225], abs=0.0015)
    assert (ours.mean(axis=1) < fixed.mean(axis=1)).all()
    assert RULES[SHIPPED] is similarity


def test_a_family_that_nobody_measured_gains_nothing():
    for held in ("family", "kind"):
        ours, fixed = (held_out_regrets(TABLE, RULES[name], (1, 2), held).mean(axis=1) for name in (SHIPPED, FIXED))
        assert ours == pytest.approx(fixed, abs=0.05) and ours[0] > 4
    data = held_out_regrets(TABLE, RULES[SHIPPED], (1, 2), "family").mean(axis=1)
    ours = held_out_regrets(TABLE, RULES[SHIPPED], (1, 2), "family", 1.0).mean(axis=1)
    assert re.findall(r"\d\.\d", HELD_OUT) == [f"{v:.1f}" for v in (*ours, *data)]


def test_the_usual_first_is_as_good_as_printed():
    """benchmarks/recommender.txt and README: 0.42, 0.29, 0.27."""
    ours = held_out_regrets(TABLE, RULES[SHIPPED], (1, 2, 3), usual_first=1.0).mean(axis=1)
    assert ours == pytest.approx([0.418, 0.288, 0.272], abs=0.0015)


def test_nested_choice_of_the_rule_never_sees_the_backbone():
    names = [FIXED, SHIPPED]
    part = TABLE.select(backbones=TABLE.backbones[:9])
    values, chosen = nested_regrets(part, [RULES[n] for n in names], (1,))
    outer = np.stack([held_out_regrets(part, RULES[n], (1,))[0] for n in names])
    assert values[0] == pytest.approx(outer[chosen[0], np.arange(9)])
    for b in range(9):
        rest = part.select(backbones=[x for i, x in enumerate(part.backbones) if i != b])
        inner = [held_out_regrets(rest, RULES[n], (1,)).mean() for n in names]
        assert inner[chosen[0, b]] == pytest.approx(min(inner))


def test_the_comparison_is_paired():
    rival = np.array([1.0, 2.0, 3.0, 4.0])
    same = compare(rival, rival - 0.5, ["a", "b", "c", "c"], draws=500)
    assert same.gain == pytest.approx(0.5) and same.interval.low == pytest.approx(0.5) == same.interval.high
    assert same.clustered.high == pytest.approx(0.5) and (same.better, same.worse) == (4, 0)
    assert compare(rival, rival[::-1], list("abcd"), draws=2000).interval.holds(0)
