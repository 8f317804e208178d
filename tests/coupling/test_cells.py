"""The noise of all cells at once, against one cell at a time; and the depth that it follows."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import simulate

from bocb_hf.coupling.cells import moderate, moderate_table
from bocb_hf.coupling.depth import depths, slope
from bocb_hf.coupling.statistics import estimate, fit_prior


def test_each_cell_is_as_one_alone():
    _, table = simulate(np.random.default_rng(0), 6, 5, 3, "collapsed")
    found = moderate_table(table.values, table.ranked)
    depth = depths(table.means)
    assert found.prior is not None and found.prior.slope > 0 and found.rare is None
    for b in range(6):
        for o in range(5):
            alone = estimate(table.values[b, o], found.prior, float(depth[b, o]))
            assert found.variance[b, o] == pytest.approx(alone.variance)
            assert found.df[b, o] == pytest.approx(alone.df)


def test_depth_by_hand():
    """Medians 70 and 60; distances 0, 2, 2, 0, 1, 9, so 1.5 is typical; what lies above the median has no depth."""
    means = np.array([[70.0, 72, 68], [60, 61, 51]])
    assert depths(means) == pytest.approx(np.log1p(np.array([[0, 0, 2 / 1.5], [0, 0, 9 / 1.5]])))
    assert depths(means, np.array([[67.0], [np.nan]]))[0, 0] == pytest.approx(np.log1p(3 / 1.5))
    assert not depths(np.full((2, 3), 70.0)).any()
    assert np.isnan(depths(np.full((1, 2), np.nan))).any() or not depths(np.full((1, 2), np.nan)).any()


def test_slope_is_that_of_least_squares_and_needs_cells():
    rng = np.random.default_rng(1)
    x = rng.random(40)
    y = 2 * x + 0.1 * rng.normal(size=40)
    found, error = slope(x, y)
    expected, cov = np.polyfit(x, y, 1, cov=True)
    assert found == pytest.approx(expected[0]) and error == pytest.approx(cov[0, 0] ** 0.5)
    assert slope(x[:19], y[:19]) == (0.0, 0.0)


def test_the_prior_follows_depth_up_but_never_down():
    rng = np.random.default_rng(2)
    depth = np.repeat([0.0, 2.0], 200)
    variances = np.exp(1.5 * depth) * rng.chisquare(4, 400) / 4
    up = fit_prior(variances, np.full(400, 4.0), depth=depth)
    down = fit_prior(variances[::-1].copy(), np.full(400, 4.0), depth=depth)
    flat = fit_prior(variances, np.full(400, 4.0))
    assert up is not None and down is not None and flat is not None
    assert up.slope == pytest.approx(1.5, abs=0.15) and up.at(2.0) > 10 * up.at(0.0)
    assert down.slope == 0 and up.df > 5 * flat.df


def test_order_of_cells_changes_nothing():
    _, table = simulate(np.random.default_rng(4), 5, 5, 2, "collapsed")
    flat, places = table.values.reshape(25, 2), np.repeat(np.arange(5), 5)
    order = np.random.default_rng(0).permutation(25)
    inform = np.ones(25, np.bool_)
    one, other = moderate(flat, places, inform), moderate(flat[order], places[order], inform)
    assert one.variance[order] == pytest.approx(other.variance) and one.df[order] == pytest.approx(other.df)


def test_cells_that_are_not_ranked_inform_nothing():
    _, table = simulate(np.random.default_rng(5), 5, 5, 3, "equal")
    ranked = table.ranked.copy()
    ranked[0, 0] = False
    wild = table.values.copy()
    wild[0, 0] = [1.0, 50.0, 99.0]
    one, other = moderate_table(table.values, ranked), moderate_table(wild, ranked)
    assert one.prior == other.prior and np.isnan(other.variance[0, 0])


def test_no_cell_at_all():
    found = moderate(np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros(0, np.bool_))
    assert found.prior is None and found.rare is None and found.variance.shape == (0,)
