"""A run on class folders alone: a drawn test split, in the record, on the card, repeated and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from image_folders import draw_files
from short_settings import short_run

from bocb_hf.engine.prepare import prepare_run
from bocb_hf.engine.repetition import check_same, sections_of
from bocb_hf.engine.run import train_run
from bocb_hf.engine.verify import verify_run
from bocb_hf.errors import InputError
from bocb_hf.runs.load_config import build_run_config

RARE = "emu|<b>`"  # a name that Markdown must not obey


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Path]:
    """The folder of images, the record, and the folder of the repository."""
    folder = tmp_path_factory.mktemp("drawn")
    data = draw_files(folder / "flat", [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(20)])
    draw_files(data, [f"{RARE}/1.png", f"{RARE}/2.png"], first=100)
    sections = short_run(data, folder)
    sections["data"] |= {"test_fraction": 0.1}
    sections["training"] = {"epochs": 1, "batch_size": 12}
    record = train_run(build_run_config(sections, []))
    return data, record, folder / "store" / "models" / "local" / record.repository()


def test_the_record_and_the_card_say_how_the_test_images_were_drawn(trained: tuple[Path, Any, Path]) -> None:
    _, record, repository = trained
    data = record.identity.data
    assert record.status == "completed"
    assert (record.test_split, record.correctness.n) == ("test drawn from train (0.1)", 5)
    card = (repository / "README.md").read_text(encoding="utf-8")
    assert "on the split `test drawn from train (0.1)`" in card
    assert "test: a stratified 10% of train, the same for every run (SHA-256 of its row numbers: " in card
    assert data.test_indices_sha256 in card


def test_a_class_without_test_images_is_on_the_card(trained: tuple[Path, Any, Path]) -> None:
    _, record, repository = trained
    assert record.data_notes is not None
    assert record.data_notes.untrained_classes == ()
    assert record.data_notes.untested_classes == (RARE,)
    card = (repository / "README.md").read_text(encoding="utf-8")
    assert "Classes without test images, which are not measured: `emu¦‹b›ʼ`." in card


def test_the_run_is_repeated_and_verified_from_its_record(trained: tuple[Path, Any, Path]) -> None:
    data, record, repository = trained
    sections = sections_of(record)
    assert sections["data"]["test_fraction"] == 0.1
    config = build_run_config(sections, [f"data.name={data}"])
    check_same(prepare_run(config).identity, record, "it")
    found = verify_run(str(repository), 1, 0.1, str(data))
    assert (found.claimed, found.differing) == (found.measured, 0)
    other = build_run_config(sections, [f"data.name={data}", "data.test_fraction=0.2"])
    with pytest.raises(InputError, match=r"data.test_fraction: 0.1 in the record, 0.2 here"):
        check_same(prepare_run(other).identity, record, "it")
