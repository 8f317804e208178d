"""The results data set: every record and table of a store in Parquet files, and the merged verifications.

A reader needs one download instead of thousands. It does not trust the data set: a record from there counts only when
it has the SHA-256 that a card names.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import CommitOperationAdd, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

from bocb_hf.errors import InputError
from bocb_hf.runs.record import MAX_BYTES, RunRecord
from bocb_hf.runs.verification import MAX_BYTES as MAX_VERIFICATION
from bocb_hf.runs.verification import Verification, parse_verification
from bocb_hf.store import hub_calls
from bocb_hf.store.card_cache import CardCache
from bocb_hf.store.commits import commit_with_retry
from bocb_hf.store.hub_calls import check_writable, conflicts_named, explained, make_api, who_am_i, with_back_off

RECORDS, COUPLING = "data/records.parquet", "data/coupling.parquet"
LEADERBOARD = "data/leaderboard.parquet"
PAGE_SUMMARY, PAGE_DETAILS = "data/page/summary.json.gz", "data/page/details.bin"  # what a page of the data set reads
_URI = re.compile(r"hf://datasets/([A-Za-z0-9][A-Za-z0-9_-]{0,95}/[A-Za-z0-9._-]{1,96})")
VERIFICATIONS = "verifications"
_VERIFICATION = re.compile(rf"{VERIFICATIONS}/[0-9a-f]{{16}}-[a-z]+\.json")
_BATCH = 500
_STRINGS = (
    *("repository", "path", "run_id", "role", "status", "dataset", "setting", "data_revision", "backbone", "family"),
)
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in _STRINGS),
        *((name, pa.string()) for name in ("optimizer", "category", "config_hash", "level", "record_sha256")),
        *((name, pa.int64()) for name in ("seed", "correct", "test_images")),
        *((name, pa.float64()) for name in ("test_top1", "lr", "weight_decay", "wall_seconds")),
        ("metric", pa.string()),  # no reader may need this column and the next one: older files have neither
        ("test_score", pa.float64()),
        ("record", pa.string()),
    ]
)


def dataset_name(uri: str) -> str:
    """Returns ``namespace/name`` of a data set.

    Raises:
        InputError: The address is not written as hf://datasets/<namespace>/<name>.
    """
    match = _URI.fullmatch(uri)
    if match is None:
        raise InputError(f"{uri!r} is no data set of the Hub; write hf://datasets/<namespace>/<name>")
    return match.group(1)


def records_parquet(
    records: Sequence[RunRecord], places: Mapping[tuple[str, str], str], level: Mapping[str, str]
) -> bytes:
    """Makes one row for each run, with the whole record as JSON in the last column.

    ``test_score`` is the score of the run by its ``metric``, whatever the task; ``correct`` and ``test_top1`` are those
    of a classifier and empty for any other task.

    Args:
        records: Records of runs.
        places: ``namespace/name/path`` of each record by (role, run id).
        level: Level of trust by SHA-256 of the record.
    """
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, _SCHEMA, compression="zstd") as writer:
        for start in range(0, len(records), _BATCH):
            rows = [_row(r, places[r.role, r.run_id], level) for r in records[start : start + _BATCH]]
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
    return buffer.getvalue()


def _row(record: RunRecord, place: str, level: Mapping[str, str]) -> dict[str, Any]:
    namespace, name, path = place.split("/", 2)
    digest, bits, top1, test = record.sha256(), record.correctness, record.metrics.test_top1, record.metrics.test
    dataset, setting, backbone, optimizer = record.identity.cell().names
    return {
        **{"repository": f"{namespace}/{name}", "path": path, "run_id": record.run_id, "role": record.role},
        **{"status": record.status, "dataset": dataset, "setting": setting, "backbone": backbone},
        **{"data_revision": record.identity.data.revision, "family": record.family, "optimizer": optimizer},
        **{"category": record.category, "config_hash": record.config_hash, "seed": record.seed},
        **{"level": level.get(digest, "self-reported"), "record_sha256": digest},
        **{"correct": bits.k if bits else None, "test_images": test.n if test else None},
        **{"test_top1": top1.last if top1 else None, "lr": record.identity.optimizer.lr},
        **{"weight_decay": record.identity.optimizer.weight_decay, "wall_seconds": record.cost.wall_seconds},
        **{"metric": record.metrics.name, "test_score": test.last if test else None, "record": record.to_json()},
    }


def publish_results(uri: str, files: Mapping[str, bytes], message: str) -> str:
    """Replaces files of a results data set in one commit; makes the data set if need be.

    Returns:
        The new revision.

    Raises:
        InputError: The token may not write there, or the Hub refused.
    """
    name, api = dataset_name(uri), make_api()
    check_writable(name.split("/")[0])

    def attempt() -> str:
        head = with_back_off(lambda: api.dataset_info(name, timeout=hub_calls.TIMEOUT)).sha
        operations = [CommitOperationAdd(path, content) for path, content in files.items()]
        with conflicts_named(uri):
            made = with_back_off(
                lambda: api.create_commit(
                    name, operations, commit_message=message, repo_type="dataset", parent_commit=head
                )
            )
        return made.oid

    with explained(uri):
        with_back_off(lambda: api.create_repo(name, repo_type="dataset", exist_ok=True))
        return commit_with_retry(attempt, uri)


def propose(uri: str, verification: Verification) -> str:
    """Opens a pull request with a verification, which then names who measured; see ``open_pull_request``.

    Raises:
        InputError: The token belongs to the owner of the run, whose word is what is to be verified.
        HubError: There is no token, or the Hub refused.
    """
    user, organisations = who_am_i()
    if verification.owner.lower() in {name.lower() for name in (user, *organisations)}:
        raise InputError(
            f"{verification.repository} belongs to {verification.owner}, and so does this token ({user}): a run is "
            f"{verification.level} by somebody else; ask someone outside to run the same command"
        )
    verification = verification.model_copy(update={"measured_by": user})
    title = f"{verification.level}: {verification.repository} {verification.run_id}"
    return open_pull_request(uri, {verification.path(): verification.to_json().encode()}, title)


def open_pull_request(uri: str, files: Mapping[str, bytes], title: str, description: str | None = None) -> str:
    """Proposes files to a results data set; nothing counts before a maintainer merges it.

    Returns:
        The address of the pull request.

    Raises:
        HubError: The Hub refused.
    """
    name, api = dataset_name(uri), make_api()
    with explained(uri):
        made = with_back_off(
            lambda: api.create_commit(
                name,
                [CommitOperationAdd(path, content) for path, content in files.items()],
                commit_message=title,
                commit_description=description,
                repo_type="dataset",
                create_pr=True,
            )
        )
    return str(made.pr_url)


class MergedFiles(Protocol):
    """The small files of a results data set, as in ``ResultsFiles``."""

    def paths(self) -> list[str]:
        """Paths of all files, sorted."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """Content of one file; raises InputError when it is longer than ``limit`` bytes."""
        ...


def read_verifications(files: MergedFiles) -> tuple[list[Verification], list[tuple[str, str]]]:
    """Returns the valid ones of the merged verifications, and (path, reason) of every other file in their place."""
    found, damaged = list[Verification](), list[tuple[str, str]]()
    for path in files.paths():
        if not _VERIFICATION.fullmatch(path):
            continue
        try:
            item = parse_verification(files.read(path, MAX_VERIFICATION), path)
            if item.path() != path:
                raise InputError(f"{path}: belongs at {item.path()}")
            found.append(item)
        except InputError as error:
            damaged.append((path, str(error).removeprefix(f"{path}: ")))
    return found, damaged


def fill_cache(cache: CardCache, uri: str) -> int:
    """Puts the records of a results data set that the cards name into the cache.

    Returns:
        How many records were missing in the cache and came from there.

    Raises:
        HubError: The Hub refused.
    """
    wanted = {
        digest
        for _, _, block in cache.cards()
        if not isinstance(block, str)
        for digest in block.paths().values()
        if digest is not None and not cache.holds(digest)
    }
    if not wanted or cache.offline:
        return 0
    name = dataset_name(uri)
    with explained(uri):
        try:
            path = Path(hf_hub_download(name, RECORDS, repo_type="dataset"))
        except (RepositoryNotFoundError, EntryNotFoundError):
            return 0
    found = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(_BATCH, columns=["record_sha256", "record"]):
            columns = batch.to_pydict()
            for digest, record in zip(columns["record_sha256"], columns["record"], strict=True):
                if digest in wanted and len(record) <= MAX_BYTES:
                    content = record.encode()
                    if hashlib.sha256(content).hexdigest() == digest:
                        cache.put({digest: content})
                        found += 1
    except (pa.ArrowException, OSError, AttributeError, TypeError) as error:
        raise InputError(f"{uri}: {RECORDS} cannot be read: {error}") from None
    return found
