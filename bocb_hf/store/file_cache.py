"""Keeps on disk what was read from the Hub: small files by key, and some values, in one SQLite file for each place."""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import constants

from bocb_hf.errors import InputError
from bocb_hf.resources import cache_folder

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (key TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class FileCache:
    """The cache of one place of one Hub.

    Args:
        place: The place that is read, such as ``my-lab`` or ``datasets/my-lab/results``.
        folder: Folder of all caches; None is ``bocb_hf`` in the user's cache folder.

    Raises:
        InputError: The folder cannot be written, or the cache is not one of this installation.
    """

    def __init__(self, place: str, folder: Path | None = None) -> None:
        root = (folder or cache_folder(None)) / "hub" / hashlib.sha256(constants.ENDPOINT.encode()).hexdigest()[:12]
        self.path = root / f"{place}.sqlite"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.base = sqlite3.connect(self.path, timeout=60)
            self.base.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{self.path}: the cache cannot be used ({error}); delete it") from None

    def close(self) -> None:
        self.base.close()

    def fact(self, name: str) -> str | None:
        """Returns the value that was remembered under a name, or None."""
        row = self.base.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_facts(self, **values: str) -> None:
        """Remembers several values in one transaction."""
        with self.base:
            self.base.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", values.items())

    def holds(self, key: str) -> bool:
        """Whether the cache holds the file of a key."""
        return self.base.execute("SELECT 1 FROM files WHERE key = ?", (key,)).fetchone() is not None

    def get(self, key: str) -> bytes | None:
        """Returns the file of a key, or None when it is not in the cache."""
        row = self.base.execute("SELECT content FROM files WHERE key = ?", (key,)).fetchone()
        return None if row is None else zlib.decompress(row[0])

    def put(self, files: Mapping[str, bytes]) -> None:
        """Keeps several files in one transaction."""
        with self.base:
            rows = ((key, zlib.compress(content, 1)) for key, content in files.items())
            self.base.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", rows)
