"""The imports of the package as a graph: rooms, floors, circles and arrows.

``python tests/house.py`` prints them for modules and for rooms. Everything is read from the source with ``ast``, and
nothing is imported. Lazy imports and those for type checkers count, as for the contract in ``pyproject.toml``.
"""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "bocb_hf"

# import names of what the extra `train` installs and the base does not; Pillow also comes with matplotlib
STACK = {
    *("accelerate", "datasets", "evaluate", "pynvml", "pytorch_optimizer", "safetensors", "sklearn", "timm", "torch"),
    *("torchvision", "transformers"),
}

Graph = Mapping[str, set[str]]


@functools.cache
def modules() -> dict[str, Path]:
    """The file of each module of the package, by its dotted name."""
    found: dict[str, Path] = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def rooms() -> list[str]:
    """Names of the folders directly below the package that hold code."""
    return sorted({path.relative_to(ROOT / PACKAGE).parts[0] for path in modules().values()} - _flat_files())


def _flat_files() -> set[str]:
    return {path.name for path in (ROOT / PACKAGE).glob("*.py")}


def flat_modules() -> set[str]:
    """Names of the modules that lie directly at the package's top."""
    return {Path(name).stem for name in _flat_files()} - {"__init__"}


@functools.cache
def tree(path: Path) -> ast.Module:
    """The parsed source of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING"


def _statements(body: Iterable[ast.AST], lazy: bool) -> Iterable[ast.AST]:
    """Statements that run at import; with ``lazy``, those in functions and for type checkers as well."""
    for node in body:
        if isinstance(node, ast.expr):  # holds no statement
            continue
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not lazy:
            continue
        if _is_for_type_checkers(node) and not lazy:
            continue
        yield from _statements(ast.iter_child_nodes(node), lazy)


def names_imported(path: Path, lazy: bool) -> set[str]:
    """Dotted names that a file imports: of ``from a.b import c`` both ``a.b`` and ``a.b.c``.

    Args:
        path: The file.
        lazy: Also what functions import when they run, and what only type checkers read.
    """
    found: set[str] = set()
    for node in _statements(tree(path).body, lazy):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: a relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@functools.cache
def contract() -> dict[str, Any]:
    """The contract of imports in ``pyproject.toml``."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = settings["tool"]["importlinter"]["contracts"]
    return layers


def layers() -> list[list[str]]:
    """Names of the contract's layers, from the lowest up; those in one layer do not import each other."""
    return [[name.strip() for name in layer.split("|")] for layer in reversed(contract()["layers"])]


@functools.cache
def module_graph(lazy: bool = True) -> dict[str, set[str]]:
    """Which modules of ours each module imports.

    Not counted are the packages above what is imported.
    """
    ours = modules()
    graph: dict[str, set[str]] = {}
    for name, path in ours.items():
        found = {n for n in names_imported(path, lazy) if n in ours and n != name}
        # `from bocb_hf.x import y` with a module y names x only to reach y
        reached = {n.rpartition(".")[0] for n in found} & _only_passed_through(path, lazy, found)
        graph[name] = found - reached
    return graph


def _only_passed_through(path: Path, lazy: bool, found: set[str]) -> set[str]:
    """Packages that a file names only in ``from package import module``."""
    taken: dict[str, bool] = {}
    for node in _statements(tree(path).body, lazy):
        if isinstance(node, ast.ImportFrom) and node.module:
            only = all(f"{node.module}.{alias.name}" in found for alias in node.names)
            taken[node.module] = taken.get(node.module, True) and only
        elif isinstance(node, ast.Import):
            taken |= {alias.name: False for alias in node.names}
    return {name for name, only in taken.items() if only}


def room_of(module: str) -> str:
    """The room of a module, or the module itself at the package's top."""
    return module.split(".")[1] if "." in module else PACKAGE


def room_graph() -> dict[str, set[str]]:
    """Which rooms, and modules at the package's top, each of them imports."""
    graph: dict[str, set[str]] = {}
    for name, targets in module_graph().items():
        graph.setdefault(room_of(name), set()).update({room_of(t) for t in targets} - {room_of(name)})
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Sets of nodes that reach each other, by Tarjan's algorithm; the largest first."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(graph[node]):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            members = [stack.pop()]
            while members[-1] != node:
                members.append(stack.pop())
            if len(members) > 1:
                found.append(sorted(members))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(found, key=len, reverse=True)


def floors(graph: Graph) -> dict[str, int]:
    """The floor of each node of a graph without circles: 0 imports nothing, others lie one above their highest."""
    found: dict[str, int] = {}

    def floor(node: str) -> int:
        if node not in found:
            found[node] = 1 + max((floor(target) for target in graph[node]), default=-1)
        return found[node]

    for node in graph:
        floor(node)
    return found


def trained_only() -> set[str]:
    """Modules that import something of the extra ``train`` when they are imported, themselves or through ours.

    Importing ``a.b.c`` also runs ``a`` and ``a.b``, so what a package needs, its modules need.
    """
    ours = modules()
    direct = {
        name for name, path in ours.items() if {n.partition(".")[0] for n in names_imported(path, lazy=False)} & STACK
    }
    graph = {
        name: {n for n in names_imported(path, lazy=False) if n in ours} | _above(name) for name, path in ours.items()
    }
    graph = {name: targets | {p for t in targets for p in _above(t)} for name, targets in graph.items()}
    needs, grown = direct, True
    while grown:
        more = {name for name, targets in graph.items() if targets & needs}
        grown = not more <= needs
        needs = needs | more
    return needs


def _above(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:k]) for k in range(1, len(parts))}


def describe(graph: Graph) -> str:
    """One line: nodes, floors, circles and arrows."""
    found = circles(graph)
    count = 1 + max(floors(graph).values()) if not found else None
    arrows = sum(map(len, graph.values()))
    knots = f"{len(found)} circles ({', '.join(str(len(c)) for c in found)} in them)" if found else "no circle"
    return f"{len(graph)} on {count or 'no'} floors, {knots}, {arrows} arrows"


def main() -> None:
    """Prints both graphs."""
    print(f"modules: {describe(module_graph())}")
    top = room_graph()
    print(f"rooms and modules at the top: {describe(top)}")
    if not circles(top):
        by_floor = floors(top)
        for number in sorted(set(by_floor.values()), reverse=True):
            print(f"  floor {number:2}: {', '.join(sorted(n for n in top if by_floor[n] == number))}")
    for circle in (*circles(module_graph()), *circles(top)):
        print(f"  circle: {', '.join(circle)}")


if __name__ == "__main__":
    main()
