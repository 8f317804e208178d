"""Tombstones: a run that its owner has retracted stays where it is, and no table counts it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bocb_hf.errors import InputError
from bocb_hf.runs.record import RunRecord
from bocb_hf.schema import Document, Printable, RunId, Sha256, UtcTime, parse_document, utc_now

MAX_BYTES = 10_000


class Retraction(Document):
    """The tombstone of a retracted run, at ``retracted/<first 12 digits of the record's SHA-256>.json``."""

    schema_version: Literal[1]
    run_id: RunId
    record_sha256: Sha256
    reason: Annotated[Printable, Field(min_length=1, max_length=500)]
    retracted_at: UtcTime

    def path(self) -> str:
        """Where the tombstone lies in its repository."""
        return f"retracted/{self.record_sha256[:12]}.json"


def make_retraction(record: RunRecord, reason: str) -> Retraction:
    """Makes the tombstone of a record.

    Raises:
        InputError: There is no reason, or it is too long or not plain text.
    """
    reason = " ".join(reason.split())
    if not 1 <= len(reason) <= 500 or not reason.isprintable():
        raise InputError("--reason: say in 1 to 500 plain characters why the run is retracted")
    return Retraction(
        schema_version=1,
        run_id=record.run_id,
        record_sha256=record.sha256(),
        reason=reason,
        retracted_at=utc_now(),
    )


def parse_retraction(content: bytes, source: str) -> Retraction:
    """Reads and validates a tombstone.

    Raises:
        InputError: The content is not a valid tombstone.
    """
    return parse_document(Retraction, content, source, "tombstone", MAX_BYTES)
