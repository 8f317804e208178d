"""Moderated variances and the primary contrast against hand calculations and simulations with known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builders import CNNS, MODERN, make_bits, make_grid, make_record
from scipy import special

from bocb_hf.coupling.contrast import Contrast, NotAvailable, family_contrast, image_error
from bocb_hf.coupling.row import Score
from bocb_hf.coupling.statistics import (
    Estimate,
    Interval,
    Prior,
    combine,
    estimate,
    fit_prior,
    pool,
    t_quantile,
    trigamma_inverse,
)
from bocb_hf.coupling.table import build_tables
from bocb_hf.coupling.words import contrast_text

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


@pytest.mark.parametrize("spread", ["equal", "inverse chi-square", "factor 50"])
def test_coverage_of_a_contrast(spread):
    """Like the demo: 20 cells of two runs, 12 of them in the contrast, whose true value is 0."""
    rng = np.random.default_rng(5)
    weights = [0.5] * 2 + [-0.25] * 4 + [-0.5] * 2 + [0.25] * 4
    tables = 1000
    sigma = {
        "equal": np.ones((tables, 20)),
        "inverse chi-square": np.sqrt(4 / rng.chisquare(4, (tables, 20))),
        "factor 50": np.exp(rng.uniform(0, math.log(50), (tables, 20))),
    }[spread]
    hits = 0
    for spreads in sigma:
        y = rng.normal(size=(20, 2)) * spreads[:, None]
        prior = pool(y.tolist(), [0.0] * 20)
        interval = combine(weights, [estimate(scores, prior) for scores in y[:12]]).interval()
        assert interval is not None
        hits += interval.holds(0)
    assert 930 <= hits <= 985


def test_pool_ignores_single_scores():
    assert pool([[70.0], [71.0, 72.0], [73.0, 75.0]], [0.05] * 3) == pool([[71.0, 72.0], [73.0, 75.0]], [0.05] * 2)


def test_combine_by_hand():
    """½·10 − ½·4 = 3; ¼·9/9 + ¼·27/9 = 1 with the 4 degrees of freedom of the first: 3 ± 2.7764."""
    total = combine([0.5, -0.5], [Estimate(10.0, 9, 9.0, 4.0), Estimate(4.0, 9, 27.0, 8.0)])
    assert (total.mean, total.variance, total.df) == (3, pytest.approx(1.0), 4)
    interval = total.interval()
    assert interval is not None and interval.low == pytest.approx(3 - 2.7764, abs=1e-3)
    assert combine([1.0, 1.0], [Estimate(10.0, 9, 9.0, 4.0), Estimate(4.0, 1, None, 0.0)]).interval() is None


def test_logit_by_hand():
    assert Score(1600, 2000).logit == pytest.approx(math.log(1600.5 / 400.5))
    assert Score(0, 10).logit == pytest.approx(-math.log(21)) and Score(10, 10).logit == pytest.approx(math.log(21))
    step = Score(1601, 2000).logit - Score(1600, 2000).logit
    assert Score(1600, 2000).logit_step == pytest.approx(step, rel=1e-2)


def contrast_of(records) -> Contrast:
    result = family_contrast(build_tables(records)[0])
    assert isinstance(result, Contrast)
    return result


# correct of 2,000; twenty images are one point
HAND = {
    ("tiny_resnet", "sgdm"): (1700, 1720),  # 85.5
    ("tiny_resnet", "adamw"): (1680, 1660),  # 83.5
    ("tiny_resnet", "lamb"): (1700, 1700),  # 85.0 → d = 85.5 − 84.25 = 1.25
    ("tiny_mobilenet", "sgdm"): (1600, 1640),  # 81.0
    ("tiny_mobilenet", "adamw"): (1620, 1620),  # 81.0
    ("tiny_mobilenet", "lamb"): (1560, 1600),  # 79.0 → d = 1.0
    ("tiny_convnext", "sgdm"): (1600, 1600),  # 80.0
    ("tiny_convnext", "adamw"): (1640, 1660),  # 82.5
    ("tiny_convnext", "lamb"): (1640, 1620),  # 81.5 → d = −2.0
    ("tiny_vit", "sgdm"): (1400, 1380),  # 69.5
    ("tiny_vit", "adamw"): (1500, 1500),  # 75.0
    ("tiny_vit", "lamb"): (1480, 1500),  # 74.5 → d = −5.25
}


def test_contrast_by_hand():
    result = contrast_of(make_grid(HAND))
    assert result.cnn == {"tiny_mobilenet": pytest.approx(1.0), "tiny_resnet": pytest.approx(1.25)}
    assert result.modern == {"tiny_convnext": pytest.approx(-2.0), "tiny_vit": pytest.approx(-5.25)}
    assert result.points.mean == pytest.approx(1.125 + 3.625)
    assert (result.sgd, result.adaptive, result.runs, result.conditional) == (("sgdm",), ("adamw", "lamb"), (2,), True)
    # the 4 SGD cells weigh ½, the 8 adaptive cells ¼, and every mean is that of two runs
    table = build_tables(make_grid(HAND))[0]
    rows = {row.cell: row.estimate for row in table.rows}
    variances = {cell.optimizer: [] for cell in rows}
    for cell, e in rows.items():
        assert e is not None and e.variance is not None
        variances[cell.optimizer].append(e.variance / 2)
    expected = sum(variances["sgdm"]) / 4 + (sum(variances["adamw"]) + sum(variances["lamb"])) / 16
    assert result.points.variance == pytest.approx(expected)
    assert result.points.df <= 12
    half = t_quantile(0.975, result.points.df) * math.sqrt(expected)
    assert result.interval is not None
    assert (result.interval.low, result.interval.high) == (pytest.approx(4.75 - half), pytest.approx(4.75 + half))


def test_contrast_on_the_logit_scale():
    def mean(backbone, optimizer):
        return np.mean([math.log((k + 0.5) / (2000 - k + 0.5)) for k in HAND[backbone, optimizer]])

    d = {b: mean(b, "sgdm") - (mean(b, "adamw") + mean(b, "lamb")) / 2 for b in (*CNNS, *MODERN)}
    expected = (d["tiny_resnet"] + d["tiny_mobilenet"]) / 2 - (d["tiny_convnext"] + d["tiny_vit"]) / 2
    assert contrast_of(make_grid(HAND)).logit.mean == pytest.approx(expected, rel=1e-9)


def test_sgdp_joins_sgd_and_other_categories_stay_out():
    extra = {(b, "sgdp"): (1600, 1600) for b in (*CNNS, *MODERN)} | {(b, "lars"): (200, 220) for b in (*CNNS, *MODERN)}
    result = contrast_of(make_grid(HAND | extra))
    assert (result.sgd, result.adaptive) == (("sgdm", "sgdp"), ("adamw", "lamb"))
    # sgdp has 80 everywhere: d = (sgdm + 80)/2 − adaptive
    assert result.modern["tiny_vit"] == pytest.approx((69.5 + 80) / 2 - 74.75)


def test_image_error_equals_a_bootstrap_over_images():
    rng = np.random.default_rng(3)
    hard = rng.random(1500)  # images differ in difficulty, so cells are right on the same ones
    accuracy = {"sgdm": 0.8, "adamw": 0.75, "lamb": 0.7}
    right = {
        (b, o, s): hard < a + rng.normal(0, 0.15, 1500)
        for b in (*CNNS, *MODERN)
        for o, a in accuracy.items()
        for s in (1, 2)
    }
    records = [make_record(b, o, seed=s, correct=bits) for (b, o, s), bits in right.items()]
    result = contrast_of(records)

    def contrast(images):
        y = {key: 100 * bits[images].mean() for key, bits in right.items()}
        d = {
            b: np.mean([y[b, "sgdm", s] for s in (1, 2)])
            - np.mean([y[b, o, s] for o in ("adamw", "lamb") for s in (1, 2)])
            for b in (*CNNS, *MODERN)
        }
        return np.mean([d[b] for b in CNNS]) - np.mean([d[b] for b in MODERN])

    draws = [contrast(rng.integers(0, 1500, 1500)) for _ in range(800)]
    assert result.points.mean == pytest.approx(contrast(np.arange(1500)), abs=1e-9)
    assert result.image_error == pytest.approx(np.std(draws, ddof=1), rel=0.1)
    assert result.interval is not None and result.wide_interval is not None
    assert result.wide_interval.half_width > result.interval.half_width
    images = 1.959964 * (result.image_error or math.nan)
    assert result.wide_interval.half_width == pytest.approx(math.hypot(result.interval.half_width, images), rel=1e-6)


def test_no_image_error_across_different_test_sets():
    rows = build_tables(
        [make_record(correct=make_bits(80, 100)), make_record(optimizer="adamw", correct=make_bits(150, 200))]
    )[0].rows
    assert image_error([1.0, -1.0], rows) is None


@pytest.mark.parametrize("status", ["diverged", "interrupted"])
def test_a_backbone_without_a_needed_cell_is_left_out_and_named(status):
    records = [
        r for r in make_grid(HAND) if (r.identity.backbone.name, r.identity.optimizer.name) != ("tiny_vit", "lamb")
    ]
    missing = contrast_of(records)
    assert missing.left_out == {"tiny_vit": "lamb missing"}
    assert missing.points.mean == pytest.approx(1.125 + 2.0)
    failed = contrast_of([*records, make_record("tiny_vit", "lamb", status=status)])
    assert failed.left_out == {"tiny_vit": f"lamb {status}"}
    assert any("Left out: ViT-tiny" in sentence for sentence in contrast_text(failed))


def test_a_partial_failure_is_left_out():
    records = make_grid(HAND)
    records.append(make_record("tiny_vit", "lamb", seed=3, status="diverged"))
    assert contrast_of(records).left_out == {"tiny_vit": "lamb partial"}


def test_an_empty_family_gives_no_number():
    records = make_grid({key: scores for key, scores in HAND.items() if key[0] in CNNS})
    result = family_contrast(build_tables(records)[0])
    assert isinstance(result, NotAvailable) and "modern" in result.reason
    assert contrast_text(result)[0].startswith("Primary contrast: not available;")
    only_sgd = family_contrast(build_tables(make_grid({("tiny_vit", "sgdm"): (1, 2)}))[0])
    assert isinstance(only_sgd, NotAvailable) and "category (b)" in only_sgd.reason


def test_unknown_families_take_no_side():
    other = {("resnet18", o): (1000, 1010) for o in ("sgdm", "adamw", "lamb")}
    result = contrast_of(make_grid(HAND | other))
    assert result.left_out == {"resnet18": "its family is unknown"}
    assert result.points.mean == pytest.approx(4.75)


def test_words_say_when_the_interval_includes_zero():
    rng = np.random.default_rng(4)
    noisy = {key: [int(1500 + rng.normal() * 60) for _ in range(2)] for key in HAND}
    result = contrast_of(make_grid(noisy))
    assert result.interval is not None and result.interval.holds(0)
    assert any("includes zero" in sentence for sentence in contrast_text(result))
    clear = contrast_text(contrast_of(make_grid(HAND)))
    assert any("excludes zero" in sentence for sentence in clear)
    assert any("Conditional on these backbones" in sentence for sentence in clear)


def test_one_seed_everywhere_gives_a_contrast_without_interval():
    result = contrast_of(make_grid({key: scores[:1] for key, scores in HAND.items()}))
    assert result.interval is None and result.wide_interval is None
    assert "noise cannot be separated" in contrast_text(result)[0]


def test_interval_holds_its_ends():
    assert Interval(0.0, 2.0).holds(0.0) and Interval(0.0, 2.0).half_width == 1 and not Interval(0.1, 2.0).holds(0)
