"""What ``bocb aggregate`` prints without ``--full``: the answer first, in at most ``LINES`` lines for any store."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from bocb_hf.coupling.contrast import Contrast, NotAvailable
from bocb_hf.coupling.marks import BEST, NEAR
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.table import Floor, Table
from bocb_hf.report.findings import Findings
from bocb_hf.report.words.answer import answer_text, primary_text, reading_text
from bocb_hf.report.words.rare import failure_text, loss_text
from bocb_hf.report.words.tables import grid_lines, interval_words, notes, optimizer_label, span
from bocb_hf.schema import one_line

LINES = 40  # of the terminal, with the line that names the files and the empty line before it
WIDTH = 112
FURTHER = 3  # number of tables after the first whose answer is printed
NAME = 24  # largest number of letters of a name in the list of optimizers


def summary_text(
    found: Findings,
    table: Table | None = None,
    floors: Sequence[Floor] = (),
    contrast: Contrast | NotAvailable | None = None,
    further: Sequence[Findings] = (),
    quarantined: int = 0,
    lines: int = LINES - 2,
) -> str:
    """Returns answer, primary statistic and marks of the first table, and the answers of the others.

    Args:
        found: Findings of the first table.
        table: The table as records; None for one that was published as scores.
        floors: Floor rows of the table.
        contrast: Family contrast of the records.
        further: Findings of the other tables, the one with most runs first.
        quarantined: Number of files that are in no table.
        lines: Largest number of lines; at least 20.
    """
    head = lead_text(found, contrast).splitlines()
    tail: list[str] = []
    for other in further[:FURTHER]:
        tail += ["", *_wrap(_title(other.analysis.scores))[:2]]
        tail += _item(answer_text(other.analysis, other.marks)[0])[:2]
    ends: list[str] = []
    if len(further) > FURTHER:
        ends += ["", f"{len(further) - FURTHER} more table(s): --full prints all."]
    if quarantined:
        ends += ["", f"{quarantined} file(s) are quarantined and in no table; --full names each with its reason."]
    head = _cut(head, lines - 8)
    tail = [*_cut(tail, max(lines - len(head) - 8, 6) - len(ends)), *ends]
    middle = _middle(found, table, lines - len(head) - len(tail))
    room = lines - len(head) - len(middle) - len(tail)
    text = [*head, *middle, *_cut(_notes(found, table, floors), room), *tail]
    return "\n".join(text[:lines])


def lead_text(found: Findings, contrast: Contrast | NotAvailable | None = None) -> str:
    """Returns what a table is, its answer and its primary statistic, as lines.

    Args:
        found: Findings of the table.
        contrast: Family contrast of records; None for a table that was published as scores.
    """
    analysis = found.analysis
    sentences = [
        *answer_text(analysis, found.marks),
        *reading_text(analysis),
        primary_text(found.primary, analysis, contrast),
    ]
    lines = [*_wrap(_title(found.analysis.scores)), "", *(line for sentence in sentences for line in _item(sentence))]
    return "\n".join(lines)


def _title(scores: ScoreTable) -> str:
    place = ", ".join(filter(None, (scores.dataset, scores.setting and f"setting {scores.setting}")))
    start = f", from {scores.start}" if scores.start else ""
    cells = int(scores.ranked.sum())
    return (
        f"{one_line(place, 200)}{start}: {len(scores.backbones)} backbone(s) × {len(scores.optimizers)} optimizer(s), "
        f"{cells} of {scores.ranked.size} cells with a mean, n = {span(int(n) for n in scores.n[scores.ranked])}, test "
        f"{scores.metric}, data revision {one_line(scores.revision, 20) or 'unknown'}"
    )


def _middle(found: Findings, table: Table | None, room: int) -> list[str]:
    """Returns the table where it fits, and else its optimizers as far as they fit, each in one line."""
    rule = _wrap(found.marks.sign_rule)
    if table is not None:
        unit = f"{table.split_label} {table.metric} in points: {interval_words(found.marks)} (n)"
        grid = ["", *_wrap(unit), *rule, *grid_lines(table, found.marks)]
        if len(grid) <= room and max(map(len, grid)) <= 120:
            return grid
    block = [*_optimizers(found)]
    if len(block) + 2 > room:
        shown = max(room - 3, 1)
        block = [*block[:shown], f"{len(block) - shown} more optimizer(s): --full prints all."]
    return ["", *block] if len(block) + 1 <= room else []


def _optimizers(found: Findings) -> list[str]:
    """Returns each optimizer in one line, the one that is on most backbones among the best first."""
    scores, marks, failures = found.analysis.scores, found.marks, found.analysis.failures
    bad = failures.failed | failures.partial
    near = np.isin(marks.signs, (BEST, NEAR)).sum(axis=0)
    top = (marks.signs == BEST).sum(axis=0)
    means = scores.means
    gaps = np.nanmax(np.where(np.isfinite(means), means, -np.inf), axis=1)[:, None] - means
    ranking = found.analysis.ranking
    ranks = ranking.mean_ranks if ranking is not None else np.full(len(scores.optimizers), np.nan)
    hsu = marks.rule == "hsu"
    signs = (f"{BEST} or {NEAR} on", f"{BEST} on")
    head = ("optimizer", *signs, "mean rank", "below the best: mean", "worst", "failed on", "of backbones")
    rows: list[tuple[str, ...]] = [head]
    known = np.isfinite(means).sum(axis=0)
    gap = [float(np.nanmean(g)) if np.isfinite(g).any() else np.inf for g in gaps.T]
    for o in sorted(range(len(scores.optimizers)), key=lambda o: (-int(near[o]), gap[o])):
        worst = f"{float(np.nanmax(gaps[:, o])):.1f}" if known[o] else "–"
        rows.append(
            (
                one_line(optimizer_label(scores.optimizers[o]), NAME),
                f"{near[o]}",
                f"{top[o]}",
                f"{ranks[o]:.1f}" if np.isfinite(ranks[o]) else "–",
                f"{gap[o]:.1f}" if known[o] else "–",
                worst,
                f"{int(bad[:, o].sum())}",
                f"{known[o]}",
            )
        )
    if not hsu:
        rows = [(row[0], *row[2:]) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = [
        "  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths, strict=True))) for r in rows
    ]
    rule = found.marks.sign_rule + (". Distances of means, in points: --full prints intervals." if hsu else ".")
    return [*_wrap(rule), *text]


def _notes(found: Findings, table: Table | None, floors: Sequence[Floor]) -> list[str]:
    """Returns what a reader must know, most important first; the caller cuts it to its room.

    What failure rate is possible in cells without a failure matters where others of the table have failed.
    """
    sentences = list(found.analysis.scores.notes)
    if table is not None:
        shown = [row for row in table.rows if row.shown]
        failures = failure_text(shown) if any(row.diverged for row in shown) else []
        sentences = [*loss_text(table), *notes(table, floors), *failures]
    lines = [line for sentence in sentences for line in _item(sentence)]
    return ["", *lines] if lines else []


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_on_hyphens=False) or [""]


def _item(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


def _cut(lines: Sequence[str], room: int) -> list[str]:
    """Returns as many lines as there is room for; the last says what is left out."""
    if len(lines) <= room:
        return list(lines)
    return [] if room < 2 else [*lines[: room - 1], "  … (--full prints the rest)"]
