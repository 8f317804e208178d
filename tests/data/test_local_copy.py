"""A local copy of a data set of the Hub counts as that data set while it decodes to the same images and labels."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from runs import make

from bocb_hf.data import DATASETS, DatasetRow, local_copy
from bocb_hf.data.build_embedded import read_idx, write_split
from bocb_hf.data.encoded import read_parquet_splits
from bocb_hf.data.load import open_data
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.errors import InputError

SIZES = {"train": 40, "t10k": 20}


def write_idx(path: Path, values: np.ndarray) -> None:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    path.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


@pytest.fixture
def authors_files(tmp_path: Path) -> Path:
    """Images as the authors' files hold them, but few."""
    generator, source = np.random.default_rng(0), tmp_path / "source"
    source.mkdir()
    for prefix, count in SIZES.items():
        write_idx(source / f"{prefix}-images-idx3-ubyte.gz", generator.integers(0, 256, (count, 28, 28)))
        write_idx(source / f"{prefix}-labels-idx1-ubyte.gz", np.arange(count) % 10)
    return source


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch, authors_files: Path, tmp_path: Path) -> Iterator[DatasetRow]:
    """The row of Fashion-MNIST with the hash of these images."""
    place = tmp_path / "expected"
    place.mkdir()
    for name, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = (
            read_idx(authors_files / f"{prefix}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")
        )
        write_split(name, images, labels, place)
    known = DATASETS.get("fashion_mnist")
    few = dataclasses.replace(known, decoded_sha256=local_copy.hash_decoded(read_parquet_splits(place)))
    monkeypatch.setitem(DATASETS._rows, "fashion_mnist", few)
    monkeypatch.setenv(local_copy.VARIABLE, str(tmp_path / "copies"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    open_data.cache_clear()
    yield few
    open_data.cache_clear()


def test_the_committed_hash_is_that_of_the_authors_images() -> None:
    """The whole set is not here; its hash was also computed from the arrays of the files, without this code."""
    expected = "07a2d4a1a16d1741ba840295a58bcab40f77152fcf5521f4f89261eecc06e811"
    assert DATASETS.get("fashion_mnist").decoded_sha256 == expected


def test_a_run_on_the_copy_is_the_run_on_the_hub(row: DatasetRow, authors_files: Path) -> None:
    assert local_copy.find_local_copy(row) is None
    assert local_copy.main(["fashion_mnist", str(authors_files)]) == 0
    config = make(
        {
            "setting": "short",
            "backbone": {"name": "tiny_vit"},
            "optimizer": {"name": "adamw"},
            "data": {"name": "fashion_mnist", "image_size": 32},
            "training": {"epochs": 1, "batch_size": 10},
        }
    )
    prepared = prepare_run(config)
    identity = prepared.identity.data
    assert (identity.name, identity.revision) == ("fashion_mnist", row.revision)
    assert identity.num_classes == 10
    labels = open_data("fashion_mnist", None, False).features["label"]
    assert labels["names"][:2] == ["T - shirt / top", "Trouser"]  # as the Hub's copy has them
    assert len(prepared.data.test) == SIZES["t10k"]
    assert str(authors_files.parent) not in prepared.identity.model_dump_json()


def test_the_hash_sees_a_pixel_a_label_and_the_order(row: DatasetRow, authors_files: Path, tmp_path: Path) -> None:
    images, labels = (read_idx(authors_files / f"train-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    other, turned = images.copy(), np.roll(labels, 1)
    other[7, 3, 3] ^= 1
    hashes = set()
    for number, (pixels, classes) in enumerate(
        ((images, labels), (other, labels), (images, turned), (images[::-1], labels[::-1]), (images[:-1], labels[:-1]))
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_split("train", pixels, classes, folder)
        hashes.add(local_copy.hash_decoded(read_parquet_splits(folder)))
    assert len(hashes) == 5


def test_a_stream_is_read_from_the_copy_too(row: DatasetRow, authors_files: Path) -> None:
    local_copy.convert(row, authors_files)
    stream = open_data("fashion_mnist", None, True)
    assert stream.revision == row.revision
    assert sum(1 for _ in stream.splits["train"]) == SIZES["train"]


def test_a_cache_that_cannot_be_written_does_not_hinder(
    row: DatasetRow, authors_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = local_copy.convert(row, authors_files)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file"))
    assert local_copy.open_local_copy(row, target).keys() == {"train", "test"}


def test_a_copy_of_other_images_is_refused(row: DatasetRow, authors_files: Path) -> None:
    local_copy.convert(row, authors_files)
    folder = local_copy.copies_folder() / row.id
    images, labels = (read_idx(authors_files / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    write_split("test", 255 - images, labels, folder)
    with pytest.raises(InputError, match=r"data\.name: the local copy in .* does not decode to 'fashion_mnist'"):
        open_data("fashion_mnist", None, False)


def test_a_failed_conversion_leaves_nothing_and_keeps_the_old_copy(
    row: DatasetRow, authors_files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = local_copy.convert(row, authors_files)
    (authors_files / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(SystemExit, match="2"):
        local_copy.main(["fashion_mnist", str(authors_files)])
    assert "give the folder of the four *-ubyte.gz files" in capsys.readouterr().err
    assert [path.name for path in target.parent.iterdir()] == ["fashion_mnist"]
    assert local_copy.open_local_copy(row, target).keys() == {"train", "test"}


def test_without_a_copy_the_hub_is_asked(row: DatasetRow, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def refuse(path: str, **given: object) -> None:
        asked.append(path)
        raise ConnectionError("no network in a test")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(InputError, match="cannot load 'fashion_mnist'"):
        open_data("fashion_mnist", None, False)
    assert asked == [row.hub_id]


def test_a_data_set_without_a_hash_takes_no_copy(row: DatasetRow) -> None:
    (local_copy.copies_folder() / "cifar100").mkdir(parents=True)
    assert local_copy.find_local_copy(DATASETS.get("cifar100")) is None
    with pytest.raises(InputError, match="a converter for fashion_mnist only"):
        local_copy.convert(DATASETS.get("cifar100"), Path("anywhere"))
