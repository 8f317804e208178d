"""The edge check of the laptop study: what lies one step beyond the rates that were chosen at the edge of a grid.

``study_trials.py`` trains the trials; these are the lines that the report has of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from study_questions import bullet, table

from bocb_hf.coupling.contrast import contrast_weights
from bocb_hf.coupling.selection import Candidate, candidates_of
from bocb_hf.report.tabulate import TableResults
from bocb_hf.report.words.tables import backbone_label, optimizer_label, signed
from bocb_hf.runs.record import RunRecord


def beyond(rate: float, tried: Sequence[float], factor: float | None) -> float | None:
    """The rate one step beyond a chosen one that lies at an edge of those that were tried; None within them.

    Args:
        rate: The chosen rate.
        tried: All rates of the grid, the chosen one among them.
        factor: Ratio of two neighbours of the grid; None where it has none, and so no edge.
    """
    if factor is None or len(tried) < 2 or rate not in (min(tried), max(tried)):
        return None
    return float(f"{rate * factor if rate == max(tried) else rate / factor:.4g}")


@dataclass(frozen=True)
class Edge:
    """A cell whose rate lies at an edge, beside the next rate beyond it.

    Attributes:
        rate: The chosen rate.
        next_rate: The one beyond.
        gains: Validation score beyond minus that of the chosen rate, in points, one for each tuning seed; a seed that
            diverged beyond, or has no trial at the chosen rate, is left out.
        tried: Number of tuning seeds that were trained beyond.
    """

    backbone: str
    optimizer: str
    rate: float
    next_rate: float
    gains: tuple[float, ...]
    tried: int

    @property
    def gain(self) -> float:
        """Mean gain in points, 0 where nothing is gained or no seed has a score beyond."""
        return max(0.0, float(np.mean(self.gains))) if self.gains else 0.0


def find_edges(result: TableResults, more: Sequence[RunRecord]) -> list[Edge]:
    """The cells of a table whose rate was chosen at an edge, with what the trials beyond it say."""
    scored: dict[tuple[str, str, float, int], RunRecord] = {}
    for record in more:
        optimizer = record.identity.optimizer
        scored[record.identity.backbone.name, optimizer.name, optimizer.lr, record.seed] = record
    found: list[Edge] = []
    for row in (row for row in result.table.rows if row.shown and row.runs):
        final, (backbone, optimizer) = row.runs[0], (row.cell.backbone, row.cell.optimizer)
        if (tuned := final.tuned) is None:
            continue
        candidates = candidates_of(row.trials, final)
        rate = final.identity.optimizer.lr
        rates = [float(candidate.values[0]) for candidate in candidates]
        if (next_rate := beyond(rate, rates, tuned.axes[0].factor)) is None:
            continue
        chosen = candidates[rates.index(rate)]
        ran = {seed: scored.get((backbone, optimizer, next_rate, seed)) for seed in tuned.seeds}
        gains = _gains(chosen, tuned.seeds, ran)
        found.append(Edge(backbone, optimizer, rate, next_rate, gains, sum(r is not None for r in ran.values())))
    return found


def _gains(chosen: Candidate, seeds: Sequence[int], ran: Mapping[int, RunRecord | None]) -> tuple[float, ...]:
    found: list[float] = []
    for score, seed in zip(chosen.top1, seeds, strict=True):
        record = ran[seed]
        value = record.metrics.val if record is not None and record.status == "completed" else None
        if score is not None and value is not None and value.last is not None:
            found.append(value.last - score)
    return tuple(found)


def edge_lines(result: TableResults, edges: Sequence[Edge]) -> list[str]:
    """What the check says: the gains, and how far they could move the family contrast."""
    known = [edge for edge in edges if edge.tried]
    cells = sum(row.shown for row in result.table.rows)
    head = f"The final runs of {len(edges)} of {cells} cells have a rate at an edge of its grid"
    if not known:
        return [bullet(f"{head}; the next rates beyond it are not trained yet.")]
    rows = [
        [
            backbone_label(edge.backbone),
            optimizer_label(edge.optimizer),
            f"{edge.rate:g}",
            f"{edge.next_rate:g}",
            f"{signed(float(np.mean(edge.gains)), 2)} ({len(edge.gains)})" if edge.gains else "no score",
        ]
        for edge in sorted(known, key=lambda edge: -edge.gain)
    ]
    gained = [edge for edge in known if edge.gain > 0]
    missing = f", {len(known)} of them checked" if len(known) < len(edges) else ""
    lines = [
        bullet(
            f"{head}{missing}. Beyond it, {len(gained)} have a higher validation score, by at most "
            f"{max((edge.gain for edge in gained), default=0.0):.2f} points (with the tuning seeds; no table counts "
            "these trials)."
        )
    ]
    if (shift := _contrast_shift(result, known)) is not None:
        contrast, least, most = shift
        turns = least <= 0 < contrast or contrast < 0 <= most
        lines.append(
            bullet(
                f"The family contrast, {signed(contrast, 2)} points, would lie between {signed(least, 2)} and "
                f"{signed(most, 2)} if every gain were added to its cell that moves it down, or up: its sign "
                f"{'could turn' if turns else 'could not turn'}."
            )
        )
    head_row = ["backbone", "optimizer", "chosen rate", "beyond", "gain in validation score, points (seeds)"]
    return [*lines, "", *table(head_row, rows)]


def _contrast_shift(result: TableResults, edges: Sequence[Edge]) -> tuple[float, float, float] | None:
    """The family contrast, and its least and largest value were the gains added to cells; None without a contrast."""
    scores = result.scores
    if (weights := contrast_weights(scores)) is None:
        return None
    value = float((weights * np.nan_to_num(scores.means)).sum())
    moves = [
        weights[scores.backbones.index(edge.backbone), scores.optimizers.index(edge.optimizer)] * edge.gain
        for edge in edges
    ]
    return value, value + sum(min(0.0, m) for m in moves), value + sum(max(0.0, m) for m in moves)
