"""Runs that others have done: a Parquet file of records, as ``bocb publish`` writes it, in place of training again."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bocb_hf.errors import InputError
from bocb_hf.runs.record import RunRecord, parse_record

_COLUMNS = ("run_id", "role", "record")
_NAMES = ("dataset", "setting", "backbone", "optimizer")
CellNames = tuple[str, str, str, str]


def check_done(path: Path) -> int:
    """Checks that a file is one of records; returns how many it holds.

    Raises:
        InputError: There is no such file, or it is not one of records.
    """
    return len(_places(str(path)))


def find_done(path: Path, role: str, run_id: str) -> RunRecord | None:
    """The finished record of a run, of exactly this configuration, seed and role, or None.

    Args:
        path: The Parquet file.
        role: ``trial`` or ``final``.
        run_id: Id of the run: hash of its configuration, and seed.

    Raises:
        InputError: The file is not one of records, or the record in it is not valid.
    """
    place = _places(str(path)).get((role, run_id))
    if place is None:
        return None
    group, row = place
    with pq.ParquetFile(path) as file:
        text = file.read_row_group(group, columns=["record"]).column("record")[row].as_py()
    record = parse_record(str(text).encode(), f"--done: {path}, run {run_id}")
    if (record.role, record.run_id) != (role, run_id):
        raise InputError(f"--done: {path} holds run {record.run_id} ({record.role}) in the row of {run_id} ({role})")
    return record if record.status != "interrupted" else None


def done_records(path: Path, cells: Collection[CellNames]) -> dict[CellNames, list[RunRecord]]:
    """The records of all runs of some cells, by the names of the cell: data set, setting, backbone and optimizer.

    Args:
        path: The Parquet file.
        cells: Names of the cells.

    Raises:
        InputError: The file is not one of records, or a record in it is not valid.
    """
    counted, found = set(_places(str(path)).values()), dict[CellNames, list[RunRecord]]()
    with pq.ParquetFile(path) as file:
        named = all(name in file.schema_arrow.names for name in _NAMES)
        for group in range(file.num_row_groups):
            rows = range(file.metadata.row_group(group).num_rows)
            if named:  # records are long, and most may be of other cells
                columns = file.read_row_group(group, columns=list(_NAMES)).select(list(_NAMES)).to_pydict().values()
                rows = [row for row, names in enumerate(zip(*columns, strict=True)) if names in cells]
            texts = file.read_row_group(group, columns=["record"]).column("record") if rows else ()
            for row in rows:
                if (group, row) not in counted:
                    continue
                record = parse_record(str(texts[row].as_py()).encode(), f"--done: {path}, row {row} of part {group}")
                if record.identity.cell().names in cells:
                    found.setdefault(record.identity.cell().names, []).append(record)
    return found


@lru_cache(maxsize=4)
def _places(path: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Row group and row of every record, by role and run id; of two records of one run, the first counts."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise InputError(
                    f"--done: {path} has no column {', '.join(missing)}; give the data/records.parquet of a results "
                    "data set, which `bocb publish` writes"
                )
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=["run_id", "role"])
                pairs = zip(table.column("role").to_pylist(), table.column("run_id").to_pylist(), strict=True)
                for row, key in enumerate(pairs):
                    found.setdefault(key, (group, row))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"--done: cannot read {path} as a Parquet file of records: {error}") from None
    return found
