"""The ridge plots and the bars of α: rows in their order, failures grey, nothing drawn where there is no fit."""

from __future__ import annotations

import numpy as np
import pytest
from builders import make_record
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from bocb_hf.patterns.analysis import Analysis, LayerRow
from bocb_hf.report.figures.layers import GREY, pattern_drawings
from bocb_hf.report.words.patterns import headline, layer_table
from bocb_hf.runs.patterns import LayerPattern, TailFit
from bocb_hf.runs.record import RunRecord

GROUP = "tiny_vit, fashion_mnist_subset, demo"


def make_rows(shift: float, alphas: tuple[float | None, ...] = (3.0, None, 7.5)) -> tuple[LayerRow, ...]:
    rows = []
    for k, alpha in enumerate(alphas, 1):
        fit = TailFit(
            status="ok" if alpha else "poor fit", eigenvalues=40, exponent=alpha or 9.0, tail=20, distance=0.1
        )
        name = f"blocks.{k}.fc.weight"
        pattern = LayerPattern(
            name=name, entropy=4 + shift, norm=k + shift, energy=0.5, alpha=alpha, stable_rank=3.0, fit=fit
        )
        rows.append(LayerRow(k, name, "linear", f"block {k}", (40, 40), pattern))
    return tuple(rows)


def make_runs(metric: str = "top-1") -> tuple[list[Analysis], list[RunRecord]]:
    """Three optimizers that work, one that collapsed, one that diverged, and the untrained network."""
    analyses, records = [], []
    for k, (optimizer, correct) in enumerate({"lamb": 1600, "adamw": 1700, "sgdm": 1650, "rmsprop": 300}.items()):
        for seed in (1, 2):
            records.append(make_record("tiny_vit", optimizer, seed=seed, correct=correct + seed))
            top1 = (correct + seed) / 20
            rows = make_rows(0.1 * k + 0.01 * seed)
            names = (f"{optimizer} {seed}", "tiny_vit", GROUP, "forward", "rows")
            analyses.append(Analysis(*names, rows, optimizer, seed, top1, metric=metric))
    records.append(make_record("tiny_vit", "lars", status="diverged"))
    lost = Analysis("lars 1", "tiny_vit", GROUP, "name", "rows", (), "lars", 1, status="diverged")
    untrained = Analysis("untrained", "tiny_vit", GROUP, "forward", "rows", make_rows(0.9), None, 1, None, False)
    return [untrained, *analyses, lost], records


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    return pattern_drawings(*make_runs())


def test_ridges_stand_best_first_with_failures_grey(figures: dict[str, Figure]) -> None:
    assert list(figures) == [f"{kind}-tiny_vit-fashion_mnist_subset-demo" for kind in ("ridges", "alpha")]
    axes = figures["ridges-tiny_vit-fashion_mnist_subset-demo"].axes
    assert len(axes) == 4
    labels = [label.get_text() for label in axes[0].get_yticklabels()]
    assert [label.split("  ")[0] for label in labels] == ["AdamW", "SGD-M", "LAMB", "RMSProp", "LARS", "random init"]
    assert labels[0].endswith("85.1") and labels[3].endswith("failed") and labels[4].endswith("failed")
    lines = [line for line in axes[0].lines if len(np.asarray(line.get_xdata())) == 3]
    assert [to_hex(line.get_color()) == GREY for line in lines] == [False, False, False, True, True, False]
    assert not np.isfinite(np.asarray(lines[4].get_ydata())).any()  # diverged: a row without a line
    heights = np.asarray(lines[0].get_ydata())
    assert (heights >= 0).all() and (heights <= 1).all()


def test_bars_of_alpha_stand_only_where_the_fit_is_good(figures: dict[str, Figure]) -> None:
    panels = [axes for axes in figures["alpha-tiny_vit-fashion_mnist_subset-demo"].axes if axes.get_visible()]
    assert len(panels) == 6
    bars = [
        (bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in panels[0].patches if isinstance(bar, Rectangle)
    ]
    assert bars == [(pytest.approx(1), 3.0), (pytest.approx(3), 7.5)]
    crosses = next(line for line in panels[0].lines if line.get_marker() == "x")
    assert list(np.asarray(crosses.get_xdata())) == [2]
    heights = [np.asarray(line.get_ydata()) for line in panels[0].lines]
    dashed = sorted({float(each[0]) for each in heights if len(each) == 2})
    assert dashed == [2.0, 6.0]
    assert not panels[4].patches  # the diverged run


def test_words_show_no_exponent_without_a_good_fit() -> None:
    analyses, _ = make_runs()
    text = layer_table(analyses[1])
    assert "9.00" not in text and "poor fit (D 0.100, tail 20 of 40)" in text
    assert "α of 2 of 3 layers: median 5.25, 0 below 2, 1 above 6, 1 poor fit" in headline(analyses[1])
    assert headline(analyses[-1]) == "lars 1: diverged, so there are no weights"


@pytest.mark.parametrize("metric", ["top-1", "OKS AP"])
def test_words_and_figures_name_the_metric_of_the_runs(metric: str) -> None:
    analyses, records = make_runs(metric)
    assert headline(analyses[1]).endswith(f"1 poor fit, {metric} 80.05")
    figure = pattern_drawings(analyses, records)["ridges-tiny_vit-fashion_mnist_subset-demo"]
    words = " ".join(" ".join(text.get_text() for text in figure.findobj(Text)).split())
    assert f"Optimizers by mean {metric} in points, best first" in words


def test_no_figure_of_runs_without_weights() -> None:
    analyses, records = make_runs()
    assert pattern_drawings(analyses[-1:], records[-1:]) == {}
