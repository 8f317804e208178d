"""Levels of trust, which say what somebody else has measured again.

``self-reported`` is what a card says. ``verified`` says that a maintainer has measured these weights again; it says
nothing about how they were trained. ``reproduced`` says that the run was trained again from its record. Both are files
of the results data set, and count once a maintainer has merged them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bocb_hf.errors import InputError
from bocb_hf.runs.record import RunRecord
from bocb_hf.schema import (
    Count,
    Document,
    Positive,
    Printable,
    RepositoryId,
    RunId,
    Sha256,
    UtcTime,
    later,
    parse_document,
    utc_now,
)

Level = Literal["self-reported", "verified", "reproduced"]
UserName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")]
MAX_BYTES = 10_000
_ORDER: tuple[Level, ...] = ("self-reported", "verified", "reproduced")


class Verification(Document):
    """One measurement of somebody else's run. It names the record by its SHA-256, so no copy or later run inherits it.

    Attributes:
        level: The level of trust that the measurement gives.
        repository: Where the run lies.
        run_id: Id of the run.
        record_sha256: SHA-256 of the record of the run.
        weights_sha256: SHA-256 of the weights that were measured: those of the run, or those that training again gave.
        same_weights: Whether training again gave the weights of the run, byte for byte; None where nothing was trained.
        claimed: Correct test images according to the record.
        measured: Correct test images as measured again.
        differing: Test images that are right in one of the two and wrong in the other; None in files from before it was
            counted for both levels.
        images: Number of test images.
        tolerance: Largest difference of the two scores that counts as the same, in points.
        measured_on: Device and version of torch.
        measured_at: When it was measured, UTC.
        measured_by: The Hub's user who measured and proposed it; None in files from before it was kept, and in those
            that were not proposed by ``bocb``.
    """

    schema_version: Literal[1]
    level: Literal["verified", "reproduced"]
    repository: RepositoryId
    run_id: RunId
    record_sha256: Sha256
    weights_sha256: Sha256
    same_weights: bool | None = later(None)
    claimed: Count
    measured: Count
    differing: Count | None
    images: Positive
    tolerance: float = Field(gt=0, le=5)
    measured_on: Annotated[Printable, Field(max_length=200)]
    measured_at: UtcTime
    measured_by: UserName | None = later(None)

    @model_validator(mode="after")
    def _agrees(self) -> Verification:
        if max(self.claimed, self.measured, self.differing or 0) > self.images:
            raise ValueError("more images are counted than there are")
        if not 100 * abs(self.claimed - self.measured) / self.images <= self.tolerance:
            raise ValueError(
                f"{self.measured} of {self.images} images are correct, but the record claims {self.claimed}: further "
                f"apart than {self.tolerance:g} points"
            )
        return self

    @property
    def owner(self) -> str:
        """The user or organisation that the run belongs to."""
        return self.repository.split("/")[0]

    def path(self) -> str:
        """Where the verification lies in the results data set."""
        return f"verifications/{self.record_sha256[:16]}-{self.level}.json"


def check_tolerance(points: float) -> None:
    """Raises InputError for a tolerance under which everything, or nothing, would count as the same."""
    if not 0 < points <= 5:
        raise InputError(f"--tolerance: {points:g} points must be above 0 and at most 5")


def make_verification(
    repository: str, record: RunRecord, right: NDArray[np.bool_], tolerance: float, measured_on: str, again: str | None
) -> Verification:
    """Compares the test images that are right now with those of a record.

    Args:
        repository: ``namespace/name`` on the Hub, or the folder of a repository.
        record: Record of a completed final run.
        right: Whether each test image is classified correctly, shape (N,), in the order of the test split.
        tolerance: Largest difference of the two scores, in points.
        measured_on: Device and software.
        again: SHA-256 of the weights that training again gave; None where those of the run were measured.

    Raises:
        InputError: The scores are further apart, or the split has another size.
    """
    check_tolerance(tolerance)
    claimed, weights = record.correctness, record.weights_sha256
    if claimed is None or weights is None:
        raise InputError(f"{repository}: run {record.run_id} has no test score to compare with")
    if len(right) != claimed.n:
        raise InputError(f"{repository}: {len(right)} test images here, {claimed.n} in the record")
    measured = int(right.sum())
    if not 100 * abs(claimed.k - measured) / claimed.n <= tolerance:
        raise InputError(
            f"{repository}: seed {record.seed} is not {'verified' if again is None else 'reproduced'}: {measured} of "
            f"{claimed.n} images are correct, the record claims {claimed.k}: further apart than {tolerance:g} points"
        )
    return Verification(
        schema_version=1,
        level="verified" if again is None else "reproduced",
        repository=_place(repository, record),
        run_id=record.run_id,
        record_sha256=record.sha256(),
        weights_sha256=again or weights,
        same_weights=None if again is None else again == weights,
        claimed=claimed.k,
        measured=measured,
        differing=int((right != claimed.bits()).sum()),
        images=claimed.n,
        tolerance=tolerance,
        measured_on=measured_on,
        measured_at=utc_now(),
    )


def _place(repository: str, record: RunRecord) -> str:
    """Where the run lies. A run measured in a folder gets the folder's name, where that is one of the run's names."""
    if not Path(repository).is_dir():
        return repository
    name = Path(repository).resolve().name
    return f"local/{name if name in record.repositories() else record.repository()}"


def parse_verification(content: bytes, source: str) -> Verification:
    """Reads and validates a verification.

    Raises:
        InputError: The content is not a valid verification.
    """
    return parse_document(Verification, content, source, "verification", MAX_BYTES)


def levels(verifications: Iterable[Verification]) -> Mapping[str, Level]:
    """Returns the highest level of each record by its SHA-256; a record without an entry is self-reported."""
    found: dict[str, Level] = {}
    for item in verifications:
        if _ORDER.index(item.level) > _ORDER.index(found.get(item.record_sha256, "self-reported")):
            found[item.record_sha256] = item.level
    return found
