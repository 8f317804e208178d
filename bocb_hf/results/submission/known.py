"""Knows which repository each run was first seen in, which tells a copy from a run of its own."""

# pyright: basic
# pyarrow is only partly typed.

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bocb_hf.errors import InputError
from bocb_hf.results.submission.document import Submission
from bocb_hf.runs.record import RunRecord

_COLUMNS = ["repository", "role", "run_id", "record_sha256", "record"]
_BATCH = 500


@dataclass
class KnownRuns:
    """The repository that holds each run, by what a copy shares with its original.

    Attributes:
        digests: Repository by SHA-256 of the record.
        finals: Repository by run id of final runs. Trials are not in it, since those of two people may share an id:
            both begin with the same grid and seed.
        weights: Repository by SHA-256 of the weights.
    """

    digests: dict[str, str] = field(default_factory=dict[str, str])
    finals: dict[str, str] = field(default_factory=dict[str, str])
    weights: dict[str, str] = field(default_factory=dict[str, str])

    def add_published(self, path: Path) -> None:
        """Adds what a results data set has published.

        Args:
            path: The file ``records.parquet`` of the data set.

        Raises:
            InputError: The file cannot be read.
        """
        try:
            for batch in pq.ParquetFile(path).iter_batches(_BATCH, columns=_COLUMNS):
                rows = batch.to_pydict()
                for repository, role, run_id, digest, record in zip(*(rows[c] for c in _COLUMNS), strict=True):
                    weights = json.loads(record)["weights_sha256"]
                    self._add(repository, digest, run_id if role == "final" else None, weights)
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"{path.name} cannot be read as published records ({type(error).__name__}); in a checkout, "
                "`git lfs pull` fetches it"
            ) from None

    def add_submission(self, submission: Submission) -> None:
        """Adds the records that another submission offers, of which only the SHA-256 are known."""
        for digest in submission.records:
            self._add(submission.repository, digest, None, None)

    def add_records(self, repository: str, records: Iterable[RunRecord]) -> None:
        """Adds the records that a repository holds."""
        for record in records:
            run_id = record.run_id if record.role == "final" else None
            self._add(repository, record.sha256(), run_id, record.weights_sha256)

    def _add(self, repository: str, digest: str, final: str | None, weights: str | None) -> None:
        self.digests.setdefault(digest, repository)
        if final is not None:
            self.finals.setdefault(final, repository)
        if weights is not None:
            self.weights.setdefault(weights, repository)

    def copied(self, repository: str, record: RunRecord) -> str | None:
        """Returns why a record is a copy and not a run of its own, or None.

        Args:
            repository: The repository that holds the record.
            record: The record in question.
        """
        owner = self.digests.get(record.sha256(), repository)
        if owner != repository:
            return f"is a copy of the record that {owner} holds; a copy is not a second run"
        if record.role == "trial":
            return None
        owner = self.finals.get(record.run_id, repository)
        if owner != repository:
            return (
                f"run {record.run_id} is there from {owner}; train another seed, or `bocb reproduce` it and propose "
                "the result"
            )
        owner = self.weights.get(record.weights_sha256 or "", repository)
        if owner != repository:
            return f"its weights are those of a run of {owner}, byte for byte"
        return None
