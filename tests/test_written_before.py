"""What an earlier version wrote reads to the same: a store with its report, and the leaderboard that the package held.

``golden/store_of_0_1`` was written before the package was laid out in rooms: two cells with two seeds, their trials,
cards and floors, without weights and pictures, and what ``bocb aggregate`` made of it.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import pytest

from bocb_hf.page.read import LeaderboardFile
from bocb_hf.report.analysis import analyse_records, answer_records
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


def test_the_tables_have_the_columns_and_numbers_of_then(contents: StoreContents, tmp_path: Path) -> None:
    """Every column, key and digit of then is there and the same; later versions may add some."""
    there = dataclasses.replace(contents, uri=WHERE_IT_LAY)
    tabulated = tabulate(there)
    outputs = write_outputs(tabulated, tmp_path)
    found = analyse_records(tabulated, "default", tmp_path)
    written = [path.name for path in (*outputs.paths, *found.paths)]
    old, new = (
        list(csv.reader((folder / "coupling.csv").open(newline=""))) for folder in (GOLDEN / "report", tmp_path)
    )
    places = [new[0].index(name) for name in old[0]]
    assert len(old) == 3 and [[line[i] for i in places] for line in new] == old
    for name in ("coupling.json", "analysis.json"):
        then, now = (
            json.loads((folder / name).read_text(encoding="utf-8")) for folder in (GOLDEN / "report", tmp_path)
        )
        assert name in written and holds(now, then), name


def holds(now: object, then: object) -> bool:
    """Whether everything of an earlier document is in a later one, at the same place and with the same value."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(key in now and holds(now[key], value) for key, value in then.items())
    if isinstance(then, list):
        return isinstance(now, list) and len(now) == len(then) and all(map(holds, now, then))
    return now == then


def test_what_is_printed_and_the_tables_for_people_are_the_committed_ones(
    contents: StoreContents, tmp_path: Path
) -> None:
    """Words may change, but not unseen: ``python tests/test_written_before.py`` writes these files anew."""
    for name, text in for_people(contents, tmp_path).items():
        assert (GOLDEN / "report" / name).read_text(encoding="utf-8") == text, name


def for_people(contents: StoreContents, out: Path) -> dict[str, str]:
    """What ``bocb aggregate --full`` prints, and the tables in Markdown and LaTeX, by file name."""
    tabulated = tabulate(dataclasses.replace(contents, uri=WHERE_IT_LAY))
    outputs = write_outputs(tabulated, out)
    found = analyse_records(tabulated, "default", out)
    printed = "\n\n".join([answer_records(tabulated), outputs.text, found.text])
    files = {name: (out / name).read_text(encoding="utf-8") for name in ("coupling.md", "coupling.tex")}
    return {"printed.txt": f"{printed}\n", **files}


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


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(GOLDEN / "store", Path(folder) / "store")
        written = for_people(read_store(LocalStore(Path(folder) / "store")), Path(folder))
    for name, text in written.items():
        (GOLDEN / "report" / name).write_text(text, encoding="utf-8")
