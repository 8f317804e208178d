"""Static parts of a sweep, for schedulers without a driver: each cell lies in exactly one part, whoever asks."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from bocb_hf.errors import InputError


@dataclass(frozen=True)
class Shard:
    """One of ``count`` parts of a sweep; ``number`` counts from 1.

    Raises:
        InputError: There is no part of this number.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise InputError(
                f"--shard: there is no part {self.number} of {self.count}; parts count from 1/{self.count} to "
                f"{self.count}/{self.count}"
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Reads ``3/16``.

        Raises:
            InputError: The text does not read so.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if match is None:
            raise InputError(f"--shard: {text!r} must read NUMBER/COUNT, such as 3/16")
        return cls(int(match.group(1)), int(match.group(2)))

    def holds(self, *identity: str) -> bool:
        """Whether what these names identify lies in this part.

        A pure function of the names: neither the order of a plan nor what else it holds matters. The parts of a plan
        are of about the same size, not of exactly the same.
        """
        digest = hashlib.sha256("\0".join(identity).encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
