"""Whether families differ: permutations by hand, Welch's t against scipy, and the level of both together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from bocb_hf.coupling.family_test import FamilyTest, Permutation, Welch, compare_families, permute, welch
from bocb_hf.report.words.tables import family_test_text


@pytest.mark.parametrize(
    ("cnn", "modern", "labelings", "smallest"), [(2, 2, 6, 1 / 3), (2, 3, 10, 0.1), (5, 5, 252, 2 / 252)]
)
def test_smallest_p(cnn, modern, labelings, smallest):
    """Perfectly separated backbones reach the smallest p; equal groups mirror, so two labelings are as extreme."""
    test = permute([10.0 + 0.1 * i for i in range(cnn)], [-10.0 - 0.1 * i for i in range(modern)])
    assert test is not None
    assert (test.labelings, test.p, test.smallest) == (labelings, pytest.approx(smallest), pytest.approx(smallest))


def test_permutation_by_hand():
    """d = 1, 5 | 2, 4: C = 0, and every labeling has |C| ≥ 0. d = 5, 4 | 4.5, 0: |C| = 2.25, 4 of 6 reach it."""
    flat = permute([1.0, 5.0], [2.0, 4.0])
    assert flat is not None and flat.p == 1
    # pairs called CNN: 5,4 → 2.25; 5,4.5 → 2.75; 5,0 → −1.75; mirrored
    some = permute([5.0, 4.0], [4.5, 0.0])
    assert some is not None and some.p == pytest.approx(4 / 6)


def test_many_backbones_are_relabeled_at_random():
    test = permute([0.0] * 20, [1.0] * 20)
    assert (test.exact, test.labelings, test.p) == (False, 20_001, pytest.approx(1 / 20_001))
    rng = np.random.default_rng(0)
    same = permute(rng.normal(size=20).tolist(), rng.normal(size=20).tolist())
    assert 0.01 < same.p <= 1


def test_permutation_of_medians_and_of_the_studentised_difference_by_hand():
    """Medians of 1, 2 | 5, 6, 9: |1.5 − 6| = 4.5; of the 10 labelings 1 2, 6 9 (7.5 − 2 = 5.5), 5 9 (7 − 2) reach."""
    d = [1.0, 2.0, 5.0, 6.0, 9.0]
    medians = [abs(np.median([d[i], d[j]]) - np.median([d[k] for k in range(5) if k not in (i, j)]))
               for i in range(5) for j in range(i + 1, 5)]  # fmt: skip
    test = permute(d[:2], d[2:], "median")
    assert test.p == pytest.approx(np.mean([m >= 4.5 for m in medians]))
    welch = stats.permutation_test(
        (d[:2], d[2:]), lambda a, b: stats.ttest_ind(a, b, equal_var=False)[0], alternative="two-sided"
    )
    assert permute(d[:2], d[2:], "t").p == pytest.approx(welch.pvalue, abs=0.11)  # scipy doubles the smaller side
    assert permute([1.0] * 5, [1.0] * 5).p == 1 and permute([1.0] * 5, [2.0] * 5).p == pytest.approx(2 / 252)


def test_the_studentised_permutation_is_the_rule_from_five_a_family():
    assert permute([0.0] * 4, [1.0] * 5).statistic == "mean"
    assert permute([0.0] * 5, [1.0] * 5).statistic == "t"


def test_welch_is_that_of_scipy_from_five_a_family():
    rng = np.random.default_rng(1)
    cnn, modern = rng.normal(size=5).tolist(), (1 + 4 * rng.normal(size=7)).tolist()
    found = welch(cnn, modern)
    known: Any = stats.ttest_ind(cnn, modern, equal_var=False)
    assert found is not None
    assert (found.p, found.df) == (pytest.approx(known.pvalue), pytest.approx(known.df))
    low, high = known.confidence_interval(0.95)
    assert (found.interval().low, found.interval().high) == (pytest.approx(low), pytest.approx(high))


def test_small_families_have_the_degrees_of_freedom_of_the_smaller():
    """0, 2 | 3, 5, 7: C = −4, variances 2/2 + 4/3, t = 4/√(7/3) with 1 degree of freedom."""
    found = welch([0.0, 2.0], [3.0, 5.0, 7.0])
    assert found is not None and (found.difference, found.df) == (-4, 1)
    assert found.error == pytest.approx((7 / 3) ** 0.5)
    # Student's t with one degree of freedom is the Cauchy distribution
    assert found.p == pytest.approx(1 - 2 / np.pi * np.arctan(4 / (7 / 3) ** 0.5))


def test_families_without_spread_or_with_one_backbone():
    assert welch([1.0], [2.0, 3.0]) is None and compare_families([1.0], [2.0, 3.0]).p is None
    same, apart = compare_families([1.0] * 5, [1.0] * 5), compare_families([1.0] * 5, [2.0] * 5)
    assert same.p == 1 and apart.p == pytest.approx(2 / 252)
    assert compare_families([1.0] * 5, [2.0] * 6, "median").welch is None


def test_a_claim_rests_on_the_larger_p():
    rng = np.random.default_rng(2)
    loud = compare_families((3 + 5 * rng.normal(size=5)).tolist(), (0.2 * rng.normal(size=9)).tolist())
    assert loud.welch is not None and loud.p == max(loud.permutation.p, loud.welch.p)
    # d = 0 … 4 | 5 … 9, far apart: Welch's p has no floor, that of the labels has
    clear = compare_families([0, 1, 2, 3, 4], [1005, 1006, 1007, 1008, 1009])
    assert clear.welch is not None and clear.welch.p < 1e-9 and clear.p == pytest.approx(2 / 252)


@pytest.mark.parametrize(("cnn", "modern"), [(2, 2), (2, 5), (3, 4), (5, 6), (7, 13)])
@pytest.mark.parametrize("ratio", [0.2, 1.0, 5.0])
def test_welch_keeps_its_level_where_spreads_differ(cnn, modern, ratio):
    """At most 6 % and the luck of 2,000 samples; the p of a claim is never smaller."""
    rng = np.random.default_rng(3)
    wrong = 0
    for _ in range(2000):
        found = welch(rng.normal(size=cnn).tolist(), (ratio * rng.normal(size=modern)).tolist())
        wrong += found is not None and found.p <= 0.05
    assert wrong / 2000 <= 0.06 + 3 * (0.06 * 0.94 / 2000) ** 0.5


def test_words_name_both_tests_or_what_the_one_is_about():
    permutation = Permutation(252, 0.016, 2 / 252, statistic="t")
    assert family_test_text(FamilyTest(permutation, Welch(2.0, 0.8, 6.25, 0.045))) == (
        "two-sided p = 0.045, the larger of Welch's t (0.045, df 6.2) and a permutation of C over its error (0.016; "
        "all 252 labelings, smallest possible 0.0079)"
    )
    alone = family_test_text(compare_families([1.0], [2.0, 3.0]))
    assert "permutation = 0.67 (all 3 labelings" in alone and alone.endswith("differ in nothing, spread included'")
