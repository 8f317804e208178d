"""Every table and figure of a view as a file: plain addresses that carry the view's own query."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any, cast

from bocb_hf.errors import InputError
from bocb_hf.leaderboard.advice import asked, starts_grid
from bocb_hf.leaderboard.columns import Grid
from bocb_hf.leaderboard.commands import train_command
from bocb_hf.leaderboard.grids import grids
from bocb_hf.leaderboard.pictures import PICTURES, picture, visible
from bocb_hf.leaderboard.read import Board
from bocb_hf.leaderboard.state import State, select
from bocb_hf.leaderboard.views import STUDY
from bocb_hf.report.tables import csv_bytes, csv_cell, escape_tex, latex_table, score_frame

TYPES: Mapping[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "tex": "text/x-tex; charset=utf-8",
    "png": "image/png",
    "svg": "image/svg+xml",
}


def export(name: str, kind: str, state: State, boards: Mapping[str, Board]) -> bytes:
    """The bytes of a file.

    Args:
        name: Of a grid, a figure, or ``table``.
        kind: One of ``TYPES``.
        state: The view that it belongs to.
        boards: All tables by id.

    Raises:
        InputError: There is no such file, or this view has none.
    """
    board = boards[state.table]
    missing = InputError(f"there is no {name[:40]!r} as {kind[:10]} in this view")
    if kind in ("png", "svg"):
        content = picture(board, name, cast(Any, kind), state) if name in PICTURES else None
        if content is None:
            raise missing
        return content
    chosen = select(board, state)
    if kind not in TYPES or not chosen.backbones or not chosen.optimizers:
        raise missing
    if name == "table":
        scores, marks = visible(chosen)
        if kind == "tex":
            return latex_table(scores, marks).encode()
        return csv_bytes(score_frame(scores, marks))
    study = boards.get(STUDY)
    if name == "starts":
        grid = starts_grid(state, asked(board, study))
    else:
        grid = grids(name, chosen, study, state, lambda cell: train_command(board.info, cell))
    if grid is None or not grid.rows:
        raise missing
    return grid_csv(grid) if kind == "csv" else grid_tex(grid)


def grid_csv(grid: Grid) -> bytes:
    """Raw values with every digit; what is missing is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(grid.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in row.items()} for row in grid.rows)
    return buffer.getvalue().encode()


def grid_tex(grid: Grid) -> bytes:
    """A ``tabular`` for the package booktabs, as the page shows it."""
    sides = "".join("r" if column.number else "l" for column in grid.columns)
    lines = [" & ".join(escape_tex(column.label) for column in grid.columns)]
    lines += [" & ".join(escape_tex(column.text(row)) for column in grid.columns) for row in grid.rows]
    head, *body = (f"{line} \\\\" for line in lines)
    text = f"{grid.caption} {grid.basis}".strip()
    caption = "% needs \\usepackage{booktabs}\n% " + " ".join(escape_tex(text).split())
    parts = [caption, f"\\begin{{tabular}}{{{sides}}}", "\\toprule", head, "\\midrule", *body, "\\bottomrule"]
    return "\n".join([*parts, "\\end{tabular}\n"]).encode()
