"""Commits a change that rests on what a store holds; it is made again, but not for ever, if somebody was quicker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from bocb_hf.errors import InputError
from bocb_hf.store.protocol import ConflictError

ATTEMPTS = 50
T = TypeVar("T")


def commit_with_retry(attempt: Callable[[], T], where: str) -> T:
    """Makes a change that rests on what a store holds now.

    Args:
        attempt: Reads what is there, makes the change from it, commits it, and returns what the caller wants to know.
            It raises ``ConflictError`` when what it read is not current any more, and is then called again.
        where: Name of what is changed; an error begins with it.

    Raises:
        InputError: Others were quicker ``ATTEMPTS`` times in a row.
    """
    for _ in range(ATTEMPTS):
        try:
            return attempt()
        except ConflictError:
            continue
    raise InputError(f"{where} kept changing during {ATTEMPTS} attempts; run the same command again")
