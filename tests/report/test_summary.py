"""The answer comes first, in at most 40 lines for any store, and claims no more than its intervals do."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from boards import contents_of, summary_inside
from builders import CNNS, MODERN, make_grid, make_record
from matplotlib.text import Text
from stored import mixed_records, publish

from bocb_hf.backbones import BACKBONES
from bocb_hf.cli import main
from bocb_hf.coupling.analysis import ScaleAnalysis
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.primary import STATISTICS, Primary
from bocb_hf.coupling.published import published
from bocb_hf.coupling.scores import make_scores
from bocb_hf.coupling.statistics import Interval
from bocb_hf.coupling.targets import FACTORS, OptimizerTime, Times
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.report.analysis import answer_records, summarize_records
from bocb_hf.report.figures.profiles import time_figure
from bocb_hf.report.findings import Findings, find
from bocb_hf.report.tabulate import Wanted, tabulate
from bocb_hf.report.words.analysis import analysis_text
from bocb_hf.report.words.answer import answer_text, primary_text
from bocb_hf.report.words.comparisons import comparison_text
from bocb_hf.report.words.summary import LINES, summary_text
from bocb_hf.report.words.tables import optimizer_label
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.contents import Quarantined
from bocb_hf.store.local import LocalStore
from bocb_hf.sweep.plan import load_plan

FEW = Wanted(draws=100)


def grid(backbones: tuple[str, ...], optimizers: tuple[str, ...], setting: str = "demo") -> list[RunRecord]:
    """Two seeds of each cell; the third optimizer is far worse on the last backbone."""
    rng = np.random.default_rng(len(backbones))
    scores = {
        (b, o): tuple(
            int(k) for k in 1500 + 40 * i + 15 * j + rng.integers(0, 25, 2) - 900 * (j == 2 and b == backbones[-1])
        )
        for i, b in enumerate(backbones)
        for j, o in enumerate(optimizers)
    }
    return make_grid(scores, setting=setting)


@pytest.fixture(scope="module")
def found() -> Findings:
    """Four backbones × four optimizers, one cell far below the others."""
    (result,) = tabulate(contents_of(grid((*CNNS, *MODERN), ("sgdm", "adamw", "lamb", "lars"))), FEW).results
    return result.findings


def large() -> Findings:
    """20 × 20 cells with two seeds, under names that are as long as names may be."""
    rng = np.random.default_rng(1)
    scores = make_scores(
        70 + rng.normal(size=(20, 20, 1)) + 0.3 * rng.normal(size=(20, 20, 2)),
        [f"backbone_{'x' * 90}_{i}" for i in range(20)],
        [f"optimizer_{'y' * 90}_{i}" for i in range(20)],
        unit="percent",
        setting="s" * 300,
        dataset="d" * 300,
        families=["classical_cnn"] * 10 + ["modern"] * 10,
        categories=["b"] * 20,
        notes=[f"Note {i}: {'word ' * 60}." for i in range(9)],
    )
    return find(scores, Marks.of(scores), draws=100)


@pytest.fixture(scope="module")
def paper() -> Findings:
    scores = published("cifar100")
    return find(scores, Marks.of(scores), draws=100)


@pytest.mark.parametrize("case", ["400 cells", "many tables", "records of every status", "nothing completed", "paper"])
def test_the_summary_has_at_most_40_lines(case: str, paper: Findings) -> None:
    if case == "400 cells":
        one = large()
        text = summary_text(one, further=[one] * 12, quarantined=500)
    elif case == "paper":
        text = summary_text(paper)
    elif case == "many tables":
        records = [*grid((*CNNS, *MODERN), ("sgdm", "adamw", "lamb", "lars")), *mixed_records()]
        records += [make_record("tiny_vit", setting=f"another{i}") for i in range(12)]
        contents = contents_of(records)
        contents.quarantined.extend(Quarantined("local/x", f"{i}", "no record") for i in range(30))
        text = summarize_records(tabulate(contents, FEW))
        assert "30 file(s) are quarantined" in text and "more table(s)" in text
    elif case == "records of every status":
        text = summarize_records(tabulate(contents_of(mixed_records()), FEW))
    else:
        text = summarize_records(tabulate(contents_of([make_record(status="diverged")]), FEW))
        assert "No answer yet" in text
    lines = text.splitlines()
    assert 3 < len(lines) <= LINES - 2  # beside the line that names the files, and the empty one before it
    answers = [i for i, line in enumerate(lines) if re.match(r"- (Coupling|No answer yet)", line)]
    assert answers and answers[0] <= 8
    assert not re.search(r"\bnan\b|\binf\b|None", text)


def test_the_table_is_shown_where_it_fits_and_else_its_optimizers() -> None:
    (result,) = tabulate(contents_of(grid((*CNNS, *MODERN), ("sgdm", "adamw", "lamb", "lars"))), FEW).results
    small = summary_text(result.findings, result.table, result.floors, result.contrast)
    assert "MobileNet-tiny    ResNet-tiny" in small and re.search(r"^SGD-M .* ± ", small, re.MULTILINE)
    names = tuple(name for name in BACKBONES.names() if BACKBONES.get(name).family == "modern")[:13]
    (result,) = tabulate(contents_of(grid(names, tuple(OPTIMIZERS.names()[:12]))), FEW).results
    wide = summary_text(result.findings, result.table, result.floors, result.contrast)
    assert "of backbones" in wide and "± " not in wide.partition("optimizer ")[2] and len(wide.splitlines()) <= 38


def test_the_answer_is_as_strong_as_test_and_interval(found: Findings) -> None:
    analysis = found.analysis
    points = analysis.points
    assert isinstance(points, ScaleAnalysis) and points.test is not None and points.bootstrap is not None
    coupling, cost, safe = answer_text(analysis, found.marks)
    assert coupling.startswith("Coupling is shown on these backbones (p = ") and "% without failed cells" in coupling
    assert "most of it is cells that failed" in coupling and "95 % [" in coupling and "n = 2 a cell" in coupling
    assert "95 % [" in cost and "4 backbones" in cost and "n = 2" in cost
    assert "Hsu, 95 % for each backbone" in safe and "at most" in safe and "LAMB on 1 of 4" in safe
    assert "LAMB" not in safe.partition("Failed")[0], "what failed somewhere is not called safe"
    weak = replace(analysis, points=replace(points, test=replace(points.test, p=0.2)))
    assert answer_text(weak, found.marks)[0].startswith("Coupling is not shown")
    shares = points.bootstrap.intervals["shares"]
    begins_at_0 = replace(
        points.bootstrap, intervals={**points.bootstrap.intervals, "shares": replace(shares, low=0 * shares.low)}
    )
    open_ = replace(analysis, points=replace(points, bootstrap=begins_at_0))
    assert "how much is open, since the interval begins at 0" in answer_text(open_, found.marks)[0]


def test_the_bounds_of_the_answer_are_those_of_hsu(found: Findings) -> None:
    points, scores = found.analysis.points, found.analysis.scores
    assert isinstance(points, ScaleAnalysis) and points.best is not None
    worst = (-points.best.low).max(axis=0)
    safest = min((o for o in range(4) if scores.optimizers[o] != "lamb"), key=lambda o: worst[o])
    label = OPTIMIZERS.get(scores.optimizers[safest]).short
    safe = answer_text(found.analysis, found.marks)[2]
    assert re.search(rf": {label} \d of 4 \(at most {worst[safest]:.1f} points below it", safe)


def test_without_noise_the_answer_says_so(paper: Findings) -> None:
    text = answer_text(paper.analysis, paper.marks)
    assert "noise cannot be separated (n = 1 everywhere)" in text[0] and "40 % of the variance (4 % without" in text[0]
    assert "no interval, n = 1" in text[1] and "by the means alone" in text[2]
    sentences = "\n".join(analysis_text(paper.analysis))
    assert "κ in points, noise inside, no interval, reference" in sentences


def test_every_share_of_interaction_says_what_is_left_without_failed_cells(found: Findings) -> None:
    sentences = analysis_text(found.analysis)
    shares = [s for s in sentences if re.search(r"interaction \d+ %", s)]
    assert len(shares) >= 4
    for sentence in shares:
        assert "without failed cells" in sentence or sentence.startswith("Without cells that collapsed"), sentence
    coupled = [s for s in sentences if s.startswith("Most coupled")]
    assert coupled and all(re.search(r"\d\.\d \[\d+\.\d, \d+\.\d\]", s) for s in coupled)


# --- the primary statistic


def test_the_report_leads_with_the_statistic_that_a_plan_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = grid((*CNNS, *MODERN), ("sgdm", "adamw", "lamb"))
    publish(LocalStore(tmp_path / "store"), records)
    plan = tmp_path / "mine.yaml"
    text = (
        "name: mine\nconfig: fashion_mnist_subset/demo\nbackbones: [tiny_vit]\noptimizers: [sgdm]\nfinal_seeds: [1]\n"
    )
    plan.write_text(text)
    assert load_plan(plan).primary is None and "primary" not in text  # plans of before read as they did
    common = ["aggregate", "--store", str(tmp_path / "store"), "--out", str(tmp_path / "out"), "--draws", "100"]
    assert main([*common, "--plan", str(plan)]) == 2
    assert "names no primary statistic" in capsys.readouterr().err
    plan.write_text(text + "primary: cost\n")
    assert main([*common, "--plan", str(plan), "--primary", "contrast"]) == 2
    assert "named 'cost' before its runs" in capsys.readouterr().err
    assert main([*common, "--plan", str(plan)]) == 0
    printed = capsys.readouterr().out
    said = " ".join(printed.split())
    assert "Primary statistic (named by the plan mine): Cost of coupling, G: using" in said
    assert len(printed.splitlines()) <= LINES and said.index("Coupling is") < said.index("Primary statistic")
    shown = summary_inside((tmp_path / "out" / "report.html").read_text())["tables"][0]
    assert shown["headlines"]["primary"].startswith("Primary statistic (named by the plan mine): Cost of coupling")
    (table,) = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert table["primary"] == {"statistic": "cost", "named": "named by the plan mine"}
    assert table["marks"]["rule"] == "hsu" and len(table["comparisons"]["pairs"]) == 3
    assert set(table["profiles"]["optimizers"]) == {"sgdm", "adamw", "lamb"} and table["time_to_target"] is None


def test_a_plan_leads_only_the_tables_of_its_setting() -> None:
    records = [*grid((*CNNS, *MODERN), ("sgdm", "adamw")), *grid(MODERN, ("sgdm", "adamw"), setting="other")]
    wanted = replace(FEW, primaries={"demo": Primary("interaction", "named by the plan mine")})
    first, second = answer_records(tabulate(contents_of(records), wanted)).split(
        "\n\nfashion_mnist_subset, setting other"
    )
    assert "Primary statistic (named by the plan mine): Shares of variance" in " ".join(first.split())
    assert "Primary statistic (the default, since no plan was named): Family" in " ".join(second.split())


def test_each_statistic_can_lead(found: Findings) -> None:
    said = {"cost": "Cost of coupling, G", "interaction": "Shares of variance", "contrast": "C ="}
    assert set(said) == set(STATISTICS)
    for statistic in STATISTICS:
        text = primary_text(Primary(statistic, "named here"), found.analysis, None)
        assert text.startswith("Primary statistic (named here): ") and said[statistic] in text


# --- comparisons in words


def test_pairs_and_profiles_stand_with_interval_p_and_n(paper: Findings) -> None:
    scores = paper.analysis.scores
    pairs, bayes, profile = comparison_text(paper.comparisons, scores, paper.profiles, paper.times)
    assert "over 20 backbones" in pairs and "Holm over 190 pairs" in pairs and "20 backbones in 16 clusters" in pairs
    assert re.search(
        r"differ at 95 %: (.* − .* \+\d+\.\d\d, 95 % \[[\d.]+, [\d.]+\], p = [\d.e-]+, n = 20; ){5}", pairs
    )
    counts = [int(n) for n in re.findall(r"(\d+) (?:differ|are practically|are undecided)", bayes)]
    assert len(counts) == 3 and sum(counts) == 190 == len(paper.comparisons.pairs)
    assert "Adan 15 of 20 (95 % [" in profile and "for further backbones of these families" in profile


def test_the_figure_of_times_is_readable_and_shows_the_shares(found: Findings) -> None:
    assert found.times is None  # the records of these tests have no validation curve
    names = tuple(OPTIMIZERS.names()[:12])
    shares = np.linspace(0, 1, len(names))
    optimizers = tuple(
        OptimizerTime(o, 6, 3, Interval(18.8, 81.2), np.full(len(FACTORS), s), np.full(len(FACTORS), s / 2), np.ones(7))
        for o, s in zip(names, shares, strict=True)
    )
    figure = time_figure(Times({"tiny_vit": 61.25}, True, (), optimizers, "runs", 93), "top-1", "some data")
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox()
    assert drawn.x0 > -0.01 and drawn.x1 < figure.get_figwidth() + 0.01
    written = " ".join(t.get_text() for t in figure.findobj(Text)).replace("\n", " ")
    assert "61.2 % (as stated)" in written and "The 8 highest there have a name, 4 others are pale" in written
    assert optimizer_label(names[-1]) in written and optimizer_label(names[0]) not in written


def test_a_target_is_refused_where_nothing_has_a_curve(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["aggregate", "--source", "paper", "--target", "70"]) == 2
    assert "--target: published tables have no validation curves" in capsys.readouterr().err
