"""Residuals, indices and the cost of coupling by hand, and on the published table."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import OPTIMIZERS, simulate

from bocb_hf.coupling.additive import fit_additive
from bocb_hf.coupling.bootstrap import bootstrap
from bocb_hf.coupling.indices import cost_of_coupling, kappa, kappa_squares, residuals, split_cost
from bocb_hf.coupling.noise import cell_noise
from bocb_hf.coupling.published import published
from bocb_hf.coupling.scores import make_scores
from bocb_hf.coupling.spread import fit_spread


def test_published_cost_of_coupling():
    cost = cost_of_coupling(published())
    assert cost is not None
    assert (cost.optimizer, round(cost.naive, 2), cost.split, cost.divisions) == ("adan", 0.65, None, 0)


def test_cost_on_held_out_seeds_by_hand():
    """Seed 1 prefers x on a and y on b; on seed 2 these two reach 70 and 58, and x for both 70 and 60."""
    values = np.array([[[80.0, 70.0], [70.0, 75.0]], [[60.0, 60.0], [65.0, 58.0]]])
    # chosen on seed 1: a → x, b → y; best mean of seed 1 is x (70) against y (67.5)
    first = (70 + 58) / 2 - (70 + 60) / 2
    # chosen on seed 2: a → y, b → x; best mean of seed 2: y 66.5, x 65 → y
    second = (70 + 60) / 2 - (70 + 65) / 2
    mean, divisions = split_cost(values)
    assert (mean, divisions) == (pytest.approx((first + second) / 2), 2)
    assert split_cost(np.random.default_rng(0).normal(size=(2, 2, 3)))[1] == 6
    assert split_cost(np.random.default_rng(0).normal(size=(2, 2, 16)))[1] <= 1000


def test_luck_is_in_the_naive_cost_and_not_in_the_split_one():
    rng = np.random.default_rng(1)
    tables = [70 + rng.normal(size=(6, 8, 4)) for _ in range(60)]
    found = [cost_of_coupling(make_scores(v, list("abcdef"), OPTIMIZERS[:8], unit="percent")) for v in tables]
    assert np.mean([c.naive for c in found if c]) > 0.3
    assert abs(np.mean([c.split for c in found if c and c.split is not None])) < 0.1


def test_cost_uses_the_larger_complete_part():
    """A partly diverged cell is neither known nor can anything stand in for it."""
    y = 70 + np.arange(12.0).reshape(3, 4)
    status = np.full((3, 4), "completed", dtype="<U12")
    status[1, 2] = "partial"
    cost = cost_of_coupling(make_scores(y, list("abc"), list("wxyz"), unit="percent", status=status))
    assert cost is not None and (cost.backbones, cost.optimizers) == (("a", "b", "c"), ("w", "x", "z"))
    y = np.full((2, 2), 70.0)
    y[0, 0] = y[1, 1] = np.nan
    assert cost_of_coupling(make_scores(y, list("ab"), list("xy"), unit="percent")) is None


def test_a_diverged_cell_makes_an_optimizer_no_choice_for_all_but_leaves_it_the_best_elsewhere():
    """x is 10 points ahead on a and diverges on b: leaving it out would call the coupling free."""
    values = np.array([[[80.0, 81.0], [70.0, 71.0]], [[np.nan] * 2, [60.0, 61.0]], [[62.0, 63.0], [61.0, 60.0]]])
    status = [["completed"] * 2, ["diverged", "completed"], ["completed"] * 2]
    table = make_scores(values, list("abc"), list("xy"), unit="percent", status=status)
    cost = cost_of_coupling(table)
    assert cost is not None and (cost.optimizer, cost.backbones, cost.optimizers) == ("y", tuple("abc"), tuple("xy"))
    assert (cost.naive, cost.split) == (pytest.approx((10 + 0 + 2) / 3), pytest.approx((10 + 0 + 2) / 3))
    # a missing cell is not known, and so few others do not tell what it could be: what remains are backbones with both
    missing = make_scores(values, list("abc"), list("xy"), unit="percent")
    cost = cost_of_coupling(missing)
    assert cost is not None and (cost.optimizer, cost.backbones, cost.naive) == ("x", ("a", "c"), pytest.approx(0))
    # nobody is left for all where each optimizer diverges somewhere, and a backbone without any score decides nothing
    status[0][1], values[0, 1] = "diverged", np.nan
    assert cost_of_coupling(make_scores(values, list("abc"), list("xy"), unit="percent", status=status)) is None
    values = np.array([[80.0, 70.0], [np.nan, np.nan], [60.0, 65.0]])
    status = [["completed"] * 2, ["diverged"] * 2, ["completed"] * 2]
    cost = cost_of_coupling(make_scores(values, list("abc"), list("xy"), unit="percent", status=status))
    assert cost is not None and (cost.backbones, cost.naive) == (("a", "c"), pytest.approx(2.5))


def test_intervals_of_the_cost_know_diverged_cells():
    values = simulate(np.random.default_rng(6), 6, 5, 3, "equal")[1].values.copy()
    values[:3, 0] = np.minimum(values[:3, 0] + 12, 100)  # the best of three backbones, diverged on another
    values[5, 0] = np.nan
    status = np.full((6, 5), "completed", dtype="<U12")
    status[5, 0] = "diverged"
    table = make_scores(values, list("abcdef"), OPTIMIZERS[:5], unit="percent", status=status)
    cost, found = cost_of_coupling(table), bootstrap(table, draws=200)
    assert cost is not None and found is not None and cost.naive > 4
    interval = found.intervals["cost"]
    assert interval.plain == pytest.approx(cost.naive) and 3 < interval.low < interval.estimate < interval.high < 9


def test_index_formula_with_equal_spreads():
    """With one σ for all, the noise that is subtracted is (1 − 1/B)σ²/n, as defined."""
    r = np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]])
    backbone, optimizer = kappa_squares(r, np.full((2, 3), 0.6 / 3), np.ones((2, 3), bool))
    assert backbone == pytest.approx([1 - 0.5 * 0.2] * 2)
    assert optimizer == pytest.approx([2 - (2 / 3) * 0.2, 2 - (2 / 3) * 0.2, -(2 / 3) * 0.2])


def test_indices_are_unbiased_where_one_backbone_is_loud():
    """The plain formula would call the loud backbone coupled and make the quiet ones negative."""
    rng = np.random.default_rng(2)
    truth, _ = simulate(rng, 5, 6, 3, "equal")
    sigma = np.array([5.0, 0.1, 0.1, 0.1, 0.1])[:, None, None]
    values = truth[None, :, :, None] + sigma * rng.normal(size=(4000, 5, 6, 3))
    noise = cell_noise(values)
    assert noise is not None
    found = kappa_squares(fit_additive(values.mean(-1)).interaction, noise / 3, np.ones((5, 6), bool))
    expected = kappa_squares(fit_additive(truth).interaction, None, np.ones((5, 6), bool))
    assert found[0].mean(axis=0) == pytest.approx(expected[0], abs=0.25)
    assert found[1].mean(axis=0) == pytest.approx(expected[1], abs=0.25)


def test_indices_remove_the_noise_of_incomplete_tables_exactly():
    """A backbone without any cell, holes and unequal spreads: pure noise has no index, neither way on average."""
    rng = np.random.default_rng(7)
    kept = rng.random((6, 5)) > 0.2
    kept[0] = False
    v = np.where(kept, np.exp(rng.normal(size=(6, 5))), np.nan)
    # E Σ r² is Σ over cells of the squared response to a unit error there
    expected = [np.zeros(6), np.zeros(5)]
    for b, o in np.argwhere(kept):
        unit = np.where(kept, 0.0, np.nan)
        unit[b, o] = 1
        square = np.square(fit_additive(unit, kept).interaction) * v[b, o]
        expected = [total + np.nansum(square, axis=axis) for total, axis in zip(expected, (1, 0), strict=True)]
    found = kappa_squares(np.where(kept, 0.0, np.nan), v, kept)
    for square, total, axis in zip(found, expected, (1, 0), strict=True):
        cells = kept.sum(axis=axis)
        assert np.isnan(square[cells < 2]).all() and (cells < 2).sum() == (axis == 1)
        assert -square[cells > 1] == pytest.approx((total / np.maximum(cells - 1, 1))[cells > 1])


def test_one_seed_leaves_noise_inside_and_gives_no_interval():
    table = published()
    found, r = kappa(table), residuals(table)
    assert found.noisy and r.critical is None and np.isnan(r.low).all() and not r.clear.any()
    assert np.square(found.backbone).sum() * 19 == pytest.approx(np.square(r.r).sum())


def test_residual_errors_of_incomplete_tables_equal_those_of_complete_ones():
    """One missing cell changes the errors far away from it very little."""
    _, table = simulate(np.random.default_rng(3), 8, 7, 3, "equal")
    values = table.values.copy()
    values[7, 6] = np.nan
    holed = residuals(make_scores(values, table.backbones, table.optimizers, unit="percent"), draws=500)
    whole = residuals(table, draws=500)
    assert holed.error[0, 0] == pytest.approx(whole.error[0, 0], rel=0.1)
    assert np.isnan(holed.r[7, 6]) and np.isnan(holed.low[7, 6])
    assert holed.critical == pytest.approx(whole.critical, rel=0.1)


def test_equal_seeds_give_equal_intervals():
    _, table = simulate(np.random.default_rng(4), 6, 5, 2, "factor 50")
    assert residuals(table, draws=300).critical == residuals(table, draws=300).critical


def test_cells_that_spread_exactly_alike_have_a_spread():
    means = np.random.default_rng(3).normal(70, 3, (5, 4))
    found = fit_spread(means[..., None] + np.array([-1.0, 1.0]), np.ones((5, 4), bool))
    assert found is not None
    assert np.sqrt(found.mean_square) == pytest.approx(np.full((5, 4), 2**0.5), rel=0.25)


def test_spread_recovers_what_it_can():
    """Many scores leave no doubt about σ; one score gets what the others say; rounding is a floor."""
    rng = np.random.default_rng(5)
    sigma = np.exp(rng.uniform(-2, 2, (6, 6)))
    kept = np.ones((6, 6), bool)
    many = fit_spread(sigma[..., None] * rng.normal(size=(6, 6, 400)), kept)
    assert many is not None and np.sqrt(many.mean_square) == pytest.approx(sigma, rel=0.15)
    values = rng.normal(size=(6, 6, 3))
    values[0, 0, 1:] = np.nan
    some = fit_spread(values, kept)
    assert some is not None and 0.4 < some.mean_square[0, 0] < 4
    assert fit_spread(np.ones((6, 6, 3)), kept) is None and fit_spread(values[:, :, :1], kept) is None
    draws = some.draw_table(rng, 500)
    assert draws.shape == (500, 6, 6) and (draws > 0).all()
    assert np.square(draws).mean(axis=0) == pytest.approx(some.mean_square, rel=0.5)
    two = np.zeros((6, 6), bool)
    two[1, 2] = two[4, 0] = True
    part = some.draw_cells(rng, 500, two)
    assert part.shape == (500, 2)
    assert np.square(part).mean(axis=0) == pytest.approx(some.mean_square[two], rel=0.5)


def test_a_residual_tells_of_the_spread_only_where_it_is_asked():
    """A mean far from what backbone and optimizer lead to expect may be noise; one close to it is hardly loud."""
    rng = np.random.default_rng(8)
    sigma = np.where(rng.random((10, 8)) < 0.5, 0.1, 5.0)
    values = 70 + 3 * rng.normal(size=(10, 1, 1)) + sigma[..., None] * rng.normal(size=(10, 8, 2))
    kept = np.ones((10, 8), bool)
    alone, both = fit_spread(values, kept), fit_spread(values, kept, residuals=True)
    assert alone is not None and both is not None

    def error(found):
        return np.abs(np.log(np.sqrt(found.mean_square) / sigma)).mean()

    assert error(both) < 0.9 * error(alone)
    # cells in blocks that share nothing have no residuals; neither has a table without interaction and noise of means
    blocks = np.zeros((10, 8), bool)
    blocks[:5, :4] = blocks[5:, 4:] = True
    apart, same = fit_spread(values, blocks, residuals=True), fit_spread(values, blocks)
    assert apart is not None and same is not None and np.array_equal(apart.table, same.table)
    exact = np.zeros((10, 8, 1)) + sigma[..., None] * np.array([-1.0, 1.0])
    apart, same = fit_spread(exact, kept, residuals=True), fit_spread(exact, kept)
    assert apart is not None and same is not None and np.array_equal(apart.table, same.table)
