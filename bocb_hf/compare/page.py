"""The answer as a page in one file: the answer above, and below it the page of the comparison's own table.

It is the page of every other report (``bocb_hf/page``), which draws text as text and sends no request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from bocb_hf.compare.answer import Answer, Entry, Loss
from bocb_hf.compare.folder import Known
from bocb_hf.compare.words import floor_lines, legend
from bocb_hf.coupling.table import Floor
from bocb_hf.page.data import page_data
from bocb_hf.page.document import one_file
from bocb_hf.page.lead import Lead, LeadRow, Step
from bocb_hf.page.locate import published_boards
from bocb_hf.page.read import Board, LeaderboardFile
from bocb_hf.page.write import own_rows, to_parquet
from bocb_hf.report.tabulate import Wanted, tabulate
from bocb_hf.report.words.labels import optimizer_label
from bocb_hf.store.contents import StoreContents

DRAWS = 1000  # of the table's own analysis, which is of one backbone


def answer_page(
    first: str,
    answer: Answer,
    below: Sequence[Floor],
    known: Known,
    contents: StoreContents,
    steps: Sequence[Step],
) -> bytes:
    """Returns the page as one HTML document.

    Args:
        first: The answer in one sentence.
        answer: The answer.
        below: The floors.
        known: What was decided and cut.
        contents: The store of the comparison.
        steps: What to do next.
    """
    own = own_boards(contents)
    lead = make_lead(first, answer, below, known, next(iter(own.values()), None), steps)
    data = page_data(own | published_boards(), contents.uri, contents.quarantined, lead.table, lead)
    return one_file(data)


def own_boards(contents: StoreContents) -> dict[str, Board]:
    """Returns the tables of a store by id, the one with most runs first; none where no run has ended."""
    if not contents.records:
        return {}
    results = tabulate(contents, Wanted(DRAWS)).results
    return dict(LeaderboardFile("the comparison", to_parquet(own_rows(results, contents))).boards)


def make_lead(
    first: str, answer: Answer, below: Sequence[Floor], known: Known, board: Board | None, steps: Sequence[Step]
) -> Lead:
    """Returns what the page leads with; see ``answer_page``.

    Args:
        board: The table of the comparison; None where no run has ended.
    """
    losses = {loss.optimizer: loss for loss in answer.losses}
    return Lead(
        title=f"{known.backbone} on {_short(known.data)}",
        sentence=first,
        table=board.info.id if board is not None else None,
        backbone=board.info.backbones[0] if board is not None else None,
        rows=tuple(_row(entry, losses.get(entry.optimizer), answer) for entry in answer.entries),
        notes=(*legend(answer), *floor_lines(answer, below)),
        next=tuple(steps),
        decided=tuple(known.reasons),
        cuts=tuple(known.cuts),
    )


def _row(entry: Entry, loss: Loss | None, answer: Answer) -> LeadRow:
    interval = loss.interval if loss is not None else None
    ran = bool(entry.top1)
    return LeadRow(
        optimizer=entry.optimizer,
        label=optimizer_label(entry.optimizer),
        mark="★" if entry.optimizer == answer.best else "☆" if loss is not None and not loss.told else "",
        lr=None if math.isnan(entry.lr) else entry.lr,
        top1=entry.mean if ran else None,
        n=len(entry.top1),
        diverged=entry.diverged,
        loses=loss.points if loss is not None else None,
        low=interval.low if interval is not None else None,
        high=interval.high if interval is not None else None,
        tried=entry.tried,
        edge=entry.edge,
        seconds=entry.seconds if ran else None,
        why=answer.unranked.get(entry.optimizer),
    )


def _short(data: str) -> str:
    """Returns the name of a folder, or the id of a data set."""
    return Path(data).name if data.startswith("/") else data
