"""The primary contrast against hand calculations and a bootstrap over images."""

from __future__ import annotations

import math

import numpy as np
import pytest
from builders import CNNS, MODERN, make_bits, make_grid, make_record
from simulated import OPTIMIZERS

from bocb_hf.coupling.combination import combine
from bocb_hf.coupling.contrast import Contrast, NotAvailable, differences, family_contrast, with_images
from bocb_hf.coupling.scores import make_scores, scores_of
from bocb_hf.coupling.spread import cell_spread
from bocb_hf.coupling.table import build_tables
from bocb_hf.report.words.tables import contrast_text


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
    spread = cell_spread(scores_of(build_tables(make_grid(HAND))[0]), "points")
    assert spread is not None and result.points.error is not None and result.points.critical is not None
    weight = np.array([1 / 4 if o == "sgdm" else 1 / 16 for o in ("sgdm", "adamw", "lamb")])
    order = [("sgdm", "adamw", "lamb").index(o) for o in build_tables(make_grid(HAND))[0].optimizers]
    assert result.points.error**2 == pytest.approx(float((spread.mean_square * weight[order] / 2).sum()))
    # twelve variances, each of two runs, are hardly known: more than 1.96 standard errors from their own variances
    own = np.var([scores for key, scores in HAND.items() if key[1] != "sgdm"], axis=1, ddof=1).sum() / 16
    own += np.var([scores for key, scores in HAND.items() if key[1] == "sgdm"], axis=1, ddof=1).sum() / 4
    assert 1.96 < result.points.critical * result.points.error / ((own / 2) ** 0.5 / 20) < 4
    half = result.points.critical * result.points.error
    assert result.interval is not None
    assert (result.interval.low, result.interval.high) == (pytest.approx(4.75 - half), pytest.approx(4.75 + half))


def test_a_sum_of_normal_means_has_the_interval_of_a_normal():
    """With many seeds of equal spread σ, the error is σ·√(Σ c²/n) and the critical value 1.96."""
    rng = np.random.default_rng(6)
    scores = make_scores(
        70 + 0.5 * rng.normal(size=(6, 4, 200)), [f"b{i}" for i in range(6)], OPTIMIZERS[:4], unit="percent"
    )
    weights = np.zeros((6, 4))
    weights[0, 0], weights[3, 2], weights[5, 1] = 1.0, -0.5, 0.25
    found = combine(scores, weights)
    assert found.mean == pytest.approx(float((weights * scores.means).sum()))
    assert found.error == pytest.approx(0.5 * (1.3125 / 200) ** 0.5, rel=0.05)
    assert found.critical == pytest.approx(1.96, rel=0.05)
    four = scores.select(scores.backbones[:2], scores.optimizers[:2])  # the smallest table with a contrast
    assert combine(four, np.array([[1.0, -1.0], [-1.0, 1.0]])).error == pytest.approx(0.5 * (4 / 200) ** 0.5, rel=0.1)
    single = combine(make_scores(scores.values[:, :, :1], scores.backbones, scores.optimizers, unit="percent"), weights)
    assert single.interval is None and with_images(single, 1.0) is None


def test_contrast_on_the_logit_scale():
    def mean(backbone, optimizer):
        return np.mean([math.log((k + 0.5) / (2000 - k + 0.5)) for k in HAND[backbone, optimizer]])

    d = {b: mean(b, "sgdm") - (mean(b, "adamw") + mean(b, "lamb")) / 2 for b in (*CNNS, *MODERN)}
    expected = (d["tiny_resnet"] + d["tiny_mobilenet"]) / 2 - (d["tiny_convnext"] + d["tiny_vit"]) / 2
    logit = contrast_of(make_grid(HAND)).logit
    assert logit is not None and logit.mean == pytest.approx(expected, rel=1e-9)


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

    assert result.points.mean == pytest.approx(contrast(np.arange(1500)), abs=1e-9)
    draws = np.var([contrast(rng.integers(0, 1500, 1500)) for _ in range(3000)], ddof=1)
    # two runs of a cell are right on different images: what that adds is in the spread over seeds already
    weights = {(b, o): (0.5 if o == "sgdm" else 0.25) for b in (*CNNS, *MODERN) for o in accuracy}
    luck = sum(weights[b, o] ** 2 * (right[b, o, 1] != right[b, o, 2]).mean() / 4 / 1500 * 1e4 for b, o in weights)
    assert result.image_error == pytest.approx((draws - luck) ** 0.5, rel=0.1) and luck > 0.2 * draws
    assert result.interval is not None and result.wide_interval is not None
    assert result.wide_interval.half_width > result.interval.half_width
    images = 1.959964 * (result.image_error or math.nan)
    assert result.wide_interval.half_width == pytest.approx(math.hypot(result.interval.half_width, images), rel=1e-6)


