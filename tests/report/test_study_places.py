"""What is written from the records of the laptop study: README, the plan's header, the package's leaderboard."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from builders import make_record

from bocb_hf.page import EMBEDDED
from bocb_hf.page.details import cell_more
from bocb_hf.page.read import LeaderboardFile
from bocb_hf.results.dataset import records_parquet
from bocb_hf.results.records_file import read_one

ROOT = Path(__file__).resolve().parents[2]
BACKBONES = ("tiny_resnet", "tiny_mobilenet", "tiny_convnext", "tiny_attentionformer", "tiny_convnextv2")
OPTIMIZERS = ("sgdm", "adamw", "lamb", "muon")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import study_places  # pyright: ignore[reportMissingImports] - of the benchmarks

        return study_places


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four whole rows of five, and one cell of the last."""
    generator = np.random.default_rng(0)
    found = [
        make_record(b, o, seed=seed, correct=int(1600 + 40 * BACKBONES.index(b) + generator.normal(0, 6)))
        for b in BACKBONES
        for o in (OPTIMIZERS if b != BACKBONES[-1] else OPTIMIZERS[:1])
        for seed in (1, 2, 3)
    ]
    places = {(r.role, r.run_id): f"me/{r.repository()}/{r.path()}" for r in found}
    path = tmp_path_factory.mktemp("study") / "records.parquet"
    path.write_bytes(records_parquet(found, places, {}))
    return path


@pytest.fixture(scope="module")
def study(script: ModuleType, records: Path) -> object:
    cells = {"backbones": list(BACKBONES), "optimizers": list(OPTIMIZERS), "final_seeds": [1, 2, 3]}
    plan = records.parent / "plan.yaml"
    named = {"name": "small", "config": "fashion_mnist_subset/demo", "primary": "contrast"}
    plan.write_text(yaml.safe_dump(named | cells))
    return script.read_study(records, None, str(plan))


def test_the_leaderboard_holds_the_whole_block_and_commands_that_find_its_records(
    script: ModuleType, study: object, records: Path
) -> None:
    board, *others = LeaderboardFile("board", script.board(study)).boards.values()
    assert set(board.info.backbones) == set(BACKBONES[:4]) and set(board.info.optimizers) == set(OPTIMIZERS)
    assert len(others) == 4 and {cell.n for cell in board.cells.values()} == {3}
    runs = board.runs("tiny_resnet")
    more = cell_more(board, board.cells["tiny_resnet", runs[0].optimizer], runs)
    command = next(run["reproduce"] for run in more["runs"])
    assert command.startswith("bocb train --reproduce benchmarks/laptop_study/records.parquet/me/")
    assert read_one(records / command.partition("records.parquet/")[2]).role == "final"


def test_readme_says_how_far_it_is_and_what_was_found(script: ModuleType, study: object) -> None:
    text = " ".join(script.render_readme(study).split())
    assert "4 of 5 backbones × 4 of 4 optimizers so far" in text and "seeds 1, 2, 3" in text
    assert all(" ".join(finding.split()) in text for finding in script.findings(study))
    assert "48 records" in text and text.count("95 %") >= 3
    assert script.render_plan(study)["Cost"].startswith("0 trials and 48 of 60 final runs so far")


def test_the_places_say_what_the_committed_records_say(script: ModuleType) -> None:
    """``python benchmarks/study_places.py`` mends them."""
    study = script.read_study(ROOT / script.RECORDS, str((ROOT / script.RECORDS).parent))
    for path, block in ((script.README, script.render_readme(study)),):
        text = path.read_text(encoding="utf-8")
        assert script.replace_block(text, block, "study_places.py") == text
    text = script.PLAN_FILE.read_text(encoding="utf-8")
    assert script.replace_header(text, script.render_plan(study)) == text
    assert script.PAGE.read_text(encoding="utf-8") == "\n".join(script.report(study)) + "\n"
    (board,) = [b for b in LeaderboardFile(EMBEDDED).boards.values() if b.info.source == "records"]
    held = {
        (cell.config_hash, seed): score
        for cell in board.cells.values()
        for seed, score in zip(cell.seeds, cell.scores, strict=True)
    }
    scores = {
        (r.config_hash, r.seed): 100 * r.correctness.k / r.correctness.n
        for r in study.contents.records
        if r.role == "final" and r.correctness is not None
    }
    assert held == pytest.approx(scores)
