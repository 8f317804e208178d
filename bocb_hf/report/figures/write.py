"""Writes the figures of a table as PNG and SVG, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.table import Table
from bocb_hf.errors import InputError
from bocb_hf.files import write_atomically
from bocb_hf.report.figures.draw import Drawing, draw_records, draw_scores
from bocb_hf.report.figures.style import figure_bytes
from bocb_hf.report.tables import table_files, tuning_files


def write_figures(
    scores: ScoreTable, marks: Marks, table: Table | None, out_dir: Path, only: Sequence[str] = ()
) -> list[Path]:
    """Writes every figure as PNG and SVG, and the tables unless only some figures are asked for.

    Args:
        scores: The scores that are shown.
        marks: The intervals and flags of the scores.
        table: The records behind the scores; None for a published table, which has no trials, costs or curves.
        out_dir: Folder to write to; created when missing.
        only: Beginnings of the names of the figures to write; empty for all figures.

    Raises:
        InputError: No figure has a name that begins so, or a file cannot be written.
    """
    split = table.split_label if table is not None else "test"
    drawings: dict[str, Drawing] = dict(draw_scores(scores, marks, split))
    if table is not None:
        drawings |= dict(draw_records(table))
    chosen = {name: draw for name, draw in drawings.items() if not only or name.startswith(tuple(only))}
    if not chosen:
        raise InputError(f"--only: no figure begins with {', '.join(only)}; there are {', '.join(drawings)}")
    paths: list[Path] = []
    for name, draw in chosen.items():
        figure = draw()
        paths += [write_atomically(out_dir / f"{name}.{kind}", figure_bytes(figure, kind)) for kind in ("png", "svg")]
    if not only:
        files = table_files(scores, marks) | (tuning_files(table) if table is not None else {})
        paths += [write_atomically(out_dir / name, content) for name, content in files.items()]
    return paths
