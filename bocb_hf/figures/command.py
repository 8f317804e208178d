"""Runs ``bocb figures``: draws and writes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from bocb_hf.aggregate import read_store
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.scores import ScoreTable, scores_of
from bocb_hf.coupling.table import Table, build_tables
from bocb_hf.errors import InputError
from bocb_hf.figures.draw import Drawing, draw_records, draw_scores
from bocb_hf.figures.style import figure_bytes
from bocb_hf.outputs import table_slug, write_file
from bocb_hf.reference import Published, published
from bocb_hf.store import open_store
from bocb_hf.tables import table_files, tuning_files


def run(arguments: argparse.Namespace) -> int:
    """Writes the figures and tables of a source; returns the exit status.

    Raises:
        InputError: No such source, no valid record, no figure of that name, or a file that cannot be written.
    """
    kind, _, name = arguments.source.partition(":")
    if kind not in ("store", "paper") or (kind == "store" and name):
        raise InputError(f"--source: {arguments.source!r} is neither 'store' nor 'paper' nor 'paper:TABLE'")
    if kind == "paper":
        scores = published(cast(Published, name or "cifar100"))
        paths = write_figures(scores, Marks.of(scores), None, arguments.out, arguments.only)
    else:
        contents = read_store(open_store(arguments.store))
        if not contents.records:
            raise InputError(
                f"--store: {arguments.store} holds no valid record of a run; name another, or --source paper"
            )
        paths = []
        tables = build_tables(contents.records)
        for table in tables:
            folder = arguments.out / table_slug(table) if len(tables) > 1 else arguments.out
            scores = scores_of(table, arguments.store)
            paths += write_figures(scores, Marks.of(scores, table), table, folder, arguments.only)
    print(f"wrote {len(paths)} files to {arguments.out}: {', '.join(_names(paths))}")
    return 0


def write_figures(
    scores: ScoreTable, marks: Marks, table: Table | None, out_dir: Path, only: Sequence[str] = ()
) -> list[Path]:
    """Writes every figure as PNG and SVG, and the tables unless only some figures are asked for.

    Args:
        scores: What is shown.
        marks: Its intervals and flags.
        table: The records behind it; None for a published table, which has no trials, costs or curves.
        out_dir: Created when missing.
        only: Beginnings of names; empty for all.

    Raises:
        InputError: No figure has such a name, or a file cannot be written.
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
        paths += [write_file(out_dir / f"{name}.{kind}", figure_bytes(figure, kind)) for kind in ("png", "svg")]
    if not only:
        files = table_files(scores, marks) | (tuning_files(table) if table is not None else {})
        paths += [write_file(out_dir / name, content) for name, content in files.items()]
    return paths


def _names(paths: Iterable[Path]) -> list[str]:
    """Names without the kind, each once."""
    return list(dict.fromkeys(path.stem for path in paths))
