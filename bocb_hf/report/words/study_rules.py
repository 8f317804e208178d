"""The study's own rules, applied and put in words, with the printed figures that the rules do not reproduce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bocb_hf.coupling.contrast_design import SGD
from bocb_hf.coupling.failure import GAMMA, STUDY_GAMMA, Failures, equation_1, top
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.study_rules import (
    PrintedRank,
    PrintedSpread,
    SpreadRow,
    family_wins,
    overall_ranking,
    spread_rows,
    winners,
)
from bocb_hf.report.words.tables import backbone_label, optimizer_label

COLUMNS = 7  # number of backbones in a block of text on the terminal


def marks_table(scores: ScoreTable, failures: Failures) -> str:
    """Returns scores as text: ``*`` top 4 of a column, ``!`` failed by the default rule, ``.`` by Eq. 1 only."""
    best, flagged = top(scores), equation_1(scores)
    lines = [
        f"{scores.dataset}, {scores.setting}: {scores.metric} in points, {scores.source}",
        "* top 4 of the column; ! more than 2 points below its median; . flagged by Eq. 1 as printed",
    ]
    for start in range(0, len(scores.backbones), COLUMNS):
        part = range(start, min(start + COLUMNS, len(scores.backbones)))
        grid = [["", *(backbone_label(scores.backbones[b]) for b in part)]]
        for o, optimizer in enumerate(scores.optimizers):
            row = [optimizer_label(optimizer)]
            for b in part:
                mark = "*" if best[b, o] else "!" if failures.failed[b, o] else "." if flagged[b, o] else " "
                row.append(f"{scores.means[b, o]:.2f}{mark}" if scores.ranked[b, o] else f"{scores.status[b, o]} ")
            grid.append(row)
        widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
        lines.append("")
        for line in grid:
            cells = [line[0].ljust(widths[0]), *(text.rjust(w) for text, w in zip(line[1:], widths[1:], strict=True))]
            lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def spread_table(rows: Sequence[SpreadRow], scores: ScoreTable) -> str:
    """Returns mean, standard deviation and range below each column, computed and as printed."""
    lines = ["backbone   mean (printed)   std (printed)   range (printed)"]
    for backbone in dict.fromkeys(row.backbone for row in rows):
        texts = [backbone_label(backbone).ljust(9)]
        for row in rows:
            if row.backbone == backbone:
                printed = "" if row.printed is None else f" ({row.printed:.{row.digits}f})"
                texts.append(f"{row.computed:.2f}{printed}{'' if row.agrees is not False else ' differs'}")
        lines.append("  ".join(texts))
    return "\n".join(lines)


def rules_text(scores: ScoreTable, failures: Failures) -> list[str]:
    """Returns sentences on Eq. 1 and the default rule, and on the study's claim and what its table does not show."""
    flagged, failed = equation_1(scores), failures.failed
    gamma = STUDY_GAMMA.get(scores.dataset, 3.0)
    found = [
        f"Eq. 1 of the study as printed, r < max − min(IQR, {gamma:g}), flags {int(flagged.sum())} of {flagged.size} "
        f"cells; the default rule here (more than {GAMMA:g} points below the median) {int(failed.sum())}, of which "
        f"Eq. 1 flags {int((flagged & failed).sum())}. Eq. 1 measures from the best score, so it flags what merely is "
        "not among the best.",
    ]
    sgd = tuple(o for o in SGD if o in scores.optimizers)
    if not sgd:
        return found
    cnn, modern = family_wins(scores, sgd, cnn=True), family_wins(scores, sgd, cnn=False)
    names = ", ".join(backbone_label(b) for b in cnn.won) or "none"
    found.append(
        f"What the table does not show: the SGD family ({', '.join(map(optimizer_label, sgd))}) has the highest score "
        f"on {len(cnn.won)} of {cnn.backbones} CNNs ({names}) and on {len(modern.won)} of {modern.backbones} modern "
        "backbones. The claim is about differences, not about winning."
    )
    if cnn.gap is not None and modern.gap is not None:
        found.append(
            f"Median gap of {optimizer_label(sgd[0])} to the best: {cnn.gap:.1f} points on CNNs, {modern.gap:.1f} on "
            f"modern backbones{_worst_gap(scores, sgd[0])}."
        )
    best = winners(scores)
    counts: dict[str, int] = {}
    for won in best.values():
        for optimizer in won:
            counts[optimizer] = counts.get(optimizer, 0) + 1
    listed = ", ".join(f"{optimizer_label(o)} {n}" for o, n in sorted(counts.items(), key=lambda item: -item[1]))
    found.append(f"Highest score by number of backbones: {listed}.")
    return found


