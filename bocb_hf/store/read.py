"""Reads the records of one repository. One bad file never hides the others."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, runtime_checkable

from bocb_hf.errors import InputError
from bocb_hf.runs.card import CardBlock, parse_card
from bocb_hf.runs.naming import is_repository_name, repository_name
from bocb_hf.runs.record import FloorRecord, RunRecord, parse_record
from bocb_hf.runs.retraction import Retraction, parse_retraction
from bocb_hf.store.protocol import ReadStore

# a record in a deeper folder is reported as damaged, not overlooked
RUN = re.compile(r"seeds/.+/record\.json|trials/.+\.json")
FLOOR = re.compile(r"baselines/[^/]+\.json")
RETRACTION = re.compile(r"retracted/[^/]+\.json")
CARD = "README.md"
R = TypeVar("R", RunRecord, FloorRecord)


@runtime_checkable
class CardSource(Protocol):
    """A store that has already read the cards."""

    def card(self, repository: str) -> CardBlock:
        """Returns the block of a card; raises InputError or FileNotFoundError."""
        ...


@dataclass
class RepositoryContents:
    """The records of one repository, and what could not be read.

    Attributes:
        finals: Final runs by seed, without retracted ones.
        trials: Trials by run id, without retracted ones.
        floors: Floors, by path.
        retracted: Retracted runs with their tombstone, by path of the record.
        damaged: (path, reason) of every file that is not valid or does not belong in its place.
        card: The block of the card, or why it cannot be read.
        files: Paths of all files.
    """

    finals: dict[int, RunRecord] = field(default_factory=dict[int, RunRecord])
    trials: dict[str, RunRecord] = field(default_factory=dict[str, RunRecord])
    floors: dict[str, FloorRecord] = field(default_factory=dict[str, FloorRecord])
    retracted: dict[str, tuple[RunRecord, Retraction]] = field(default_factory=dict[str, tuple[RunRecord, Retraction]])
    damaged: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    card: CardBlock | Exception = field(default_factory=FileNotFoundError)
    files: list[str] = field(default_factory=list[str])

    @property
    def records(self) -> list[RunRecord]:
        """The records of final runs and trials."""
        return [*self.finals.values(), *self.trials.values()]


def read_repository(store: ReadStore, repository: str) -> RepositoryContents:
    """Reads every record of a repository; a record that is not valid, or lies in a wrong place, counts as damaged.

    A tombstone retracts the record with its SHA-256; a later run in the same place is not retracted by it.

    Raises:
        InputError: The repository itself cannot be read.
    """
    files = store.files(repository)
    contents = RepositoryContents(files=files)
    tombstones: dict[str, Retraction] = {}
    for path in files:
        if RETRACTION.fullmatch(path):
            try:
                tombstone = parse_retraction(store.read(repository, path), f"{repository}/{path}")
            except (InputError, OSError) as error:
                contents.damaged.append((path, reason_text(error, repository, path)))
                continue
            tombstones[tombstone.record_sha256] = tombstone
    try:
        contents.card = read_card(store, repository)
    except (InputError, OSError, UnicodeDecodeError) as error:
        contents.card = error
    for path in files:
        try:
            if FLOOR.fullmatch(path):
                contents.floors[path] = _read(store, repository, path, FloorRecord)
            if not RUN.fullmatch(path):
                continue
            record = _read(store, repository, path, RunRecord)
        except (InputError, OSError) as error:
            contents.damaged.append((path, reason_text(error, repository, path)))
            continue
        if tombstones and (tombstone := tombstones.get(record.sha256())) is not None:
            contents.retracted[path] = (record, tombstone)
        elif record.role == "final":
            contents.finals[record.seed] = record
        else:
            contents.trials[record.run_id] = record
    return contents


def check_card(card: CardBlock, repository: str) -> CardBlock:
    """Returns the block of a card unchanged.

    Raises:
        InputError: The block describes another cell than its repository is named for.
    """
    names = (card.dataset, card.setting, card.backbone, card.optimizer)
    if not is_repository_name(repository.partition("/")[2], *names):
        raise InputError(f"{repository}/{CARD}: its card is that of a repository called {repository_name(*names)}")
    return card


def _read(store: ReadStore, repository: str, path: str, model: type[R]) -> R:
    record = parse_record(store.read(repository, path), f"{repository}/{path}", model)
    check_place(record, repository, path)
    return record


def read_card(store: ReadStore, repository: str) -> CardBlock:
    """Reads the block of a repository's card.

    Raises:
        InputError: There is no valid block, or it is that of another repository.
        OSError: The card cannot be read.
    """
    if isinstance(store, CardSource):
        return store.card(repository)
    card = parse_card(store.read(repository, CARD).decode("utf-8"), f"{repository}/{CARD}")
    return check_card(card, repository)


def check_place(record: RunRecord | FloorRecord, repository: str, path: str) -> None:
    """Raises InputError when a record does not lie where its identity says.

    Where another cell of the same four names was there first, the place is a repository of the record's own cell; see
    ``RunRecord.repositories``.
    """
    name = repository.partition("/")[2]
    placed = name == record.repository() or name in record.repositories()  # the second name costs a hash
    if not placed or record.path() != path:
        raise InputError(
            f"{repository}/{path}: its identity belongs at {record.repository()}/{record.path()}; move it there or "
            "remove it"
        )


def reason_text(error: Exception, repository: str, path: str) -> str:
    """Says what is wrong with a file, without its own name and without a path on this machine."""
    text = (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
    return text.removeprefix(f"{repository}/{path}: ")
