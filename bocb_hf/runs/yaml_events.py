"""Builds data from the events of libyaml: what ``strict_yaml`` gives, twenty times as fast as its parser in Python.

Only what both read alike is built here: one document in block style, as cards are written, without tag, anchor or
alias. All else, and every error, is left to the parser in Python, which says what is wrong.
"""

# pyright: basic
# PyYAML is only partly typed.

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

MAX_DEPTH = 50  # a card is six levels deep
# libyaml takes a tab for a space and reads a byte order mark and unusual ends of lines in its own way
_UNLIKE = re.compile("[\t\r\x85\u2028\u2029\ufeff]")
_BLOCK = ("|", ">")
_STR = "tag:yaml.org,2002:str"
Resolvers = Mapping[str | None, Sequence[tuple[str, Any]]]


class Undecided(Exception):
    """The document is not one that is built here; nothing is known of whether it is valid."""


def available() -> bool:
    """Returns whether PyYAML was built with libyaml, as its wheels are."""
    return bool(yaml.__with_libyaml__)


def build(text: str, resolvers: Resolvers, max_values: int) -> Any:
    """Builds the data of one document.

    Args:
        text: The document.
        resolvers: The patterns that give a plain scalar its tag, by first letter, as a loader of PyYAML keeps them.
        max_values: Number of keys, values and collections that the document may hold.

    Raises:
        Undecided: The document is malformed, or holds what the parser in Python must decide about.
    """
    if _UNLIKE.search(text):
        raise Undecided
    try:
        parser: Any = yaml.CSafeLoader(text)
        return _build(parser, _scalars(resolvers), max_values)
    except (yaml.YAMLError, ValueError) as error:
        raise Undecided from error


def _scalars(resolvers: Resolvers) -> Callable[[str], Any]:
    """Returns a function that gives the value of a plain scalar, and remembers it: most keys of a card repeat."""
    known: dict[str, Any] = {}
    constructor = yaml.constructor.SafeConstructor()

    def value(text: str) -> Any:
        if text in known:
            return known[text]
        found: Any = text
        for tag, pattern in (*resolvers.get(text[:1], ()), *resolvers.get(None, ())):
            if pattern.match(text):
                make = constructor.yaml_constructors.get(tag)
                if make is None:
                    raise Undecided
                found = text if tag == _STR else make(constructor, yaml.ScalarNode(tag, text))
                break
        known[text] = found
        return found

    return value


def _build(parser: Any, plain: Callable[[str], Any], max_values: int) -> Any:
    next_event = parser.get_event
    _expect(next_event(), yaml.StreamStartEvent)
    start = next_event()
    _expect(start, yaml.DocumentStartEvent)
    if start.version is not None or start.tags:
        raise Undecided
    stack: list[tuple[Any, Any]] = []  # the open collections, each with the key that waits for its value
    missing = object()
    inside: Any = None
    key: Any = missing
    values, empty = 0, False  # ``empty``: the open collection is in flow style, and must end at once
    while True:
        event = next_event()
        kind = type(event)
        if kind is yaml.SequenceEndEvent or kind is yaml.MappingEndEvent:
            done = inside
            inside, key = stack.pop()
            empty = False
        else:
            values += 1
            if (
                empty
                or values > max_values
                or kind is yaml.AliasEvent
                or event.tag is not None
                or event.anchor is not None
            ):
                raise Undecided
            if kind is yaml.ScalarEvent:
                if event.style in _BLOCK:
                    raise Undecided
                done = plain(event.value) if event.implicit[0] else event.value
            else:
                if len(stack) >= MAX_DEPTH or (type(inside) is dict and key is missing):
                    raise Undecided
                stack.append((inside, key))
                inside, key = ({} if kind is yaml.MappingStartEvent else []), missing
                empty = event.flow_style
                continue
        if inside is None:
            break
        if type(inside) is list:
            inside.append(done)
        elif key is missing:
            if done in inside:
                raise Undecided
            key = done
        else:
            inside[key] = done
            key = missing
    _expect(next_event(), yaml.DocumentEndEvent)
    _expect(next_event(), yaml.StreamEndEvent)
    return done


def _expect(event: Any, kind: type[Any]) -> None:
    if not isinstance(event, kind):
        raise Undecided
