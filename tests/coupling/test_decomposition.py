"""The two-way decomposition against least squares, statsmodels and hand calculation, and on the published table."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import simulate

from bocb_hf.coupling.additive import fit_additive, noise_coefficients
from bocb_hf.coupling.decomposition import (
    Decomposition,
    component_shares,
    decompose,
    decompose_all,
    median_polish,
    reml_sigma,
    with_chance,
)
from bocb_hf.coupling.interaction_tests import interaction_test, tukey_one_df
from bocb_hf.coupling.noise import cell_noise
from bocb_hf.coupling.published import published
from bocb_hf.coupling.scores import ScoreTable, make_scores
from bocb_hf.errors import InputError


def table_of(values, **kwargs) -> ScoreTable:
    b, o = np.shape(values)[:2]
    return make_scores(values, [f"b{i}" for i in range(b)], [f"o{i}" for i in range(o)], unit="percent", **kwargs)


def rounded(version: Decomposition | str) -> tuple[int, ...]:
    assert isinstance(version, Decomposition) and version.shares is not None
    return tuple(round(share) for share in version.shares)


def test_published_shares():
    """The figures that make most of the published interaction collapse."""
    table = published()
    median = np.median(table.means, axis=1)[:, None]
    low = table.means < median - 2
    assert int(low.sum()) == 51
    versions = decompose_all(table, "points", low)
    assert rounded(versions["observed"]) == (22, 39, 40)
    assert rounded(versions["without collapse"]) == (2, 94, 4)
    assert rounded(decompose(table.without(["adagrad"]))) == (7, 58, 35)
    assert rounded(decompose(table, "logit")) == (19, 48, 33)
    observed = decompose(table)
    components = component_shares(observed.fit)
    assert components is not None and components[:3].sum() == pytest.approx(94.6, abs=0.05)
    assert (observed.noise, observed.sigma_int, interaction_test(table)) == (None, None, None)


def test_by_hand():
    """Means 80 70 / 60 58: level 67, backbones ±8, optimizers ±3, interaction ±2."""
    fit = decompose(table_of([[80.0, 70.0], [60.0, 58.0]])).fit
    assert fit.level == 67 and fit.backbone.tolist() == [8, -8] and fit.optimizer.tolist() == [3, -3]
    assert fit.interaction.tolist() == [[2, -2], [-2, 2]]
    shares = decompose(table_of([[80.0, 70.0], [60.0, 58.0]])).shares
    assert shares == pytest.approx((900 / 77, 6400 / 77, 400 / 77))


def test_weighted_least_squares_against_numpy():
    rng = np.random.default_rng(0)
    y = 70 + rng.normal(size=(5, 6)) * 3
    mask = rng.random((5, 6)) < 0.7
    mask[0], mask[:, 0] = True, True
    weights = rng.integers(1, 4, (5, 6)).astype(float)
    fit = fit_additive(np.where(mask, y, np.nan), mask, weights)
    rows, columns = np.nonzero(mask)
    design = np.zeros((len(rows), 11))
    design[np.arange(len(rows)), rows] = 1
    design[np.arange(len(rows)), 5 + columns] = 1
    root = np.sqrt(weights[mask])
    beta = np.linalg.lstsq(design * root[:, None], y[mask] * root, rcond=None)[0]
    assert fit.interaction[mask] == pytest.approx(y[mask] - design @ beta, abs=1e-9)
    assert np.isnan(fit.interaction[~mask]).all()
    assert fit.backbone.sum() == pytest.approx(0, abs=1e-9) and fit.optimizer.sum() == pytest.approx(0, abs=1e-9)


def test_complete_and_general_formulas_agree():
    """The closed forms of complete tables equal what the linear map gives."""
    mask = np.ones((4, 5), bool)
    closed, general = noise_coefficients(mask), noise_coefficients(mask, np.ones((4, 5)))
    assert general == pytest.approx(closed, abs=1e-12)


def test_noise_is_removed_without_bias():
    """Averaged over tables with spreads that differ by a factor of 50, the estimates meet the truth."""
    rng = np.random.default_rng(1)
    truth, _ = simulate(rng, 8, 6, 3, "equal")
    sigma = 0.6 * np.exp(rng.uniform(0, np.log(50), (8, 6))) / 7
    expected = np.array(decompose(table_of(truth)).variances)
    blocks = 0.5  # what all cells of a backbone share in a seed
    found = []
    for _ in range(400):
        noise = sigma[..., None] * rng.normal(size=(8, 6, 3)) + blocks * rng.normal(size=(8, 1, 3))
        d = decompose(table_of(truth[..., None] + noise))
        found.append([*d.variances, d.noise])
    assert np.mean(found, axis=0)[:3] == pytest.approx(expected, rel=0.06)
    assert np.mean(found, axis=0)[3] == pytest.approx(float(np.mean(sigma**2)), rel=0.06)


def test_cell_noise_blocks_out_what_seeds_share():
    rng = np.random.default_rng(2)
    sigma = np.array([[0.1, 1.0, 2.0, 0.5]] * 3)
    values = sigma[None, ..., None] * rng.normal(size=(20_000, 3, 4, 2)) + 5 * rng.normal(size=(20_000, 3, 1, 2))
    noise = cell_noise(values)
    assert noise is not None and noise.mean(axis=0) == pytest.approx(sigma**2, abs=0.08)


def test_sigma_of_the_interaction_is_the_textbook_one():
    """(MS_int − MSE)/S, with both mean squares from statsmodels' two-way analysis of variance."""
    import pandas as pd
    from statsmodels.formula.api import ols
    from statsmodels.stats.anova import anova_lm

    _, table = simulate(np.random.default_rng(3), 6, 5, 3, "equal")
    rows = [{"b": b, "o": o, "s": s, "y": table.values[b, o, s]} for b in range(6) for o in range(5) for s in range(3)]
    anova = anova_lm(ols("y ~ C(b) * C(o) + C(b):C(s)", pd.DataFrame(rows)).fit())
    ms = anova["mean_sq"]
    d = decompose(table)
    assert d.noise == pytest.approx(ms["Residual"])
    assert d.sigma_int == pytest.approx(((ms["C(b):C(o)"] - ms["Residual"]) / 3) ** 0.5)
    test = interaction_test(table)
    assert test is not None and test.f == pytest.approx(anova["F"]["C(b):C(o)"])
    assert (test.df1, test.df2) == (20, 48) and test.p == pytest.approx(1 / 1000)


