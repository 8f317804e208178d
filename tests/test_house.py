"""The layout: rooms that say what they hold, one direction of imports, a map that is true, and tests that mirror it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import house
import pytest
from house import PACKAGE, ROOT

# what lies at the top besides rooms: what every room may use, and the command
TOP = {"_timm_hook", "cli", "errors", "files", "plugins", "registry", "resources", "schema", "terminal", "version"}
TEST_FILES = sorted((ROOT / "tests").rglob("test_*.py"))


def test_only_what_every_room_may_use_lies_flat_at_the_top() -> None:
    assert house.flat_modules() == TOP
    named = {name for layer in house.layers() for name in layer}
    assert named == TOP - {"_timm_hook"} | set(house.rooms())


@pytest.mark.parametrize("room", house.rooms())
def test_a_room_says_what_belongs_there_and_what_it_may_import(room: str) -> None:
    """``Title: what it holds; may import `room` and what lies below``, with the rooms of the layer below it named."""
    path = ROOT / PACKAGE / room / "__init__.py"
    assert path.exists(), f"{room} has no __init__.py"
    first = (ast.get_docstring(house.tree(path)) or "").partition("\n")[0]
    said = re.fullmatch(r"[A-Z][a-z]+: (.{10,}); may import (.+)\.", first)
    assert said, f"{path}: {first!r} does not read 'Title: what belongs there; may import ...'"
    names = {name for layer in house.layers() for name in layer} & set(house.rooms())
    place = next(k for k, layer in enumerate(house.layers()) if room in layer)
    below = [set(layer) & names for layer in house.layers()[:place]]
    lower = next((layer for layer in reversed(below) if layer), set[str]())
    stated = set(re.findall(r"``(\w+)``", said[2].partition(", and only")[0]))
    if stated:
        assert stated == lower, f"{room} may import {sorted(lower)} and what lies below"
        assert "below" in said[2] or "the package's top" in said[2]
    elif "every other room" in said[2]:
        assert set().union(*below) == names - {room}
    else:
        assert said[2] == "only what lies at the package's top" and lower == set(), f"{room} may import {lower}"


def test_no_circle_between_modules_or_rooms() -> None:
    graph = house.module_graph()
    assert len(graph) > 200 and sum(map(len, graph.values())) > 900
    assert house.circles(graph) == []
    assert house.circles(house.room_graph()) == []


def test_the_layers_are_those_of_the_imports() -> None:
    """What the contract says, seen a second time by our own reading of the source, floor by floor."""
    place = {name: k for k, layer in enumerate(house.layers()) for name in layer}
    for room, targets in house.room_graph().items():
        for target in targets - {PACKAGE, "_timm_hook"}:
            if room != PACKAGE:
                assert place[target] < place[room], f"{room} imports {target}, which does not lie below it"


def test_circles_and_floors_by_hand() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set[str](), "e": {"d", "f"}, "f": {"e"}}
    assert house.circles(graph) == [["a", "b", "c"], ["e", "f"]]
    assert house.floors({"a": {"b", "d"}, "b": {"c"}, "c": set(), "d": set()}) == {"a": 2, "b": 1, "c": 0, "d": 0}
    assert house.describe({"a": {"b"}, "b": set()}) == "2 on 2 floors, no circle, 1 arrows"


@pytest.mark.parametrize(
    ("text", "now", "ever"),
    [
        ("import a.b", {"a.b"}, {"a.b"}),
        ("from a import b", {"a", "a.b"}, {"a", "a.b"}),
        ("def f():\n    import a", set(), {"a"}),
        ("class A:\n    import a\n    def f(self):\n        from b import c", {"a"}, {"a", "b", "b.c"}),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a", {"typing", "typing.TYPE_CHECKING"}, None),
        ("try:\n    import a\nexcept ImportError:\n    import b", {"a", "b"}, {"a", "b"}),
    ],
)
def test_what_a_file_imports(text: str, now: set[str], ever: set[str] | None, tmp_path: Path) -> None:
    path = tmp_path / "file.py"
    path.write_text(text)
    assert house.names_imported(path, lazy=False) == now
    assert house.names_imported(path, lazy=True) == (now | {"a"} if ever is None else ever)


def test_the_map_in_the_readme_is_the_tree() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Where things are\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    assert len(section.strip().splitlines()) <= 27
    listed = [row[0].strip().strip("`") for row in rows]
    rooms = [name.removeprefix(f"{PACKAGE}/") for name in listed if name.startswith(f"{PACKAGE}/")]
    place = {name: k for k, layer in enumerate(house.layers()) for name in layer}
    assert sorted(rooms) == house.rooms(), "every room once"
    assert rooms == sorted(rooms, key=lambda room: -place[room]), "a room lies above those that it imports"
    for folder, (_, what, files) in zip(listed, rows, strict=True):
        assert (ROOT / folder).is_dir() and what.strip(), folder
        for name in re.findall(r"`([^`]+)`", files):
            assert (ROOT / folder / name).exists() or (ROOT / name).exists(), f"{folder}: {name} is not there"


def test_tests_mirror_the_rooms() -> None:
    assert len(TEST_FILES) > 70
    for path in TEST_FILES:
        folder = path.parent.relative_to(ROOT / "tests")
        assert (ROOT / PACKAGE / folder).is_dir(), f"{path}: there is no room {folder}"
    assert set(house.rooms()) <= {path.relative_to(ROOT / "tests").parts[0] for path in TEST_FILES}, "an untested room"


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.relative_to(ROOT / "tests").as_posix())
def test_no_test_file_imports_another(path: Path) -> None:
    others = {other.stem for other in TEST_FILES} | {"conftest", "tests"}
    found = {name for name in house.names_imported(path, lazy=True) if others & set(name.split("."))}
    assert found == set(), "what tests share belongs in a module directly under tests/"
