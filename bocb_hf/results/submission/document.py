"""The file of one submission: which records of which commit of a repository its author offers, and nothing else.

What can be read from the repository is not repeated here; the SHA-256 of a record stands for all of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bocb_hf.errors import InputError
from bocb_hf.runs.card import CardBlock
from bocb_hf.schema import Document, Sha256, parse_document
from bocb_hf.store.pinned import PinnedStore
from bocb_hf.store.read import read_card

FOLDER = "submissions"
MAX_BYTES = 100_000
MAX_RECORDS = 1000
PLACE = re.compile(r"submissions/[A-Za-z0-9][A-Za-z0-9_-]{0,95}__[A-Za-z0-9._-]{1,96}\.json")


def place(repository: str) -> str:
    """Returns where the submission of a repository lies in the results data set."""
    return f"{FOLDER}/{repository.replace('/', '__')}.json"


class Submission(Document):
    """The records of one repository that its owner offers.

    Attributes:
        repository: Where the records lie.
        revision: The commit that they are judged at.
        records: SHA-256 of each record, sorted.
    """

    schema_version: Literal[1]
    repository: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,95}/[A-Za-z0-9._-]{1,96}$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    records: Annotated[list[Sha256], Field(min_length=1, max_length=MAX_RECORDS)]

    @model_validator(mode="after")
    def _canonical(self) -> Submission:
        if self.records != sorted(set(self.records)):
            raise ValueError("records must be sorted, and each given once")
        return self

    @property
    def namespace(self) -> str:
        """The user or organisation that owns the repository."""
        return self.repository.split("/")[0]

    def path(self) -> str:
        """Where the submission lies in the results data set; there is one place for each repository."""
        return place(self.repository)


def parse_submission(content: bytes, path: str) -> Submission:
    """Reads a submission and checks that it lies where it belongs.

    Args:
        content: Content of the file.
        path: Path of the file in the results data set.

    Raises:
        InputError: The file is too large, not valid, not as this project writes it, or named after another repository.
    """
    submission = parse_document(Submission, content, path, "submission", MAX_BYTES)
    if submission.path() != path:
        raise InputError(f"{path}: it is a submission of {submission.repository}, so it belongs at {submission.path()}")
    # Only one way to write a file is accepted, so that equal submissions have equal bytes.
    if submission.to_json().encode() != content:
        raise InputError(f"{path}: not as `bocb submit` writes it; submit it again")
    return submission


def make_submission(store: PinnedStore, seeds: Sequence[int] | None) -> Submission:
    """Offers the final runs and all tuning trials that the card of a repository lists.

    Args:
        store: The repository at the commit to offer.
        seeds: Seeds of the final runs to offer; None takes every run that came to its end.

    Raises:
        InputError: There is no valid card, or there is no such final run.
    """
    repository = store.repository
    try:
        card: CardBlock = read_card(store, repository)
    except FileNotFoundError:
        raise InputError(f"{repository}: there is no card; `bocb push` makes one") from None
    except UnicodeDecodeError:
        raise InputError(f"{repository}: its card is not UTF-8; `bocb render` makes it anew") from None
    runs = {run.seed: run for run in card.runs}
    wanted = sorted(s for s, r in runs.items() if r.status != "interrupted") if seeds is None else sorted(set(seeds))
    missing = [seed for seed in wanted if seed not in runs]
    if missing or not wanted:
        raise InputError(
            f"{repository}: no final run of seed {', '.join(map(str, missing)) or 'any'} is listed; it has "
            f"{', '.join(map(str, sorted(runs))) or 'none'}; train it and push it first"
        )
    digests = {runs[seed].record_sha256 for seed in wanted}
    digests |= {trial.record_sha256 for trial in card.trials if trial.record_sha256 is not None}
    if len(digests) > MAX_RECORDS:
        raise InputError(f"{repository}: {len(digests)} records are more than the {MAX_RECORDS} of one submission")
    return Submission(schema_version=1, repository=repository, revision=store.revision_sha, records=sorted(digests))
