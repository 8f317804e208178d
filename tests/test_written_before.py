"""What an earlier version wrote reads to the same: a store with its report, and the leaderboard that the package held.

``golden/store_of_0_1`` was written before the package was laid out in rooms: two cells with two seeds, their trials,
cards and floors, without weights and pictures, and what ``bocb aggregate`` made of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import pytest

from bocb_hf.leaderboard.read import LeaderboardFile
from bocb_hf.report.analysis import analyse_records
from bocb_hf.report.outputs import write_outputs
from bocb_hf.report.tabulate import tabulate
from bocb_hf.runs.naming import make_run_id
from bocb_hf.store.contents import StoreContents, read_store
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import render_repository

GOLDEN = Path(__file__).resolve().parent / "golden" / "store_of_0_1"
BOARD = GOLDEN.with_name("leaderboard_of_0_1.parquet")
WHERE_IT_LAY = "/tmp/fixstore"  # tables name the store that they are made of

# of the numbers below, computed by the version that wrote the file
LEADERBOARD_SHA256 = "20579d049c3389744785fe5db547388cb5595193f5f3755c64d21045bec3c680"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    root = tmp_path_factory.mktemp("written_before") / "store"
    shutil.copytree(GOLDEN / "store", root)
    return LocalStore(root)


@pytest.fixture(scope="module")
def contents(store: LocalStore) -> StoreContents:
    return read_store(store)


def test_every_file_is_read_and_keeps_its_names_and_its_bytes(store: LocalStore, contents: StoreContents) -> None:
    assert contents.quarantined == []
    roles = [record.role for record in contents.records]
    assert (roles.count("final"), roles.count("trial"), len(contents.floors)) == (4, 7, 3)
    paths = {path.name: path for path in store.root.rglob("*.json")}
    for record in contents.records:
        assert record.identity.config_hash() == record.config_hash
        assert make_run_id(record.config_hash, record.seed) == record.run_id
        folder = store.path(f"local/{record.repository()}")
        assert (folder / record.path()).read_text(encoding="utf-8") == record.to_json()
    for floor in contents.floors:
        assert paths[Path(floor.path()).name].read_text(encoding="utf-8") == floor.to_json()


def test_the_tables_and_what_is_printed_are_the_same_byte_for_byte(contents: StoreContents, tmp_path: Path) -> None:
    there = dataclasses.replace(contents, uri=WHERE_IT_LAY)
    tabulated = tabulate(there)
    outputs = write_outputs(tabulated, tmp_path)
    found = analyse_records(tabulated, "default", tmp_path, 2000)
    printed, _, written = (GOLDEN / "report" / "printed.txt").read_text(encoding="utf-8").partition("\n\nwrote ")
    assert f"{outputs.text}\n\n{found.text}" == printed
    assert [Path(path).name for path in written.strip().split(", ")] == [p.name for p in (*outputs.paths, *found.paths)]
    for path in sorted((GOLDEN / "report").iterdir()):
        if path.name != "printed.txt":
            assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_cards_are_rendered_again_as_they_are(store: LocalStore, contents: StoreContents) -> None:
    names = sorted({f"local/{record.repository()}" for record in contents.records})
    assert len(names) == 2
    for name in names:
        render_repository(store, name)
        assert store.read(name, "README.md") == (GOLDEN / "store" / "models" / name / "README.md").read_bytes()


def test_the_leaderboard_of_the_package_of_then_has_its_numbers() -> None:
    fields = ("mean", "n", "scores", "seeds", "test_loss", "train_loss", "residual", "residual_low", "residual_high")
    numbers = {
        name: {" × ".join(key): [getattr(cell, field) for field in fields] for key, cell in sorted(board.cells.items())}
        for name, board in LeaderboardFile(BOARD).boards.items()
    }
    text = json.dumps(numbers, sort_keys=True)
    assert len(numbers) > 1 and text.count("\\u00d7") > 100
    assert hashlib.sha256(text.encode()).hexdigest() == LEADERBOARD_SHA256
