"""The contents of a store, and which of them count. Every card and record is checked, and a bad one hides no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bocb_hf.errors import InputError
from bocb_hf.runs.card import CardBlock, make_block
from bocb_hf.runs.record import FloorRecord, RunRecord
from bocb_hf.schema import one_line
from bocb_hf.store.local import LocalStore
from bocb_hf.store.many import Shared, no_collection
from bocb_hf.store.protocol import ReadStore
from bocb_hf.store.read import CARD, RUN, CardSource, read_repository, reason_text
from bocb_hf.store.record_cache import Checked, RecordCache

LINK = "is a symbolic link, which is not followed; put what it leads to in its place"
DISAGREE = "card and record disagree; `bocb render` rebuilds the card from the records"


class Quarantined(NamedTuple):
    """A file, or a repository, that no table counts, and the reason."""

    repository: str
    path: str
    reason: str

    def __str__(self) -> str:
        return one_line(f"{self.repository}/{self.path}: {self.reason}", 2000)


@dataclass
class StoreContents:
    """What a store holds.

    Attributes:
        uri: Address of the store.
        records: Valid records of runs, each run once.
        floors: Valid records of floors.
        quarantined: The files and repositories that were left out, and why.
        places: ``namespace/name/path`` of each record by (role, run id).
        levels: Level of trust by SHA-256 of a record; a record without an entry is self-reported.
    """

    uri: str
    records: list[RunRecord] = field(default_factory=list[RunRecord])
    floors: list[FloorRecord] = field(default_factory=list[FloorRecord])
    quarantined: list[Quarantined] = field(default_factory=list[Quarantined])
    places: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    levels: Mapping[str, str] = field(default_factory=dict[str, str])


def read_store(*stores: ReadStore, cached: bool = False) -> StoreContents:
    """Reads and checks every card and record of the stores.

    A record counts when it is valid, lies where its identity says, and the card of its repository lists it as it is.
    Where a run lies in several namespaces, its record in the first of them counts.

    Args:
        stores: The stores.
        cached: Whether repositories of local stores that have not changed need not be read again; see ``RecordCache``.
    """
    with no_collection():
        return _read_stores(stores, cached)


def _read_stores(stores: Sequence[ReadStore], cached: bool) -> StoreContents:
    contents = StoreContents(", ".join(store.uri for store in stores))
    shared = Shared()
    seen: dict[tuple[str, str], str] = {}

    def is_first(key: tuple[str, str], repository: str, path: str) -> bool:
        first = seen.setdefault(key, repository)
        if first != repository:
            reason = f"a copy of what {first} holds; a copy is not a second run"
            contents.quarantined.append(Quarantined(repository, path, reason))
        return first == repository

    for store in stores:
        if isinstance(store, LocalStore):
            for link in store.links():
                namespace, name, path = (*link.split("/", 2), "", "")[:3]
                contents.quarantined.append(Quarantined(f"{namespace}/{name}".rstrip("/"), path, LINK))
    for repository, checked in _checked(stores, shared, cached):
        contents.quarantined += [Quarantined(repository, *item) for item in checked.quarantined]
        kept = [r for r in checked.records if is_first((r.role, r.run_id), repository, r.path())]
        contents.records += kept
        contents.places |= {(r.role, r.run_id): f"{repository}/{r.path()}" for r in kept}
        contents.floors += [b for b in checked.floors if is_first((b.kind, b.path()), repository, b.path())]
    return contents


def _checked(stores: Sequence[ReadStore], shared: Shared, cached: bool) -> Iterator[tuple[str, Checked]]:
    """Yields every repository with what it holds."""
    for store in stores:
        cache = RecordCache(store, shared) if cached and isinstance(store, LocalStore) else None
        for repository in store.repositories():
            state = cache.state(repository) if cache is not None else ("", 0.0)
            checked = cache.get(repository, state[0]) if cache is not None else None
            if checked is None:
                quarantined: list[tuple[str, str]] = []
                records, floors = _read_repository(store, repository, quarantined)
                checked = Checked([shared.share(record) for record in records], floors, quarantined)
                if cache is not None:
                    cache.put(repository, state, checked)
            yield repository, checked
        if cache is not None:
            cache.save()


def _read_repository(
    store: ReadStore, repository: str, quarantined: list[tuple[str, str]]
) -> tuple[list[RunRecord], list[FloorRecord]]:
    """Returns the records of one repository that count, and adds (path, reason) of what does not to ``quarantined``."""

    def quarantine(path: str, reason: str) -> None:
        quarantined.append((path, reason))

    try:
        contents = read_repository(store, repository)
    except (InputError, OSError) as error:
        quarantine("", reason_text(error, repository, ""))
        return [], []
    for path, reason in contents.damaged:
        quarantine(path, reason)
    for path, (record, tombstone) in contents.retracted.items():
        quarantine(path, f"run {record.run_id} is retracted: {tombstone.reason}")
    bad = {path for path, _ in contents.damaged if RUN.fullmatch(path)} | set(contents.retracted)
    floors = list(contents.floors.values())
    if not isinstance(contents.card, Exception):
        if isinstance(store, CardSource):  # a store of cards has no tombstones of its own
            for entry in contents.card.retracted:
                quarantine(CARD, f"run {entry.run_id} is retracted: {entry.reason}")
        return _check_card(contents.card, contents.records, bad, quarantine), floors
    missing = isinstance(contents.card, FileNotFoundError)
    reason = "there is no card" if missing else reason_text(contents.card, repository, CARD)
    if isinstance(store, CardSource):
        if not missing:
            quarantine(CARD, reason)
    elif contents.records or bad:  # a repository without runs holds floors, or is no repository of this project
        quarantine(CARD, f"{reason}; {DISAGREE}")
    return [], floors


def _misdescribed(card: CardBlock, found: Sequence[RunRecord]) -> str | None:
    """Returns what a card says of its cell that none of the records says."""
    for name, said, true in (
        ("family", card.family, {record.family for record in found}),
        ("category", card.category, {record.category for record in found}),
    ):
        if found and said not in true:
            return f"its {name} is {said} in the card, but {' and '.join(sorted(true))} in the records"
    return None


def _differs(card: CardBlock, record: RunRecord) -> str | None:
    """Returns what a card says of its cell that is not true of a record."""
    names = (card.dataset, card.setting, card.backbone, card.optimizer)
    true = record.identity.cell().names
    for name, said, recorded in zip(("dataset", "setting", "backbone", "optimizer"), names, true, strict=True):
        if said != recorded:
            return f"its {name} is {recorded}, but {said} in the card"
    revision = record.identity.data.revision
    return None if revision in card.data_revisions else f"its data revision {revision} is not in the card"


def _check_card(
    card: CardBlock, found: Sequence[RunRecord], bad: set[str], quarantine: Callable[[str, str], None]
) -> list[RunRecord]:
    """Returns the records that the card lists as they are, and all trials; quarantines every disagreement."""
    listed = {entry.run_id: entry for entry in card.runs}
    kept: list[RunRecord] = []
    if reason := _misdescribed(card, found):
        quarantine(CARD, f"{reason}; {DISAGREE}")
        return []
    for record in found:
        if reason := _differs(card, record):
            bad.add(record.path())
            quarantine(record.path(), f"{reason}; {DISAGREE}")
        elif record.role == "final" and listed.get(record.run_id) != make_block([record], []).runs[0]:
            bad.add(record.path())
            quarantine(record.path(), DISAGREE)
        else:
            kept.append(record)
    present = {record.run_id for record in kept if record.role == "final"}
    for entry in card.runs:
        # a broken record already has its own line in the quarantine
        if entry.run_id not in present and f"seeds/{entry.seed}/record.json" not in bad:
            quarantine(CARD, f"lists run {entry.run_id}, which has no record; {DISAGREE}")
    return kept
