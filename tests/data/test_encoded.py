"""Tables of encoded images: what pyarrow reads is what ``datasets`` reads."""

from __future__ import annotations

import pickle
from pathlib import Path

import datasets
import numpy as np
import pytest
from image_folders import CLASSES, encode, write_split

from bocb_hf.data import DATASETS
from bocb_hf.data.encoded import DatasetTable, ParquetTable, read_parquet_splits
from bocb_hf.data.load import open_data


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """Two splits, one of them in three files."""
    write_split(tmp_path / "set", "train", [encode(i, 9, 12) for i in range(20)], shards=3)
    write_split(tmp_path / "set", "test", [encode(100 + i, 9, 12) for i in range(4)])
    return tmp_path / "set"


def test_parquet_is_read_as_datasets_reads_it(sharded: Path) -> None:
    ours, theirs = read_parquet_splits(sharded), datasets.load_dataset(str(sharded))
    assert ours.keys() == theirs.keys() == {"train", "test"}
    for split, table in ours.items():
        reference = DatasetTable(theirs[split])
        assert len(table) == len(reference)
        assert table.features["label"]["names"] == reference.features["label"]["names"] == CLASSES
        assert {name: feature["_type"] for name, feature in table.features.items()} == {
            name: feature["_type"] for name, feature in reference.features.items()
        }
        assert np.array_equal(table.values("label"), reference.values("label"))
        rows = [3, 0, 3, len(table) - 1]
        assert list(table.images("image")[rows]) == list(reference.images("image")[rows])


def test_the_embedded_images_are_those_of_datasets() -> None:
    folder = DATASETS.get("fashion_mnist_subset").embedded
    assert folder is not None
    theirs = datasets.load_dataset(str(folder))
    opened = open_data("fashion_mnist_subset", None, streaming=False)
    assert opened.splits.keys() == theirs.keys()
    for split, table in opened.splits.items():
        assert isinstance(table, ParquetTable)
        reference = DatasetTable(theirs[split])
        assert np.array_equal(table.values("label"), reference.values("label"))
        everything = list(range(len(table)))
        assert list(table.images("image")[everything]) == list(reference.images("image")[everything])


def test_columns_travel_to_a_new_process(sharded: Path) -> None:
    for table in (read_parquet_splits(sharded)["train"], DatasetTable(datasets.load_dataset(str(sharded))["train"])):
        column = table.images("image")
        assert list(pickle.loads(pickle.dumps(column))[[7, 2]]) == list(column[[7, 2]])  # noqa: S301 - ours
