"""Tables of encoded images that are read by row: of ``datasets``, or of the embedded Parquet files without it.

Importing ``datasets`` takes half a second, which a short run on the embedded images would pay for nothing.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import parquet

from bocb_hf.data.pictures import Encoded


class EncodedColumn(Protocol):
    """The column of a table that holds its encoded images."""

    def __getitem__(self, rows: list[int]) -> Sequence[Encoded]:
        """The encoded images of these rows, in their order."""
        ...


class Table(Protocol):
    """One split of a data set whose rows can be reached by number."""

    def __len__(self) -> int:
        """Number of rows."""
        ...

    @property
    def features(self) -> Mapping[str, Any]:
        """The columns and their types, as ``datasets.Features.to_dict`` describes them."""
        ...

    def values(self, column: str) -> pa.ChunkedArray:
        """All values of a column, (rows,)."""
        ...

    def images(self, column: str) -> EncodedColumn:
        """A column of images, not decoded; it can be sent to another process."""
        ...


class DatasetTable:
    """A split that ``datasets`` has opened.

    Args:
        dataset: A ``datasets.Dataset``.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    @property
    def features(self) -> Mapping[str, Any]:
        """Does what ``Table`` says."""
        return self._dataset.features.to_dict()

    def values(self, column: str) -> pa.ChunkedArray:
        """Does what ``Table`` says."""
        return self._dataset.select_columns([column]).with_format("arrow")[:][column]

    def images(self, column: str) -> EncodedColumn:
        """Does what ``Table`` says."""
        import datasets

        encoded = self._dataset.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        return _DatasetColumn(encoded, column)


class _DatasetColumn:
    def __init__(self, dataset: Any, column: str) -> None:
        self._dataset, self._column = dataset, column

    def __getitem__(self, rows: list[int]) -> Sequence[Encoded]:
        return self._dataset[rows][self._column]


class ParquetTable:
    """A split in Parquet files that ``datasets`` wrote, read into memory.

    Args:
        files: Shards of the split, in their order.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._table = pa.concat_tables([parquet.ParquetFile(file).read() for file in files])

    def __len__(self) -> int:
        return self._table.num_rows

    @property
    def features(self) -> Mapping[str, Any]:
        """Does what ``Table`` says; ``datasets`` leaves its description of the columns in the file."""
        return json.loads(self._table.schema.metadata[b"huggingface"])["info"]["features"]

    def values(self, column: str) -> pa.ChunkedArray:
        """Does what ``Table`` says."""
        return self._table[column]

    def images(self, column: str) -> EncodedColumn:
        """Does what ``Table`` says."""
        return _ParquetColumn(self._table[column])


class _ParquetColumn:
    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __getitem__(self, rows: list[int]) -> Sequence[Encoded]:
        return [self._column[row].as_py() for row in rows]  # a mapping with ``bytes`` and ``path``


def read_parquet_splits(folder: Path) -> dict[str, Table]:
    """The splits in a folder of ``<split>-<shard>-of-<shards>.parquet``."""
    files = sorted(folder.glob("*-?????-of-?????.parquet"))
    by_split = itertools.groupby(files, key=lambda file: file.name.rsplit("-", 3)[0])
    return {split: ParquetTable(list(shards)) for split, shards in by_split}
