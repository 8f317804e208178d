"""What a visitor has chosen. All of it is in the address, so that a view can be shared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import get_args
from urllib.parse import urlencode

from bocb_hf.coupling.pareto import AXES, Axis
from bocb_hf.leaderboard.layout import FAMILIES, LEVELS
from bocb_hf.leaderboard.read import Board, CellRow
from bocb_hf.runs.patterns import WeightPatterns

VIEWS: Mapping[str, str] = {
    "table": "Table",
    "ranking": "Rankings",
    "backbone": "One backbone",
    "optimizer": "One optimizer",
    "coupling": "Coupling",
    "cost": "Cost",
    "study": "Against the study",
    "recommend": "Recommend",
    "missing": "Missing cells",
}
MOST = 300  # characters of a value in an address


@dataclass(frozen=True)
class State:
    """One view of the leaderboard.

    Attributes:
        table: Id of the table.
        view: One of ``VIEWS``.
        families: Of backbones; empty for all.
        categories: Of optimizers; empty for all.
        level: Lowest trust level that is shown.
        n: Fewest completed runs of a cell that is shown.
        namespaces: Owners; empty for all.
        backbone: That of its view, and of the open cell.
        optimizer: Likewise.
        cell: Whether the cell of ``backbone`` and ``optimizer`` is open below the table.
        axis: Of the cost view.
        ask: Backbone to recommend for.
    """

    table: str
    view: str = "table"
    families: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    level: str = LEVELS[0]
    n: int = 1
    namespaces: tuple[str, ...] = ()
    backbone: str = ""
    optimizer: str = ""
    cell: bool = False
    axis: Axis = "seconds"
    ask: str = ""

    def query(self) -> str:
        """The address's query, without what is as it is by default."""
        default = State("")
        pairs: list[tuple[str, str]] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value == getattr(default, field.name):
                continue
            values = value if isinstance(value, tuple) else (int(value) if isinstance(value, bool) else value,)
            pairs += [(field.name, str(each)) for each in values]
        return urlencode(pairs)


def parse_query(pairs: Iterable[tuple[str, str]], boards: Mapping[str, Board]) -> tuple[State, list[str]]:
    """Reads an address; what is not known here is left at its default and said.

    Args:
        pairs: Decoded names and values, a name once for each of its values.
        boards: By id; at least one.

    Returns:
        A state that is valid for these boards, and sentences about what was dropped.
    """
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if len(value) <= MOST:
            given.setdefault(name, []).append(value)
    dropped: list[str] = []

    def one(name: str, known: Iterable[str], default: str) -> str:
        value = given.get(name, [default])[-1]
        if value in known or value == default:
            return value
        dropped.append(f"There is no {name} {value!r} here.")
        return default

    def several(name: str, known: Iterable[str]) -> tuple[str, ...]:
        known = list(known)
        unknown = [value for value in given.get(name, []) if value not in known]
        dropped.extend(f"There is none of the {name} {value!r} here." for value in unknown)
        return tuple(value for value in known if value in given.get(name, []))

    table = one("table", boards, next(iter(boards)))
    board = boards[table]
    n = given.get("n", ["1"])[-1]
    axis = one("axis", AXES, "seconds")
    state = State(
        table,
        one("view", VIEWS, "table"),
        several("families", sorted(set(board.info.families))),
        several("categories", sorted(set(board.info.categories))),
        one("level", LEVELS, LEVELS[0]),
        min(max(int(n), 1), 99) if n.isascii() and n.isdigit() and len(n) < 4 else 1,
        several("namespaces", board.namespaces),
        one("backbone", board.info.backbones, ""),
        one("optimizer", board.info.optimizers, ""),
        given.get("cell", [""])[-1] == "1",
        next(a for a in get_args(Axis) if a == axis),
        given.get("ask", [""])[-1].strip(),
    )
    if state.cell and not (state.backbone and state.optimizer):
        state = replace(state, cell=False)
    return state, dropped


@dataclass(frozen=True)
class Selection:
    """What a state leaves of a table.

    Attributes:
        backbones: In the order of the table.
        hidden: Cells among them that the filters hide, though they were run.
    """

    board: Board
    backbones: tuple[str, ...]
    optimizers: tuple[str, ...]
    hidden: frozenset[tuple[str, str]]

    def cell(self, backbone: str, optimizer: str) -> CellRow:
        """A cell, hidden or not."""
        return self.board.cells[backbone, optimizer]

    def patterns(self, backbone: str) -> dict[str, list[WeightPatterns]]:
        """Weight patterns of a backbone's runs that the filters leave, by optimizer."""
        return self.board.patterns(backbone, [o for o in self.optimizers if self.shown(self.cell(backbone, o))])

    def shown(self, cell: CellRow) -> bool:
        """Whether the filters leave it."""
        return cell.key not in self.hidden


def select(board: Board, state: State) -> Selection:
    """Applies the filters. A cell is as trusted as the least trusted of its runs, and never computed anew."""
    info = board.info
    backbones = [b for b, f in zip(info.backbones, info.families, strict=True) if f in (state.families or (f,))]
    optimizers = [o for o, c in zip(info.optimizers, info.categories, strict=True) if c in (state.categories or (c,))]
    hidden = frozenset(
        (b, o) for b in backbones for o in optimizers if _hides(state, board.cells[b, o], info.source == "published")
    )
    return Selection(board, tuple(backbones), tuple(optimizers), hidden)


def filters_in_words(state: State) -> list[str]:
    """The filters that are set; empty for none."""
    found = [", ".join(FAMILIES.get(f, f) for f in state.families)] if state.families else []
    found += [f"categories {', '.join(state.categories)}"] if state.categories else []
    found += [f"{state.level} at least"] if state.level != LEVELS[0] else []
    found += [f"n ≥ {state.n}"] if state.n > 1 else []
    return found + ([f"runs of {', '.join(state.namespaces)}"] if state.namespaces else [])


def _hides(state: State, cell: CellRow, published: bool) -> bool:
    if cell.status in ("missing", "interrupted"):
        return False
    if cell.n + cell.diverged < state.n:
        return True
    if published:  # owned by nobody here, and at no level
        return bool(state.namespaces) or state.level != LEVELS[0]
    owners = set((cell.namespace or "").split())
    if state.namespaces and not owners & set(state.namespaces):
        return True
    return LEVELS.index(cell.level or LEVELS[0]) < LEVELS.index(state.level)
