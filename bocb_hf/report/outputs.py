"""Writes tables as files (CSV, Parquet, heat map, the HTML report) and as text for a terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.robustness import robustness
from bocb_hf.coupling.table import Table
from bocb_hf.coupling.trials import trial_curves
from bocb_hf.files import write_atomically
from bocb_hf.report.columns import COLUMNS
from bocb_hf.report.figures.costs import trial_figure
from bocb_hf.report.figures.distributions import boxes
from bocb_hf.report.figures.grid import heatmap
from bocb_hf.report.figures.profiles import profile_figure, time_figure
from bocb_hf.report.figures.style import figure_bytes
from bocb_hf.report.html import Section, render_report
from bocb_hf.report.tables import csv_bytes, json_rows, latex_table, markdown_table
from bocb_hf.report.tabulate import TableResults, Tabulated
from bocb_hf.report.words.ledger import ledger_text
from bocb_hf.report.words.rare import rare_text
from bocb_hf.report.words.tables import contrast_text, notes, sign_of, terminal_text


class Outputs(NamedTuple):
    """The files that were written, and what to print."""

    paths: list[Path]
    text: str


def write_outputs(tabulated: Tabulated, out_dir: Path) -> Outputs:
    """Writes the coupling table in five formats, its heat map as PNG and SVG, and ``report.html``.

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
    contents = tabulated.contents
    files: dict[str, bytes] = {}
    sections: list[Section] = []
    markdown: list[str] = []
    latex: list[str] = []
    for number, found in enumerate(tabulated.results):
        figure = heatmap(found.scores, found.marks, found.table.split_label)
        markdown.append(markdown_table(found.scores, found.marks))
        latex.append(latex_table(found.scores, found.marks))
        name = "heatmap" if number == 0 else f"heatmap-{table_slug(found.table)}"
        svg = files[f"{name}.svg"] = figure_bytes(figure, "svg")
        files[f"{name}.png"] = figure_bytes(figure, "png")
        sections.append(Section(found, svg, _tuning_figures(found.table), _profile_figures(found)))
    frame = coupling_frame([(found.table, found.marks) for found in tabulated.results])
    files["coupling.csv"] = csv_bytes(frame)
    files["coupling.parquet"] = frame.to_parquet(index=False)
    files["coupling.json"] = json_rows(frame)
    files["coupling.md"] = "\n".join(markdown).encode()
    files["coupling.tex"] = "\n".join(latex).encode()
    files["report.html"] = render_report(sections, contents.quarantined, contents.uri, contents.places).encode()
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


def _tuning_figures(table: Table) -> dict[str, bytes]:
    """Draws the figures of a table's tuning trials as SVG, by what each shows."""
    curves, found = trial_curves(table), robustness(table)
    figures: dict[str, Figure] = {}
    if curves:
        figures["Expected best score against the number of trials"] = trial_figure(curves, table.dataset)
    if found.offsets:
        figures["Tuning distance of each backbone"] = boxes(found, "backbone", table.dataset)
        figures["Tuning distance of each optimizer"] = boxes(found, "optimizer", table.dataset)
    return {title: figure_bytes(figure, "svg") for title, figure in figures.items()}


def _profile_figures(found: TableResults) -> dict[str, bytes]:
    """Draws the figures that compare a table's optimizers over its backbones as SVG, by what each shows."""
    findings, scores = found.findings, found.scores
    figures: dict[str, Figure] = {}
    if min(scores.means.shape) > 1:
        title = "Share of backbones on which an optimizer is within some points of the best"
        figures[title] = profile_figure(findings.profiles, scores.optimizers, scores.dataset)
    if findings.times is not None:
        figures["Share of runs that reach a validation score in time"] = time_figure(findings.times, scores.dataset)
    return {title: figure_bytes(figure, "svg") for title, figure in figures.items()}


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
