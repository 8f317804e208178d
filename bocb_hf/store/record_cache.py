"""What was read and checked of a large local store, kept so that only changed repositories are read again.

The cache is one file of JSON in the user's cache folder, never inside the store: a store that somebody hands over
brings no cache with it. It is used only where it and its folder belong to this user and nobody else may write them.
It is replaced in one step and ends with its own SHA-256, so half a file counts as none. It holds for one version of
the code that reads and checks.

A repository is taken from the cache when names, sizes, inodes and both times (``mtime_ns``, ``ctime_ns``) of all its
files are as they were before *and* after it was read. Two changes within one tick of the file system's clock look
alike, so a repository whose newest change is less than ``SETTLED_SECONDS`` old is read again the next time.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pydantic
import pydantic_core

from bocb_hf.errors import InputError
from bocb_hf.files import replacing
from bocb_hf.resources import cache_folder
from bocb_hf.runs.record import FloorRecord, RunRecord
from bocb_hf.store.local import LocalStore
from bocb_hf.store.many import PARTS, Shared
from bocb_hf.store.rebuild import rebuild
from bocb_hf.version import __version__

log = logging.getLogger(__name__)

FORMAT = 1
LEAST = 500  # records of a store below which it is read as fast as its cache
SETTLED_SECONDS = 2.0  # more than a tick of any file system in use (FAT has two seconds)
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass
class Checked:
    """What one repository holds, after every check.

    Attributes:
        records: The records of runs that count.
        floors: The records of floors.
        quarantined: (path, reason) of what was left out; empty in what is kept.
    """

    records: list[RunRecord] = field(default_factory=list[RunRecord])
    floors: list[FloorRecord] = field(default_factory=list[FloorRecord])
    quarantined: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


class RecordCache:
    """The cache of one local store.

    Args:
        store: The store.
        shared: The parts of records that are kept once.
        folder: Folder of all caches; None is ``bocb_hf`` in the user's cache folder.
    """

    def __init__(self, store: LocalStore, shared: Shared, folder: Path | None = None) -> None:
        root = os.path.realpath(store.root)
        self._store, self._shared = store, shared
        name = hashlib.sha256(root.encode(errors="surrogateescape")).hexdigest()[:24]
        self.path = (folder or cache_folder(None)) / "records" / f"{name}.json"
        self._head = {"format": FORMAT, "root": root, "code": code_version()}
        self._known = self._load()
        self._kept: dict[str, tuple[str, Checked]] = {}
        self._changed = False
        self.read_again = 0

    def state(self, repository: str) -> tuple[str, float]:
        """Returns a hash of the files of a repository, without their contents, and the time of the newest change."""
        digest, newest = hashlib.sha256(), 0
        for path, status in self._store.statuses(repository):
            text = f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\0{status.st_ino}\n"
            digest.update(text.encode(errors="surrogateescape"))
            newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
        return digest.hexdigest(), newest / 1e9

    def get(self, repository: str, state: str) -> Checked | None:
        """Returns what a repository held in this state, or None where it must be read."""
        known = self._known.pop(repository, None)
        if known is None or known[0] != state:
            return None
        self._kept[repository] = known
        return known[1]

    def put(self, repository: str, state: tuple[str, float], checked: Checked) -> None:
        """Keeps what was read, if the repository is still as it was before, and has been so for a while.

        A repository with anything in quarantine is not kept, for the disk may have failed only once.

        Args:
            repository: ``namespace/name``.
            state: Its state before it was read.
            checked: What was read.
        """
        self.read_again += 1
        self._changed = True
        settled = time.time() - state[1] >= SETTLED_SECONDS and self.state(repository)[0] == state[0]
        if settled and not checked.quarantined:
            self._kept[repository] = (state[0], checked)

    def save(self) -> None:
        """Writes what was read, if anything has changed and the store is large; a warning says why it cannot."""
        gone = bool(self._known)
        if not (self._changed or gone) or sum(len(c.records) for _, c in self._kept.values()) < LEAST:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            check_own(self.path.parent.stat(), self.path.parent)
            digest = hashlib.sha256()
            with replacing(self.path) as temporary, temporary.open("xb") as file:
                temporary.chmod(0o600)
                for line in self._lines():
                    digest.update(line)
                    file.write(line)
                file.write(digest.hexdigest().encode() + b"\n")
        except (InputError, OSError) as error:
            log.warning("what was read of %s is not kept for the next time: %s", self._store.uri, error)

    def _lines(self) -> Iterator[bytes]:
        """Yields the lines of the file but the last: its head, one for each repository, and the shared parts."""
        places: dict[int, int] = {}
        parts: list[bytes] = []

        def place(part: pydantic.BaseModel) -> int:
            if id(part) not in places:
                places[id(part)] = len(parts)
                parts.append(part.model_dump_json().encode())
            return places[id(part)]

        yield json.dumps(self._head).encode() + b"\n"
        for repository, (state, checked) in self._kept.items():
            records = [
                ([place(part) for part in PARTS.of(r)], r.model_dump(mode="json", exclude=PARTS.excluded))
                for r in checked.records
            ]
            floors = [floor.model_dump(mode="json") for floor in checked.floors]
            yield pydantic_core.to_json([repository, state, records, floors]) + b"\n"
        yield b"[" + b",".join(parts) + b"]\n"

    def _load(self) -> dict[str, tuple[str, Checked]]:
        """Reads the file; whatever is not this user's own, whole, and of this code counts as no cache."""
        try:
            with _open_own(self.path) as file:
                end = _whole(file)
                if end is None or json.loads(file.readline()) != self._head:
                    return {}
                start = file.tell()
                file.seek(end)
                parts = pydantic_core.from_json(file.readline(), cache_strings="all")
                file.seek(start)
                return self._parse(file, end, parts)
        except FileNotFoundError:
            return {}
        except (InputError, OSError) as error:
            log.warning("the kept records of %s are not used: %s", self._store.uri, error)
            return {}

    def _parse(self, file: BinaryIO, end: int, parts: Sequence[dict[str, Any]]) -> dict[str, tuple[str, Checked]]:
        """Makes the records of the lines from here to ``end``, one line after the other."""
        made: dict[tuple[int, int], pydantic.BaseModel] = {}

        def part(kind: int, place: int) -> pydantic.BaseModel:
            if (kind, place) not in made:
                made[kind, place] = self._shared.one(rebuild(PARTS.models[kind], parts[place]))
            return made[kind, place]

        found: dict[str, tuple[str, Checked]] = {}
        while file.tell() < end:
            repository, state, records, floors = pydantic_core.from_json(file.readline(), cache_strings="all")
            checked = Checked(
                [PARTS.join(data, [part(*pair) for pair in enumerate(places)]) for places, data in records],
                [rebuild(FloorRecord, data) for data in floors],
            )
            found[repository] = (state, checked)
        return found


