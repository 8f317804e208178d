"""Pairs of backbones that differ in an element of design."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from bocb_hf.coupling.analysis import analyse, to_plain
from bocb_hf.coupling.combination import combine
from bocb_hf.coupling.design_pairs import design_pairs
from bocb_hf.coupling.scores import ScoreTable, make_scores
from bocb_hf.report.words.analysis import analysis_text

BACKBONES = ("tiny_resnet", "tiny_bottleneck", "tiny_mobilenet", "tiny_convnext", "tiny_convnextv2", "tiny_vit", "mine")
FAMILIES = ("classical_cnn",) * 3 + ("modern",) * 4
OPTIMIZERS = ("sgdm", "sgdp", "adam", "adamw", "lamb", "lion")
SGD = np.array([True, True, False, False, False, False])
GRN = BACKBONES.index("tiny_convnextv2")


def table(generator: np.random.Generator, effect: float, noise: float = 0.4, seeds: int = 3) -> ScoreTable:
    """An additive table in which SGD-M and SGDP gain so much on ConvNeXt V2 alone; LION is in no group."""
    means = 80 + 3 * generator.normal(size=(len(BACKBONES), 1)) + generator.normal(size=len(OPTIMIZERS))
    means[GRN, SGD] += effect
    return of(means[..., None] + noise * generator.normal(size=(*means.shape, seeds)))


def of(values: NDArray[np.float64]) -> ScoreTable:
    return make_scores(values, BACKBONES, OPTIMIZERS, unit="percent", families=FAMILIES, checked=True)


def test_pairs_differ_in_elements_that_both_rows_state() -> None:
    found = {(p.elements, p.one, p.other): p.designs for p in design_pairs(table(np.random.default_rng(0), 0.0))}
    assert found == {
        (("block_wise",), "tiny_resnet", "tiny_bottleneck"): ("basic", "bottleneck"),
        # MobileNet and ConvNeXt V2 have no counterpart that differs in one element
        (("block_wise", "operator"), "tiny_resnet", "tiny_mobilenet"): (
            "basic, conv",
            "inverted bottleneck, sep. conv",
        ),
        (("block_wise", "operator"), "tiny_bottleneck", "tiny_mobilenet"): (
            "bottleneck, conv",
            "inverted bottleneck, sep. conv",
        ),
        (("operator", "residual"), "tiny_convnext", "tiny_convnextv2"): (
            "dw conv, pre-norm + LayerScale",
            "dw conv (+GRN), pre-norm",
        ),
    }


def test_the_difference_is_that_of_the_group_means() -> None:
    values = table(np.random.default_rng(1), 2.0).values
    means = values.mean(axis=2)
    d = means[:, :2].mean(axis=1) - means[:, 2:5].mean(axis=1)
    (pair,) = [p for p in design_pairs(of(values)) if p.other == "tiny_convnextv2"]
    assert pair.difference.mean == pytest.approx(d[GRN - 1] - d[GRN])
    interval = pair.difference.interval
    assert interval is not None
    assert interval.low < pair.difference.mean < interval.high < 0


def test_the_interval_holds_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bocb_hf.coupling.design_pairs.combine", partial(combine, draws=1000))
    generator, held = np.random.default_rng(2), []
    for _ in range(100):
        (pair,) = [p for p in design_pairs(table(generator, 1.0)) if p.other == "tiny_convnextv2"]
        assert pair.difference.interval is not None
        held.append(pair.difference.interval.holds(-1.0))
    assert (
        0.89 <= np.mean(held) <= 0.995
    )  # 95 %, with three standard errors of 100 tables; all of them would be too wide


def test_a_backbone_that_lacks_a_cell_is_in_no_pair() -> None:
    values = table(np.random.default_rng(3), 0.0).values.copy()
    values[GRN, OPTIMIZERS.index("adamw")] = np.nan
    assert {p.one for p in design_pairs(of(values))} == {"tiny_resnet", "tiny_bottleneck"}
    values[:, SGD] = np.nan
    assert design_pairs(of(values)) == []


def test_words_and_json_say_the_same() -> None:
    analysis = analyse(table(np.random.default_rng(4), 2.0), draws=100)
    plain = to_plain(analysis)["designs"]
    assert [p["backbones"] for p in plain] == [[p.one, p.other] for p in analysis.designs]
    (sentence,) = [line for line in analysis_text(analysis) if "elements of design" in line]
    for pair in plain:
        low, high = pair["interval"]
        assert f"{pair['difference']:+.2f} [{low:+.2f}, {high:+.2f}]".replace("-", "−") in sentence
    assert "Each interval holds by itself" in sentence


def test_one_seed_has_no_interval() -> None:
    analysis = analyse(table(np.random.default_rng(5), 2.0, seeds=1), draws=100)
    assert all(p.difference.interval is None for p in analysis.designs)
    assert any("There is no interval, since their noise is not known" in line for line in analysis_text(analysis))
