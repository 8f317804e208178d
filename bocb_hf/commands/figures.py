"""``bocb figures``: draws every figure of a table and writes its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from bocb_hf.commands import options
from bocb_hf.commands.command import command as declare
from bocb_hf.errors import InputError

_DETAILS = """\
The figures, as PNG and SVG, are the heat-map table, violins, interaction, performance profiles and critical difference;
from records also time to target, tuning distances, expected best of k trials, Pareto fronts of time, memory and tuning,
and training curves. The numbers beside them are scores.csv, .parquet, .json, .md and .tex (booktabs); from records also
ledger.csv, distances.csv, trials.csv and pareto.csv. Figures are 3.3 or 6.9 inches wide, their text 6 points or more.
"""


@declare("figures", _DETAILS)
@options.store()
@options.source()
@options.out("outputs/figures")
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="only figures whose names begin so, without tables (repeatable): heatmap, violin, pareto-seconds, ...",
)
def command(store: str, source: options.Source, out: Path, only: tuple[str, ...]) -> int:
    """Writes the figures and tables of a source.

    Raises:
        InputError: No such source, no valid record, no figure of that name, or a file that cannot be written.
    """
    from bocb_hf.coupling.marks import Marks
    from bocb_hf.coupling.published import Published, published
    from bocb_hf.coupling.scores import scores_of
    from bocb_hf.coupling.table import build_tables
    from bocb_hf.report.figures.write import write_figures
    from bocb_hf.report.outputs import table_slug
    from bocb_hf.store import open_store
    from bocb_hf.store.contents import read_store

    paths: list[Path] = []
    with options.naming("--out"):
        if source.kind == "paper":
            scores = published(cast(Published, source.table))
            paths += write_figures(scores, Marks.of(scores), None, out, only)
        else:
            contents = source.read(lambda: read_store(open_store(store)))
            if not contents.records:
                place = f"--store: {store}" if source.kind == "store" else f"--source: {contents.uri}"
                raise InputError(f"{place} holds no valid record of a run; name another, or --source paper")
            tables = build_tables(contents.records)
            for table in tables:
                folder = out / table_slug(table) if len(tables) > 1 else out
                scores = scores_of(table, contents.uri)
                paths += write_figures(scores, Marks.of(scores, table), table, folder, only)
    names = dict.fromkeys(path.stem for path in paths)  # each once, though there is a PNG and an SVG of it
    print(f"wrote {len(paths)} files to {out}: {', '.join(names)}")
    return 0
