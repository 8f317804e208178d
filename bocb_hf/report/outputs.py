"""Writes tables as files (CSV, Parquet, JSON, Markdown, LaTeX, heat map) and as text for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.table import Table
from bocb_hf.files import write_atomically
from bocb_hf.report.columns import COLUMNS
from bocb_hf.report.figures.grid import heatmap
from bocb_hf.report.figures.style import figure_bytes
from bocb_hf.report.tables import csv_bytes, json_rows, latex_table, markdown_table
from bocb_hf.report.tabulate import Tabulated
from bocb_hf.report.words.ledger import ledger_text
from bocb_hf.report.words.rare import rare_text
from bocb_hf.report.words.tables import contrast_text, notes, sign_of, terminal_text


class Outputs(NamedTuple):
    """The files that were written, and what to print."""

    paths: list[Path]
    text: str


def write_outputs(tabulated: Tabulated, out_dir: Path) -> Outputs:
    """Writes the coupling table in five formats, and its heat map as PNG and SVG.

    ``coupling.csv``, ``.parquet`` and ``.json`` hold one row for each configuration of each cell; ``coupling.md`` and
    ``.tex`` hold optimizers × backbones with intervals, one table after the other.
    Each data set, setting and data revision has its own table; the one with most runs comes first and owns
    ``heatmap.*``, the figures of the others carry its name. Equal records give equal files, byte for byte.

    Args:
        tabulated: The tables of the store, as ``tabulate`` returns them.
        out_dir: Folder to write to; created when missing.

    Returns:
        The paths of the files, and the tables as text for a terminal.

    Raises:
        CannotWrite: The folder cannot be written.
    """
    files: dict[str, bytes] = {}
    markdown: list[str] = []
    latex: list[str] = []
    for number, found in enumerate(tabulated.results):
        figure = heatmap(found.scores, found.marks, found.table.split_label)
        markdown.append(markdown_table(found.scores, found.marks))
        latex.append(latex_table(found.scores, found.marks))
        name = "heatmap" if number == 0 else f"heatmap-{table_slug(found.table)}"
        files |= {f"{name}.{kind}": figure_bytes(figure, kind) for kind in ("svg", "png")}
    frame = coupling_frame([(found.table, found.marks) for found in tabulated.results])
    files["coupling.csv"] = csv_bytes(frame)
    files["coupling.parquet"] = frame.to_parquet(index=False)
    files["coupling.json"] = json_rows(frame)
    files["coupling.md"] = "\n".join(markdown).encode()
    files["coupling.tex"] = "\n".join(latex).encode()
    paths = [write_atomically(out_dir / name, content) for name, content in sorted(files.items())]
    return Outputs(paths, _text(tabulated))


def coupling_frame(tables: Sequence[tuple[Table, Marks]]) -> pd.DataFrame:
    """Makes one row for each configuration of each cell; without a completed run it has a ``status`` and no number.

    Only shown configurations have a ``mark``.
    """
    rows = [row for table, _ in tables for row in table.rows]
    columns = {name: pd.array([value(row) for row in rows], dtype=kind) for name, (kind, value) in COLUMNS.items()}
    signs = [sign_of(table, marks, row) or None for table, marks in tables for row in table.rows]
    rules = [marks.rule for table, marks in tables for _ in table.rows]
    columns |= {"mark": pd.array(signs, dtype="string"), "mark_rule": pd.array(rules, dtype="string")}
    return pd.DataFrame(columns)


def _text(tabulated: Tabulated) -> str:
    """Returns the text for a terminal: every table with its ledger and notes, then what was quarantined."""
    blocks: list[str] = []
    for found in tabulated.results:
        name = "Primary contrast" if found.wanted.primary(found.table).statistic == "contrast" else "Family contrast"
        sentences = [
            *contrast_text(found.contrast, name),
            *rare_text(found.table),
            *notes(found.table, found.floors),
        ]
        fairness = "\n".join(ledger_text(found.ledger))
        blocks += [terminal_text(found.table, found.floors, found.marks), fairness, "\n".join(map(wrap, sentences))]
    if quarantined := tabulated.contents.quarantined:
        lines = [wrap(str(item)) for item in quarantined]
        blocks.append("\n".join([f"quarantined, in no table ({len(lines)}):", *lines]))
    return "\n\n".join(blocks)


def wrap(sentence: str) -> str:
    """Returns a sentence as an item of a list, broken into lines."""
    return textwrap.fill(sentence, 112, initial_indent="- ", subsequent_indent="  ", break_long_words=False)


def table_slug(table: Table) -> str:
    """Returns the part of a file name that tells a table from others: data set, setting, revision, starting weights."""
    parts = (table.dataset, table.setting, table.revision[:7], *([table.start] if table.start else []))
    return "-".join(re.sub(r"[^a-z0-9_]+", "-", part.lower()) for part in parts)
