"""Pairs of optimizers over backbones against independent computations, and by hand."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from bocb_hf.coupling.comparisons import compare_pairs
from bocb_hf.coupling.published import published
from bocb_hf.coupling.scores import make_scores
from bocb_hf.coupling.signed_rank import bayesian_signed_rank, dirichlet_weights, holm, signed_rank

RNG = np.random.default_rng(3)


@pytest.mark.parametrize("n", [1, 4, 9, 20, 45])
def test_p_is_that_of_scipy_without_ties(n: int) -> None:
    d = RNG.normal(0.4, 1, n)
    reference: Any = scipy.stats.wilcoxon(d, method="exact")
    found = signed_rank(d)
    assert found.p == pytest.approx(reference.pvalue, rel=1e-9)
    assert found.smallest == pytest.approx(min(1.0, 2 / 2**n)) and found.n == n


@settings(max_examples=40)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_p_with_ties_is_that_of_all_signs(values: list[int]) -> None:
    """Every assignment of signs to the ranks of the differences that are not 0, one by one."""
    kept = np.array([v for v in values if v], np.float64)
    found = signed_rank(np.array(values, np.float64))
    assert found.zeros == len(values) - len(kept)
    if not len(kept):
        assert found.p == 1.0
        return
    ranks = scipy.stats.rankdata(np.abs(kept))
    sums = np.array([ranks[np.array(signs)].sum() for signs in product([False, True], repeat=len(ranks))])
    w = ranks[kept > 0].sum()
    assert found.p == pytest.approx(min(1.0, 2 * min((sums <= w + 1e-9).mean(), (sums >= w - 1e-9).mean())))


def test_the_interval_is_the_inversion_of_the_test() -> None:
    """A shift is inside exactly when the test does not reject it at 5 %."""
    d = RNG.normal(1, 2, 12)
    found = signed_rank(d)
    assert found.interval is not None and found.interval.holds(found.estimate)
    for shift in (found.interval.low, found.interval.high):
        inside, outside = (signed_rank(d - shift - e * np.sign(shift - found.estimate)).p for e in (-1e-6, 1e-6))
        assert outside < 0.05 <= inside
    assert signed_rank(d[:5]).interval is None, "5 differences cannot reach 5 %"
    with pytest.raises(ValueError, match="at least one"):
        signed_rank(np.array([]))


def test_intervals_hold_the_centre_of_skew_free_noise() -> None:
    hits = [signed_rank(np.random.default_rng(i).standard_t(3, 10) + 2).interval for i in range(200)]
    assert 0.92 < np.mean([i is not None and i.holds(2) for i in hits]) < 0.99  # exact level 0.951 at n = 10


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p: list[float]) -> None:
    assert holm(np.array(p)) == pytest.approx(multipletests(p, method="holm")[1])


def test_bayesian_signed_rank_by_plain_loops() -> None:
    d, rope = np.array([0.3, -0.2, 1.5, 2.5, 1.0]), 0.5
    weights = dirichlet_weights(len(d), 300, 1)
    z, votes = [0.0, *d.tolist()], np.zeros(3)
    for w in weights.astype(np.float64):
        theta = np.zeros(3)
        for i, a in enumerate(z):
            for j, b in enumerate(z):
                middle = (a + b) / 2
                edge = 0.5 if abs(middle) == rope else 1.0
                place = 2 if middle >= rope else 0 if middle <= -rope else 1
                theta[place] += edge * w[i] * w[j]
                theta[1] += (1 - edge) * w[i] * w[j]
        votes[theta.argmax()] += 1 / len(weights)
    found = bayesian_signed_rank(d, rope, weights)
    assert (found.worse, found.equal, found.better) == pytest.approx(tuple(votes), abs=0.01)


def test_bayesian_signed_rank_of_one_difference_is_a_beta() -> None:
    """Of one difference beyond the region, the pair (1, 1) alone is beyond it for sure; ½ of it with the pseudo-zero.

    With weight w ~ Beta(1, ½) and d > 2·rope, θ of better is w² + 2w(1 − w) and equal the rest: better is largest when
    (1 − w)² < ½.
    """
    weights = dirichlet_weights(1, 20_000, 2)
    found = bayesian_signed_rank(np.array([5.0]), 1.0, weights)
    chance = 1 - scipy.stats.beta(1, 0.5).cdf(1 - 0.5**0.5)
    assert found.better == pytest.approx(chance, abs=0.012) and found.worse == 0


def test_a_pair_does_not_depend_on_the_others() -> None:
    scores = published("cifar100")
    pair = scores.select(optimizers=["adan", "adamw"])
    (alone,) = compare_pairs(pair).pairs
    among = next(p for p in compare_pairs(scores).pairs if {p.first, p.second} == {"adan", "adamw"})
    assert (alone.test, alone.equivalence) == (among.test, among.equivalence)
    assert alone.holm == alone.test.p < among.holm and alone.first == "adan"
    assert (among.test.n, among.clusters) == (20, 16)


def test_diverged_cells_are_the_largest_losses_and_missing_ones_say_nothing() -> None:
    values = np.array([[80.0, 70], [81, 60], [82, 81.5], [83, np.nan], [84, np.nan], [np.nan, np.nan]])
    status = [["completed"] * 2] * 3 + [["completed", "diverged"], ["completed", "missing"], ["diverged"] * 2]
    names = [f"b{i}" for i in range(6)]
    scores = make_scores(values, names, ["sgdm", "adamw"], unit="percent", status=status)
    (pair,) = compare_pairs(scores).pairs
    assert (pair.first, pair.second, pair.diverged) == ("sgdm", "adamw", 1)
    assert (pair.test.n, pair.test.zeros) == (5, 1)  # both diverged on the last backbone
    assert pair.test.p == 2 / 2**4 and pair.equivalence.better > 0.8 > 0.01 > pair.equivalence.worse
