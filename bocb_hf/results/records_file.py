"""Reads a Parquet file of records, as ``bocb publish`` writes it, in place of a store."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bocb_hf.errors import InputError
from bocb_hf.runs.record import RunRecord, parse_record, read_record
from bocb_hf.store.contents import Quarantined, StoreContents

_COLUMNS = ("repository", "path", "record")


def read_records_file(path: Path, option: str = "--source") -> StoreContents:
    """Reads and checks every record of a file.

    A row that is not valid, or that repeats a run, is left out with its reason. All records count as self-reported: the
    file's own column of levels is a claim. Floors are not in such a file.

    Args:
        path: The Parquet file.
        option: What names the file, for messages.

    Raises:
        InputError: There is no such file, or it is not one of records.
    """
    contents = StoreContents(path.name)
    try:
        with pq.ParquetFile(path) as file:
            missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise InputError(
                    f"{option}: {path} has no column {', '.join(missing)}; give the data/records.parquet of a results "
                    "data set, which `bocb publish` writes"
                )
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group, columns=list(_COLUMNS)).to_pylist():
                    _add(contents, *(str(row[name]) for name in _COLUMNS))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{option}: cannot read {path} as a Parquet file of records: {error}") from None
    return contents


def read_one(path: Path) -> RunRecord:
    """Reads a record from its file, or from a Parquet file of records: ``records.parquet/<repository>/<path>``.

    Args:
        path: The file, or a place in a Parquet file, as if that were a folder.

    Raises:
        OSError: The file cannot be read.
        InputError: It is not a record, or the Parquet file has none at this place.
    """
    file = next((parent for parent in path.parents if parent.suffix == ".parquet" and parent.is_file()), None)
    if file is None:
        return read_record(path, str(path))
    place = path.relative_to(file)
    owner, name, *inside = place.parts if len(place.parts) > 2 else ("", "")
    wanted = [("repository", "=", f"{owner}/{name}"), ("path", "=", "/".join(inside))]
    try:
        texts = pq.read_table(file, columns=["record"], filters=wanted).column("record").to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file}: cannot be read as a Parquet file of records: {error}") from None
    if not texts:
        raise InputError(f"{file} has no record at {place}; `bocb aggregate --source {file}` lists its cells")
    return parse_record(str(texts[0]).encode(), str(path))


def _add(contents: StoreContents, repository: str, path: str, text: str) -> None:
    where = f"{repository}/{path}"
    try:
        record = parse_record(text.encode(), where)
    except InputError as error:
        contents.quarantined.append(Quarantined(repository, path, str(error)))
        return
    key = (record.role, record.run_id)
    if key in contents.places:
        contents.quarantined.append(Quarantined(repository, path, f"the run is in {contents.places[key]} already"))
    elif record.path() != path or record.repository() != repository.rpartition("/")[2]:
        contents.quarantined.append(Quarantined(repository, path, "it is the record of another run"))
    else:
        contents.records.append(record)
        contents.places[key] = where
