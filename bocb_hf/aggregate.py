"""Reads the cards and records of a store. One bad file never hides the others."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

from bocb_hf.card import CardBlock, make_block, parse_card
from bocb_hf.errors import InputError
from bocb_hf.record import BaselineRecord, RunRecord, parse_record
from bocb_hf.store import Store, open_store

CARD = "README.md"
DISAGREE = "card and record disagree; `bocb render` rebuilds the card from the records"
R = TypeVar("R", RunRecord, BaselineRecord)
_RUN = re.compile(r"seeds/[^/]+/record\.json|trials/[^/]+\.json")
_BASELINE = re.compile(r"baselines/[^/]+\.json")


class Quarantined(NamedTuple):
    """Something that no table counts."""

    repository: str
    path: str
    reason: str


@dataclass
class StoreContents:
    """What a store holds.

    Attributes:
        uri: The store.
        records: Valid records of runs, each run once.
        baselines: Valid records of floors.
        quarantined: What was left out, and why.
        places: ``namespace/name/path`` of each record by (role, run id).
    """

    uri: str
    records: list[RunRecord] = field(default_factory=list)
    baselines: list[BaselineRecord] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    places: dict[tuple[str, str], str] = field(default_factory=dict)


def read_store(store: Store) -> StoreContents:
    """Reads and checks every card and record of a store.

    A record counts when it is valid, lies where its identity says, and the card of its repository lists it as it is.
    Of a run that lies in several namespaces the first one counts.
    """
    contents = StoreContents(store.uri)
    seen: dict[tuple[str, str], str] = {}

    def is_first(key: tuple[str, str], repository: str, path: str) -> bool:
        first = seen.setdefault(key, repository)
        if first != repository:
            reason = f"a copy of what {first} holds; a copy is not a second run"
            contents.quarantined.append(Quarantined(repository, path, reason))
        return first == repository

    for repository in store.repositories():
        runs, baselines = _read_repository(store, repository, contents.quarantined)
        kept = [r for r in runs if is_first((r.role, r.run_id), repository, r.path())]
        contents.records += kept
        contents.places |= {(r.role, r.run_id): f"{repository}/{r.path()}" for r in kept}
        contents.baselines += [b for b in baselines if is_first((b.kind, b.path()), repository, b.path())]
    return contents


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``bocb aggregate``."""
    parser.add_argument("--store", default="outputs/store", help="folder that holds models/<namespace>/<repository>")
    parser.add_argument("--out", default="outputs/report", type=Path, help="folder for tables, figures and report.html")
    parser.add_argument(
        "--source",
        default="store",
        metavar="store|paper[:TABLE]",
        help="records of the store, or the published tables: cifar100 (default), imagenet1k, coco_pose, coco_detection",
    )
    parser.add_argument(
        "--rules",
        choices=("default", "paper"),
        default="default",
        help="paper: beside our analysis, the study's own rules as printed",
    )
    parser.add_argument("--draws", type=int, default=2000, help="bootstrap draws of each analysis (default: 2000)")


def run(arguments: argparse.Namespace) -> int:
    """Reads, writes, prints; returns the exit status.

    Raises:
        InputError: The store holds no valid record, there is no such source, or a file cannot be written.
    """
    # pandas, matplotlib and scipy: a second that `bocb --help` need not wait
    from bocb_hf.analysis_outputs import analyse_paper, analyse_records
    from bocb_hf.outputs import write_outputs

    if arguments.draws < 100:
        raise InputError(f"--draws: {arguments.draws} is too few for a 95 % interval; use at least 100")
    kind, _, name = arguments.source.partition(":")
    if kind not in ("store", "paper") or (kind == "store" and name):
        raise InputError(f"--source: {arguments.source!r} is neither 'store' nor 'paper' nor 'paper:TABLE'")
    if kind == "paper":
        found = analyse_paper(name or "cifar100", arguments.rules, arguments.out, arguments.draws)
        print(found.text)
        paths = found.paths
    else:
        contents = read_store(open_store(arguments.store))
        outputs = write_outputs(contents, arguments.out)
        print(outputs.text)
        found = analyse_records(contents.records, arguments.rules, arguments.out, arguments.draws)
        print(f"\n{found.text}")
        paths = [*outputs.paths, *found.paths]
    print("\nwrote " + ", ".join(str(path) for path in paths))
    return 0


def _read_repository(
    store: Store, repository: str, quarantined: list[Quarantined]
) -> tuple[list[RunRecord], list[BaselineRecord]]:
    """The records of one repository that count; adds what does not to ``quarantined``."""

    def quarantine(path: str, reason: object) -> None:
        # the error names the file as well
        # without the path on this machine that the text of an OSError holds
        text = (reason.strerror or type(reason).__name__) if isinstance(reason, OSError) else str(reason)
        text = text.removeprefix(f"{repository}/{path}: ")
        quarantined.append(Quarantined(repository, path, text))

    def read(path: str, model: type[R]) -> R | None:
        try:
            record = parse_record(store.read(repository, path), f"{repository}/{path}", model)
            _check_place(record, repository, path)
            return record
        except (InputError, OSError) as error:
            quarantine(path, error)
            return None

    try:
        files = store.files(repository)
    except (InputError, OSError) as error:
        quarantine("", error)
        return [], []
    baselines = [record for path in files if _BASELINE.fullmatch(path) and (record := read(path, BaselineRecord))]
    runs = {path: read(path, RunRecord) for path in files if _RUN.fullmatch(path)}
    found = [record for record in runs.values() if record is not None]
    bad = {path for path, record in runs.items() if record is None}
    try:
        card = parse_card(store.read(repository, CARD).decode("utf-8"), f"{repository}/{CARD}")
    except (InputError, OSError, UnicodeDecodeError) as error:
        if runs:  # without runs it is a repository of baselines, or none of ours
            missing = isinstance(error, FileNotFoundError)
            quarantine(CARD, f"{'there is no card' if missing else error}; {DISAGREE}")
        return [], baselines
    return _check_card(card, found, bad, quarantine), baselines


def _check_place(record: RunRecord | BaselineRecord, repository: str, path: str) -> None:
    """Raises InputError when a record does not lie where its identity says."""
    name = repository.partition("/")[2]
    if (record.repository(), record.path()) != (name, path):
        raise InputError(
            f"{repository}/{path}: its identity belongs at {record.repository()}/{record.path()}; move it there or "
            "remove it"
        )


def _check_card(
    card: CardBlock, found: Sequence[RunRecord], bad: set[str], quarantine: Callable[[str, object], None]
) -> list[RunRecord]:
    """The records that the card lists as they are, trials always; quarantines every disagreement."""
    listed = {entry.run_id: entry for entry in card.runs}
    kept: list[RunRecord] = []
    for record in found:
        if record.role == "final" and listed.get(record.run_id) != make_block([record], []).runs[0]:
            bad.add(record.path())
            quarantine(record.path(), DISAGREE)
        else:
            kept.append(record)
    present = {record.run_id for record in kept if record.role == "final"}
    for entry in card.runs:
        # a broken record has its own line already
        if entry.run_id not in present and f"seeds/{entry.seed}/record.json" not in bad:
            quarantine(CARD, f"lists run {entry.run_id}, which has no record; {DISAGREE}")
    return kept
