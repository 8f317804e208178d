"""Runs ``bocb figures``: draws and writes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.published import Published, published
from bocb_hf.coupling.scores import scores_of
from bocb_hf.coupling.table import build_tables
from bocb_hf.errors import InputError
from bocb_hf.report.figures.write import write_figures
from bocb_hf.report.outputs import table_slug
from bocb_hf.store import open_store
from bocb_hf.store.contents import read_store


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


def _names(paths: Iterable[Path]) -> list[str]:
    """Names without the kind, each once."""
    return list(dict.fromkeys(path.stem for path in paths))
