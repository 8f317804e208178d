"""What a page says of a cell and of a whole table in words that no other output has."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bocb_hf.backbones import BACKBONES, TINY
from bocb_hf.data import DATASETS
from bocb_hf.page.layout import CellInfo, TableInfo
from bocb_hf.page.read import Board, CellRow
from bocb_hf.report.words.tables import span

STATUS = {"missing": "not run", "interrupted": "not finished", "diverged": "diverged", "partial": "partly diverged"}
FAMILIES = {"primary_cnn": "primary CNN", "classical_cnn": "classical CNN", "modern": "modern", "unknown": "unknown"}
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_TINY = {row.id for row in TINY}


def score_text(cell: CellRow, digits: int = 2) -> str:
    """Returns ``84.40 [83.20, 85.60]``, or why there is no number."""
    if cell.mean is None:
        return STATUS.get(cell.status, "–")
    ends = f" [{cell.low:.{digits}f}, {cell.high:.{digits}f}]" if cell.low is not None else ""
    return f"{cell.mean:.{digits}f}{ends}"


def gap_of(board: Board, cell: CellRow) -> float | None:
    """Returns the points below the best of the backbone, over all optimizers of the table; None without a mean."""
    return None if cell.mean is None else board.best[cell.backbone] - cell.mean


def counts(board: Board) -> tuple[int, int]:
    """Returns the fewest and the most scores of a cell with a mean; zeros where no cell has one."""
    found = sorted({c.n for c in board.cells.values() if c.mean is not None}) or [0]
    return found[0], found[-1]


def basis(board: Board) -> str:
    """Returns what every number of a table rests on, in one sentence."""
    info = board.info
    of = f", each the mean of {info.trials_per_value} trials" if info.trials_per_value > 1 else ""
    seeds = f" (seeds {', '.join(map(str, info.seeds))})" if info.trials_per_value == 1 and info.seeds else ""
    known = f"95 % intervals over seeds, {board.reading}"
    if board.single:
        spread = "no interval, since noise cannot be separated"
    else:
        none = all(cell.low is None for cell in board.cells.values())
        spread = "no interval of a cell, since these scores come without records" if none else known
    revision = info.revision[:10] if _HASH.fullmatch(info.revision) else info.revision
    return f"{info.metric} in points; n = {span(counts(board))} a cell{of}{seeds}; {spread}; data revision {revision}."


def is_demo(info: TableInfo) -> bool:
    """Tells whether the images of a table come with the package: a few thousand small ones, of few epochs."""
    row = DATASETS.find(info.dataset)
    return row is not None and row.embedded is not None


def toy(info: TableInfo) -> str | None:
    """Returns what to think of a table that says little of anybody's own networks; None of another.

    One kind is a demonstration (``is_demo``), the other a table whose backbones are all of the tiny ones of this
    project, such as the laptop study. What stands before the colon is the badge of the page.
    """
    tiny = bool(info.backbones) and set(info.backbones) <= _TINY
    if is_demo(info):
        return f"demo, not for your model: {'tiny networks on ' if tiny else ''}a few thousand small images"
    return "small scale, a hint for your model at most: tiny networks" if tiny else None


def cell_summary(cell: CellRow, board: Board) -> str:
    """Returns score, interval, n, seeds and rank of a cell in one line, or why it has no number."""
    if cell.mean is None:
        return STATUS.get(cell.status, cell.status)
    text = f"{cell.mean:.2f}"
    if cell.low is not None and cell.high is not None:
        text += f", 95 % [{cell.low:.2f}, {cell.high:.2f}] over seeds, {board.reading}"
    seeds = f" (seeds {', '.join(map(str, cell.seeds))})" if cell.seeds else ""
    return f"{text}; n = {cell.n}{seeds}; rank {cell.rank} of its backbone"


def cell_notes(cell: CellRow, info: CellInfo, board: Board) -> list[str]:
    """Returns what must be known of a cell beside its score, in sentences."""
    found: list[str] = []
    if info.failure_low is not None and info.failure_high is not None and cell.diverged:
        found.append(
            f"{cell.diverged} of {cell.diverged + cell.n} runs diverged; probability to diverge "
            f"[{info.failure_low:.0f}, {info.failure_high:.0f}] % (95 %, Wilson)."
        )
    if info.survivor_mean is not None:
        found.append(f"Mean of the survivors, never ranked: {info.survivor_mean:.1f}.")
    if info.edge:
        found.append("The winner of tuning lies at the edge of the grid: a better one may lie beyond.")
    if board.info.source == "published":
        found.append("The study published a mean, no runs.")
    elif cell.status == "missing":
        found.append("Nobody has finished a run here.")
    return found


def parameters(board: Board) -> Iterable[int | None]:
    """Yields the trainable parameters of each backbone: those of its runs, else those that its row states."""
    told = board.info.told
    of_runs = told.parameters if told is not None and told.parameters else [None] * len(board.info.backbones)
    for backbone, known in zip(board.info.backbones, of_runs, strict=True):
        row = BACKBONES.find(backbone.partition(" (")[0])
        yield known if known is not None else row.parameters if row is not None else None
