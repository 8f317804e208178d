"""The fairness ledger as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from bocb_hf.coupling.ledger import Entry, summarize, unequal
from bocb_hf.coupling.row import GRID
from bocb_hf.report.words.tables import optimizer_label, span


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
    return [*text, *textwrap.wrap(closing, 112)]


def _justify(place: int, cell: str, width: int) -> str:
    return cell.rjust(width) if place else cell.ljust(width)
