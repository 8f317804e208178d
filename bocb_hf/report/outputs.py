"""Tables as files: CSV, Parquet, heat map and the HTML report, and the text for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from bocb_hf.coupling.contrast import family_contrast
from bocb_hf.coupling.ledger import ledger
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.robustness import robustness
from bocb_hf.coupling.scores import scores_of
from bocb_hf.coupling.table import Table, build_tables, floors
from bocb_hf.coupling.trials import trial_curves
from bocb_hf.errors import InputError
from bocb_hf.files import write_atomically
from bocb_hf.report.columns import COLUMNS
from bocb_hf.report.figures.costs import trial_figure
from bocb_hf.report.figures.distributions import boxes
from bocb_hf.report.figures.grid import heatmap
from bocb_hf.report.figures.style import figure_bytes
from bocb_hf.report.html import Section, render_report
from bocb_hf.report.tables import csv_bytes, json_rows, latex_table, markdown_table
from bocb_hf.report.words.ledger import ledger_text
from bocb_hf.report.words.tables import contrast_text, notes, terminal_text
from bocb_hf.store.contents import Quarantined, StoreContents


class Outputs(NamedTuple):
    """The files that were written, and what to print."""

    paths: list[Path]
    text: str


def write_outputs(contents: StoreContents, out_dir: Path) -> Outputs:
    """Writes the coupling table in five formats, its heat map as PNG and SVG, and ``report.html``.

    ``coupling.csv``, ``.parquet`` and ``.json`` hold one row for each configuration of each cell; ``coupling.md`` and
    ``.tex`` hold optimizers × backbones with intervals, one table after the other.
    Each data set, setting and data revision has its own table; the one with most runs comes first and owns
    ``heatmap.*``, the figures of the others carry its name. Equal records give equal files, byte for byte.

    Args:
        contents: From ``read_store``.
        out_dir: Folder to write to; created when missing.

    Returns:
        The paths, and the tables as text for a terminal.

    Raises:
        InputError: No valid record, or the folder cannot be written.
    """
    if not contents.records:
        bad = "".join(f"\n  {q}" for q in contents.quarantined[:5])
        raise InputError(
            f"store: {contents.uri} holds no valid record of a run; make some with `bocb train` or `make demo`, "
            f"or name another store with --store{bad}"
        )
    tables = build_tables(contents.records)
    files: dict[str, bytes] = {}
    sections: list[Section] = []
    markdown: list[str] = []
    latex: list[str] = []
    for number, table in enumerate(tables):
        scores = scores_of(table, contents.uri)
        marks = Marks.of(scores, table)
        figure = heatmap(scores, marks, table.split_label)
        markdown.append(markdown_table(scores, marks))
        latex.append(latex_table(scores, marks))
        name = "heatmap" if number == 0 else f"heatmap-{table_slug(table)}"
        svg = files[f"{name}.svg"] = figure_bytes(figure, "svg")
        files[f"{name}.png"] = figure_bytes(figure, "png")
        below = floors(table, contents.floors)
        sections.append(Section(table, below, family_contrast(table), svg, _tuning_figures(table)))
    frame = coupling_frame(tables)
    files["coupling.csv"] = csv_bytes(frame)
    files["coupling.parquet"] = frame.to_parquet(index=False)
    files["coupling.json"] = json_rows(frame)
    files["coupling.md"] = "\n".join(markdown).encode()
    files["coupling.tex"] = "\n".join(latex).encode()
    files["report.html"] = render_report(sections, contents.quarantined, contents.uri, contents.places).encode()
    paths = [write_atomically(out_dir / name, content) for name, content in sorted(files.items())]
    return Outputs(paths, _text(sections, contents.quarantined))


def coupling_frame(tables: Sequence[Table]) -> pd.DataFrame:
    """One row for each configuration of each cell. Without a completed run there is no number, only a ``status``."""
    rows = [row for table in tables for row in table.rows]
    columns = {name: pd.array([value(row) for row in rows], dtype=kind) for name, (kind, value) in COLUMNS.items()}
    return pd.DataFrame(columns)


def _tuning_figures(table: Table) -> dict[str, bytes]:
    """What the report shows of the trials, as SVG by what it shows."""
    curves, found = trial_curves(table), robustness(table)
    figures: dict[str, Figure] = {}
    if curves:
        figures["Expected best score against the number of trials"] = trial_figure(curves, table.dataset)
    if found.offsets:
        figures["Tuning distance of each backbone"] = boxes(found, "backbone", table.dataset)
        figures["Tuning distance of each optimizer"] = boxes(found, "optimizer", table.dataset)
    return {title: figure_bytes(figure, "svg") for title, figure in figures.items()}


def _text(sections: Sequence[Section], quarantined: Sequence[Quarantined]) -> str:
    """Everything for the terminal."""
    blocks: list[str] = []
    for section in sections:
        sentences = [*contrast_text(section.contrast), *notes(section.table, section.floors)]
        fairness = "\n".join(ledger_text(ledger(section.table)))
        blocks += [terminal_text(section.table, section.floors), fairness, "\n".join(map(wrap, sentences))]
    if quarantined:
        lines = [wrap(str(item)) for item in quarantined]
        blocks.append("\n".join([f"quarantined, in no table ({len(lines)}):", *lines]))
    return "\n\n".join(blocks)


def wrap(sentence: str) -> str:
    """A sentence as an item of a list."""
    return textwrap.fill(sentence, 112, initial_indent="- ", subsequent_indent="  ", break_long_words=False)


def table_slug(table: Table) -> str:
    """A file name for a table."""
    parts = (table.dataset, table.setting, table.revision[:7], *([table.start] if table.start else []))
    return "-".join(re.sub(r"[^a-z0-9_]+", "-", part.lower()) for part in parts)
