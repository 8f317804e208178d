"""Keeps on disk the cards of a namespace of the Hub, by (repository, head), and their records, by SHA-256.

Cards are read from listings, so that thousands of cards cost one request for each thousand. No name is trusted:
paths are made from the checked numbers of a card, and a record counts only when its bytes have the SHA-256 that its
card says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from bocb_hf.errors import InputError
from bocb_hf.runs.card import CardBlock, parse_card, parse_metadata
from bocb_hf.runs.record import MAX_BYTES
from bocb_hf.store.file_cache import FileCache
from bocb_hf.store.hub import HubStore, download
from bocb_hf.store.hub_listing import Listed, list_pages, list_repositories, parse_item, read_item
from bocb_hf.store.read import CARD, check_card

FLOORS = "bocb-baselines"
_PAGE = 1000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS cards
    (repository TEXT PRIMARY KEY, sha TEXT NOT NULL, block TEXT, reason TEXT) WITHOUT ROWID;
"""
# What the Hub lists now. A temporary table spills to disk, so memory does not grow with the number of cards.
_LISTED = """
CREATE TEMP TABLE IF NOT EXISTS listed (repository TEXT PRIMARY KEY, sha TEXT NOT NULL) WITHOUT ROWID;
DELETE FROM listed;
"""
_STALE = """
SELECT listed.repository, listed.sha FROM listed LEFT JOIN cards USING (repository)
WHERE cards.sha IS NOT listed.sha ORDER BY listed.repository
"""


class Refreshed(NamedTuple):
    """The numbers of repositories that a refresh found listed, read anew, and gone."""

    listed: int
    changed: int
    gone: int


