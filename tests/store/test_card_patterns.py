"""The section of a card on weight patterns."""

from __future__ import annotations

from typing import Any

from builders import make_record, with_patterns
from markdown_it import MarkdownIt

from bocb_hf.runs.patterns import Inspection, LayerPattern, Sharpness, TailFit, WeightPatterns
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.cards.text import render_card


def make_fitted() -> RunRecord:
    good = TailFit(status="ok", eigenvalues=40, exponent=7.25, tail=20, distance=0.1)
    poor = TailFit(status="poor fit", eigenvalues=40, exponent=3.333, tail=20, distance=0.3)
    numbers = {"entropy": 4.0, "norm": 2.5, "energy": 0.5, "stable_rank": 3.0}
    layers = [
        LayerPattern(name="a|b.weight", alpha=7.25, fit=good, **numbers),
        LayerPattern(name="c.weight", alpha=None, fit=poor, **numbers),
    ]
    patterns = WeightPatterns(layers=layers, tail_rule="powerlaw")
    sharp = Sharpness(value=41.7, iterations=12, converged=True, tolerance=0.01, images=64)
    times: dict[str, Any] = {"pattern_seconds": 0.25, "sharpness_seconds": 1.5}
    seen = (
        Inspection(step=10, share=0.1, patterns=patterns, sharpness=sharp, **times),
        Inspection(step=50, share=0.5, patterns=patterns, reason="the loss is not finite", **times),
    )
    return make_record().model_copy(update={"patterns": patterns, "inspections": seen})


def test_a_card_has_a_section_of_patterns() -> None:
    text = render_card("me/x", [make_fitted()], [])
    section = text.partition("## Weight patterns")[2].partition("\n## ")[0]
    assert "α of 1 layers: median 7.25, 0 below 2 and 1 above 6" in section and "256 bins" in section
    assert "3.333" not in section  # an exponent without a good fit is no number
    assert "| c.weight | 4.000 | 2.5 | 0.500 | 3.0 | – | poor fit, D 0.300, tail 20 |" in section
    assert (
        "| 10 | 10 % | 41.7 | 12 | 1.75 |" in section and "| 50 | 50 % | the loss is not finite | – | 1.75 |" in section
    )
    tables = MarkdownIt("commonmark").enable("table").render(section).split("<table>")[1:]
    assert [table.count("<tr>") for table in tables] == [3, 3] and "a¦b.weight" in tables[0]


def test_cards_of_older_records_have_none() -> None:
    assert "Weight patterns" not in render_card("me/x", [with_patterns(make_record())], [])
