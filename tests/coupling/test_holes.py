"""Tables that lack cells or seeds: every statistic against a known answer, and unmoved by the order of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from simulated import OPTIMIZERS, simulate

from bocb_hf.coupling.analysis import ScaleAnalysis, analyse, to_plain
from bocb_hf.coupling.bootstrap import bootstrap, standard_statistics
from bocb_hf.coupling.contrast_design import Design, NoDesign, design, unseen
from bocb_hf.coupling.contrast_variants import contrast_variants
from bocb_hf.coupling.decomposition import decompose
from bocb_hf.coupling.holes import HoleDraws, fill, fillable, why_no_cost
from bocb_hf.coupling.incomplete_ranks import skillings_mack
from bocb_hf.coupling.indices import cost_of_coupling
from bocb_hf.coupling.interaction_tests import interaction_test, try_interaction_test, tukey_one_df
from bocb_hf.coupling.noise import block_noise, cell_noise
from bocb_hf.coupling.ranks import nemenyi, rank_optimizers, try_ranking
from bocb_hf.coupling.scores import ScoreTable, make_scores
from bocb_hf.report.words.analysis import analysis_text


def table_of(values, status=None) -> ScoreTable:
    """The first half of the backbones are CNNs."""
    b, o = np.shape(values)[:2]
    families = ["classical_cnn"] * (b // 2) + ["modern"] * (b - b // 2)
    return make_scores(
        values, [f"b{i}" for i in range(b)], OPTIMIZERS[:o], unit="percent", families=families, status=status
    )


def holed(shape, share, seed) -> np.ndarray:
    """Which cells are missing; the first row and column are there, so that all cells are joined."""
    holes = np.random.default_rng(seed).random(shape) < share
    holes[0] = holes[:, 0] = False
    return holes


def test_noise_of_a_whole_backbone_does_not_depend_on_holes_elsewhere():
    values = simulate(np.random.default_rng(0), 6, 5, 3, "equal")[1].values.copy()
    whole = cell_noise(values)
    values[2, 3] = np.nan
    part = cell_noise(values)
    assert whole is not None and part is not None
    assert np.delete(part, 2, axis=0) == pytest.approx(np.delete(whole, 2, axis=0))
    assert np.isnan(part[2]).tolist() == [False, False, False, True, False]
    # what is left of that backbone is a whole table of four optimizers
    four = cell_noise(np.delete(values[2:3], 3, axis=1))
    assert four is not None and np.delete(part[2], 3) == pytest.approx(four[0])


def test_noise_with_holes_is_unbiased_and_free_of_what_seeds_share():
    rng = np.random.default_rng(1)
    sigma, backbones = np.array([0.5, 1.0, 2.0, 1.0]), 4000
    y = sigma[:, None] * rng.normal(size=(backbones, 4, 3)) + 3 * rng.normal(size=(backbones, 1, 3))
    y[::2, 3] = np.nan
    found = cell_noise(y)
    assert found is not None and np.isnan(found[::2, 3]).all()
    assert np.nanmean(found, axis=0) == pytest.approx(sigma**2, abs=0.15)
    # (1 − 1/B)·σ²/S of the shared part
    assert block_noise(y) == pytest.approx(9 / 3, rel=0.06)


def test_the_interaction_has_no_bias_where_a_cell_is_missing():
    """What backbones share in a seed, 2 points, is taken from no interaction."""
    rng = np.random.default_rng(2)
    truth, _ = simulate(rng, 6, 5, 3, "equal")
    truth[1, 2] = np.nan
    table = table_of(truth)
    expected = standard_statistics(table, "points")["variances"](table.means[None], None)[0]
    found = []
    for _ in range(150):
        y = table_of(truth[..., None] + 0.5 * rng.normal(size=(6, 5, 3)) + 2 * rng.normal(size=(6, 1, 3)))
        noise = cell_noise(y.values)
        assert noise is not None
        found.append(standard_statistics(y, "points")["variances"](y.means[None], noise[None] / 3)[0])
    assert np.mean(found, axis=0)[2] == pytest.approx(expected[2], rel=0.05)
    assert np.mean(found, axis=0)[0] == pytest.approx(expected[0], rel=0.08)


def test_f_is_that_of_nested_linear_models():
    """Σ n·r² is what the interaction adds to an additive model of all scores, by statsmodels."""
    import pandas as pd
    from statsmodels.formula.api import ols

    values = simulate(np.random.default_rng(3), 6, 5, 3, "equal")[1].values.copy()
    values[holed((6, 5), 0.2, 4)] = np.nan
    values[0, 1, 2] = values[3, 0, 1] = np.nan
    rows = [{"b": b, "o": o, "y": values[b, o, s]} for b, o, s in np.argwhere(np.isfinite(values))]
    frame = pd.DataFrame(rows)
    additive, full = ols("y ~ C(b) + C(o)", frame).fit(), ols("y ~ C(b * 5 + o)", frame).fit()
    cells = int(np.isfinite(values).any(axis=2).sum())
    test, noise = interaction_test(table_of(values)), cell_noise(values)
    assert test is not None and noise is not None
    assert (test.cells, test.backbones, test.optimizers, test.df1) == (cells, 6, 5, cells - 10)
    squares = float(additive.ssr - full.ssr)
    assert test.f * np.nanmean(noise) * test.df1 == pytest.approx(squares, rel=1e-6)
    # seeds are blocked out of the noise: an additive model of cells and seeds in each backbone
    blocked = sum(float(ols("y ~ C(o) + C(s)", pd.DataFrame(
        [{"o": o, "s": s, "y": values[b, o, s]} for o, s in np.argwhere(np.isfinite(values[b]))])).fit().df_resid)
        for b in range(6))  # fmt: skip
    assert test.df2 == blocked


def test_tukey_with_holes_is_the_f_of_an_added_variable():
    rng = np.random.default_rng(5)
    b, o = np.linspace(-5, 5, 6), np.linspace(-3, 3, 5)
    y = 60 + b[:, None] + o + 0.3 * np.outer(b, o) + 0.5 * rng.normal(size=(6, 5))
    y[holed((6, 5), 0.2, 6)] = np.nan
    fit = decompose(table_of(y)).fit
    found, kept = tukey_one_df(fit), np.isfinite(y)
    rows, columns = np.nonzero(kept)
    design_matrix = np.zeros((len(rows), 12))
    design_matrix[np.arange(len(rows)), rows] = 1
    design_matrix[np.arange(len(rows)), 6 + columns] = 1
    design_matrix[:, 11] = (fit.backbone[:, None] * fit.optimizer)[kept]
    without = np.linalg.lstsq(design_matrix[:, :11], y[kept], rcond=None)[0]
    full = np.linalg.lstsq(design_matrix, y[kept], rcond=None)[0]
    more = float(np.square(y[kept] - design_matrix[:, :11] @ without).sum())
    less = float(np.square(y[kept] - design_matrix @ full).sum())
    assert found is not None and found.df == kept.sum() - 11
    assert found.f == pytest.approx((more - less) / (less / found.df))
    assert found.slope == pytest.approx(0.3, abs=0.06) and found.p < 1e-6


def test_reasons_say_what_would_allow_a_test():
    y = 70 + np.random.default_rng(6).normal(size=(4, 4, 2))
    assert "run further seeds" in str(try_interaction_test(table_of(y[..., :1])))
    star = y.copy()
    star[1:, 1:] = np.nan
    assert "explained by as many effects; run more cells" in str(try_interaction_test(table_of(star)))
    y[:2, 2:] = y[2:, :2] = np.nan
    assert "share no backbone" in str(try_ranking(table_of(y)))
    flat = np.full((3, 4), 70.0)
    assert "all cells of each backbone tie" in str(try_ranking(table_of(flat)))
    flat[0, 0] = np.nan
    assert "all cells of each backbone tie" in str(try_ranking(table_of(flat)))


@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.3]))
@settings(max_examples=15)
def test_the_contrast_is_exact_under_its_model_whatever_is_missing(seed, share):
    """Backbones differ in how they live with SGD, optimizers by family: d and C come out as if nothing were missing."""
    rng = np.random.default_rng(seed)
    backbones, optimizers = 8, 7
    whole = table_of(np.full((backbones, optimizers), 70.0))
    sgd = np.array([o in ("sgdm", "sgdp") for o in whole.optimizers])
    modern = np.array([f == "modern" for f in whole.families])
    level = 60 + 3 * rng.normal(size=(backbones, 2))
    of_family = 2 * rng.normal(size=(2, optimizers))
    y = np.where(sgd, level[:, :1], level[:, 1:]) + of_family[modern.astype(int)]
    expected = design(table_of(y))
    y[rng.random(y.shape) < share] = np.nan
    if not np.isfinite(y).any():
        return
    found = design(table_of(y))
    if isinstance(found, NoDesign):
        assert found.reason and found.left_out is not None
        return
    assert isinstance(expected, Design)
    used = found.sgd | found.adaptive
    truth = np.where(sgd, level[:, :1], level[:, 1:]) + of_family[modern.astype(int)]
    d = truth[:, found.sgd].mean(axis=1) - truth[:, found.adaptive].mean(axis=1)
    inside = found.cnn | found.modern
    assert found.differences(np.where(np.isfinite(y), y, np.nan))[inside] == pytest.approx(d[inside])
    contrast = d[found.cnn].mean() - d[found.modern].mean()
    assert float(np.nansum(found.weights * y)) == pytest.approx(contrast)
    assert (found.weights[~np.isfinite(y)] == 0).all() and (found.weights[:, ~used] == 0).all()
    assert float((found.full * truth).sum()) == pytest.approx(contrast)


def test_a_whole_optimizer_or_backbone_group_that_is_missing_is_named():
    y = 70 + np.random.default_rng(7).normal(size=(8, 6))
    y[5, :2] = np.nan  # a modern backbone without SGD
    y[:4, 4] = np.nan  # an optimizer without CNNs
    found = design(table_of(y))
    assert isinstance(found, Design)
    assert found.left_out == {"b5": "no score of the SGD group"}
    assert found.dropped == {OPTIMIZERS[4]: "no CNN has a score of it"} and not found.holes.any()


def test_the_error_of_a_contrast_with_holes_grows_with_them():
    _, table = simulate(np.random.default_rng(8), 10, 8, 3, "equal")
    sizes = []
    for share in (0.0, 0.1, 0.3):
        values = table.values.copy()
        values[holed((10, 8), share, 9)] = np.nan
        part = table_of(values)
        found = design(part)
        assert isinstance(found, Design)
        extra = unseen(part, found, "points")
        sizes.append(0.0 if extra is None else extra.variance)
    assert sizes[0] == 0 < sizes[1] < sizes[2]
    holes = [v.holes for v in contrast_variants(table_of(values))]
    assert len(holes) == 2 and min(holes) > 0


def test_missing_the_hardest_backbone_does_not_make_an_optimizer_the_one_for_all():
    """Exactly additive: y is best everywhere by 1 point, and x was not run on the backbone 40 points below."""
    y = np.array([[80.0], [78.0], [40.0]]) + np.array([0.0, 1.0, -2.0])
    y[2, 0] = np.nan
    table = table_of(y)
    assert np.nanmean(y, axis=0).argmax() == 0  # the plain mean is misled
    cost = cost_of_coupling(table)
    assert cost is not None and (cost.optimizer, cost.holes) == (OPTIMIZERS[1], (("b2", OPTIMIZERS[0]),))
    assert cost.naive == pytest.approx(0, abs=1e-9)
    assert fill(table.means, table.ranked, fillable(table))[2, 0] == pytest.approx(40)


def test_a_hole_is_drawn_as_wide_as_it_is_unknown():
    """Its error is its own interaction and that of the fit, τ²·(1 + leverage), with τ² from the table."""
    rng = np.random.default_rng(10)
    y = 60 + 3 * rng.normal(size=(20, 1)) + rng.normal(size=(20, 15))
    y[4, 5] = np.nan
    table = table_of(y[:, :10])
    draws = HoleDraws.of(table, "points", None)
    assert draws is not None and HoleDraws.of(table_of(np.nan_to_num(y[:, :10], nan=60)), "points", None) is None
    drawn = draws.draw(rng, 4000, table.means)
    assert np.isnan(drawn[:, ~table.ranked & ~draws.holes]).all()
    assert (drawn[:, table.ranked] == table.means[table.ranked]).all()
    leverage = 1 / 19 + 1 / 9 + 1 / (19 * 9)
    assert drawn[:, 4, 5].std() == pytest.approx((draws.mean_square * (1 + leverage)) ** 0.5, rel=0.1)


def test_diverged_cells_are_no_holes():
    _, table = simulate(np.random.default_rng(11), 6, 5, 3, "equal")
    values, status = table.values.copy(), np.full((6, 5), "completed", dtype="<U12")
    values[2, 1] = np.nan
    status[2, 1] = "diverged"
    diverged, missing = table_of(values, status), table_of(values)
    lost, hole = cost_of_coupling(diverged), cost_of_coupling(missing)
    assert lost is not None and hole is not None and lost.holes == () and hole.holes == (("b2", OPTIMIZERS[1]),)
    last, absent = rank_optimizers(diverged), rank_optimizers(missing)
    assert last is not None and absent is not None
    assert last.ranks[2, 1] == 5 and last.critical_difference == pytest.approx(nemenyi(5, 6))
    assert np.isnan(absent.ranks[2, 1]) and absent.critical_difference is None and absent.cells == 29
    assert not fillable(diverged).any() and fillable(missing).sum() == 1
    no_sgd = design(diverged)
    assert isinstance(no_sgd, Design) and no_sgd.left_out == {"b2": f"{OPTIMIZERS[1]} diverged"}


def test_skillings_and_mack_by_their_own_example():
    """Skillings and Mack (1981), four assembly methods: 15.493 with 3 degrees of freedom, p = 0.0014."""
    times = np.array(
        [
            [3.2, 4.1, 3.8, 4.2], [3.1, 3.9, 3.4, 4.0], [4.3, 3.5, 4.6, 4.8], [3.5, 3.6, 3.9, 4.0],
            [3.6, 4.2, 3.7, 3.9], [4.5, 4.7, 3.7, np.nan], [np.nan, 4.2, 3.4, np.nan], [4.3, 4.6, 4.4, 4.9],
            [3.5, np.nan, 3.7, 3.9],
        ]
    )  # fmt: skip
    found = skillings_mack(-times, np.isfinite(times))
    assert not isinstance(found, str)
    assert (found.chi2, found.df, found.p) == (pytest.approx(15.493, abs=5e-4), 3, pytest.approx(0.0014, abs=5e-5))
    assert 0 < found.agreement < 1 and found.mean_ranks.argmin() == 0


def test_of_a_complete_table_it_is_friedman_and_nemenyi():
    rng = np.random.default_rng(12)
    y = rng.integers(60, 66, (9, 5)) + np.arange(5.0) * 2
    expected = rank_optimizers(table_of(y))
    found = skillings_mack(y, np.ones(y.shape, bool))
    assert expected is not None and not isinstance(found, str)
    assert found.chi2 == pytest.approx(expected.chi2) and found.mean_ranks == pytest.approx(expected.mean_ranks)
    assert found.agreement == pytest.approx(expected.kendall_w)
    y = rng.normal(size=(9, 5)) + np.arange(5.0)
    free = skillings_mack(y, np.ones(y.shape, bool))
    assert not isinstance(free, str)
    gaps = free.mean_ranks[None] - free.mean_ranks[:, None]
    assert np.array_equal(free.apart, gaps > nemenyi(5, 9)) and free.apart.any()


def test_an_optimizer_run_only_against_weak_ones_gains_no_rank():
    """z is third everywhere it runs with all others; on half of the backbones it meets only the two weakest."""
    y = np.tile(np.array([90.0, 80, 70, 60, 50]), (8, 1)) + np.arange(8)[:, None]
    y[4:, :2] = np.nan
    found = rank_optimizers(table_of(y))
    assert found is not None and np.argsort(found.mean_ranks).tolist() == [0, 1, 2, 3, 4]
    plain = np.nanmean(found.ranks, axis=0)
    assert plain[2] == plain[1]  # ranks as they are put it level with the second


def test_cells_that_nothing_joins_are_named_and_the_others_analysed():
    values = 70 + np.random.default_rng(13).normal(size=(5, 5, 2))
    values[4, :4] = values[:4, 4] = np.nan
    analysis = analyse(table_of(values), draws=50)
    assert analysis.not_joined == (("b4", OPTIMIZERS[4]),)
    assert isinstance(analysis.points, ScaleAnalysis) and analysis.points.test is not None
    assert analysis.points.test.cells == 16 and np.isnan(analysis.points.residuals.r[4, 4])
    assert analysis.points.best is not None and analysis.points.best.candidates[4, 4]
    text = " ".join(analysis_text(analysis))
    assert f"cannot be compared with them: b4 with {'LAMB'}. A cell that joins them would let them count." in text
    told = to_plain(analysis)["holes"]
    assert told["not_joined"] == [["b4", OPTIMIZERS[4]]] and told["points"]["interaction_test"]["cells"] == 16
    assert "holes" not in to_plain(analyse(table_of(values[:4, :4]), draws=50))


def test_nothing_disappears_in_silence():
    """Every answer of a thin table is a number with its cells, or a reason."""
    values = 70 + np.random.default_rng(14).normal(size=(3, 3, 2))
    values[1:, 1:] = np.nan
    analysis = analyse(table_of(values), draws=50)
    text = " ".join(analysis_text(analysis))
    assert "4 of 9 cells have no mean: 4 not run (b1 with SGDP" in text
    assert "no test of interaction: 5 cell(s) of 3 backbone(s) and 3 optimizer(s) are explained by as many" in text
    assert isinstance(analysis.points, ScaleAnalysis) and analysis.points.cost is None
    assert f"Cost of coupling: not available; {why_no_cost(table_of(values))}." in text
    assert "No ranking: 1 backbone(s) have two cells that can be ranked" in text
    assert set(analysis.absent) == {"ranking", "contrast"} and "run these" in analysis.absent["contrast"]


@example(663, 0.1)  # pairs of optimizers at the limit of being told apart
@example(678, 0.3)  # two blocks of modern backbones that are as large
@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.3]))
@settings(max_examples=6)
def test_order_changes_nothing(seed, share):
    rng = np.random.default_rng(seed)
    _, table = simulate(rng, 6, 6, 2, "factor 50")
    values = table.values.copy()
    values[rng.random((6, 6)) < share] = np.nan
    values[0] = table.values[0]
    first = table_of(values)
    rows, columns = rng.permutation(6), rng.permutation(6)
    other = first.select([first.backbones[i] for i in rows], [first.optimizers[i] for i in columns])
    one, two = interaction_test(first), interaction_test(other)
    assert one is not None and two is not None and one.f == pytest.approx(two.f) and one.df2 == two.df2
    a, b = cost_of_coupling(first), cost_of_coupling(other)
    assert (a is None) == (b is None)
    if a is not None and b is not None:
        assert a.naive == pytest.approx(b.naive, abs=1e-9) and set(a.holes) == set(b.holes)
    x, y = rank_optimizers(first), rank_optimizers(other)
    assert x is not None and y is not None and y.mean_ranks == pytest.approx(x.mean_ranks[columns])
    assert set(x.apart) == set(y.apart)
    c, d = design(first), design(other)
    assert isinstance(c, Design) == isinstance(d, Design)
    if isinstance(c, Design) and isinstance(d, Design):
        assert d.weights == pytest.approx(c.weights[rows][:, columns], abs=1e-12)


def test_intervals_of_cost_and_contrast_hold_what_missing_cells_could_be():
    _, table = simulate(np.random.default_rng(15), 8, 6, 3, "equal")
    values = table.values.copy()
    values[holed((8, 6), 0.25, 16)] = np.nan
    whole, part = bootstrap(table, draws=300), bootstrap(table_of(values), draws=300)
    assert whole is not None and part is not None
    for name in ("cost", "contrast"):
        lengths = [float(x.intervals[name].high - x.intervals[name].low) for x in (whole, part)]
        assert lengths[1] > 1.1 * lengths[0], name
