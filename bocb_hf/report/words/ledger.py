"""The fairness ledger as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from bocb_hf.coupling.ledger import Entry, grids, summarize, unequal
from bocb_hf.coupling.row import GRID
from bocb_hf.report.words.tables import optimizer_label, span

MANY = 9  # largest number of rates that a cell of the ledger lists


def ledger_text(entries: Sequence[Entry]) -> list[str]:
    """Returns the ledger as aligned text, one line for each optimizer; ranges are over the cells of the optimizer."""
    head = ("fairness ledger", "cells", "trials", "rates", "decays", "diverged", f"> {GRID} rates", "edge")
    lines: list[tuple[str, ...]] = [(*head, "epochs", "steps", "tuning s", "final s")]
    for s in summarize(entries):
        counts = (f"{s.cells}", span(s.trials), span(s.rates), span(s.decays))
        lines.append(
            (
                *(optimizer_label(s.optimizer), *counts, f"{s.diverged}", f"{s.extended}", f"{s.edges}"),
                *(span(s.epochs), span(s.steps), f"{s.tuning_seconds:,.0f}", f"{s.final_seconds:,.0f}"),
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(map(_justify, range(len(widths)), line, widths)) for line in lines]
    found = unequal(entries)
    verdict = f"not equal: {'; '.join(found)}" if found else "equal trials, grids and epochs in every cell"
    closing = f"{verdict}. Trials, rates and decays are a cell's; seconds are sums over cells."
    return [*text, *textwrap.wrap(" ".join([closing, *grid_text(entries)]), 112)]


def grid_text(entries: Sequence[Entry]) -> list[str]:
    """Returns a sentence on the grids of the learning rates, where any cell has another one than ``ours``.

    There is none where no record names its grid: all are older than the grid ``ours``.
    """
    held = grids(entries)
    if held in ((), ("ours",)) or not any(entry.grid_named for entry in entries):
        return []
    if held == ("released",):
        return ["Grid of every cell: released, the study's own centres."]
    counts: dict[str, int] = {}
    for entry in entries:
        counts[" and ".join(entry.grids)] = counts.get(" and ".join(entry.grids), 0) + 1
    named = ", ".join(f"{name} in {count}" for name, count in sorted(counts.items()))
    return [f"Grid: {named} cell(s); weight decay need not act alike under both."]


def tried_text(values: Sequence[float]) -> str:
    """Returns the values that were tried; of more than ``MANY`` the ends and their number."""
    if len(values) > MANY:
        return f"{len(values)} from {min(values):.3g} to {max(values):.3g}"
    return ", ".join(f"{value:.3g}" for value in values) or "–"


def _justify(place: int, cell: str, width: int) -> str:
    return cell.rjust(width) if place else cell.ljust(width)
