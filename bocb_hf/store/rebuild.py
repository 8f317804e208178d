"""Makes records again from plain data that came from valid records, without validating them a second time."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)
Make = Callable[[Any], Any]
_MISSING: Any = object()


def rebuild(model: type[M], data: Mapping[str, Any]) -> M:
    """Makes a model from what its ``model_dump(mode="json")`` gave.

    Nothing is checked: this is for data that this installation validated and kept itself. Absent fields take their
    defaults, and fields may hold models already. A record takes a third of the time of its validation.

    Raises:
        KeyError: A field without a default is absent, so the data are not of this model.
    """
    made = model.__new__(model)
    fields: dict[str, Any] = {}
    for name, default, make in _fields(model):
        value = data.get(name, _MISSING)
        if value is _MISSING:
            if default is _MISSING:
                raise KeyError(name)
            fields[name] = default()
        else:
            fields[name] = value if make is None or value is None else make(value)
    object.__setattr__(made, "__dict__", fields)
    object.__setattr__(made, "__pydantic_fields_set__", same_set(set(data)))
    object.__setattr__(made, "__pydantic_extra__", None)
    object.__setattr__(made, "__pydantic_private__", None)
    return made


_sets: dict[frozenset[str], set[str]] = {}


def same_set(names: set[str]) -> set[str]:
    """Returns the one set of these names that all frozen models share: theirs take a third of a record's memory."""
    return _sets.setdefault(frozenset(names), names)


@functools.cache
def _fields(model: type[BaseModel]) -> tuple[tuple[str, Any, Make | None], ...]:
    """Returns (name, function that gives the default, function that makes the value from JSON) of each field."""
    return tuple(
        (
            name,
            _MISSING if field.is_required() else functools.partial(field.get_default, call_default_factory=True),
            _maker(field.annotation),
        )
        for name, field in model.model_fields.items()
    )


def _each(make: Make, whole: Callable[[Any], Any], values: Any) -> Any:
    return whole(map(make, values))


def _maker(annotation: Any) -> Make | None:
    """Returns how a value is made from JSON; None where JSON holds it as it is."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _maker(args[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        model = annotation
        return lambda value: value if isinstance(value, BaseModel) else rebuild(model, value)
    if origin in (Union, types.UnionType):
        makers = [made for arg in args if (made := _maker(arg)) is not None]
        if len(makers) > 1:
            raise TypeError(f"{annotation}: JSON does not tell which of several models it holds")
        return makers[0] if makers else None
    if origin in (list, tuple):
        inner = _maker(args[0])
        if inner is None:
            return tuple if origin is tuple else None
        return functools.partial(_each, inner, tuple if origin is tuple else list)
    if origin is dict and _maker(args[1]) is not None:
        raise TypeError(f"{annotation}: a mapping to models is not made again")
    return None