def test_reml_equals_statsmodels():
    import statsmodels.api as sm

    _, table = simulate(np.random.default_rng(4), 6, 5, 3, "equal")
    values = table.values.copy()
    values[0, 0], values[1, 2, 1], values[3, 4, :2] = np.nan, np.nan, np.nan
    kept = np.asarray(np.isfinite(values).any(axis=2))
    b, o, s = np.nonzero(np.isfinite(values))
    design = np.zeros((len(b), 10))
    design[np.arange(len(b)), b] = 1
    design[np.nonzero(o)[0], 5 + o[o > 0]] = 1
    model = sm.MixedLM(values[b, o, s], design, groups=b * 5 + o).fit(reml=True)
    assert reml_sigma(values, kept) == pytest.approx(float(np.asarray(model.cov_re)[0, 0]) ** 0.5, rel=1e-3)
    # with the noise that blocks out seeds it is nearly the same, for nothing is shared here
    found = decompose(table_of(values))
    assert found.sigma_int == reml_sigma(values, kept, found.noise)
    assert found.sigma_int == pytest.approx(reml_sigma(values, kept), rel=0.02)
    within = float(np.asarray(model.scale))
    assert reml_sigma(values, kept, within) == pytest.approx(reml_sigma(values, kept), rel=1e-3)


def test_what_backbones_share_in_a_seed_is_no_reason_for_less_interaction():
    """With 2 points of it, σ_int of tables with a hole stays what it is without."""
    rng = np.random.default_rng(8)
    plain, shared = [], []
    for _ in range(25):
        values = simulate(rng, 8, 6, 2, "equal")[1].values.copy()
        values[2, 3] = np.nan
        plain.append(decompose(table_of(values)).sigma_int)
        shared.append(decompose(table_of(values + 2 * rng.normal(size=(8, 1, 2)))).sigma_int)
    assert np.mean(shared) == pytest.approx(np.mean(plain), rel=0.02) == pytest.approx(1.0, rel=0.1)