def _open_own(path: Path) -> BinaryIO:
    """Opens a file that this user alone can have written.

    Raises:
        InputError: The file or its folder belongs to another user, or others may write it.
        OSError: The file cannot be read.
    """
    check_own(path.parent.stat(), path.parent)
    file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb")
    try:
        check_own(os.fstat(file.fileno()), path)
    except InputError:
        file.close()
        raise
    return file


def _whole(file: BinaryIO) -> int | None:
    """Returns where the line of shared parts begins, or None when the file is not whole; then is at its start again."""
    digest, last, before = hashlib.sha256(), b"", 0
    place = 0
    for line in file:
        if last:
            digest.update(last)
            before = place - len(last)
        last, place = line, place + len(line)
    file.seek(0)
    return before if last == digest.hexdigest().encode() + b"\n" and before else None


def check_own(status: os.stat_result, path: Path) -> None:
    """Refuses what somebody else could have written.

    Raises:
        InputError: The file or folder belongs to another user, or others may write it.
    """
    if not hasattr(os, "geteuid"):
        return  # without users of POSIX the folder's own rights protect it
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o022:
        raise InputError(
            f"{path}: others can write it; `chmod go-w` it if it is yours, or set HF_HOME to a folder of your own"
        )


@functools.cache
def code_version() -> str:
    """Returns a hash of all code that reads and checks records, so that a change of it makes every cache void."""
    digest = hashlib.sha256(f"{__version__}\0{pydantic.VERSION}\0{pydantic_core.__version__}".encode())
    files = [
        _PACKAGE / "schema.py",
        *(p for room in ("optim", "runs", "store") for p in (_PACKAGE / room).glob("*.py")),
    ]
    for path in sorted(files):
        digest.update(f"{path.relative_to(_PACKAGE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
