"""Sends runs of a local store to the Hub. What cannot be sent now waits in a queue on disk; training never waits."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock
from pydantic import Field, ValidationError

from bocb_hf.errors import InputError
from bocb_hf.files import write_atomically
from bocb_hf.runs.card import CardBlock
from bocb_hf.runs.identity import CellKey
from bocb_hf.runs.record import FloorRecord, RunRecord
from bocb_hf.runs.runtime_config import RuntimeConfig
from bocb_hf.schema import HUB_SCHEME, Frozen, canonical_json, describe_errors, utc_now
from bocb_hf.store import open_store
from bocb_hf.store.commits import commit_with_retry
from bocb_hf.store.local import LocalStore
from bocb_hf.store.protocol import Store, check_repository
from bocb_hf.store.read import CARD, read_repository
from bocb_hf.store.write import PREPROCESSING, WEIGHT_FILES, write_runs

log = logging.getLogger(__name__)

_QUEUE = ".pending"


class Pending(Frozen):
    """The records of one repository that wait to be sent to one destination.

    Attributes:
        repository: ``namespace/name`` in the local store.
        to: The store that the records go to.
        paths: Records, by path in the repository.
        supersede: Whether a record may replace a finished run there.
        reason: Why the last attempt failed; None before the first.
        since: When the oldest entry was queued, UTC.
    """

    version: Literal[1] = 1
    repository: Annotated[str, Field(max_length=200)]
    to: Annotated[str, Field(pattern=r"^hf://[A-Za-z0-9][A-Za-z0-9_-]{0,95}$")]
    paths: list[str]
    supersede: bool = False
    reason: str | None = None
    since: str


class Queue:
    """The records of a local store that wait to be sent, in one file for each repository and destination.

    Args:
        store: The local store.
    """

    def __init__(self, store: LocalStore) -> None:
        self.store = store

    def _file(self, repository: str, to: str) -> Path:
        name = f"{to.removeprefix(HUB_SCHEME)}__{check_repository(repository).replace('/', '__')}.json"
        return self.store.root / _QUEUE / name

    def entries(self) -> list[Pending]:
        """Every entry of the queue.

        Raises:
            InputError: A file of the queue is damaged.
        """
        folder = self.store.root / _QUEUE
        return [entry for path in sorted(folder.glob("*.json")) if (entry := _load(path)) is not None]

    def add(
        self, repository: str, to: str, paths: Sequence[str], supersede: bool, reason: str | None = None
    ) -> Pending:
        """Queues records; those of the same repository and destination are kept together, and returned.

        Raises:
            InputError: The file of what is queued already is damaged.
            OSError: The queue cannot be written.
        """
        with self._locked(repository, to) as path:
            old = _load(path)
            entry = Pending(
                repository=repository,
                to=to,
                paths=sorted({*paths, *(old.paths if old else ())}),
                supersede=supersede or (old is not None and old.supersede),
                reason=reason or (old.reason if old else None),
                since=old.since if old else utc_now(),
            )
            _save(path, entry)
            return entry

    def remove(self, entry: Pending) -> None:
        """Removes the paths of an entry from the queue, and the entry with its last path."""
        with self._locked(entry.repository, entry.to) as path:
            now = _load(path)
            left = sorted(set(now.paths) - set(entry.paths)) if now is not None else []
            if now is not None and left:
                _save(path, now.model_copy(update={"paths": left, "reason": None}))
            else:
                path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, repository: str, to: str) -> Generator[Path]:
        """Gives the file of an entry, and keeps other processes from changing it until the block ends."""
        path = self._file(repository, to)
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            yield path


def _load(path: Path) -> Pending | None:
    try:
        return Pending.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        why = "; ".join(describe_errors(error, Pending))
        raise InputError(f"{path}: {why}; delete it and run `bocb push` for its repository") from None


def _save(path: Path, entry: Pending) -> None:
    write_atomically(path, canonical_json(entry.model_dump(mode="json")).encode())


def push_repository(
    source: LocalStore, repository: str, to: str, paths: Sequence[str] | None = None, supersede: bool = False
) -> int:
    """Sends records of a local repository with their weights, in one commit; what is there already is not sent again.

    Weights are first compared with their record, in the local store and on the Hub: a run whose local file does not
    match is not sent, and a file on the Hub that does not match is replaced.

    Args:
        source: The local store.
        repository: ``namespace/name`` in the local store.
        to: ``hf://<namespace>``; the name stays, unless another cell has it there, see ``write.find_place``.
        paths: Paths of the records to send; None sends all.
        supersede: Whether to replace finished runs there.

    Returns:
        How many of the records that were asked for are at the destination now.

    Raises:
        InputError: A record is damaged, a place is taken, or the Hub refused, and nothing was sent; or the weights of a
            run are not those of its record, and all other runs were sent.
    """
    target, namespace = open_store(to), to.removeprefix(HUB_SCHEME)
    contents = read_repository(source, repository)
    if contents.damaged:
        path, reason = contents.damaged[0]
        raise InputError(f"{repository}/{path}: {reason}")
    runs = [r for r in contents.records if (paths is None or r.path() in paths) and r.status != "interrupted"]
    floors = [b for path, b in contents.floors.items() if paths is None or path in paths]
    task = contents.card.eval_task if isinstance(contents.card, CardBlock) else None
    cells: dict[CellKey, list[tuple[RunRecord, Path | None]]] = {}
    refused: list[str] = []
    for record in runs:
        try:
            weights = _weights(source, repository, record)
        except InputError as error:  # one bad file must not hold back the other runs
            refused.append(str(error))
            continue
        cells.setdefault(record.identity.cell(), []).append((record, weights))
    for some in cells.values():  # there is one cell, except in repositories from before each cell had one of its own
        write_runs(target, namespace, some, supersede, task)
    if floors:
        _push_floors(source, target, repository, f"{namespace}/{repository.split('/')[1]}", floors)
    sent = len(runs) - len(refused) + len(floors)
    if refused:
        raise InputError(f"{'; '.join(refused)} ({sent} other record(s) of {repository} are there)")
    if not sent:
        raise InputError(f"{repository}: there is no finished run to push; `bocb train` makes one")
    return sent


def _weights(source: LocalStore, repository: str, record: RunRecord) -> Path | None:
    """Returns the folder of a run's weights, after checking that they are those of its record.

    Raises:
        InputError: The weights are gone, are not those that the record names, or are symbolic links.
    """
    if record.weights_sha256 is None:
        return None
    folder = f"seeds/{record.seed}"
    paths = {name: source.plain(repository, f"{folder}/{name}") for name in (*WEIGHT_FILES, PREPROCESSING)}
    missing = [name for name in WEIGHT_FILES if not paths[name].is_file()]
    if missing:
        raise InputError(f"{repository}: seed {record.seed} lacks {', '.join(missing)}; train it again")
    digest = source.digest(repository, f"{folder}/{WEIGHT_FILES[1]}")
    if digest != record.weights_sha256:
        raise InputError(
            f"{repository}: {folder}/{WEIGHT_FILES[1]} is not what run {record.run_id} ended with (its SHA-256 begins "
            f"with {str(digest)[:12]}, the record says {record.weights_sha256[:12]}), so the run is not sent; put the "
            "right file there, or train it again with runtime.supersede=true"
        )
    return source.path(repository) / folder


def _push_floors(source: LocalStore, target: Store, repository: str, name: str, floors: Sequence[FloorRecord]) -> None:
    def attempt() -> None:
        parent = target.revision(name)
        present = target.files(name)
        new = {b.path(): b.to_json().encode() for b in floors if b.path() not in present}
        if new:
            card = {CARD: source.read(repository, CARD)}
            target.commit(name, card | new, parent=parent, message=f"{len(new)} floors")

    commit_with_retry(attempt, name)


def push_pending(source: LocalStore) -> tuple[int, list[Pending]]:
    """Sends everything that waits.

    Returns:
        How many records were sent, and the entries that still wait, with the reason.
    """
    queue, sent, left = Queue(source), 0, list[Pending]()
    for entry in queue.entries():
        try:
            sent += push_repository(source, entry.repository, entry.to, entry.paths, entry.supersede)
        except (InputError, OSError) as error:
            queue.add(entry.repository, entry.to, [], False, str(error))
            left.append(entry.model_copy(update={"reason": str(error)}))
        else:
            queue.remove(entry)
    return sent, left


def push_after_training(source: Store, runtime: RuntimeConfig, repository: str, path: str) -> None:
    """Queues a record when the store is on the Hub; a final run's record sends all that waits for its repository.

    Trials wait for the next final run of their cell, so that a sweep makes one commit for each final run and not one
    for each trial. No error of the Hub is raised, because the run is safe in the local store.

    Args:
        source: The store that the run was put into.
        runtime: The section ``runtime`` of the run.
        repository: ``namespace/name``.
        path: Path of the record in that repository.
    """
    to = runtime.store
    if not to.startswith(HUB_SCHEME) or not isinstance(source, LocalStore):
        return
    queue = Queue(source)
    try:
        entry = queue.add(repository, to, [path], runtime.supersede)
        if not path.startswith("trials/"):
            push_repository(source, repository, to, entry.paths, entry.supersede)
            queue.remove(entry)
    except Exception as error:
        reason = str(error) if isinstance(error, InputError) else type(error).__name__
        log.warning("not pushed, but kept in %s: %s; `bocb push --pending` sends it later", source.root, reason)
        # the failure may be that the queue cannot be written, and then this fails too
        with suppress(InputError, OSError):
            queue.add(repository, to, [], False, reason)
