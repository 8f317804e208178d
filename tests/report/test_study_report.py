"""The report of the laptop study and the file of its records, on records made here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from builders import make_floor, make_record

from bocb_hf.page import EMBEDDED
from bocb_hf.page.details import cell_more
from bocb_hf.page.read import LeaderboardFile
from bocb_hf.page.write import leaderboard_parquet
from bocb_hf.results.dataset import records_parquet
from bocb_hf.results.records_file import read_one, read_records_file
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.contents import StoreContents

ROOT = Path(__file__).resolve().parents[2]
BACKBONES = ("tiny_resnet", "tiny_mobilenet", "tiny_convnext", "tiny_attentionformer", "tiny_convnextv2")
OPTIMIZERS = ("sgdm", "adamw", "lamb", "muon")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import study_leaderboard  # pyright: ignore[reportMissingImports] - of the benchmarks
    import study_records  # pyright: ignore[reportMissingImports] - of the benchmarks
    import study_report  # pyright: ignore[reportMissingImports] - of the benchmarks

    return {"leaderboard": study_leaderboard, "records": study_records, "report": study_report}


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    cells = {
        "backbones": list(BACKBONES),
        "optimizers": list(OPTIMIZERS),
        "final_seeds": [1, 2, 3],
        "primary": "contrast",
    }
    path.write_text(yaml.safe_dump({"name": "small", "config": "fashion_mnist_subset/demo"} | cells))
    return path


def contents_of(records: list[RunRecord]) -> StoreContents:
    contents = StoreContents("here", records)
    contents.places.update({(r.role, r.run_id): f"me/{r.repository()}/{r.path()}" for r in records})
    return contents


def runs(backbones: tuple[str, ...] = BACKBONES, optimizers: tuple[str, ...] = OPTIMIZERS) -> list[RunRecord]:
    generator = np.random.default_rng(0)
    return [
        make_record(b, o, seed=seed, correct=int(1600 + 40 * BACKBONES.index(b) + generator.normal(0, 6)))
        for b in backbones
        for o in optimizers
        for seed in (1, 2, 3)
    ]


def save(records: list[RunRecord], path: Path) -> Path:
    contents = contents_of(records)
    path.write_bytes(records_parquet(contents.records, contents.places, {}))
    return path


def test_the_report_answers_every_question_and_names_what_is_cut(
    scripts: dict[str, ModuleType], plan: Path, tmp_path: Path
) -> None:
    """The last backbone has one cell only, so the whole rows are those before it."""
    records = [*runs(BACKBONES[:4]), *runs(BACKBONES[4:], OPTIMIZERS[:1])]
    path = save(records, tmp_path / "records.parquet")
    lines = scripts["report"].report(read_records_file(path), path, None, str(plan))
    text = "\n".join(lines)
    assert [line for line in lines if line.startswith("## ")] == [
        "## Floors",
        "## 1. Primary: the family contrast",
        "## 2. Is there interaction?",
        "## 3. The cost of coupling",
        "## 4. Which optimizers are safe, which are specialists",
        "## 5. Design",
        "## 6. Muon's kind",
        "## 7. Agreement with the published table",
        "## 8. Do patterns of the weights, sharpness or early loss predict?",
        "## 9. Tuning, cost, recommender",
    ]
    assert "4 backbones × 4 optimizers, 0 trials and 48 final runs" in text
    assert "Not done, so left out: backbones ConvNeXtV2-tiny." in text
    assert "| Muon − AdamW | CNNs (2) |" in text
    assert "nan" not in text


def test_a_backbone_below_a_floor_is_left_out_and_one_whose_floor_is_unknown_stays(
    scripts: dict[str, ModuleType], plan: Path, tmp_path: Path
) -> None:
    """ResNet's runs score 80, MobileNet's 82 of 2,000 images, the pixels 78; frozen features of ResNet 81."""
    path = save(runs(), tmp_path / "records.parquet")
    floors = StoreContents("floors")
    own = [make_floor(1620, backbone="tiny_resnet"), make_floor(1500, backbone="tiny_mobilenet")]
    floors.floors += [make_floor(1560), *own]
    lines = scripts["report"].report(read_records_file(path), path, floors, str(plan))
    judged = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[-1].strip(" |") for line in lines if "-tiny |" in line
    }
    assert judged["ResNet-tiny"] == "**no**: left out of all below"
    assert judged["MobileNet-tiny"] == "yes" and judged["ConvNeXt-tiny"] == "not known"
    assert "4 backbones × 4 optimizers, 0 trials and 48 final runs" in "\n".join(lines)
    assert "| optimizer | MobileNet-tiny |" in "\n".join(lines)


def test_the_block_is_of_whole_rows_and_columns(scripts: dict[str, ModuleType]) -> None:
    block = scripts["report"].whole_block
    records = [r for r in runs() if (r.identity.backbone.name, r.identity.optimizer.name) != ("tiny_convnext", "muon")]
    assert block(records, BACKBONES, OPTIMIZERS, 3) == (list(BACKBONES), list(OPTIMIZERS[:3]))  # 15 cells, not 8
    assert block(records, BACKBONES, OPTIMIZERS, 4) == ([], [])


def test_a_plan_without_a_whole_cell_is_refused(
    scripts: dict[str, ModuleType], plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = save(runs()[:2], tmp_path / "records.parquet")
    monkeypatch.setattr(sys, "argv", ["study_report.py", "--records", str(path), "--plan", str(plan)])
    assert scripts["report"].main() == 1
    assert "has no cell of" in capsys.readouterr().err


def test_a_sitting_adds_its_runs_and_changes_none(scripts: dict[str, ModuleType]) -> None:
    first, second = runs()[:3], [*runs()[1:5], make_record("tiny_vit", "adamw", seed=9, status="interrupted")]
    again = make_record("tiny_resnet", "sgdm", seed=2, correct=1)  # the same run, trained once more
    records, places = scripts["records"].merge(contents_of(first), contents_of([again, *second[1:]]))
    assert len(records) == 5 == len(places)
    (kept,) = [r for r in records if (r.identity.optimizer.name, r.seed) == ("sgdm", 2)]
    assert kept.sha256() == first[1].sha256()
    turned, _ = scripts["records"].merge(contents_of(second), contents_of(first))
    assert [r.run_id for r in turned] == [r.run_id for r in records]


def test_the_leaderboard_holds_the_whole_block_and_commands_that_find_its_records(
    scripts: dict[str, ModuleType], plan: Path, tmp_path: Path
) -> None:
    path = save([*runs(BACKBONES[:4]), *runs(BACKBONES[4:], OPTIMIZERS[:1])], tmp_path / "records.parquet")
    contents = scripts["leaderboard"].study_contents(path, None, str(plan))
    board, *others = LeaderboardFile("board", leaderboard_parquet(contents, 200)).boards.values()
    assert board.info.backbones == list(BACKBONES[:4]) and board.info.optimizers == list(OPTIMIZERS)
    assert len(others) == 4 and {c.n for c in board.cells.values()} == {3}
    run, *_ = board.runs("tiny_resnet")
    more = cell_more(board, board.cells["tiny_resnet", run.optimizer], board.runs("tiny_resnet"))
    command = next(r["reproduce"] for r in more["runs"])
    assert command.startswith("bocb train --reproduce benchmarks/laptop_study/records.parquet/me/")
    assert read_one(path / command.partition("records.parquet/")[2]).role == "final"
    nothing = scripts["leaderboard"].study_contents(save(runs()[:2], path), None, str(plan))
    assert nothing.records == []


def test_the_package_holds_the_study_as_its_records_have_it(scripts: dict[str, ModuleType]) -> None:
    """``python benchmarks/study_leaderboard.py`` mends it."""
    contents = scripts["leaderboard"].study_contents(ROOT / "benchmarks/laptop_study/records.parquet", None)
    held = {
        (cell.config_hash, seed): score
        for board in LeaderboardFile(EMBEDDED).boards.values()
        if board.info.source == "records"
        for cell in board.cells.values()
        for seed, score in zip(cell.seeds, cell.scores, strict=True)
    }
    scores = {
        (r.config_hash, r.seed): 100 * r.correctness.correct / r.correctness.total
        for r in contents.records
        if r.role == "final" and r.correctness is not None
    }
    assert held == pytest.approx(scores)
