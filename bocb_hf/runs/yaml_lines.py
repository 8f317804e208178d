"""Writes block YAML line by line, to the byte as PyYAML does and ten times as fast; every run writes its card anew."""

# pyright: basic
# PyYAML is only partly typed.

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

_SIMPLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")  # plain, unless it would be read as another type
LONGEST = 500  # PyYAML may break longer texts


class Undecided(Exception):
    """The data hold what is left to PyYAML."""


def dump(data: Any, dumper: type[yaml.SafeDumper], known: dict[str, str]) -> str:
    """Writes mappings, sequences and scalars in block style, keys in their given order.

    Args:
        data: Plain data.
        dumper: The dumper of PyYAML whose output this is.
        known: The texts of scalars, which are kept for later calls.

    Raises:
        Undecided: The data hold something else, or a text that may be broken into lines.
    """
    if not isinstance(data, dict) or not data:
        raise Undecided
    lines: list[str] = []

    def text(value: str) -> str:
        if value not in known:
            if len(value) > LONGEST or not value.isprintable():
                raise Undecided
            if len(known) > 10_000:
                known.clear()
            known[value] = value if _stays_text(value, dumper) else _of_pyyaml(value, dumper)
        return known[value]

    _mapping(data, "", "", lines, lambda value: _scalar(value, dumper, text))
    return "\n".join(lines) + "\n"


def _stays_text(value: str, dumper: Any) -> bool:
    """Returns whether a text needs no quotes."""
    if _SIMPLE.fullmatch(value) is None:
        return False
    resolvers = dumper.yaml_implicit_resolvers
    patterns = (*resolvers.get(value[0], ()), *resolvers.get(None, ()))
    return not any(pattern.match(value) for _, pattern in patterns)


def _of_pyyaml(value: str, dumper: Any) -> str:
    return yaml.dump([value], Dumper=dumper, allow_unicode=True, width=1000, default_flow_style=False)[2:-1]


def _scalar(value: Any, dumper: Any, text: Callable[[str], str]) -> str:
    kind = type(value)
    if kind is str:
        return text(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value)
    if kind is float:
        return _of_pyyaml(value, dumper) if "e" in repr(value) or value != value or value in _INFINITE else repr(value)
    raise Undecided


_INFINITE = (float("inf"), float("-inf"))


def _mapping(data: dict[Any, Any], first: str, indent: str, lines: list[str], scalar: Callable[[Any], str]) -> None:
    """Adds the lines of a mapping; ``first`` stands before the first key, ``indent`` before the others."""
    for key, value in data.items():
        if type(key) is not str or _SIMPLE.fullmatch(key) is None or len(key) > 100:
            raise Undecided
        head = f"{first}{scalar(key)}:"
        first = indent
        if type(value) is dict and value:
            lines.append(head)
            _mapping(value, indent + "  ", indent + "  ", lines, scalar)
        elif type(value) in (list, tuple) and value:
            lines.append(head)
            _sequence(value, indent, indent, lines, scalar)
        else:
            lines.append(f"{head} {_empty(value) or scalar(value)}")


def _sequence(data: Any, first: str, indent: str, lines: list[str], scalar: Callable[[Any], str]) -> None:
    """Adds the lines of a sequence; the items of one inside a mapping are not indented further."""
    for value in data:
        head, first = f"{first}- ", indent
        if type(value) is dict and value:
            _mapping(value, head, indent + "  ", lines, scalar)
        elif type(value) in (list, tuple) and value:
            _sequence(value, head, indent + "  ", lines, scalar)
        else:
            lines.append(head + (_empty(value) or scalar(value)))


def _empty(value: Any) -> str:
    return "{}" if type(value) is dict else "[]" if type(value) in (list, tuple) else ""
