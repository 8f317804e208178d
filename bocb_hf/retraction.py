"""Tombstones: a run that its owner has withdrawn stays where it is, and no table counts it."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from bocb_hf.errors import InputError
from bocb_hf.record import RunRecord
from bocb_hf.schema import Frozen, canonical_json, describe_errors

MAX_BYTES = 10_000


class Retraction(Frozen):
    """One withdrawn run. Lies at ``retracted/<first 12 digits of the record's SHA-256>.json`` of its repository."""

    schema_version: Literal[1]
    run_id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}-[0-9]{1,10}$")]
    record_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    retracted_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]

    def to_json(self) -> str:
        """The tombstone as it is stored."""
        return canonical_json(self.model_dump(mode="json")) + "\n"

    def path(self) -> str:
        """Where it lies in its repository."""
        return f"retracted/{self.record_sha256[:12]}.json"


def make_retraction(record: RunRecord, reason: str) -> Retraction:
    """The tombstone of a record.

    Raises:
        InputError: No reason, or one that is too long.
    """
    if not 1 <= len(reason.strip()) <= 500:
        raise InputError("--reason: say in 1 to 500 characters why the run is withdrawn")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Retraction(
        schema_version=1,
        run_id=record.run_id,
        record_sha256=record.sha256(),
        reason=" ".join(reason.split()),
        retracted_at=now,
    )


def parse_retraction(content: bytes, source: str) -> Retraction:
    """Reads and validates a tombstone.

    Raises:
        InputError: It is not one.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"{source}: larger than {MAX_BYTES} bytes")
    try:
        return Retraction.model_validate_json(content)
    except ValidationError as error:
        raise InputError(f"{source}: not a valid tombstone: {'; '.join(describe_errors(error, Retraction))}") from None
