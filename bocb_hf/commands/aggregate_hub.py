"""Reads namespaces of the Hub: the cards of all, and of each card the records that are not here yet.

Only the namespaces that the user names are read, whatever a card or a data set says.
"""

from __future__ import annotations

import argparse
import csv
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bocb_hf.errors import InputError
from bocb_hf.files import replacing
from bocb_hf.report.tables import csv_cell
from bocb_hf.runs.card import CardBlock
from bocb_hf.store.caches import open_caches

if TYPE_CHECKING:
    pass

_BATCH = 2000  # rows held at a time


def add_hub_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that only a store on the Hub knows."""
    group = parser.add_argument_group("from the Hub")
    group.add_argument("--offline", action="store_true", help="ask nobody; use what was read before")
    group.add_argument("--cards", action="store_true", help="read cards only, and write runs.parquet: one row a run")
    group.add_argument(
        "--results",
        metavar="hf://datasets/ORG/NAME",
        help="a results data set: records from one download, and who has verified which",
    )
    group.add_argument(
        "--submissions", action="store_true", help="count what was merged into --results too, as `bocb publish` does"
    )


def aggregate_cards(arguments: argparse.Namespace) -> int:
    """Writes ``runs.parquet``, one row a final run as its card states it, and ``quarantined.csv``.

    Memory does not grow with the number of cards: what was seen is kept in a temporary file.

    Raises:
        InputError: As ``open_caches``; or a file cannot be written.
    """
    if arguments.submissions:
        raise InputError("--submissions: what was submitted is told by its records, not by cards; leave out --cards")
    out: Path = arguments.out
    level, damaged = _read_levels(arguments.results, arguments.offline)
    bad = len(damaged)
    with ExitStack() as stack:
        caches = open_caches(stack, arguments.store, arguments.offline)
        seen = stack.enter_context(closing(sqlite3.connect("")))  # a temporary file
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
                writer.writerows((arguments.results, csv_cell(path), csv_cell(reason)) for path, reason in damaged)
                count = _write_parquet(out / "runs.parquet", rows())
        except OSError as error:
            raise InputError(f"--out: cannot write below {out}: {error.strerror}; choose another folder") from error
    print(f"wrote {out / 'runs.parquet'}: {count} runs; {bad} quarantined, see {out / 'quarantined.csv'}")
    return 0


def _read_levels(results: str | None, offline: bool) -> tuple[Mapping[str, str], list[tuple[str, str]]]:
    """Levels of trust by SHA-256 of a record, and what in the results data set is no verification."""
    if not results:
        return {}, []
    from bocb_hf.results.dataset import read_verifications
    from bocb_hf.results.files import ResultsFiles
    from bocb_hf.runs.verification import levels

    with closing(ResultsFiles(results, offline)) as files:
        verified, damaged = read_verifications(files)
    return levels(verified), damaged


def _first_place(seen: sqlite3.Connection, run_id: str, repository: str) -> str:
    """The repository that a run was first seen in, which is this one unless there was another."""
    if seen.execute("INSERT OR IGNORE INTO runs VALUES (?, ?)", (run_id, repository)).rowcount:
        return repository
    return str(seen.execute("SELECT repository FROM runs WHERE run_id = ?", (run_id,)).fetchone()[0])


def _rows(repository: str, sha: str, block: CardBlock, level: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    shared = {"repository": repository, "revision": sha, "dataset": block.dataset, "setting": block.setting}
    shared |= {"backbone": block.backbone, "family": block.family, "optimizer": block.optimizer}
    shared |= {"category": block.category}
    for entry in block.runs:
        yield shared | {"level": level.get(entry.record_sha256, "self-reported")} | entry.model_dump()


def _write_parquet(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Writes rows as they come; returns how many there were."""
    import pyarrow as pa
    from pyarrow import parquet

    strings = ("repository", "revision", "dataset", "setting", "backbone", "family", "optimizer", "category", "level")
    schema = pa.schema(
        [
            *((name, pa.string()) for name in (*strings, "run_id", "config_hash", "record_sha256", "status")),
            *((name, pa.int64()) for name in ("seed", "correct", "test_images")),
            *((name, pa.float64()) for name in ("test_top1", "lr", "weight_decay", "wall_seconds")),
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
