"""Goes through the submissions of a results data set, or through those that a pull request proposes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from bocb_hf.errors import InputError
from bocb_hf.results.dataset import VERIFICATIONS, MergedFiles
from bocb_hf.results.submission.check import check_submission
from bocb_hf.results.submission.document import FOLDER, MAX_BYTES, PLACE, Submission, parse_submission
from bocb_hf.results.submission.known import KnownRuns
from bocb_hf.results.submission.snapshot import Snapshot
from bocb_hf.runs import verification
from bocb_hf.runs.verification import Verification
from bocb_hf.store.contents import read_store
from bocb_hf.store.hub_calls import speaks_for
from bocb_hf.store.pinned import PinnedStore


class Judgement(NamedTuple):
    """The finding on one file: what it offers, in words, or why it cannot be merged."""

    path: str
    offer: str
    reasons: Sequence[str]


def review(source: Snapshot) -> Iterator[Judgement]:
    """Judges each file, one after the other.

    A pull request is judged by what it changes: submissions and verifications only, so that none can replace the
    published tables or take away what others have submitted.

    Raises:
        InputError: The Hub refused, so that nothing can be said.
    """
    paths = [p for p in source.paths() if p.startswith((f"{FOLDER}/", f"{VERIFICATIONS}/"))]
    changes = source.changes
    proposed = set(paths if changes is None else [*changes.added, *changes.replaced])
    replaced = set(changes.replaced if changes is not None else [])
    if changes is not None:
        for path in changes.removed:
            yield Judgement(path, "", ["a pull request must not remove it; `bocb retract` retracts a run"])
        for path in sorted(proposed - set(paths)):
            yield Judgement(path, "", ["a pull request may only write submissions and verifications"])
    submissions: dict[str, Submission] = {}
    for path in paths:
        try:
            if path.startswith(f"{VERIFICATIONS}/"):
                if path in replaced:
                    raise InputError(f"{path}: was merged already; a pull request must not replace it")
                if path in proposed:
                    yield judge_verification(_read_verification(source, path), source.author)
                continue
            if path in proposed:
                submissions[path] = _read_submission(source, path)
        except InputError as error:
            yield Judgement(path, "", [str(error).removeprefix(f"{path}: ")])
    known = known_runs(source.merged(), proposed)
    for path, submission in submissions.items():
        found = judge(submission, known)
        if path in replaced:
            found = found._replace(offer=f"{found.offer}; replaces the merged one, which only its owner should")
        yield found


def judge_verification(item: Verification, author: str | None) -> Judgement:
    """Says whether somebody else measured, as far as the Hub tells, and what the maintainer still has to look at.

    Args:
        item: The verification, which lies in its place.
        author: Who opened the pull request; None where that is not known.
    """
    offer = f"{item.level}: run {item.run_id} of {item.repository}"
    people = {"measured": item.measured_by, "proposed": author}
    reasons: list[str] = []
    look: list[str] = []
    for did, user in people.items():
        if user is None:
            continue
        owns = speaks_for(user, item.owner)
        if owns:
            who = user if user.lower() == item.owner.lower() else f"{user}, a member of {item.owner},"
            reasons.append(f"{who} {did} it and owns the run; a run is {item.level} by somebody else")
        elif owns is None:
            look.append(f"whether {user}, who {did} it, belongs to {item.owner}, which the Hub does not tell")
    if item.measured_by is None:
        look.append("who measured, which the file does not name")
    if author is None:
        look.append(f"who proposed it, which is not known here: it must not be {item.owner}")
    if None not in people.values() and len({str(user).lower() for user in people.values()}) > 1:
        look.append(f"whether {item.measured_by} measured this, since {author} proposed it")
    if look:
        offer += f"; look at {', and '.join(look)}"
    return Judgement(item.path(), offer, reasons)


def judge(submission: Submission, known: KnownRuns) -> Judgement:
    """Checks one submission, and adds what it offers to what is known."""
    records, reasons = check_submission(submission, known)
    known.add_records(submission.repository, records)
    finals = sum(record.role == "final" for record in records)
    offer = f"{finals} final run(s) and {len(records) - finals} trial(s) of {submission.repository}"
    return Judgement(submission.path(), offer, reasons)


def known_runs(source: Snapshot, in_question: Collection[str]) -> KnownRuns:
    """Finds whose each run is, from the published records and from submissions that were merged since.

    Args:
        source: The merged state of the results data set.
        in_question: Paths of the submissions that are being judged.

    Raises:
        InputError: The published records cannot be read.
    """
    known = KnownRuns()
    published = source.published()
    if published is not None:
        known.add_published(published)
    for submission in read_merged(source)[0]:
        if submission.path() in in_question:
            continue
        if not known.digests.keys() >= set(submission.records):
            try:
                records = read_store(PinnedStore(submission.repository, submission.revision)).records
                known.add_records(submission.repository, (r for r in records if r.sha256() in submission.records))
            except InputError:  # the repository is gone, but the submitted SHA-256 still show a plain copy
                pass
        known.add_submission(submission)
    return known


def read_merged(source: MergedFiles) -> tuple[list[Submission], list[tuple[str, str]]]:
    """Returns the valid submissions, and (path, reason) of every other file in their place."""
    found, damaged = list[Submission](), list[tuple[str, str]]()
    for path in source.paths():
        if not path.startswith(f"{FOLDER}/"):
            continue
        try:
            found.append(_read_submission(source, path))
        except InputError as error:
            damaged.append((path, str(error).removeprefix(f"{path}: ")))
    return found, damaged


def _read_submission(source: MergedFiles, path: str) -> Submission:
    if not PLACE.fullmatch(path):
        raise InputError(f"{path}: not named <namespace>__<repository>.json")
    return parse_submission(source.read(path, MAX_BYTES), path)


def _read_verification(source: Snapshot, path: str) -> Verification:
    """Reads a verification and checks that it lies in its place.

    Raises:
        InputError: The file is not a valid verification, or lies elsewhere than it belongs.
    """
    item = verification.parse_verification(source.read(path, verification.MAX_BYTES), path)
    if item.path() != path:
        raise InputError(f"{path}: belongs at {item.path()}")
    return item
