"""Judges a submission. Everything in it, and in the repository that it names, is other people's input.

Nothing is executed, unpickled or loaded as weights: files are listed, records and cards are parsed by the models that
the project reads them with everywhere, and of the weights only the header is read. Each check adds its reasons; none
stops the others unless there is nothing left to look at.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from huggingface_hub.errors import SafetensorsParsingError

from bocb_hf.errors import InputError
from bocb_hf.results.submission.document import Submission
from bocb_hf.results.submission.known import KnownRuns
from bocb_hf.runs.card import CardBlock, parse_card
from bocb_hf.runs.record import MAX_BYTES, RunRecord
from bocb_hf.store.contents import StoreContents, read_store
from bocb_hf.store.hub import UNSAFE, download
from bocb_hf.store.hub_calls import explained, make_api
from bocb_hf.store.pinned import PinnedStore
from bocb_hf.store.read import CARD, FLOOR, RETRACTION, RUN, read_card

MAX_RECORD_FILES = 2000
MAX_RECORD_BYTES = 200_000_000
_SHOWN = 5  # largest number of files shown for one kind of reason: a thousand bad files are one reason, not a thousand


def check_submission(submission: Submission, known: KnownRuns) -> tuple[list[RunRecord], list[str]]:
    """Looks for every reason why a submission must not be merged.

    Args:
        submission: The submission, which lies in its place.
        known: What others hold; the caller has to add an accepted submission.

    Returns:
        The records that it offers and that are valid, and the reasons, empty when it can be merged.
    """
    try:
        store = PinnedStore(submission.repository, submission.revision)
        reasons = _check_repository(store)
        _check_sizes(store)
        card = read_card(store, store.repository)
        contents = read_store(store)
    except (InputError, OSError, UnicodeDecodeError) as error:
        missing = isinstance(error, FileNotFoundError)
        return [], [f"{submission.repository}: there is no card" if missing else str(error)]
    offered = {digest: path for path, digest in card.paths().items() if digest in submission.records}
    records = [record for record in contents.records if record.sha256() in offered]
    reasons += _check_records(submission, offered, records, contents)
    reasons += [f"{offered[r.sha256()]}: {why}" for r in records for why in _check_record(store, r, known)]
    reasons += _check_copies_inside(records)
    if not any(record.role == "final" for record in records):
        reasons.append("it offers no valid final run; a table counts final runs only")
    reasons += _check_head(submission)
    return records, reasons


def _check_repository(store: PinnedStore) -> list[str]:
    """Returns reasons from what the Hub says of a repository, and from the names of the files that it holds."""
    reasons: list[str] = []
    if store.name_now != store.repository:
        reasons.append(f"{store.repository} is called {store.name_now} now; submit that")
    if not store.is_public:
        reasons.append(f"{store.repository} is private or gated; everybody must be able to check a run")
    unsafe = sorted(path for path in store.tree if path.lower().endswith(UNSAFE))
    reasons += [f"{path}: loading such a file runs code; keep safetensors only" for path in unsafe[:_SHOWN]]
    if len(unsafe) > _SHOWN:
        reasons.append(f"{len(unsafe) - _SHOWN} more files of that kind")
    return reasons


def _check_sizes(store: PinnedStore) -> None:
    """Checks sizes before anything large is fetched; raises InputError where one is too large."""
    read = [
        file
        for path, file in store.tree.items()
        if path == CARD or any(p.match(path) for p in (RUN, FLOOR, RETRACTION))
    ]
    total, largest = sum(file.size for file in read), max((file.size for file in read), default=0)
    if len(read) > MAX_RECORD_FILES or total > MAX_RECORD_BYTES or largest > MAX_BYTES:
        raise InputError(
            f"{store.repository}: {len(read)} records of {total} bytes, the largest {largest}; at most "
            f"{MAX_RECORD_FILES} of {MAX_RECORD_BYTES}, none above {MAX_BYTES}, are read"
        )


def _check_records(
    submission: Submission, offered: Mapping[str, str], valid: Sequence[RunRecord], contents: StoreContents
) -> list[str]:
    """Returns reasons against offered records: not listed by the card, elsewhere, not valid, or retracted."""
    reasons = [f"{q.path or 'the repository'}: {q.reason}" for q in contents.quarantined if not RUN.fullmatch(q.path)]
    why = {q.path: q.reason for q in contents.quarantined}
    fine = {record.sha256() for record in valid}
    unlisted = [digest for digest in submission.records if digest not in offered]
    if unlisted:
        some = ", ".join(digest[:12] for digest in unlisted[:_SHOWN])
        reasons.append(f"{len(unlisted)} record(s) are not listed by the card of that commit: SHA-256 {some}")
    for digest, path in sorted(offered.items(), key=lambda pair: pair[1]):
        if digest not in fine:
            reasons.append(f"{path}: {why.get(path, 'is not the record that the card lists (its SHA-256 differs)')}")
    return reasons


def _check_record(store: PinnedStore, record: RunRecord, known: KnownRuns) -> list[str]:
    """Returns reasons against one valid record: its bytes, how it ended, its weights, and whether it is a copy."""
    reasons: list[str] = []
    raw = store.read(store.repository, record.path())
    if hashlib.sha256(raw).hexdigest() != record.sha256():
        reasons.append("its bytes are not as this project writes a record; push it again")
    if record.status == "interrupted":
        reasons.append("the run was interrupted; continue it with the same command, then push it")
    if (copied := known.copied(store.repository, record)) is not None:
        reasons.append(copied)
    if record.weights_sha256 is not None:
        path = f"seeds/{record.seed}/model.safetensors"
        try:
            _check_weights(store, path, record.weights_sha256)
        except InputError as error:
            reasons.append(f"{path}: {error}")
    return reasons


def _check_weights(store: PinnedStore, path: str, digest: str) -> None:
    """Raises InputError unless the Hub lists the weights with their SHA-256 and their header is one of safetensors."""
    file = store.tree.get(path)
    if file is None:
        raise InputError("the weights are missing; push the run again")
    if file.lfs is None or file.lfs.sha256 != digest:
        listed = "none" if file.lfs is None else file.lfs.sha256[:12]
        raise InputError(f"the record says SHA-256 {digest[:12]}, the Hub lists {listed}")
    with explained(store.repository):
        try:
            make_api().parse_safetensors_file_metadata(store.repository, path, revision=store.revision_sha)
        except (SafetensorsParsingError, RecursionError, AttributeError, KeyError, TypeError, ValueError):
            raise InputError("is no safetensors file") from None


def _check_copies_inside(records: Sequence[RunRecord]) -> list[str]:
    """Returns reasons against runs of one repository with the same weights, because two seeds never end at the same."""
    seen: dict[str, RunRecord] = {}
    reasons: list[str] = []
    for record in sorted(records, key=lambda r: r.seed):
        if record.weights_sha256 is None:
            continue
        first = seen.setdefault(record.weights_sha256, record)
        if first is not record:
            reasons.append(f"{record.path()}: its weights are those of seed {first.seed}, byte for byte")
    return reasons


def _check_head(submission: Submission) -> list[str]:
    """Returns reasons why a repository's head, from which tables are read, does not offer the same any more."""
    repository = submission.repository
    try:
        card = parse_card(download(repository, CARD, "main").decode("utf-8"), f"{repository}/{CARD}")
    except FileNotFoundError:
        return [f"{repository}: there is no card any more"]
    except (InputError, UnicodeDecodeError) as error:
        return [str(error)]
    retracted = [entry for entry in card.retracted if entry.record_sha256 in submission.records]
    reasons = [f"run {entry.run_id} is retracted: {entry.reason}" for entry in retracted]
    if digests := changed_since(submission, card):
        reasons.append(changed_text(submission, digests))
    return reasons


def changed_since(submission: Submission, card: CardBlock) -> list[str]:
    """Returns the SHA-256 of submitted records that the card of the head neither lists nor declares retracted."""
    there = {*card.paths().values(), *(entry.record_sha256 for entry in card.retracted)}
    return [digest for digest in submission.records if digest not in there]


def changed_text(submission: Submission, digests: Sequence[str]) -> str:
    """Says how many of the submitted records have changed, and which."""
    some = ", ".join(digest[:12] for digest in digests[:_SHOWN])
    return (
        f"{len(digests)} record(s) have changed since commit {submission.revision[:12]}, SHA-256 {some}; submit the "
        "repository again"
    )
