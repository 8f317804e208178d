"""What few runs cannot show, in words: the luck of the best, failures that did not happen, and rare losses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bocb_hf.coupling.row import Row
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.table import Table
from bocb_hf.coupling.winners import Winner
from bocb_hf.report.words.tables import backbone_label, fixed, interval_text, optimizer_label
from bocb_hf.runs.record import wilson_interval

MANY_WINNERS = 20  # largest number of backbones whose winners are listed


def rare_text(table: Table) -> list[str]:
    """Returns the sentences about rare losses and failures of records; none about failures where nothing is chosen."""
    if len(table.optimizers) < 2:
        return loss_text(table)
    return [*loss_text(table), *failure_text([row for row in table.rows if row.shown])]


def winner_text(scores: ScoreTable, found: Sequence[Winner | None]) -> list[str]:
    """Returns one sentence with the corrected mean of each backbone's best; nothing where noise is unknown.

    Args:
        scores: The table, in points.
        found: Its winners.
    """
    listed = [
        f"{backbone_label(backbone)} {optimizer_label(scores.optimizers[w.place])} {fixed(w.estimate, 1)} instead of "
        f"{fixed(w.mean, 1)}, {interval_text(w.interval)}"
        for backbone, w in zip(scores.backbones, found, strict=True)
        if w is not None
    ]
    if not listed:
        return []
    more = f"; {len(listed) - MANY_WINNERS} more backbones are in analysis.json" if len(listed) > MANY_WINNERS else ""
    return [
        "The best mean of a backbone is too high, since luck helped to make it the best. Corrected for having been "
        f"chosen (hybrid of Andrews, Kitagawa and McCloskey 2024): {'; '.join(listed[:MANY_WINNERS])}{more}."
    ]


def failure_text(rows: Sequence[Row]) -> list[str]:
    """Returns one sentence about failures that runs of one cell need not show; nothing where nothing ran to an end.

    Args:
        rows: Shown rows of a table.
    """
    ended = [row for row in rows if row.n + row.diverged]
    safe = [row.n for row in ended if not row.diverged]
    if not safe:
        return []
    n = max(safe, key=lambda runs: (safe.count(runs), -runs))
    runs, diverged = sum(row.n + row.diverged for row in ended), sum(row.diverged for row in ended)
    return [
        f"So few runs cannot show rare failures: where 0 of {n} {'runs' if n > 1 else 'run'} of a cell diverged, up to "
        f"{wilson_interval(0, n)[1]:.0f} % is possible (95 %, Wilson; failure_high in coupling.csv). Over the whole "
        f"table {diverged} of {runs} diverged, up to {wilson_interval(diverged, runs)[1]:.1f} %."
    ]


def loss_text(table: Table) -> list[str]:
    """Returns sentences about runs that lost far more than the noise, and what intervals owe to them."""
    if table.rare is None:
        return []
    rare, found = table.rare, [""] * 0
    runs = int(rare.runs.sum())
    if rare.loss > 0:
        lost, cells = int((rare.lost - rare.collapsed).sum()), int((rare.lost > rare.collapsed).sum())
        below = [row.estimate.below for row in table.rows if row.shown and row.ranked and row.estimate]
        found.append(
            f"Rare losses: {lost} of {runs} runs, in {cells} cell(s), completed but lie {rare.loss:.1f} points below "
            "the others of their cell on average, far more than the noise of this table. Other cells may lose runs as "
            "rarely; their intervals are of the mean over all runs, such losses included, and reach up to "
            f"{max(below, default=0.0):.1f} points further down."
        )
    if collapsed := int(rare.collapsed.sum()):
        n = int(np.median(rare.runs[rare.runs > 0]))
        found.append(
            f"{collapsed} of {runs} runs, in {int((rare.collapsed > 0).sum())} cell(s), completed but collapsed while "
            "others of their cell did not: they lost more than half of the way from the best of their backbone down to "
            f"guessing. In a cell of {n} runs where none did, up to {100 * rare.most(n, True):.0f} % may (95 %, of the "
            "rates that this table leaves possible); intervals are of runs that do not."
        )
    return found
