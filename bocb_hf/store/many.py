"""What reading thousands of records needs: no search for cycles meanwhile, and equal parts of records kept once."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TypeVar

from pydantic import BaseModel

from bocb_hf.runs.record import RunRecord

M = TypeVar("M", bound=BaseModel)


@contextmanager
def no_collection() -> Generator[None]:
    """Pauses Python's search for cycles while the block runs.

    Each search visits all objects that live, and records hold no cycle: for 11,200 of them it takes longer than to
    validate them. Where the search is off already, it stays off.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Shared:
    """Keeps equal parts of records once.

    The runs of a sweep share their software, data, recipe and network. Models are frozen, so nobody can change a part
    for one run and thereby for others.
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[type[BaseModel], str], BaseModel] = {}

    def share(self, record: RunRecord) -> RunRecord:
        """Returns an equal record whose parts are those of earlier records, wherever they are equal."""
        identity = record.identity
        parts: dict[str, Any] = {
            name: self._one(getattr(identity, name)) for name in ("backbone", "training", "augmentation", "data")
        }
        return record.model_copy(
            update={"identity": identity.model_copy(update=parts), "environment": self._one(record.environment)}
        )

    def _one(self, part: M) -> M:
        known = self._parts.setdefault((type(part), part.model_dump_json()), part)
        assert isinstance(known, type(part))
        return known