class CardCache(FileCache):
    """One namespace of one Hub, as a store that is only read.

    Args:
        namespace: User or organisation.
        folder: Folder of all caches; None is ``bocb_hf`` in the user's cache folder.
        offline: Whether to send no request to the Hub.

    Raises:
        InputError: The folder cannot be written, or the cache is not one of this installation.
    """

    def __init__(self, namespace: str, folder: Path | None = None, offline: bool = False) -> None:
        self.hub, self.offline = HubStore(namespace), offline
        super().__init__(namespace, folder)
        self.base.executescript(_SCHEMA)

    @property
    def uri(self) -> str:
        return self.hub.uri

    # refreshing

    def refresh(self) -> Refreshed:
        """Reads the cards that have changed since the last refresh.

        A full listing holds every card and is megabytes long; the short one holds names and heads. So the full listing
        is read the first time, or when many cards have changed; otherwise single cards are read.

        Raises:
            InputError: ``offline`` and nothing was ever read.
            HubError: The Hub refused.
        """
        known = self._count("cards")
        if self.offline:
            if self.fact("refreshed") is None:
                raise InputError(f"--offline: nothing of {self.uri} was read before; run it once without")
            return Refreshed(known, 0, 0)
        self.base.executescript(_LISTED)
        if known:
            self._list(list_repositories(self.hub.namespace))
            changed = len(stale := self._stale())
            if changed > 1 + self._count("listed") // _PAGE:
                self._read_pages(changed)
            elif changed:
                self._take(item for name in stale if (item := read_item(name)) is not None)
        else:
            self._read_pages(None)
            changed = self._count("listed")
        with self.base:
            gone = self.base.execute("DELETE FROM cards WHERE repository NOT IN (SELECT repository FROM listed)")
        self.set_facts(refreshed="yes")
        return Refreshed(self._count("listed"), changed, gone.rowcount)

    def _count(self, table: str) -> int:
        return int(self.base.execute(f"SELECT count(*) FROM {table}").fetchone()[0])

    def _list(self, items: Iterable[Listed]) -> None:
        """Notes the repositories of a listing in a temporary table, which does not take memory."""
        with self.base:
            rows = ((item.repository, item.sha) for item in items)
            self.base.executemany("INSERT OR REPLACE INTO listed VALUES (?, ?)", rows)

    def _stale(self) -> dict[str, str]:
        """Returns the heads of listed repositories whose cached card is of another head, or is missing."""
        return dict[str, str](self.base.execute(_STALE))

    def _read_pages(self, wanted: int | None) -> None:
        """Reads the full listing, until as many cards have changed as are wanted."""
        broken = False
        for page in list_pages(self.hub.namespace, ("cardData", "sha")):
            broken = broken or page is None
            changed = self._read_page(page or (), note=wanted is None)
            del page  # the page is dropped before the next one is parsed
            if wanted is not None:
                wanted -= changed
                if wanted <= 0:
                    break
        if broken:
            # one card made its page unreadable; the short listing names the rest of that page
            self._list(list_repositories(self.hub.namespace))
            self._read_readme(self._stale())

    def _read_page(self, page: Iterable[Any], note: bool) -> int:
        """Keeps those cards of a page that are new, notes its repositories, and returns how many cards were new."""
        items = [item for raw in page if (item := parse_item(raw, self.hub.namespace)) is not None]
        new = [item for item in items if self.revision(item.repository) != item.sha]
        self._keep(new)
        if note:
            self._list(items)
        return len(new)

    def _take(self, items: Iterable[Listed]) -> None:
        """Keeps the cards of single repositories; where the Hub's answer holds none, the file README.md is read."""
        for item in items:
            if "cardData" in item.item:
                self._keep([item])
            else:
                self._read_readme({item.repository: item.sha})

    def _read_readme(self, heads: Mapping[str, str]) -> None:
        """Reads cards as text, where a listing does not give them; the parser allows less than the Hub's."""
        for name, sha in heads.items():
            try:
                text = download(name, CARD, sha, limit=MAX_BYTES).decode("utf-8")
                row = (name, sha, check_card(parse_card(text, f"{name}/{CARD}"), name).model_dump_json(), None)
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
                block = check_card(parse_metadata(data, f"{name}/{CARD}"), name)
                rows.append((name, item.sha, block.model_dump_json(), None))
            except InputError as error:
                rows.append((name, item.sha, None, str(error).removeprefix(f"{name}/{CARD}: ")))
        self._write(rows)

    def _write(self, rows: Iterable[tuple[str, str, str | None, str | None]]) -> None:
        with self.base:
            self.base.executemany("INSERT OR REPLACE INTO cards VALUES (?, ?, ?, ?)", rows)

    # reading

    def cards(self) -> Iterator[tuple[str, str, CardBlock | str]]:
        """Yields (repository, head, block or the reason why there is none); floors are left out."""
        rows = self.base.execute("SELECT repository, sha, block, reason FROM cards ORDER BY repository")
        for repository, sha, block, reason in rows:
            if block is not None:
                yield repository, sha, CardBlock.model_validate_json(block)
            elif reason is not None:
                yield repository, sha, str(reason)

    def repositories(self) -> list[str]:
        return [row[0] for row in self.base.execute("SELECT repository FROM cards ORDER BY repository")]

    def revision(self, repository: str) -> str | None:
        row = self.base.execute("SELECT sha FROM cards WHERE repository = ?", (repository,)).fetchone()
        return None if row is None else str(row[0])

    def card(self, repository: str) -> CardBlock:
        """Returns the block of a card; raises InputError with the reason when refused, FileNotFoundError for floors."""
        row = self.base.execute("SELECT block, reason FROM cards WHERE repository = ?", (repository,)).fetchone()
        if row is None or (row[0] is None and row[1] is None):
            raise FileNotFoundError(repository)
        if row[0] is None:
            raise InputError(f"{repository}/{CARD}: {row[1]}")
        return CardBlock.model_validate_json(row[0])

    def files(self, repository: str) -> list[str]:
        """Paths of the records that the card lists, or, for floors, of those that the repository holds."""
        try:
            return sorted(self.card(repository).paths())
        except InputError:
            return []
        except FileNotFoundError:
            head = self.revision(repository)
            if head is None:
                return []
        key = f"tree {repository} {head}"
        kept = self.get(key)
        if kept is None:
            if self.offline:
                raise InputError(f"{repository}: its files were never listed; run it once without --offline")
            self.hub.revision(repository)
            kept = json.dumps(self.hub.files(repository)).encode()
            self.put({key: kept})
        return list(json.loads(kept))

    def read(self, repository: str, path: str) -> bytes:
        """Content of a record, from the cache where it is there.

        Raises:
            FileNotFoundError: The repository does not hold it.
            InputError: The record is not the one that the card lists, or was never read and ``offline`` is on.
        """
        head = self.revision(repository)
        if head is None:
            raise FileNotFoundError(f"{repository}/{path}")
        try:
            wanted = self.card(repository).paths().get(path)
        except FileNotFoundError:
            wanted = None
        key = wanted or f"{repository} {head} {path}"
        content = self.get(key)
        if content is None:
            if self.offline:
                raise InputError(f"{repository}/{path}: was never read; run it once without --offline")
            content = download(repository, path, head)
            if wanted is not None and hashlib.sha256(content).hexdigest() != wanted:
                raise InputError(f"{repository}/{path}: is not the record that the card lists (its SHA-256 differs)")
            self.put({key: content})
        return content


@contextmanager
def open_cache(namespace: str, offline: bool = False, folder: Path | None = None) -> Generator[CardCache]:
    """Opens the cache of a namespace, and closes it when the block ends."""
    cache = CardCache(namespace, folder, offline)
    try:
        yield cache
    finally:
        cache.close()
