"""Levels of trust: what somebody else has measured again.

``self-reported`` is what a card says. ``verified`` says that a maintainer has measured these weights again; it says
nothing about how they were trained. ``reproduced`` says that the run was trained again from its record. Both are files
of the results data set, and count once a maintainer has merged them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from bocb_hf.errors import InputError
from bocb_hf.schema import Frozen, canonical_json, describe_errors

Level = Literal["self-reported", "verified", "reproduced"]
MAX_BYTES = 10_000
_ORDER: tuple[Level, ...] = ("self-reported", "verified", "reproduced")
Hash64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Verification(Frozen):
    """One measurement of somebody else's run. It names the record by its SHA-256, so no copy or later run inherits it.

    Attributes:
        level: What was done.
        repository: Where the run lies.
        run_id: Of the run.
        record_sha256: Of its record.
        weights_sha256: Of the weights that were measured.
        claimed: Correct test images according to the record.
        measured: Correct test images as measured again.
        differing: Test images on which the two disagree; None where the run was trained again.
        images: Test images.
        tolerance: Largest difference of the two scores that counts as the same, in points.
        measured_on: Device and version of torch.
        measured_at: UTC.
    """

    schema_version: Literal[1]
    level: Literal["verified", "reproduced"]
    repository: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,96}/[A-Za-z0-9._-]{1,96}$")]
    run_id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}-[0-9]{1,10}$")]
    record_sha256: Hash64
    weights_sha256: Hash64
    claimed: int = Field(ge=0)
    measured: int = Field(ge=0)
    differing: int | None = Field(ge=0)
    images: int = Field(ge=1)
    tolerance: float = Field(gt=0, le=5)
    measured_on: Annotated[str, Field(max_length=200)]
    measured_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]

    @model_validator(mode="after")
    def _agrees(self) -> Verification:
        if max(self.claimed, self.measured) > self.images:
            raise ValueError("more correct images than there are")
        if not 100 * abs(self.claimed - self.measured) / self.images <= self.tolerance:
            raise ValueError(
                f"{self.measured} of {self.images} images are correct, but the record claims {self.claimed}: further "
                f"apart than {self.tolerance:g} points"
            )
        return self

    def to_json(self) -> str:
        """As it is stored."""
        return canonical_json(self.model_dump(mode="json")) + "\n"

    def path(self) -> str:
        """Where it lies in the results data set."""
        return f"verifications/{self.record_sha256[:16]}-{self.level}.json"


def parse_verification(content: bytes, source: str) -> Verification:
    """Reads and validates a verification.

    Raises:
        InputError: It is not one.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"{source}: larger than {MAX_BYTES} bytes")
    try:
        return Verification.model_validate_json(content)
    except ValidationError as error:
        raise InputError(f"{source}: {'; '.join(describe_errors(error, Verification))}") from None


def levels(verifications: Iterable[Verification]) -> Mapping[str, Level]:
    """The highest level of each record, by its SHA-256; one that is not here is self-reported."""
    found: dict[str, Level] = {}
    for item in verifications:
        if _ORDER.index(item.level) > _ORDER.index(found.get(item.record_sha256, "self-reported")):
            found[item.record_sha256] = item.level
    return found
