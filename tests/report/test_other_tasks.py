"""Tables of detection and pose: every text for people names the metric of the task, and none that of a classifier."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pandas as pd
import pytest
from boards import contents_of
from builders import make_record, with_validation
from matplotlib.text import Text
from other_tasks import as_task
from rich.console import Console

from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.scores import scores_of
from bocb_hf.coupling.table import build_tables
from bocb_hf.recommend.answer import answer
from bocb_hf.recommend.evidence import evidence_of
from bocb_hf.recommend.lead import lead_text
from bocb_hf.recommend.tags import known_tags
from bocb_hf.recommend.words import answer_text
from bocb_hf.report.analysis import analyse_records, answer_records
from bocb_hf.report.figures.draw import draw_records, draw_scores
from bocb_hf.report.outputs import write_outputs
from bocb_hf.report.tabulate import Wanted, tabulate
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.tasks import CLASSIFICATION, TASKS
from bocb_hf.sweep.view import Progress, draw

OF_CLASSIFIERS = re.compile(r"top.?1|accura|\bnats\b|\bimages are right|chance, ", re.IGNORECASE)
TASK_NAMES = ("detection", "pose")


def runs_of(task: str) -> list[RunRecord]:
    """Three backbones × three optimizers: two seeds with curves, one of which diverged, and two trials each."""
    found: list[RunRecord] = []
    for b, backbone in enumerate(("tiny_resnet", "tiny_vit", "tiny_convnext")):
        for o, optimizer in enumerate(("sgdm", "adamw", "lamb")):
            for seed in (1, 2):
                lost = (backbone, optimizer, seed) == ("tiny_vit", "lamb", 2)
                correct, status = 900 + 60 * b + 40 * o * seed, "diverged" if lost else "completed"
                record = make_record(backbone, optimizer, seed=seed, correct=correct, status=status)
                found.append(with_validation(record, [20.0, 40.0 + 5 * o, 45.0 + 5 * o]))
            for lr in (0.1, 0.3):
                found.append(make_record(backbone, optimizer, role="trial", seed=100, lr=lr, val_top1=50 - 10 * lr))
    return found if task == CLASSIFICATION else [as_task(record, task) for record in found]


@pytest.mark.parametrize("task", TASK_NAMES)
def test_every_figure_names_the_metric_of_the_task(task: str) -> None:
    metric = TASKS.get(task).metric
    (table,) = build_tables(runs_of(task))
    scores = scores_of(table)
    named = set[str]()
    for name, drawing in (*draw_scores(scores, Marks.of(scores, table)), *draw_records(table)):
        text = " ".join(" ".join(found.get_text() for found in drawing().findobj(Text)).split())
        assert not OF_CLASSIFIERS.search(text), (name, text)
        if metric in text:
            named.add(name)
    assert named >= {"heatmap", "violin", "time-to-target", "pareto-seconds-tiny_vit", "pareto-tuning-tiny_resnet"}


@pytest.mark.parametrize("task", TASK_NAMES)
def test_every_text_names_the_metric_of_the_task(task: str, tmp_path: Path) -> None:
    metric = TASKS.get(task).metric
    tabulated = tabulate(contents_of(runs_of(task)), Wanted(draws=50))
    outputs = write_outputs(tabulated, tmp_path)
    found = analyse_records(tabulated, "default", tmp_path)
    texts = {path.name: path.read_text(encoding="utf-8") for path in outputs.paths if path.suffix in (".md", ".tex")}
    texts |= {"answer": answer_records(tabulated), "tables": outputs.text, "analysis": found.text}
    assert {"coupling.md", "coupling.tex"} < texts.keys()
    for name, text in texts.items():
        assert not OF_CLASSIFIERS.search(text), (name, OF_CLASSIFIERS.findall(text))
        assert metric in " ".join(text.split()), name
    said = " ".join(found.text.split())
    assert f"Time to a validation {metric} of" in said and "units of the loss" in said
    frame = pd.read_csv(tmp_path / "coupling.csv")
    assert frame["metric"].tolist() == [metric] * 9 and len(frame["test_top1"].dropna()) == 8


def test_the_words_of_a_classifier_are_found_where_they_belong(tmp_path: Path) -> None:
    """What the tests above look for is there for a classifier, so that they can fail."""
    tabulated = tabulate(contents_of(runs_of(CLASSIFICATION)), Wanted(draws=50))
    text = " ".join(analyse_records(tabulated, "default", tmp_path).text.split())
    assert "Time to a validation top-1 of" in text and " nats" in text
    (table,) = build_tables(runs_of(CLASSIFICATION))
    drawn = {name: drawing() for name, drawing in draw_records(table)}
    for name, expected in (
        ("time-to-target", "validation top-1 of"),
        ("pareto-seconds-tiny_vit", "test top-1 in points"),
        ("curves-tiny_vit", "training loss in nats"),
    ):
        words = " ".join(" ".join(found.get_text() for found in drawn[name].findobj(Text)).split())
        assert expected in words and OF_CLASSIFIERS.search(words), name


@pytest.mark.parametrize("task", TASK_NAMES)
def test_a_recommendation_names_the_metric(task: str) -> None:
    metric = TASKS.get(task).metric
    (table,) = build_tables(runs_of(task))
    found = answer(evidence_of(table, "the records", "here"), known_tags("tiny_vit"), 1.0)
    nothing = [None] * len(found.chosen.members)
    text = " ".join(f"{lead_text(found, nothing, None)} {answer_text(found, nothing)}".split())
    assert not OF_CLASSIFIERS.search(text) and f"they count as {metric} 0" in text


@pytest.mark.parametrize("task", TASK_NAMES)
def test_the_live_view_of_a_sweep_names_the_metric(task: str) -> None:
    progress = Progress(planned=2)
    progress.add("tiny_vit", "adamw", as_task(make_record("tiny_vit", "adamw", correct=700), task))
    console = Console(file=io.StringIO(), width=100)
    console.print(draw(progress))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is the StringIO of the line above
    assert f"test {TASKS.get(task).metric} so far" in text and "35.00 (1)" in text
