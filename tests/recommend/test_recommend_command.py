"""``bocb recommend``: its answers, their length and order, and its errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from boards import write_board
from builders import make_grid
from stored import publish

from bocb_hf.cli import main
from bocb_hf.coupling.published import published
from bocb_hf.page import locate
from bocb_hf.page.write import published_rows, to_parquet
from bocb_hf.recommend.answer import answer
from bocb_hf.recommend.answers import starts_of
from bocb_hf.recommend.evidence import Evidence
from bocb_hf.recommend.lead import LINES, answers_text
from bocb_hf.recommend.tags import find_tags
from bocb_hf.store.local import LocalStore
from bocb_hf.sweep.plan import load_plan

GRID = {
    (b, o): (1600 + 100 * (o == "adamw"), 1610 + 100 * (o == "adamw"))
    for b in ("tiny_resnet", "tiny_mobilenet", "tiny_convnext", "tiny_vit")
    for o in ("sgdm", "adamw", "lamb")
}


def test_the_command_answers_from_the_paper(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["recommend", "resnet101"]) == 0
    text = capsys.readouterr().out
    for part in (
        "resnet101: use SGD-M",
        "30 of 43 published recipes for CNNs",
        "the data cannot tell them apart",
        "n = 1",
        "lr 0.1",
        "bocb train --config cifar100/pytorch backbone.name=resnet101 optimizer.name=sgdm",
    ):
        assert part in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 120 and len(text.splitlines()) <= LINES
    assert main(["recommend", "resnet101", "--full"]) == 0
    full = capsys.readouterr().out
    for part in ("family classical_cnn", "expected regret", "start with", "what to run next", "R-50 78.8 (1)"):
        assert part in full


@pytest.mark.parametrize("name", ["convnext_tiny", "alexnet", "a/b"])
def test_every_answer_is_short_and_begins_with_what_to_use(capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert main(["recommend", name]) == 0
    out, err = capsys.readouterr()
    lines = [line for line in out.splitlines() if not line.startswith("The Hub could not be asked")]
    assert len(out.splitlines()) <= LINES and not err
    assert next(filter(None, lines)).startswith(f"{name}: use ")
    assert ("The Hub could not be asked (HF_HUB_OFFLINE is set)" in out) == (name == "a/b")


def test_all_figures_are_there_as_json(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["recommend", "resnet101", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    first, study = found["answers"]
    assert study["source"].startswith("the laptop study") and not study["measured_on_this_backbone"]
    assert first["use"] == ["sgdm", "lamb"] and first["interval"][0] < first["expected_regret"] < first["interval"][1]
    assert first["usual"]["recipes"]["sgdm"] == 30 and first["usual"]["distinguishable"] is False
    assert first["start"][0]["lr"] == 0.1 and found["backbone"]["row"] == "resnet101"


def test_sources_answer_apart_and_the_one_that_knows_the_backbone_first(capsys, tmp_path):
    publish(LocalStore(tmp_path / "store"), make_grid(GRID))
    plan = tmp_path / "plans" / "next.yaml"
    arguments = ["recommend", "tiny_vit", "--store", str(tmp_path / "store")]
    assert main([*arguments, "--plan", str(plan), "--config", "fashion_mnist_subset/demo"]) == 0
    text = capsys.readouterr().out
    assert text.index("own records") < text.index("Another source, published")
    loaded = load_plan(plan)
    assert loaded.backbones == ["tiny_vit"] and loaded.optimizers[0] == "adamw" and loaded.final_seeds == [1, 2, 3]
    assert main([*arguments, "--source", "store"]) == 0
    assert "Another source" not in capsys.readouterr().out


def test_the_laptop_study_answers_first_for_its_own_backbones_and_last_for_others(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(locate, "EMBEDDED", write_board(tmp_path / "leaderboard.parquet"))
    caution = "The laptop study is of networks of 0.1 to 0.2 M parameters"
    assert main(["recommend", "tiny_convnext"]) == 0
    text = capsys.readouterr().out
    assert "Evidence (the laptop study" in text and caution not in text
    assert main(["recommend", "resnet50"]) == 0
    text = capsys.readouterr().out
    assert "Evidence (published" in text and "Another source, the laptop study" in text
    assert main(["recommend", "resnet50", "--source", "study"]) == 0
    text = capsys.readouterr().out
    assert caution in " ".join(text.split()) and len(text.splitlines()) <= LINES + 2
    assert main(["recommend", "resnet50", "--source", "study", "--full"]) == 0
    assert caution in " ".join(capsys.readouterr().out.split())


def test_an_answer_from_many_sources_keeps_its_length_and_counts_those_that_find_no_place():
    target = find_tags("resnet101")
    given = answer(Evidence("published", published("cifar100")), target, 1.0)
    text = answers_text([given] * 9, starts_of(given, None), None)
    assert len(text.splitlines()) == LINES
    shown = text.count("Another source, published")
    assert 0 < shown < 8 and f"and {8 - shown} further sources), --json" in text
    assert "further" not in answers_text([given], starts_of(given, None), None)


def test_a_version_without_the_laptop_study_says_so(capsys, tmp_path, monkeypatch):
    path = tmp_path / "leaderboard.parquet"
    path.write_bytes(to_parquet(published_rows()))
    monkeypatch.setattr(locate, "EMBEDDED", path)
    assert main(["recommend", "resnet50", "--source", "study"]) == 2
    assert "--source study" in capsys.readouterr().err
    assert main(["recommend", "tiny_convnext"]) == 0
    assert "laptop study" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--max-regret", "-1"], "--max-regret"),
        (["--plan", "x.yaml"], "--config"),
        (["--source", "store", "--store", "nothing"], "--store"),
    ],
)
def test_bad_arguments(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["recommend", "resnet50", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path().iterdir())