def test_no_image_error_across_different_test_sets():
    records = make_grid({key: scores for key, scores in HAND.items() if key != ("tiny_vit", "lamb")})
    records += [make_record("tiny_vit", "lamb", seed=s, correct=make_bits(750, 1000)) for s in (1, 2)]
    result = contrast_of(records)
    assert result.interval is not None and result.image_error is None and result.wide_interval is None
    assert result.logit is None and not any("logit" in sentence for sentence in contrast_text(result))


def test_each_backbone_has_its_own_difference_whose_errors_make_that_of_the_contrast():
    scores = scores_of(build_tables(make_grid(HAND))[0])
    whole = contrast_of(make_grid(HAND))
    found = differences(scores)
    assert {b: d for b, (d, _) in found.items()} == pytest.approx({**whole.cnn, **whole.modern})
    spread = cell_spread(scores, "points")
    assert spread is not None
    for backbone, (d, interval) in found.items():
        assert interval is not None and interval.low < d < interval.high
        b = scores.backbones.index(backbone)
        weight = np.array([1.0 if o == "sgdm" else 0.5 for o in scores.optimizers])
        error = float(np.sqrt(np.square(weight) @ (spread.mean_square[b] / 2)))
        assert 1 < interval.half_width / error < 4  # its variance is hardly known: two runs a cell
    assert whole.interval is not None
    assert whole.interval.half_width < max(i.half_width for _, i in found.values() if i)


def test_a_backbone_with_a_hole_has_a_difference_without_an_interval():
    found = differences(scores_of(build_tables(without_lamb_on_vit())[0]))
    assert found["tiny_vit"] == (pytest.approx(69.5 - 74.5), None)
    assert all(interval is not None for backbone, (_, interval) in found.items() if backbone != "tiny_vit")
    assert differences(scores_of(build_tables(make_grid({("tiny_vit", "sgdm"): (1, 2)}))[0])) == {}


def without_lamb_on_vit():
    return [r for r in make_grid(HAND) if (r.identity.backbone.name, r.identity.optimizer.name) != ("tiny_vit", "lamb")]


@pytest.mark.parametrize("extra", [[], [make_record("tiny_vit", "lamb", status="interrupted")]])
def test_a_missing_cell_is_adjusted_for_and_named(extra):
    """On ConvNeXt-tiny LAMB is 1 point below AdamW: half a point comes off the adaptive mean of ViT-tiny without it."""
    found = contrast_of([*without_lamb_on_vit(), *extra])
    assert found.holes == (("tiny_vit", "lamb"),) and dict(found.left_out) == {} and found.cells == 11
    assert found.modern == {"tiny_convnext": pytest.approx(-2.0), "tiny_vit": pytest.approx(69.5 - 74.5)}
    assert found.points.mean == pytest.approx(1.125 + 3.5)
    whole = contrast_of(make_grid(HAND))
    assert found.interval is not None and whole.interval is not None
    assert found.interval.half_width > whole.interval.half_width  # it holds what the missing cell could be
    text = " ".join(contrast_text(found))
    assert "It rests on 11 of 12 cells; not run: ViT-tiny with LAMB." in text


def test_a_backbone_on_which_a_needed_cell_diverged_is_left_out_and_named():
    failed = contrast_of([*without_lamb_on_vit(), make_record("tiny_vit", "lamb", status="diverged")])
    assert failed.left_out == {"tiny_vit": "lamb diverged"} and failed.holes == ()
    assert failed.points.mean == pytest.approx(1.125 + 2.0)
    assert any("Left out: ViT-tiny" in sentence for sentence in contrast_text(failed))


def test_an_optimizer_that_one_family_lacks_counts_in_neither():
    records = [r for r in make_grid(HAND) if r.identity.optimizer.name != "lamb" or r.family != "modern"]
    found = contrast_of(records)
    assert found.adaptive == ("adamw",) and found.dropped == {"lamb": "no modern backbone has a score of it"}
    assert found.cnn["tiny_mobilenet"] == pytest.approx(81.0 - 81.0)
    assert any("Optimizers that do not count: LAMB (no modern" in sentence for sentence in contrast_text(found))


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