def exceptions_text(rows: Sequence[SpreadRow], scores: ScoreTable) -> list[str]:
    """Returns a sentence that names the printed figures which the study's rule does not reproduce."""
    compared = [row for row in rows if row.printed is not None]
    wrong = [row for row in compared if row.agrees is False]
    if not compared:
        return []
    listed = "; ".join(
        f"{backbone_label(r.backbone)} {r.figure} printed {r.printed:g}, computed {r.computed:.2f}" for r in wrong
    )
    return [
        f"{len(compared) - len(wrong)} of {len(compared)} printed figures follow from the scores: mean and population "
        "standard deviation without the worst and the two best, range without the worst (the text says 'worst removed' "
        f"only); those of CNX-T over all 20. Exceptions: {listed or 'none'}."
    ]


def ranking_text(columns: Mapping[str, PrintedRank]) -> list[str]:
    """Compares the overall column of the study's Table 4 with what its four other columns give."""
    rows = overall_ranking(columns)
    tied = [row for row in rows if row.tied]
    wrong = [row for row in rows if not row.agrees]
    order = ", ".join(f"{row.printed} {optimizer_label(row.optimizer)} ({row.score:.1f})" for row in rows)
    groups: dict[float, list[str]] = {}
    for row in tied:
        groups.setdefault(row.score, []).append(f"{optimizer_label(row.optimizer)} printed {row.printed}")
    ties = "; ".join(f"{score:.1f}: {', '.join(names)}" for score, names in groups.items())
    return [
        "Table 4, place (0.4·performance + 0.2·HP robustness + 0.2·BOCB + 0.2·computation, of the printed ranks): "
        f"{order}.",
        f"{len(rows) - len(wrong)} of {len(rows)} printed places agree with the formula. It leaves ties open, which "
        f"the print orders without saying how: {ties or 'none'}.",
    ]


def study_sections(
    scores: ScoreTable,
    failures: Failures,
    spreads: Mapping[str, PrintedSpread] | None,
    ranking: Mapping[str, PrintedRank] | None,
) -> tuple[list[str], list[str]]:
    """Applies the study's rules to a table, and returns blocks of aligned text and sentences.

    Args:
        scores: The table.
        failures: The cells that the default rule flags.
        spreads: Printed figures below the columns; None for a table of ours, which has none.
        ranking: The study's Table 4; None for a table of ours.
    """
    rows = spread_rows(scores, spreads)
    sentences = [*rules_text(scores, failures), *exceptions_text(rows, scores)]
    if ranking is not None:
        sentences += ranking_text(ranking)
    return [marks_table(scores, failures), *([spread_table(rows, scores)] if rows else [])], sentences


def _worst_gap(scores: ScoreTable, optimizer: str) -> str:
    o = scores.optimizers.index(optimizer)
    gaps = np.array([np.nanmax(line) - line[o] if np.isfinite(line).any() else np.nan for line in scores.means])
    if not np.isfinite(gaps).any():
        return ""
    b = int(np.nanargmax(gaps))
    return f"; the largest is {gaps[b]:.1f} on {backbone_label(scores.backbones[b])}"
