"""The report of the laptop study and the file of its records, on records made here."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from builders import make_floor, make_record

from bocb_hf.results.dataset import records_parquet
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.contents import StoreContents
from bocb_hf.store.local import LocalStore

ROOT = Path(__file__).resolve().parents[2]
BACKBONES = ("tiny_resnet", "tiny_mobilenet", "tiny_convnext", "tiny_attentionformer", "tiny_convnextv2")
OPTIMIZERS = ("sgdm", "adamw", "lamb", "muon")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import study_records  # pyright: ignore[reportMissingImports] - of the benchmarks
    import study_report  # pyright: ignore[reportMissingImports] - of the benchmarks

    return {"records": study_records, "report": study_report}


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
    lines = scripts["report"].report(scripts["report"].read_study(path, None, str(plan)))
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
    store = LocalStore(tmp_path / "store")
    own = [make_floor(1620, backbone="tiny_resnet"), make_floor(1500, backbone="tiny_mobilenet")]
    floors = {floor.path(): floor.to_json().encode() for floor in (make_floor(1560), *own)}
    store.commit(f"local/{own[0].repository()}", floors, parent=None, message="floors")
    lines = scripts["report"].report(scripts["report"].read_study(path, store.uri, str(plan)))
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
