"""A table as plain rows with columns that say how a page shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bocb_hf.leaderboard.read import Board, CellRow
from bocb_hf.report.words.tables import backbone_label

_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
STATUS = {"missing": "not run", "interrupted": "not finished", "diverged": "diverged", "partial": "partly diverged"}


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        text: What a page shows of a row; may depend on several of its values.
        number: Whether it is set to the right.
        wrap: Whether its text may take several lines.
    """

    label: str
    text: Callable[[Mapping[str, Any]], str]
    number: bool = False
    wrap: bool = False


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        name: Of its files.
        caption: What it is.
        basis: What its numbers rest on; the head of a page says so once, a file by itself.
        rows: Raw values by name, the same names in each; files hold these.
        marked: Rows that stand out.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    marked: frozenset[int] = field(default_factory=frozenset)
    basis: str = ""


def number(key: str, digits: int = 2, unit: str = "") -> Callable[[Mapping[str, Any]], str]:
    """Text of one value, a dash where there is none."""

    def text(row: Mapping[str, Any]) -> str:
        value = row[key]
        if isinstance(value, float):
            return _signed(f"{value:,.{digits}f}{unit}")
        return "–" if value is None else f"{value}{unit}"

    return text


def plain(key: str, digits: int = 4) -> Callable[[Mapping[str, Any]], str]:
    """Text of one value as it is, a number with that many significant digits."""
    return lambda row: (
        "–" if row[key] is None else f"{row[key]:.{digits}g}" if isinstance(row[key], float) else str(row[key])
    )


def interval(key: str, low: str, high: str, digits: int = 2) -> Callable[[Mapping[str, Any]], str]:
    """``84.40 [83.20, 85.60]``, or why there is no number."""

    def text(row: Mapping[str, Any]) -> str:
        if row[key] is None:
            return STATUS.get(str(row.get("status")), "–")
        ends = f" [{row[low]:.{digits}f}, {row[high]:.{digits}f}]" if row[low] is not None else ""
        return _signed(f"{row[key]:.{digits}f}{ends}")

    return text


def _signed(text: str) -> str:
    return text.replace("-", "−")


def backbone_name(board: Board, backbone: str) -> str:
    """Short name of a backbone."""
    return backbone_label(backbone)


def gap_of(board: Board, cell: CellRow) -> float | None:
    """Points below the best of the backbone, over all optimizers of the table."""
    return None if cell.mean is None else board.best[cell.backbone] - cell.mean


def short_revision(revision: str) -> str:
    """A commit hash by its first letters; anything else as it is."""
    return revision[:10] if _HASH.fullmatch(revision) else revision


def basis(board: Board, revision: str | None = None) -> str:
    """What every number of a table rests on; ``revision`` stands for that of the data."""
    info = board.info
    counts = sorted({c.n for c in board.cells.values() if c.mean is not None})
    n = " to ".join(map(str, dict.fromkeys([counts[0], counts[-1]]))) if counts else "0"
    of = f", each the mean of {info.trials_per_value} trials" if info.trials_per_value > 1 else ""
    seeds = f", seeds {', '.join(map(str, info.seeds))}" if info.trials_per_value == 1 else ""
    spread = "no interval, noise cannot be separated" if board.single else f"95 % intervals over seeds, {board.reading}"
    return f"{info.metric} in points; n = {n} a cell{of}{seeds}; {spread}; data revision {revision or info.revision}."


SCORE = Column("test score [95 %]", interval("mean", "low", "high"), True)
N = Column("n", lambda row: f"{row['n']}" + (f" (+{row['diverged']} diverged)" if row["diverged"] else ""), True)
SEEDS = Column("seeds", plain("seeds"))
HASH = Column("configuration", plain("config_hash"))
