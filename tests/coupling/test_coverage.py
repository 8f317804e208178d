"""Every 95 % interval holds the truth in 92 to 98 % of simulated tables, and no test is wrong in more than 6 %.

The quick versions here allow for the luck of few tables, three standard errors beyond those limits; the slow one is
``benchmarks/coverage.py`` with its limits as they are.
"""

from __future__ import annotations

import pytest
from covered import coverage, false_positives, family_errors, image_coverage, population_coverage
from simulated import REGIMES

TABLES = 25
# what counts each cell, backbone or optimizer has many trials in a table
MANY = ("cell", "backbone", "optimizer", "best")


@pytest.mark.parametrize("seeds", [2, 5])
@pytest.mark.parametrize("regime", REGIMES)
def test_intervals_hold_the_truth(regime, seeds):
    found = coverage(8, 6, seeds, regime, TABLES, "parametric")
    assert len(found) == 14
    for name, share in found.items():
        trials = TABLES * (4 if name in MANY else 1)
        low = 0.92 - 3 * (0.92 * 0.08 / trials) ** 0.5
        assert share.value >= 100 * low, f"{name}: {share.value:.1f}"
    # too wide is wrong as well; what counts whole tables cannot show it with 25 of them
    assert all(found[name].value < 99.5 for name in MANY[:3])


@pytest.mark.parametrize("regime", REGIMES)
def test_intervals_over_seeds_and_images_hold_the_truth_of_all_images(regime):
    found = image_coverage(6, 5, 2, regime, TABLES)
    assert len(found) == 11
    for name, share in found.items():
        trials = TABLES * (4 if name in MANY else 1)
        assert share.value >= 100 * (0.92 - 3 * (0.92 * 0.08 / trials) ** 0.5), f"{name}: {share.value:.1f}"
    assert all(found[name].value < 99.5 for name in ("backbone", "optimizer"))


@pytest.mark.parametrize("regime", REGIMES)
def test_intervals_for_further_backbones_hold_what_these_show(regime):
    for name, share in population_coverage(12, 6, 3, regime, 40).items():
        assert share.value >= 100 * (0.92 - 3 * (0.92 * 0.08 / 40) ** 0.5), name


@pytest.mark.parametrize("regime", REGIMES[:2])
def test_tests_are_wrong_as_rarely_as_they_say(regime):
    for name, share in false_positives(8, 6, 2, regime, 50).items():
        assert share.value <= 100 * (0.06 + 3 * (0.06 * 0.94 / 50) ** 0.5), name


@pytest.mark.parametrize(("cnn", "modern"), [(2, 5), (5, 6), (6, 8)])
@pytest.mark.parametrize("ratio", [0.2, 1.0, 5.0])
def test_claims_about_families_keep_their_level_whatever_their_spreads(cnn, modern, ratio):
    found = family_errors(cnn, modern, ratio, 1000)
    assert found["claim"].value <= 100 * (0.06 + 3 * (0.06 * 0.94 / 1000) ** 0.5)
    assert found["claim"].value <= min(found["Welch"].value, found["permutation"].value)


def test_a_permutation_alone_does_not_keep_it_where_spreads_differ():
    found = family_errors(5, 6, 0.2, 1000)
    assert 7 < found["permutation"].value < found["permutation of C"].value


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("regime", REGIMES)
def test_intervals_hold_the_truth_in_many_tables(regime, seeds):
    found = coverage(10, 8, seeds, regime, 600, "parametric")
    outside = {n: s for n, s in found.items() if not 92 - 1.96 * s.error <= s.value <= 98 + 1.96 * s.error}
    assert outside == {}
