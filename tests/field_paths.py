"""Fields of nested models by their dotted names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields that are not models themselves."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from leaves(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def value_at(config: Any, path: str) -> Any:
    """The value of a dotted name."""
    for part in path.split("."):
        config = config[part] if isinstance(config, dict) else getattr(config, part)
    return config
