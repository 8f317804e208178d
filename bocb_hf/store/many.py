"""What reading thousands of records needs: no search for cycles meanwhile, and equal parts of records kept once."""

from __future__ import annotations

import functools
import gc
import types
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

from bocb_hf.runs.config import AugmentationConfig
from bocb_hf.runs.identity import BackboneIdentity, DataIdentity, Identity
from bocb_hf.runs.measurements import Environment
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.training_config import TrainingConfig
from bocb_hf.store.rebuild import rebuild, same_set

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


class _Parts:
    """The parts of a record that many runs share: (section of the identity, or of the record itself, and its model)."""

    inside = ("backbone", "training", "augmentation", "data")
    models: tuple[type[BaseModel], ...] = (
        BackboneIdentity,
        TrainingConfig,
        AugmentationConfig,
        DataIdentity,
        Environment,
    )
    excluded: Mapping[str, Any] = {"identity": set(inside), "environment": True}

    def of(self, record: RunRecord) -> list[BaseModel]:
        """Returns the parts of a record, in the order of ``models``."""
        return [*(getattr(record.identity, name) for name in self.inside), record.environment]

    def join(self, data: Mapping[str, Any], parts: Sequence[BaseModel]) -> RunRecord:
        """Makes a record from what is its own (its dump without ``excluded``) and its parts."""
        fields = dict(data)
        fields["environment"] = parts[-1]
        fields["identity"] = rebuild(
            Identity, {**fields["identity"], **dict(zip(self.inside, parts[:-1], strict=True))}
        )
        return rebuild(RunRecord, fields)


PARTS = _Parts()


class Shared:
    """Keeps equal parts of records once.

    The runs of a sweep share their software, data, recipe and network. Models are frozen, so nobody can change a part
    for one run and thereby for others.
    """

    def __init__(self) -> None:
        self._parts: dict[tuple[type[BaseModel], str], BaseModel] = {}

    def share(self, record: RunRecord) -> RunRecord:
        """Returns an equal record whose parts are those of earlier records, wherever they are equal."""
        *inside, environment = map(self.one, PARTS.of(record))
        identity = record.identity.model_copy(update=dict(zip(PARTS.inside, inside, strict=True)))
        identity = _slim(identity, besides=PARTS.inside)
        made = record.model_copy(update={"identity": identity, "environment": environment})
        return _slim(made, besides=("identity", "environment"))

    def one(self, part: BaseModel) -> BaseModel:
        """Returns the first part that was given and equals this one."""
        key = (type(part), part.model_dump_json())
        found = self._parts.get(key)
        if found is None:
            found = self._parts[key] = _slim(part)
        return found


def _slim(model: M, besides: tuple[str, ...] = ()) -> M:
    """Returns a frozen model, which shares the sets of the names of its fields with all others.

    Args:
        model: The model.
        besides: Fields whose values are slim already.
    """
    object.__setattr__(model, "__pydantic_fields_set__", same_set(model.model_fields_set))
    for name in _nested(type(model)):
        value = model.__dict__[name]
        if isinstance(value, BaseModel) and name not in besides:
            _slim(value)
    return model


@functools.cache
def _nested(model: type[BaseModel]) -> tuple[str, ...]:
    """Names of the fields of a model that may hold a model."""
    return tuple(name for name, field in model.model_fields.items() if _holds_model(field.annotation))


def _holds_model(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return get_origin(annotation) in (Annotated, Union, types.UnionType) and any(
        map(_holds_model, get_args(annotation))
    )
