"""Writes ``runs.parquet``: one row for each final run of some namespaces of the Hub, as the card states the run."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from bocb_hf.files import CannotWrite, replacing
from bocb_hf.report.tables import csv_cell
from bocb_hf.runs.card import CardBlock
from bocb_hf.runs.tasks import CLASSIFICATION, TASKS
from bocb_hf.store.caches import open_caches

_BATCH = 2000  # rows that are held in memory at a time


class RunsWritten(NamedTuple):
    """The files that were written, and how many runs and refusals they hold."""

    runs: Path
    count: int
    reasons: Path
    quarantined: int


def write_runs(store: str, out: Path, results: str | None, offline: bool) -> RunsWritten:
    """Writes ``runs.parquet``, one row for each final run as its card states it, and ``quarantined.csv``.

    Only the namespaces that the store names are read, whatever a card or a data set says. Memory does not grow with the
    number of cards: the runs that were seen are kept in a temporary file.

    Args:
        store: ``hf://<namespace>[,<namespace>...]``.
        out: Folder to write to; created when missing.
        results: The results data set with the levels of trust, if any.
        offline: Send no request; use what was read before.

    Raises:
        InputError: Nothing was read before that ``offline`` could use, the Hub refused, or a file cannot be written.
    """
    level, damaged = _read_levels(results, offline)
    bad = len(damaged)
    with ExitStack() as stack:
        caches = open_caches(stack, store, offline)
        seen = stack.enter_context(closing(sqlite3.connect("")))  # SQLite takes an empty name for a temporary file
        seen.execute("CREATE TABLE runs (run_id TEXT PRIMARY KEY, repository TEXT NOT NULL) WITHOUT ROWID")

        def rows() -> Iterator[dict[str, Any]]:
            nonlocal bad
            for cache in caches:
                for repository, sha, block in cache.cards():
                    if isinstance(block, str):
                        bad += 1
                        writer.writerow((repository, "README.md", csv_cell(block)))
                        continue
                    for row in _rows(repository, sha, block, level):
                        first = _first_place(seen, row["run_id"], repository)
                        if first == repository:
                            yield row
                        else:
                            bad += 1
                            reason = f"a copy of what {first} holds; a copy is not a second run"
                            writer.writerow((repository, f"seeds/{row['seed']}/record.json", reason))

        try:
            with (
                replacing(out / "quarantined.csv") as partial,
                partial.open("w", encoding="utf-8", newline="") as file,
            ):
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(("repository", "path", "reason"))
                writer.writerows((results, csv_cell(path), csv_cell(reason)) for path, reason in damaged)
                count = _write_parquet(out / "runs.parquet", rows())
        except OSError as error:
            raise CannotWrite(out, error) from error
    return RunsWritten(out / "runs.parquet", count, out / "quarantined.csv", bad)


def _read_levels(results: str | None, offline: bool) -> tuple[Mapping[str, str], list[tuple[str, str]]]:
    """Returns levels of trust by SHA-256 of a record, and files of the results data set that are no verification."""
    if not results:
        return {}, []
    from bocb_hf.results.dataset import read_verifications
    from bocb_hf.results.files import ResultsFiles
    from bocb_hf.runs.verification import levels

    with closing(ResultsFiles(results, offline)) as files:
        verified, damaged = read_verifications(files)
    return levels(verified), damaged


def _first_place(seen: sqlite3.Connection, run_id: str, repository: str) -> str:
    """Returns the repository that a run was first seen in, which is this one unless there was another."""
    if seen.execute("INSERT OR IGNORE INTO runs VALUES (?, ?)", (run_id, repository)).rowcount:
        return repository
    return str(seen.execute("SELECT repository FROM runs WHERE run_id = ?", (run_id,)).fetchone()[0])


def _rows(repository: str, sha: str, block: CardBlock, level: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    shared = {"repository": repository, "revision": sha, "dataset": block.dataset, "setting": block.setting}
    shared |= {"backbone": block.backbone, "family": block.family, "optimizer": block.optimizer}
    shared |= {"category": block.category, "metric": block.metric or TASKS.get(CLASSIFICATION).metric}
    for entry in block.runs:
        own = {"level": level.get(entry.record_sha256, "self-reported"), "test_score": entry.value}
        yield shared | own | entry.model_dump()


def _write_parquet(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Writes rows to a Parquet file as they come; returns how many there were."""
    import pyarrow as pa
    from pyarrow import parquet

    strings = ("repository", "revision", "dataset", "setting", "backbone", "family", "optimizer", "category", "level")
    schema = pa.schema(
        [
            *((name, pa.string()) for name in (*strings, "run_id", "config_hash", "record_sha256", "status")),
            *((name, pa.int64()) for name in ("seed", "correct", "test_images")),
            *((name, pa.float64()) for name in ("test_top1", "lr", "weight_decay", "wall_seconds")),
            ("metric", pa.string()),
            ("test_score", pa.float64()),
        ]
    )
    count, batch = 0, list[dict[str, Any]]()
    with replacing(path) as partial, parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
        for row in rows:
            batch.append(row)
            count += 1
            if len(batch) == _BATCH:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    return count
