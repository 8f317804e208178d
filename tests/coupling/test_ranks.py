"""Ranks against scipy and scikit-learn's neighbours of it, and best sets by their own meaning."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from simulated import simulate

from bocb_hf.coupling.published import published
from bocb_hf.coupling.ranks import best_sets, nemenyi, rank_optimizers
from bocb_hf.coupling.scores import make_scores


def test_published_figures():
    found = rank_optimizers(published())
    assert found is not None and found.critical_difference is not None
    assert (round(found.kendall_w, 2), round(found.critical_difference, 2)) == (0.44, 6.63)
    assert found.p < 1e-20


def test_friedman_equals_scipy_with_ties():
    y = np.random.default_rng(0).integers(60, 66, (8, 5)).astype(float)
    found = rank_optimizers(make_scores(y, list("abcdefgh"), list("vwxyz"), unit="percent"))
    expected = stats.friedmanchisquare(*y.T)
    assert found is not None and found.chi2 == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)


def test_nemenyi_equals_the_published_table_of_critical_values():
    """Demšar (2006), Table 5a: q of 0.05 is 1.960 for two and 3.164 for ten classifiers."""
    assert nemenyi(2, 6) == pytest.approx(1.960 * np.sqrt(2 * 3 / 36), abs=1e-3)
    assert nemenyi(10, 6) == pytest.approx(3.164 * np.sqrt(10 * 11 / 36), abs=2e-3)


def test_diverged_cells_rank_last_and_share_the_place():
    status = np.array([["completed", "diverged", "diverged", "completed"], ["completed"] * 4, ["completed"] * 4])
    status[2, 0] = "missing"
    y = np.array([[80.0, np.nan, np.nan, 70], [60, 61, 62, 63], [np.nan, 61, 62, 63]])
    found = rank_optimizers(make_scores(y, list("abc"), list("wxyz"), unit="percent", status=status))
    assert found is not None and found.backbones == ("a", "b", "c") and found.critical_difference is None
    assert found.ranks[:2].tolist() == [[1, 3.5, 3.5, 2], [4, 3, 2, 1]]
    assert np.isnan(found.ranks[2, 0]) and found.ranks[2, 1:].tolist() == [3, 2, 1]  # missing, not diverged


def test_what_cannot_be_ranked_is_none():
    assert rank_optimizers(make_scores(np.full((3, 4), 70.0), list("abc"), list("wxyz"), unit="percent")) is None
    assert rank_optimizers(make_scores([[70.0, 71, 72]], ["a"], list("xyz"), unit="percent")) is None
    assert best_sets(published()) is None


def test_best_sets_hold_the_best_and_leave_out_the_hopeless():
    rng = np.random.default_rng(1)
    _, table = simulate(rng, 6, 6, 3, "equal", interaction=3.0)
    found = best_sets(table)
    assert found is not None
    best = table.means.argmax(axis=1)
    assert found.candidates[np.arange(6), best].all()
    assert (found.high >= 0).all() and (found.low <= 0).all()
    assert np.array_equal(found.candidates, found.high > 0)
    far = table.means < table.means.max(axis=1)[:, None] - 5
    assert far.any() and not found.candidates[far].any()
    lonely = found.candidates.sum(axis=1) == 1
    assert (found.low[lonely, best[lonely]] == 0).all()


def test_best_sets_skip_what_is_not_ranked():
    _, table = simulate(np.random.default_rng(2), 5, 5, 3, "equal")
    values = table.values.copy()
    values[0, :4], values[1, 2] = np.nan, np.nan
    found = best_sets(make_scores(values, table.backbones, table.optimizers, unit="percent"))
    assert found is not None
    assert found.candidates[0].tolist() == [False] * 4 + [True] and not found.candidates[1, 2]
    assert np.isnan(found.low[1, 2])
