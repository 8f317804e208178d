"""Sentences about tables with holes and about noise alone: no count exceeds what it is of, and no zero has a sign."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.scores import ScoreTable, make_scores
from bocb_hf.report.findings import Findings, find
from bocb_hf.report.words.analysis import analysis_text
from bocb_hf.report.words.answer import answer_text, primary_text, reading_text

OPTIMIZERS = ("sgdm", "adamw", "lamb", "adan")


def scores_of(seed: int, alone: Sequence[str] = (), spread: float = 0.3) -> ScoreTable:
    """Four backbones × four optimizers that differ by noise alone; on some backbones only the second was run."""
    rng = np.random.default_rng(seed)
    backbones = ("tiny_resnet", "tiny_mobilenet", "tiny_convnext", "tiny_vit")
    values = 80 + spread * rng.normal(size=(4, 4, 2))
    for name in alone:
        values[backbones.index(name), [0, 2, 3]] = np.nan
    families = ["primary_cnn", "classical_cnn", "modern", "modern"]
    return make_scores(
        values,
        [*backbones],
        [*OPTIMIZERS],
        unit="percent",
        dataset="d",
        setting="s",
        revision="r",
        families=families,
        categories=["a", "b", "b", "b"],
    )


def found_of(scores: ScoreTable) -> Findings:
    return find(scores, Marks.of(scores, draws=200), draws=100)


def safest(found: Findings) -> dict[str, tuple[int, int, str]]:
    """What the last sentence says of each safe optimizer: on how many of how many backbones, and its loss."""
    sentence = answer_text(found.analysis, found.marks)[-1]
    pairs = re.findall(r"([\w-]+) (\d+) of (\d+) \(at (?:most|worst) (\S+) points below it", sentence)
    assert pairs, sentence
    return {name: (int(near), int(of), loss) for name, near, of, loss in pairs}


def test_a_backbone_with_one_optimizer_counts_on_neither_side() -> None:
    scores = scores_of(0, alone=["tiny_vit"])
    found = found_of(scores)
    assert found.marks.signs[3, 1] == "★", "the only one of its backbone has the highest mean there"
    near, of, _ = safest(found)["AdamW"]
    assert of == 3 and near <= 3
    both = safest(found_of(scores_of(0, alone=["tiny_convnext", "tiny_vit"])))
    assert all(near <= of == 2 for near, of, _ in both.values()), both


def test_the_best_everywhere_loses_nothing_and_zero_has_no_sign() -> None:
    values = 80 + 0.05 * np.random.default_rng(0).normal(size=(3, 3, 3))
    values[:, 0] += 9
    scores = make_scores(
        values,
        ["tiny_resnet", "tiny_convnext", "tiny_vit"],
        ["sgdm", "adamw", "lamb"],
        unit="percent",
        dataset="d",
        setting="s",
        revision="r",
        families=["primary_cnn", "modern", "modern"],
        categories=["a", "b", "b"],
    )
    assert safest(found_of(scores))["SGD-M"] == (3, 3, "0.0")


@pytest.mark.parametrize("seed", range(4))
def test_negative_numbers_have_a_minus_sign_and_zeros_none(seed: int) -> None:
    found = found_of(scores_of(seed, alone=["tiny_vit"] if seed % 2 else [], spread=(0.3, 0.02)[seed // 2]))
    said = [
        *answer_text(found.analysis, found.marks),
        *reading_text(found.analysis),
        *analysis_text(found.analysis),
        primary_text(found.primary, found.analysis, None),
    ]
    for sentence in said:
        assert not re.search(r"(?<![\w–])-\d", sentence), sentence
        assert not re.search(r"−0(\.0+)?(?![\d.])", sentence), sentence
    for near, of, _ in safest(found).values():
        assert near <= of
