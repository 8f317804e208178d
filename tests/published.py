"""Runs in a local store without training them, and what lies there afterwards."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from warm import run_warm

from bocb_hf.runs.card import parse_card
from bocb_hf.runs.record import RunRecord
from bocb_hf.store import Store
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import WEIGHT_FILES, write_run

TESTS = Path(__file__).resolve().parent
PYTHONPATH = os.pathsep.join(map(str, (TESTS, TESTS.parent)))  # this checkout, wherever another is installed
REPOSITORY = "me/bocb-fashion_mnist_subset-demo-tiny_resnet-sgdm"


def weights(tmp_path: Path, text: str) -> Path:
    """A folder as the exporter leaves it, recognisable by its text."""
    folder = tmp_path / f"weights-{text}"
    folder.mkdir(exist_ok=True)
    for name in WEIGHT_FILES:
        (folder / name).write_text(f"{name} of {text}")
    return folder


def publish(store: Store, tmp_path: Path, record: RunRecord, text: str = "", supersede: bool = False) -> RunRecord:
    finished = record.role == "final" and record.status == "completed"
    folder = weights(tmp_path, text or f"seed {record.seed}") if finished else None
    return write_run(store, "me", record, folder, supersede)


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file below a folder, locks aside."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def root_of(store: LocalStore, repository: str = REPOSITORY) -> str | None:
    """Whose weights lie at the root, or None; both files must agree."""
    texts = {
        (store.path(repository) / name).read_text().removeprefix(f"{name} of ")
        for name in WEIGHT_FILES
        if (store.path(repository) / name).exists()
    }
    assert len(texts) < 2
    assert sum((store.path(repository) / name).exists() for name in WEIGHT_FILES) in (0, 2)
    return texts.pop() if texts else None


def root_bytes(store: Store, repository: str = REPOSITORY) -> bytes:
    """The weights at the root of a repository."""
    return store.read(repository, "model.safetensors")


def card_seeds(store: Store, repository: str = REPOSITORY) -> list[int]:
    return [run.seed for run in parse_card(store.read(repository, "README.md").decode(), "card").runs]


def run_script(text: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs code in a process of its own, which may die."""
    return run_warm(["-c", text, *arguments], timeout=60, PYTHONPATH=PYTHONPATH)
