"""Every 95 % interval holds the truth in 92 to 98 % of simulated tables, and no test is wrong in more than 6 %.

The quick versions here allow for the luck of few tables, three standard errors beyond those limits; the slow one is
``benchmarks/coverage.py`` with its limits as they are.
"""

from __future__ import annotations

import pytest
from simulated import REGIMES, coverage, false_positives, permutation_errors

TABLES = 25
# what counts each cell, backbone or optimizer has many trials in a table
MANY = ("cell", "backbone", "optimizer", "best")


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("regime", REGIMES)
def test_intervals_hold_the_truth(regime, seeds):
    found = coverage(8, 6, seeds, regime, TABLES, "parametric")
    assert len(found) == 9
    for name, share in found.items():
        trials = TABLES * (4 if name in MANY else 1)
        low = 0.92 - 3 * (0.92 * 0.08 / trials) ** 0.5
        assert share >= low, f"{name}: {share:.3f}"
    # too wide is wrong as well; what counts whole tables cannot show it with 40 of them
    assert all(found[name] < 0.995 for name in MANY[:3])


@pytest.mark.parametrize("regime", REGIMES[:2])
def test_tests_are_wrong_as_rarely_as_they_say(regime):
    for name, share in false_positives(8, 6, 2, regime, 80).items():
        assert share <= 0.06 + 3 * (0.06 * 0.94 / 80) ** 0.5, name


def test_permutations_of_backbones_keep_their_level():
    """Exact for families that make no difference; where only their spreads differ, see ``permute``."""
    assert permutation_errors(5, 6, 1.0, 1500) <= 0.06
    assert permutation_errors(5, 6, 0.2, 1500) < permutation_errors(5, 6, 0.2, 1500, "mean")


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("regime", REGIMES)
def test_intervals_hold_the_truth_in_many_tables(regime, seeds):
    found = coverage(10, 8, seeds, regime, 600, "parametric")
    error = 0.009  # of a share of 600 tables
    assert {name: s for name, s in found.items() if not 0.92 - error <= s <= 0.98 + error} == {}