def test_reml_of_pure_noise_is_near_zero_and_of_nothing_is_none():
    rng = np.random.default_rng(5)
    values = 70 + rng.normal(size=(8, 8, 5))
    values[0, 0] = np.nan
    found = reml_sigma(values, np.asarray(np.isfinite(values).any(axis=2)))
    assert found is not None and found < 0.35
    assert reml_sigma(values[:, :, :1], np.asarray(np.isfinite(values[:, :, 0]))) is None


def test_median_polish_leaves_a_collapse_whole():
    y = 70 + np.arange(5)[:, None] + np.arange(6)[None, :] * 2.0
    y[2, 3] -= 40
    fit = median_polish(table_of(y)).fit
    expected = np.zeros((5, 6))
    expected[2, 3] = -40
    assert fit.interaction == pytest.approx(expected, abs=1e-9)
    assert abs(decompose(table_of(y)).fit.interaction[2, 3]) < 30


def test_tukey_finds_a_product_and_not_noise():
    b, o = np.linspace(-5, 5, 6), np.linspace(-3, 3, 5)
    product = table_of(60 + b[:, None] + o[None, :] + 0.4 * np.outer(b, o))
    found = tukey_one_df(decompose(product).fit)
    assert found is not None and found.slope == pytest.approx(0.4) and found.share == pytest.approx(100)
    assert found.p < 1e-6
    rng = np.random.default_rng(6)
    p = []
    for _ in range(300):
        y = 60 + b[:, None] + o[None, :] + rng.normal(size=(6, 5))
        test = tukey_one_df(decompose(table_of(y)).fit)
        assert test is not None
        p.append(test.p)
    assert np.mean(np.array(p) <= 0.05) <= 0.08  # 300 tables: 0.05 and two standard errors


def test_diverged_cells_are_decomposed_twice():
    rng = np.random.default_rng(7)
    y = 70 + rng.normal(size=(4, 5))
    status = np.full((4, 5), "completed", dtype="<U12")
    status[1, 2] = "diverged"
    y[1, 2] = np.nan
    table = table_of(y, status=status, num_classes=10)
    versions = decompose_all(table, "points")
    observed, chance = versions["observed"], versions["diverged = chance"]
    assert isinstance(observed, Decomposition) and isinstance(chance, Decomposition)
    assert (observed.cells, chance.cells) == (19, 20)
    assert np.isnan(observed.fit.interaction[1, 2]) and chance.fit.interaction[1, 2] < -20
    filled = with_chance(table)
    assert filled is not None and filled.means[1, 2] == 10
    assert "no known score" in str(decompose_all(table_of(y, status=status), "points")["diverged = chance"])


def test_blocks_without_a_bridge_are_refused():
    y = np.full((4, 4), np.nan)
    y[:2, :2], y[2:, 2:] = 70, 60
    with pytest.raises(InputError, match="share neither backbone nor optimizer"):
        decompose(table_of(y))
    y[0, 3] = 65
    assert decompose(table_of(y)).cells == 9


@given(
    st.integers(2, 5), st.integers(2, 5), st.integers(1, 3), st.integers(0, 10**6), st.floats(-20, 20), st.booleans()
)
@settings(max_examples=40)
def test_properties(backbones, optimizers, seeds, seed, shift, holes):
    """Order changes nothing, and neither does what one backbone has more in all its cells."""
    rng = np.random.default_rng(seed)
    y = 50 + 5 * rng.normal(size=(backbones, optimizers, seeds))
    if holes:
        y[rng.integers(backbones), rng.integers(1, optimizers)] = np.nan
    first = decompose(table_of(y))
    rows, columns = rng.permutation(backbones), rng.permutation(optimizers)
    other = decompose(table_of(y[rows][:, columns]))
    assert other.variances == pytest.approx(first.variances, abs=1e-9)
    assert other.fit.interaction == pytest.approx(first.fit.interaction[rows][:, columns], abs=1e-9, nan_ok=True)
    moved = y.copy()
    moved[0] += shift
    after = decompose(table_of(moved))
    assert after.fit.interaction == pytest.approx(first.fit.interaction, abs=1e-9, nan_ok=True)
    assert after.variances[2] == pytest.approx(first.variances[2], abs=1e-9)
    assert after.variances[0] == pytest.approx(first.variances[0], abs=1e-8)
