"""The cards of a namespace of the Hub, kept on disk by (repository, head), and the records that they name, by SHA-256.

A card is what a listing says of it, so reading thousands costs one request a thousand. Nothing here trusts a name:
paths are made from the checked numbers of a card, and a record counts only when its bytes have the SHA-256 that its
card says.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from huggingface_hub import constants

from bocb_hf.card import CardBlock, parse_card, parse_metadata
from bocb_hf.errors import InputError
from bocb_hf.record import MAX_BYTES, repository_name
from bocb_hf.resources import cache_folder
from bocb_hf.store import CopyOf
from bocb_hf.store.hub import HubStore, download
from bocb_hf.store.hub_listing import Listed, list_pages, list_repositories, parse_item, read_item
from bocb_hf.store.read import CARD

FLOORS = "bocb-baselines"
_PAGE = 1000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS cards
    (repository TEXT PRIMARY KEY, sha TEXT NOT NULL, block TEXT, reason TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (key TEXT PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class Refreshed(NamedTuple):
    """What a refresh found: repositories listed, read anew, and gone."""

    listed: int
    changed: int
    gone: int


class CardCache:
    """One namespace of one Hub, as a store that is only read.

    Args:
        namespace: User or organisation.
        folder: Of all caches; None is ``bocb_hf`` in the user's cache folder.
        offline: Never ask the Hub.

    Raises:
        InputError: The folder cannot be written, or the cache is not one of this installation.
    """

    def __init__(self, namespace: str, folder: Path | None = None, offline: bool = False) -> None:
        self.hub, self.offline = HubStore(namespace), offline
        root = (folder or cache_folder(None)) / "hub" / hashlib.sha256(constants.ENDPOINT.encode()).hexdigest()[:12]
        self.path = root / f"{namespace}.sqlite"
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(self.path, timeout=60)
            self._base.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{self.path}: the cache cannot be used ({error}); delete it") from None

    @property
    def uri(self) -> str:
        return self.hub.uri

    def close(self) -> None:
        self._base.close()

    # refreshing

    def refresh(self) -> Refreshed:
        """Reads what has changed since the last time.

        A full listing holds every card and is megabytes long; the short one holds names and heads. So the full one is
        read the first time, or when many cards have changed, and single cards otherwise.

        Raises:
            InputError: ``offline`` and nothing was ever read.
            HubError: The Hub refused.
        """
        known = dict[str, str](self._base.execute("SELECT repository, sha FROM cards"))
        if self.offline:
            if self.fact("refreshed") is None:
                raise InputError(f"--offline: nothing of {self.uri} was read before; run it once without")
            return Refreshed(len(known), 0, 0)
        if not known:
            listed = self._read_pages(None)
            changed = len(listed)
        else:
            listed = {item.repository: item.sha for item in list_repositories(self.hub.namespace)}
            stale = {name for name, sha in listed.items() if known.get(name) != sha}
            changed = len(stale)
            if len(stale) > 1 + len(listed) // _PAGE:
                self._read_pages(stale)
            elif stale:
                self._read_single(stale)
        gone = known.keys() - listed.keys()
        with self._base:
            self._base.executemany("DELETE FROM cards WHERE repository = ?", ((name,) for name in gone))
            self._base.execute("INSERT OR REPLACE INTO facts VALUES ('refreshed', 'yes')")
        return Refreshed(len(listed), changed, len(gone))

    def _read_pages(self, wanted: set[str] | None) -> dict[str, str]:
        """Reads the full listing, until every wanted card was in it; returns the heads of what it saw."""
        seen: dict[str, str] = {}
        broken = False
        for page in list_pages(self.hub.namespace, ("cardData", "sha")):
            broken = broken or page is None
            items = [item for raw in page or () if (item := parse_item(raw, self.hub.namespace)) is not None]
            self._keep(item for item in items if wanted is None or item.repository in wanted)
            seen |= {item.repository: item.sha for item in items}
            if wanted is not None and wanted <= seen.keys():
                break
        if broken:
            # one card made its page unreadable; the short listing names the rest of that page
            short = {item.repository: item.sha for item in list_repositories(self.hub.namespace)}
            self._read_readme({n: sha for n, sha in short.items() if n not in seen and (not wanted or n in wanted)})
            seen = short if wanted is None else seen | short
        return seen

    def _read_single(self, names: set[str]) -> None:
        """Reads the cards of a few repositories, one request each."""
        self._keep(item for name in sorted(names) if (item := read_item(name, ("cardData", "sha"))) is not None)

    def _read_readme(self, heads: Mapping[str, str]) -> None:
        """Reads cards as text, where a listing does not give them; our parser allows less than the Hub's."""
        for name, sha in heads.items():
            try:
                text = download(name, CARD, sha, limit=MAX_BYTES).decode("utf-8")
                row = (name, sha, self._checked(parse_card(text, f"{name}/{CARD}"), name), None)
            except FileNotFoundError:
                row = (name, sha, None, "there is no card")
            except (InputError, UnicodeDecodeError) as error:
                row = (name, sha, None, str(error).removeprefix(f"{name}/{CARD}: "))
            self._write([row])

    def _keep(self, items: Iterable[Listed]) -> None:
        rows: list[tuple[str, str, str | None, str | None]] = []
        for item in items:
            name, data = item.repository, item.item.get("cardData")
            tags = cast(dict[str, Any], data).get("tags") if isinstance(data, dict) else None
            if isinstance(tags, list) and FLOORS in tags:
                rows.append((name, item.sha, None, None))
                continue
            try:
                rows.append((name, item.sha, self._checked(parse_metadata(data, f"{name}/{CARD}"), name), None))
            except InputError as error:
                rows.append((name, item.sha, None, str(error).removeprefix(f"{name}/{CARD}: ")))
        self._write(rows)

    def _checked(self, block: CardBlock, repository: str) -> str:
        """The block as it is kept.

        Raises:
            InputError: It describes another cell than its repository is named for.
        """
        name = repository_name(block.dataset, block.setting, block.backbone, block.optimizer)
        if repository != f"{self.hub.namespace}/{name}":
            raise InputError(f"{repository}/{CARD}: its card is that of a repository called {name}")
        return block.model_dump_json()

    def _write(self, rows: Iterable[tuple[str, str, str | None, str | None]]) -> None:
        with self._base:
            self._base.executemany("INSERT OR REPLACE INTO cards VALUES (?, ?, ?, ?)", rows)

    def fact(self, name: str) -> str | None:
        """A remembered value."""
        row = self._base.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_fact(self, name: str, value: str) -> None:
        """Remembers a value."""
        with self._base:
            self._base.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    # reading

    def cards(self) -> Iterator[tuple[str, str, CardBlock | str]]:
        """(repository, head, block or the reason why there is none), one after the other; floors are left out."""
        rows = self._base.execute("SELECT repository, sha, block, reason FROM cards ORDER BY repository")
        for repository, sha, block, reason in rows:
            if block is not None:
                yield repository, sha, CardBlock.model_validate_json(block)
            elif reason is not None:
                yield repository, sha, str(reason)

    def repositories(self) -> list[str]:
        return [row[0] for row in self._base.execute("SELECT repository FROM cards ORDER BY repository")]

    def revision(self, repository: str) -> str | None:
        row = self._base.execute("SELECT sha FROM cards WHERE repository = ?", (repository,)).fetchone()
        return None if row is None else str(row[0])

    def card(self, repository: str) -> CardBlock:
        """The block of a card; raises InputError with the reason when it was refused, FileNotFoundError for floors."""
        row = self._base.execute("SELECT block, reason FROM cards WHERE repository = ?", (repository,)).fetchone()
        if row is None or (row[0] is None and row[1] is None):
            raise FileNotFoundError(repository)
        if row[0] is None:
            raise InputError(f"{repository}/{CARD}: {row[1]}")
        return CardBlock.model_validate_json(row[0])

    def files(self, repository: str) -> list[str]:
        """The records that the card lists; of floors, those that the repository holds."""
        try:
            return sorted(self.card(repository).paths())
        except InputError:
            return []
        except FileNotFoundError:
            head = self.revision(repository)
            if head is None:
                return []
        key = f"tree {repository} {head}"
        kept = self._file(key)
        if kept is None:
            if self.offline:
                raise InputError(f"{repository}: its files were never listed; run it once without --offline")
            self.hub.revision(repository)
            kept = json.dumps(self.hub.files(repository)).encode()
            self._put({key: kept})
        return list(json.loads(kept))

    def read(self, repository: str, path: str) -> bytes:
        """A record, from the cache when it is there.

        Raises:
            FileNotFoundError: The repository does not hold it.
            InputError: It is not the one that the card lists, or ``offline`` and it was never read.
        """
        head = self.revision(repository)
        if head is None:
            raise FileNotFoundError(f"{repository}/{path}")
        try:
            wanted = self.card(repository).paths().get(path)
        except FileNotFoundError:
            wanted = None
        key = wanted or f"{repository} {head} {path}"
        content = self._file(key)
        if content is None:
            if self.offline:
                raise InputError(f"{repository}/{path}: was never read; run it once without --offline")
            content = download(repository, path, head)
            if wanted is not None and hashlib.sha256(content).hexdigest() != wanted:
                raise InputError(f"{repository}/{path}: is not the record that the card lists (its SHA-256 differs)")
            self._put({key: content})
        return content

    def commit(
        self,
        repository: str,
        add: Mapping[str, bytes | Path | CopyOf],
        *,
        delete: Iterable[str] = (),
        parent: str | None,
        message: str,
    ) -> str:
        """Not for a cache.

        Raises:
            InputError: Always.
        """
        raise InputError(f"{repository}: the cache of {self.uri} is only read")

    def put_record(self, sha256: str, content: bytes) -> None:
        """Keeps a record that came from elsewhere, if it has that SHA-256."""
        if hashlib.sha256(content).hexdigest() == sha256:
            self._put({sha256: content})

    def holds(self, sha256: str) -> bool:
        """Whether a record is here."""
        return self._base.execute("SELECT 1 FROM files WHERE key = ?", (sha256,)).fetchone() is not None

    def _file(self, key: str) -> bytes | None:
        row = self._base.execute("SELECT content FROM files WHERE key = ?", (key,)).fetchone()
        return None if row is None else zlib.decompress(row[0])

    def _put(self, files: Mapping[str, bytes]) -> None:
        with self._base:
            rows = ((key, zlib.compress(content, 1)) for key, content in files.items())
            self._base.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", rows)


@contextmanager
def open_cache(namespace: str, offline: bool = False, folder: Path | None = None) -> Generator[CardCache]:
    """A cache, closed afterwards."""
    cache = CardCache(namespace, folder, offline)
    try:
        yield cache
    finally:
        cache.close()
