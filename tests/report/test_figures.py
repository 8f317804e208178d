"""Every figure: what it says, that it can be read in print, and that it survives tables with holes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from builders import make_grid, make_record
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from stored import mixed_records, publish

from bocb_hf.cli import main
from bocb_hf.coupling.indices import residuals
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.pareto import AXES, Front, Point, pareto
from bocb_hf.coupling.published import PUBLISHED, published
from bocb_hf.coupling.robustness import Distances, Offset, Robustness, robustness
from bocb_hf.coupling.scores import ScoreTable, make_scores, scores_of
from bocb_hf.coupling.statistics import Interval
from bocb_hf.coupling.table import Table, build_tables
from bocb_hf.coupling.trials import Expected, TrialCurve, trial_curves
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.report.figures.costs import pareto_front, trial_figure
from bocb_hf.report.figures.differences import cluster, critical_difference, groups, interaction
from bocb_hf.report.figures.distributions import boxes, swarm, violin
from bocb_hf.report.figures.draw import draw_records, draw_scores, slugs
from bocb_hf.report.figures.grid import heatmap, ranks
from bocb_hf.report.figures.style import COLUMN, PAGE, SMALL, figure_bytes, spread
from bocb_hf.report.figures.training import Line, Trace, lines_of, mean_curve, training_curves
from bocb_hf.report.words.ledger import tried_text
from bocb_hf.report.words.tables import cell_text, optimizer_label
from bocb_hf.runs.measurements import Curve
from bocb_hf.runs.record import RunRecord, Status
from bocb_hf.store.local import LocalStore

PAPER = published("cifar100")


def texts(figure: Figure) -> list[str]:
    return [t.get_text() for t in figure.findobj(Text) if t.get_text().strip()]


def check_readable(figure: Figure) -> None:
    """As wide as a column or a page, no text below 6 points, and none outside the paper."""
    assert figure.get_figwidth() in (COLUMN, PAGE)
    assert not plt.get_fignums()
    figure.draw_without_rendering()  # lays it out
    assert all(float(text.get_fontsize()) >= SMALL for text in figure.findobj(Text) if text.get_text().strip())
    drawn = figure.get_tightbbox()  # in inches
    assert drawn.x0 > -0.01 and drawn.x1 < figure.get_figwidth() + 0.01, drawn
    assert drawn.y0 > -0.01 and drawn.y1 < figure.get_figheight() + 0.01, drawn


def xs(line: Line2D) -> list[float]:
    return np.asarray(line.get_xdata(), np.float64).tolist()


def ys(line: Line2D) -> list[float]:
    return np.asarray(line.get_ydata(), np.float64).tolist()


def with_curve(record: RunRecord, losses: list[float]) -> RunRecord:
    steps = [10 * (i + 1) for i in range(len(losses))]
    blank = {"val_step": [], "val_loss": [], "val_top1": []}
    curve = Curve(step=steps, lr=[0.1] * len(steps), train_loss=losses, train_top1=[50.0] * len(steps), **blank)
    return record.model_copy(update={"curve": curve})


def tuned(optimizers: Iterable[str] = ("sgdm", "adamw", "lars", "lamb")) -> list[RunRecord]:
    """Trials beside the records of a table with every status."""
    trials = [
        make_record(b, o, role="trial", seed=0, lr=lr, val_top1=60 + 9 * i - j, status=status)
        for b in ("tiny_resnet", "tiny_vit")
        for j, o in enumerate(optimizers)
        for i, (lr, status) in enumerate(zip((0.03, 0.1, 0.3), _ends(o), strict=True))
    ]
    kept = [r for r in mixed_records() if r.role == "final"]
    return [*kept, *trials]


def _ends(optimizer: str) -> tuple[Status, Status, Status]:
    return ("completed", "completed", "diverged" if optimizer == "lars" else "completed")


@pytest.fixture(scope="module")
def table() -> Table:
    return build_tables(tuned())[0]


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_figure_of_every_published_table_is_readable(name):
    scores = published(name)
    drawn = {key: draw() for key, draw in draw_scores(scores, Marks.of(scores))}
    assert set(drawn) == {"heatmap", "violin", "interaction", "profile", "critical-difference"}
    for figure in drawn.values():
        check_readable(figure)


@pytest.mark.parametrize("below", [None, 9.0])
def test_cells_of_a_small_heat_map_hold_their_text(below):
    grid = {(b, o): (1601, 1649) for b in ("tiny_vit", "tiny_resnet", "tiny_convnext") for o in ("sgdm", "adamw")}
    (table,) = build_tables(make_grid(grid))
    scores = scores_of(table)
    marks = Marks.of(scores, table)
    lower = None if below is None else np.full(scores.means.shape, below)
    figure = heatmap(scores, replace(marks, below=lower))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    (left, bottom), (right, top) = axes.transData.transform([(0, 0), (1, 1)])
    for text in axes.texts:
        box = text.get_window_extent()
        assert box.width < right - left and box.height < 0.5 * abs(top - bottom), text.get_text()
    shown = [text.get_text() for text in axes.texts]
    assert any("−" in text and "/+" in text for text in shown) == (below is not None)


def test_every_figure_of_records_with_every_status_is_readable(table):
    scores = scores_of(table)
    drawn = dict(draw_scores(scores, Marks.of(scores, table))) | dict(draw_records(table))
    expected = {"heatmap", "violin", "interaction", "profile", "trials"}
    expected |= {"distance-by-backbone", "distance-by-optimizer"}
    expected |= {f"curves-{b}" for b in table.backbones}
    expected |= {f"pareto-{axis}-{b}" for axis in ("seconds", "memory") for b in table.backbones}
    expected |= {f"pareto-tuning-{b}" for b in ("tiny_resnet", "tiny_vit")}
    assert set(drawn) == expected | {"critical-difference"}  # ranks do with the cells that are there
    for draw in drawn.values():
        check_readable(draw())


def test_equal_tables_give_equal_files(table):
    scores = scores_of(table)
    front = pareto(table, "tiny_vit")
    for draw in (lambda: heatmap(scores), lambda: violin(scores), lambda: pareto_front(front, "top-1")):
        assert figure_bytes(draw(), "svg") == figure_bytes(draw(), "svg")
        assert figure_bytes(draw(), "png").startswith(b"\x89PNG")


LONG = "hf-hub:an-organisation/a-backbone-with-quite-a-long-name"
ODD: dict[str, ScoreTable] = {
    "one cell": make_scores([[71.0]], ["resnet50"], ["sgdm"], unit="percent"),
    "one backbone": make_scores([[71.0, 72, 40]], ["resnet50"], ["sgdm", "adamw", "lars"], unit="percent"),
    "one optimizer": make_scores([[71.0], [72]], ["resnet50", "vgg13_bn"], ["sgdm"], unit="percent"),
    "all equal": make_scores(np.full((3, 4), 50.0), list("abc"), list("wxyz"), unit="percent"),
    "long names": make_scores([[71.0, 72], [60, 61]], [LONG, LONG + "-2"], ["sgdm", "adamw"], unit="percent"),
    "no score": make_scores([[np.nan, np.nan]], ["resnet50"], ["sgdm", "adamw"], unit="percent"),
    "nothing but failures": make_scores(
        [[np.nan, np.nan]], ["resnet50"], ["sgdm", "adamw"], unit="percent", status=[["diverged", "missing"]]
    ),
    "holes": make_scores(
        [[71.0, np.nan, 73], [np.nan, 61, 62]], ["resnet50", "vgg13_bn"], ["sgdm", "adamw", "lars"], unit="percent"
    ),
    "many": make_scores(
        np.random.default_rng(0).uniform(20, 90, (27, 6)), [f"b{i}" for i in range(27)], list("uvwxyz"), unit="percent"
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_tables_with_little_in_them(kind):
    scores = ODD[kind]
    for name, draw in draw_scores(scores, Marks.of(scores)):
        figure = draw()
        check_readable(figure)
        assert not any("nan" in text.lower() for text in texts(figure)), name


def test_the_heat_map_writes_what_the_table_says():
    table = build_tables(mixed_records())[0]
    scores = scores_of(table)
    figure = heatmap(scores, Marks.of(scores, table))
    found = [text.get_text() for text in figure.axes[0].texts]
    for row in table.rows:
        if row.status in ("completed", "diverged", "interrupted"):
            value = cell_text(row).partition(" (")[0]
            assert ("diverged" if row.status == "diverged" else value) in found
    assert "1 of 2 diverged" in found and "(80.0)" in found
    assert sum("★" in text for text in found) == 4
    hatched = [patch for patch in figure.axes[0].patches if patch.get_hatch()]
    faces = {tuple(patch.get_facecolor()) for patch in figure.axes[0].patches}
    assert len(hatched) == 2 and len(faces) > 4
    assert "hatched" in texts(figure)[-1] or any("hatched: diverged" in text for text in texts(figure))


def test_the_published_heat_map_marks_the_best_four_and_the_failures():
    figure = heatmap(PAPER, Marks.of(PAPER))
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert len(cells) == 400
    assert all(sum(sign in text for text in cells) >= 18 for sign in "②③④")
    means = PAPER.means
    assert sum("★" in text for text in cells) == int((means == means.max(axis=1, keepdims=True)).sum())
    corners = [patch for patch in figure.axes[0].patches if patch.__class__.__name__ == "Polygon"]
    median = np.median(means, axis=1, keepdims=True)
    assert len(corners) == int((means < median - 2).sum()) == 51


@given(st.lists(st.lists(st.integers(10, 14).map(float), min_size=4, max_size=4), min_size=1, max_size=4))
def test_ranks_share_ties(values):
    scores = make_scores(values, [f"b{i}" for i in range(len(values))], list("wxyz"), unit="percent")
    for row, rank in zip(values, ranks(scores), strict=True):
        assert list(rank) == [1 + sum(other > v for other in row) for v in row]


def test_the_violin_shows_every_score_and_counts_failures():
    scores = scores_of(build_tables(mixed_records())[0])
    figure = violin(scores)
    axes = figure.axes[0]
    points = [line for line in axes.lines if len(xs(line)) == 1]
    assert sorted(xs(line)[0] for line in points) == sorted(scores.means[np.isfinite(scores.means)])
    assert len(axes.collections) == 4  # one violin a backbone
    counts = [text.get_text() for text in axes.texts]
    assert sorted(counts) == ["3", "3", "3 ✕1", "3 ✕1"]


def test_boxes_show_every_pair_and_mark_edges(table):
    found = robustness(table)
    for figure, side in (
        (boxes(found, "backbone"), found.by_backbone),
        (boxes(found, "optimizer"), found.by_optimizer),
    ):
        drawn = [(line.get_marker(), x) for line in figure.axes[0].lines for x in xs(line)]
        edges = sum(len(d.edges) for d in side)
        assert sum(marker == "^" for marker, _ in drawn) == edges > 0
        values = sorted(v for d in side for v in d.values.values())
        assert sorted(x for marker, x in drawn if marker in ("^", "o")) == values
        assert len(figure.axes[0].get_yticklabels()) == len(side)
        assert "one weight decay was tried" in " ".join(" ".join(texts(figure)).split())


def test_the_critical_difference_diagram():
    mean_ranks = {"adan": 1.5, "lamb": 2.0, "sgdm": 3.2, "lars": 3.3}
    figure = critical_difference(mean_ranks, 1.3, "Nemenyi, n = 9")
    labels = texts(figure)
    assert {"Adan 1.5", "LAMB 2.0", "SGD-M 3.2", "LARS 3.3", "CD = 1.30", "Nemenyi, n = 9"} <= set(labels)
    thick = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.8]
    assert len(thick) == 2  # Adan with LAMB; LAMB with SGD-M and LARS
    check_readable(critical_difference({"adan": 1.0}, None))


@given(st.lists(st.floats(1, 20), min_size=1, max_size=12).map(sorted), st.floats(0.1, 8))
def test_bars_join_exactly_what_does_not_differ(values, cd):
    found = groups(values, cd)
    for i in range(len(values)):
        for j in range(i + 1, len(values)):
            joined = any(first <= i and j <= last for first, last in found)
            assert joined == (values[j] - values[i] <= cd)
    assert not any(a[0] <= b[0] and b[1] <= a[1] for a in found for b in found if a != b)  # no bar inside another


def test_the_interaction_map_says_every_residual_once():
    r = residuals(PAPER).r
    figure = interaction(r, PAPER.backbones, PAPER.optimizers)
    cells = sorted(text.get_text() for text in figure.axes[0].texts)
    wanted = [("0.0" if abs(v) < 0.05 else f"{v:+.1f}".replace("-", "−")) for v in r.ravel()]
    assert cells == sorted(wanted)
    rows = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert sorted(rows) == sorted(map(optimizer_label, PAPER.optimizers))


def test_clear_residuals_have_a_dot_and_missing_ones_a_dash():
    r = np.array([[3.0, -3.0], [np.nan, 0.01]])
    figure = interaction(r, ["resnet50", "vgg13_bn"], ["sgdm", "adamw"], np.array([[True, False], [True, False]]))
    assert sorted(t.get_text() for t in figure.axes[0].texts) == sorted(["+3.0", "−3.0", "–", "0.0"])
    assert len(figure.axes[0].lines) == 1
    assert any("diverged in some run, or not run" in text for text in texts(figure))


def test_clusters_put_alike_rows_together():
    rows = np.array([[5.0, -5, 0], [-4, 4, 0], [5.1, -5.2, 0], [-4.2, 4.1, 0.1]])
    order = cluster(rows)
    assert sorted(order) == [0, 1, 2, 3]
    assert abs(order.index(0) - order.index(2)) == 1 == abs(order.index(1) - order.index(3))
    assert cluster(rows[:2]) == [0, 1]
    assert sorted(cluster(np.full((4, 3), np.nan))) == [0, 1, 2, 3]


@pytest.mark.parametrize("axis", AXES)
def test_the_pareto_figure_names_every_point_and_what_has_no_place(table, axis):
    front = pareto(table, "tiny_resnet", axis)
    figure = pareto_front(front, "top-1")
    labels = " ".join(" ".join(texts(figure)).split())
    for point in front.points:
        assert optimizer_label(point.optimizer) in labels
    for optimizer, reason in front.left_out.items():
        assert f"{optimizer_label(optimizer)} ({reason})" in labels
    filled = [line for line in figure.axes[0].lines if len(xs(line)) == 1 and line.get_markerfacecolor() != "white"]
    assert len(filled) == sum(p.on_front for p in front.points)


def test_no_name_of_the_pareto_figure_belongs_to_a_neighbour():
    """Of close points, each name is nearest to its own, or a line leads from it to its own."""
    places = {"lion": (32.7, 74.6), "rmsprop": (34.2, 73.9), "sgdp": (21.7, 78.4), "sgdm": (22.4, 78.7)}
    places |= {"adabound": (22.9, 78.25), "lars": (22.6, 78.28), "adagrad": (27.3, 74.2), "adam": (27.2, 74.7)}
    points = [Point(o, y, Interval(y - 0.9, y + 0.9), 3, x, False, ()) for o, (x, y) in places.items()]
    figure = pareto_front(Front("resnet50", "seconds", tuple(points), {}, ()), "top-1")
    axes = figure.axes[0]
    at = {optimizer_label(o): axes.transData.transform(place) for o, place in places.items()}
    leaders = [axes.transData.transform(line.get_xydata()) for line in axes.lines if line.get_linewidth() == 0.4]
    names = [t for t in axes.texts if t.get_text() in at]
    assert len(names) == len(places) and leaders
    for text in names:
        box, own = text.get_window_extent(), at[text.get_text()]
        gaps = {name: np.hypot(*(place - np.clip(place, box.min, box.max))) for name, place in at.items()}
        led = [end for start, end in leaders if np.allclose(start, own, atol=0.5)]
        assert led or min(gaps, key=lambda name: gaps[name]) == text.get_text()
        assert all(np.hypot(*(end - np.clip(end, box.min, box.max))) < 3 for end in led)


def test_points_of_one_distance_stand_apart_and_the_median_stays_in_sight(table):
    places = swarm([1] * 9 + [0, 1, 2, 2])
    assert all(abs(a - b) > 0.05 or abs(c - d) > 0.1 for i, (a, c) in enumerate(places) for b, d in places[:i])
    assert all(abs(x - value) < 0.25 for (x, _), value in zip(places, [1] * 9 + [0, 1, 2, 2], strict=True))
    found = robustness(table)
    axes = boxes(found, "backbone").axes[0]
    for y, group in enumerate(found.by_backbone):
        (bar,) = [line for line in axes.lines if line.get_linewidth() == 1.6 and np.mean(ys(line)) == y]
        assert xs(bar) == [np.median(list(group.values.values()))] * 2
        points = [h for line in axes.lines if line.get_marker() in ("o", "^") for h in ys(line) if abs(h - y) < 0.45]
        assert len(points) == len(group.values) and all(min(ys(bar)) < h < max(ys(bar)) for h in points)


def test_many_training_curves_have_no_bands():
    for count, bands in ((8, 8), (9, 0)):
        lines = [Line(o, (Trace((10, 20), (2.0, 1.0), 0.2),), ()) for o in OPTIMIZERS.names()[:count]]
        figure = training_curves(lines, "tiny_vit", "d", "nats")
        assert len(figure.axes[0].collections) == bands
        assert any("too many lines" in " ".join(text.split()) for text in texts(figure)) == (bands == 0)


def test_a_front_without_a_point(table):
    front = pareto(build_tables([make_record(status="diverged")])[0], "tiny_resnet")
    figure = pareto_front(front, "top-1")
    check_readable(figure)
    assert "no cell has a place" in texts(figure)


def test_the_trial_figure_starts_and_ends_where_the_curves_do(table):
    curves = trial_curves(table)
    figure = trial_figure(curves)
    lines = {tuple(ys(line)) for line in figure.axes[0].lines if line.get_marker() != "None"}
    assert lines == {tuple(p.shortfall for p in curve.points) for curve in curves}
    assert {optimizer_label(c.optimizer) for c in curves} <= set(texts(figure))
    assert any("every trial diverged" in " ".join(text.split()) for text in texts(figure))


def test_figures_of_many_trials_have_few_ticks_and_points():
    point = Expected(1, 5.0, Interval(4.0, 6.0), 0.0, 3)
    curve = TrialCurve("sgdm", tuple(replace(point, k=k, shortfall=500 / (99 + k)) for k in range(1, 1001)), ())
    axes = trial_figure([curve]).axes[0]
    (line,) = (line for line in axes.lines if line.get_marker() != "None")
    assert len(xs(line)) <= 30 and (xs(line)[0], xs(line)[-1]) == (1, 1000) and len(axes.get_xticks()) <= 27
    far = Distances("sgdm", (0, 0), {"tiny_vit": 0, "tiny_resnet": 5000}, ())
    offset = Offset("tiny_vit", "sgdm", 0, 0, False, 3, gridded=False)
    figure = boxes(Robustness((offset,), (), (far,), {}, True), "optimizer")
    assert len(figure.axes[0].get_xticks()) <= 12
    words = " ".join(" ".join(texts(figure)).split())
    assert "1 pair(s) were tried on no grid" in words and "factors of 3, from the mode" in words


def test_the_ledger_of_the_report_shortens_what_was_tried():
    assert tried_text((0.1, 0.3)) == "0.1, 0.3" and tried_text(()) == "–"
    assert tried_text(tuple(0.001 * k for k in range(1, 26))) == "25 from 0.001 to 0.025"


def test_training_curves_average_completed_runs_and_end_failures_in_a_cross():
    good = [with_curve(make_record("tiny_vit", "sgdm", seed=s), [2.0, 1.0 * s]) for s in (1, 2)]
    bad = with_curve(make_record("tiny_vit", "lars", seed=1, status="diverged"), [2.0, 9.0])
    table = build_tables([*good, bad, make_record("tiny_vit", "adamw", role="trial", seed=0)])[0]
    figure = training_curves(lines_of(table, "tiny_vit"), "tiny_vit", table.dataset, table.loss_unit)
    check_readable(figure)
    labels = texts(figure)
    assert {"SGD-M", "LARS (1/1 div)"} <= set(labels)
    assert any("Not run: AdamW" in text for text in labels)
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert len(crosses) == 1 and ys(crosses[0])[0] == 9.0
    curve = mean_curve([Trace.of(record) for record in good])
    assert curve is not None
    epochs, low, mean, high = curve
    assert list(epochs) == [0.4, 0.8]  # steps 10 and 20 of 100, 4 epochs
    assert (list(low), list(mean), list(high)) == ([2.0, 1.0], [2.0, 1.5], [2.0, 2.0])
    assert mean_curve([]) is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_labels_keep_their_order_and_their_distance(places):
    gap = 0.1
    found = spread(places, gap, 0.0, 1.0)
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert all(found[b] - found[a] >= gap - 1e-9 for a, b in pairwise(order))
    assert max(found) <= 1 + 1e-9
    assert min(found) >= -1e-9
    if all(places[b] - places[a] >= gap for a, b in pairwise(order)):
        assert found == pytest.approx(places)


def test_file_names_are_safe_and_distinct():
    names = ("hf-hub:a/b", "hf-hub:a-b", "../x", "resnet50", "RESNET50")
    found = slugs(names)
    assert len(set(found.values())) == len(names)
    assert all(slug.replace("-", "").replace("_", "").isalnum() for slug in found.values())
    assert found["resnet50"] == "resnet50"


def test_the_command_writes_figures_and_their_numbers(tmp_path, capsys):
    records = [r for r in tuned() if r.identity.backbone.name == "tiny_vit"]
    publish(LocalStore(tmp_path / "store"), records)
    out = tmp_path / "figures"
    assert main(["figures", "--store", str(tmp_path / "store"), "--out", str(out)]) == 0
    names = {path.name for path in out.iterdir()}
    for stem in ("heatmap", "violin", "trials", "distance-by-backbone", "pareto-seconds-tiny_vit", "curves-tiny_vit"):
        assert {f"{stem}.png", f"{stem}.svg"} <= names
    tables = {"ledger.csv", "distances.csv", "trials.csv", "pareto.csv", *(f"scores.{k}" for k in _KINDS)}
    assert tables <= names
    assert "wrote" in capsys.readouterr().out


_KINDS = ("csv", "parquet", "json", "md", "tex")


def test_the_command_draws_the_published_tables_and_only_what_is_asked_for(tmp_path, capsys):
    arguments = ["figures", "--source", "paper:imagenet1k", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--only", "heat"]) == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"heatmap.png", "heatmap.svg"}
    assert main([*arguments, "--only", "nothing"]) == 2
    assert "critical-difference" in capsys.readouterr().err
    assert main(["figures", "--source", "nowhere", "--out", str(tmp_path)]) == 2
    assert main(["figures", "--store", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2


def test_several_tables_have_their_own_folders(tmp_path):
    records = [*make_grid({("tiny_vit", "sgdm"): (1500, 1510)}), make_record("tiny_vit", setting="long")]
    publish(LocalStore(tmp_path / "store"), records)
    assert main(["figures", "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"), "--only", "heat"]) == 0
    assert len([p for p in Path(tmp_path / "out").iterdir() if (p / "heatmap.png").is_file()]) == 2
