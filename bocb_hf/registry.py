"""A named collection of frozen rows: collisions raise, misses suggest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from bocb_hf.errors import InputError


class HasId(Protocol):
    """Anything that has a read-only ``id``."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=HasId)


def suggestion(name: str, known: Iterable[str]) -> str:
    """Returns ``; did you mean 'x'?`` for the closest known name, or an empty string."""
    plain = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), list(plain), n=1, cutoff=0.6)
    return f"; did you mean {plain[close[0]]!r}?" if close else ""


class Registry(Generic[T]):
    """Rows by id, in the order in which they were added.

    Args:
        kind: What a row is, singular, as error messages name it (``optimizer``).
        listing: The ``bocb list`` argument that shows all rows (``optimizers``).
    """

    def __init__(self, kind: str, listing: str) -> None:
        self.kind = kind
        self._listing = listing
        self._rows: dict[str, T] = {}

    def add(self, row: T) -> T:
        """Adds a row.

        Raises:
            InputError: The id is taken; import order must not decide which row a name means.
        """
        if row.id in self._rows:
            raise InputError(f"{self.kind} {row.id!r} is registered already; choose another id")
        self._rows[row.id] = row
        return row

    def get(self, name: str) -> T:
        """Returns the row with exactly this id.

        Raises:
            InputError: No such row; the message suggests the closest id.
        """
        try:
            return self._rows[name]
        except KeyError:
            hint = suggestion(name, self._rows)
            raise InputError(
                f"unknown {self.kind} {name!r}{hint or ';'} `bocb list {self._listing}` shows all"
            ) from None

    def find(self, name: str) -> T | None:
        """Returns the row with exactly this id, or None: a record may name a row that this installation lacks."""
        return self._rows.get(name)

    def names(self) -> list[str]:
        """All ids, in registration order."""
        return list(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    def __iter__(self) -> Iterator[T]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)
