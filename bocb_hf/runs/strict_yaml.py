"""YAML as data: duplicate keys and tags are errors, ``1e-3`` is a number, and aliases cannot explode."""

# pyright: basic
# PyYAML is only partly typed.

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

from bocb_hf.errors import InputError
from bocb_hf.runs import yaml_events, yaml_lines
from bocb_hf.schema import one_line

MAX_BYTES = 1_000_000
# a card of a thousand runs has half as many values; to parse a megabyte of commas would take half a minute
MAX_VALUES = 50_000


# YAML 1.1, which PyYAML implements, reads 1e-3 as a string because it has no dot.
_FLOAT = (
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)$"),
    list("-+0123456789"),
)
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.SafeLoader):
    # A date stays a string, because JSON has no dates and no field of ours is one.
    yaml_implicit_resolvers: ClassVar[dict[Any, Any]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.values += 1
        if self.values > MAX_VALUES:
            mark = self.peek_event().start_mark
            raise yaml.constructor.ConstructorError(None, None, f"more than {MAX_VALUES} values", mark)
        # an alias can repeat a subtree exponentially ("billion laughs"); no file of ours needs one
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", self.peek_event().start_mark)
        # plain YAML types need no tag; `!!binary`, `!!set` and `!!python/...` make what no field of ours holds
        if getattr(self.peek_event(), "tag", None) is not None:
            raise yaml.constructor.ConstructorError(None, None, "tags are not allowed", self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise yaml.constructor.ConstructorError(None, None, "keys must be plain values", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"duplicate key {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.add_implicit_resolver(*_FLOAT)
_texts: dict[str, str] = {}  # how scalars are written
# A string that looks like a number, such as the hash 12345678e901, is then quoted.
_Dumper.add_implicit_resolver(*_FLOAT)


def parse(text: str, source: str) -> Any:
    """Parses one YAML document.

    Args:
        text: The document.
        source: Name of the document for an error.

    Raises:
        InputError: The document is too large or malformed, or has too many values, a duplicate key, an alias or a tag.
    """
    if len(text.encode("utf-8", errors="surrogatepass")) > MAX_BYTES:
        raise InputError(f"{source}: larger than {MAX_BYTES} bytes; this is not a file of ours")
    if yaml_events.available():
        try:
            return yaml_events.build(text, _Loader.yaml_implicit_resolvers, MAX_VALUES)
        except yaml_events.Undecided:
            pass  # the parser in Python decides, and says what is wrong
    try:
        return yaml.load(text, Loader=_Loader)  # _Loader derives from SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{source}: not valid YAML: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    """Says in one line what is wrong and where; PyYAML's own text takes four lines."""
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark) is not None:
        return f"{one_line(str(error.problem))} (line {mark.line + 1}, column {mark.column + 1})"
    return one_line(" ".join(str(error).split()))


def parse_file(path: Path) -> Any:
    """Parses one YAML file.

    Raises:
        InputError: The file cannot be read, or its content is not valid.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    return parse(text, str(path))


def dump(data: Any) -> str:
    """Writes block YAML with keys in their given order and no aliases."""
    try:
        return yaml_lines.dump(data, _Dumper, _texts)
    except yaml_lines.Undecided:
        pass  # PyYAML writes what is not written there
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000)
