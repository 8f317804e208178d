"""Moderated variances against hand calculations and simulations with known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from bocb_hf.coupling.statistics import (
    Interval,
    Prior,
    estimate,
    fit_prior,
    t_quantile,
    trigamma_inverse,
)

EULER = 0.5772156649015329


@pytest.mark.parametrize("y", [1e-4, 0.3, 0.5, 1.0, 7.5, 400.0, 3e6])
def test_trigamma_inverse_undoes_trigamma(y):
    assert trigamma_inverse(float(special.polygamma(1, y))) == pytest.approx(y, rel=1e-6)


def test_trigamma_inverse_of_the_values_in_closed_form():
    assert trigamma_inverse(math.pi**2 / 6) == pytest.approx(1.0, rel=1e-8)
    assert trigamma_inverse(math.pi**2 / 2) == pytest.approx(0.5, rel=1e-8)


def test_prior_by_hand():
    """Three cells of n = 3 (d = 2): ψ(1) = −γ and ψ′(1) = π²/6 are known exactly.

    With s² = e⁻³, 1, e³ the z are −3, 0, 3 and Var(e) = 9, so ψ′(d₀/2) = 9 − π²/6; the mean of e is γ.
    """
    prior = fit_prior([math.exp(-3), 1.0, math.exp(3)], [2, 2, 2])
    assert prior is not None
    half = prior.df / 2
    # ψ′ by its series Σ 1/(y + k)², summed here without scipy, the tail by Euler–Maclaurin
    k = np.arange(100_000)
    series = float(np.sum(1 / (half + k) ** 2)) + 1 / (half + 100_000 - 0.5)
    assert series == pytest.approx(9 - math.pi**2 / 6, rel=1e-7)
    # ψ(y) = −γ − Σ (1/(y + k) − 1/(k + 1)), likewise
    psi = -EULER - float(np.sum(1 / (half + k) - 1 / (k + 1))) - (1 - half) / 100_000
    assert math.log(prior.variance) == pytest.approx(EULER + psi - math.log(half), abs=1e-6)
    assert (prior.residual_df, prior.cells) == (6, 3)


def test_equal_variances_give_infinite_d0_and_the_same_interval_for_all():
    prior = fit_prior([2.0, 2.0, 2.0, 2.0], [2, 2, 2, 2])
    assert prior is not None and math.isinf(prior.df)
    assert prior.variance == pytest.approx(2 * math.exp(EULER))  # exp(mean of e), e = log 2 − ψ(1) + log 1
    cell = estimate([70.0, 70.1, 70.2], prior)
    assert (cell.variance, cell.df) == (pytest.approx(prior.variance), 8)  # Σ(n − 1) bounds what can be known


def test_moderated_variance_by_hand():
    """s₀² = 2, d₀ = 4, scores 70 and 72 (s² = 2·1²): s̃² = (4·2 + 1·2)/5 = 2, df 5, ± 2.5706·√(2/2)."""
    cell = estimate([70.0, 72.0], Prior(variance=2.0, df=4.0, residual_df=20.0, cells=20))
    assert (cell.mean, cell.variance, cell.df) == (71, pytest.approx(2.0), 5)
    interval = cell.interval()
    assert interval is not None
    assert interval.low == pytest.approx(71 - 2.5706, abs=1e-3) and interval.high == pytest.approx(73.5706, abs=1e-3)


def test_no_interval_with_one_degree_of_freedom():
    assert estimate([70.0, 72.0], None).interval() is None
    assert estimate([70.0], None).interval() is None
    assert estimate([70.0, 72.0, 71.0], None).interval() is not None
    assert estimate([70.0], Prior(2.0, 0.9, 20.0, 20)).interval() is None
    with pytest.raises(ValueError, match="at least one score"):
        estimate([], None)


def test_a_single_score_borrows_only_a_finite_prior():
    borrowed = estimate([70.0], Prior(2.0, 4.0, 20.0, 20))
    assert (borrowed.variance, borrowed.df) == (2.0, 4.0)
    assert estimate([70.0], Prior(2.0, math.inf, 20.0, 20)).interval() is None


def test_what_cannot_be_estimated_is_none():
    assert fit_prior([], []) is None
    assert fit_prior([1.0], [1]) is None
    assert fit_prior([0.0, 0.0, 0.0], [1, 1, 1]) is None
    assert estimate([70.0, 70.0, 70.0], None).interval() is None


def test_zero_variances_are_floored():
    spread = [0.5, 0.8, 1.0, 1.3, 2.0]
    floored = fit_prior([0.0, *spread], [1] * 6)
    explicit = fit_prior([1e-5 * 0.9, *spread], [1] * 6)
    assert floored is not None and explicit is not None
    assert floored.df == pytest.approx(explicit.df) and floored.variance == pytest.approx(explicit.variance)
    mostly_zero = fit_prior([0.0, 0.0, 0.0, 3.0], [1] * 4)
    assert mostly_zero is not None and mostly_zero.variance > 0 and math.isinf(mostly_zero.df)


def test_one_tie_does_not_ruin_the_other_cells():
    """Scores count images: two equal counts among 20 cells mean 'less than a step', not 'no variance'."""
    rng = np.random.default_rng(0)
    variances = rng.chisquare(1, 19)
    plain = fit_prior([0.0, *variances], [1] * 20)
    resolved = fit_prior([0.0, *variances], [1] * 20, resolution=0.05)
    assert plain is not None and resolved is not None
    assert resolved.df > 1.5 * plain.df


def test_prior_recovers_the_truth():
    """200,000 variances of 2 to 4 scores drawn from a scaled inverse χ² with d₀ = 5 and s₀² = 0.4."""
    rng = np.random.default_rng(1)
    df = rng.integers(1, 4, 200_000).astype(float)
    true = 0.4 * 5 / rng.chisquare(5, 200_000)
    prior = fit_prior(true * rng.chisquare(df) / df, df)
    assert prior is not None
    assert prior.df == pytest.approx(5, rel=0.08) and prior.variance == pytest.approx(0.4, rel=0.03)


@pytest.mark.parametrize("n", [2, 3])
@pytest.mark.parametrize("spread", ["equal", "inverse chi-square", "factor 50"])
def test_coverage(n, spread):
    """The 95 % interval holds the truth in 92 to 98 % of 40 cells × 600 tables, however unequal their spreads are."""
    rng = np.random.default_rng(2)
    tables, cells = 600, 40
    sigma = {
        "equal": np.ones((tables, cells)),
        "inverse chi-square": np.sqrt(4 / rng.chisquare(4, (tables, cells))),
        "factor 50": np.exp(rng.uniform(0, math.log(50), (tables, cells))),
    }[spread]
    y = rng.normal(size=(tables, cells, n)) * sigma[..., None]
    means, variances = y.mean(axis=2), y.var(axis=2, ddof=1)
    covered = np.zeros((tables, cells), bool)
    for t in range(tables):
        prior = fit_prior(variances[t], [n - 1] * cells)
        assert prior is not None
        # `estimate`, vectorised over the cells of a table; one cell is checked against it below
        d0 = min(prior.df, 1e12)
        moderated = (d0 * prior.variance + (n - 1) * variances[t]) / (d0 + n - 1)
        half = t_quantile(0.975, min(prior.df + n - 1, prior.residual_df)) * np.sqrt(moderated / n)
        covered[t] = np.abs(means[t]) <= half
        cell = estimate(y[t, 0], prior).interval()
        assert cell is not None and cell.half_width == pytest.approx(half[0], rel=1e-6)
    assert 0.92 <= covered.mean() <= 0.98


def test_interval_holds_its_ends():
    assert Interval(0.0, 2.0).holds(0.0) and Interval(0.0, 2.0).half_width == 1 and not Interval(0.1, 2.0).holds(0)
