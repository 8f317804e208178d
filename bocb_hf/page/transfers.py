"""The three-way tables of transfer as a page shows them: as text, in the words of the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from bocb_hf.coupling.published import PUBLISHED, Published
from bocb_hf.coupling.published.transfer import published_transfer
from bocb_hf.coupling.table import Table
from bocb_hf.coupling.transfer import Transfer, analyse_transfer
from bocb_hf.page.layout import TransferBackbone, TransferInfo, TransferRow
from bocb_hf.page.read import Board
from bocb_hf.report.words.tables import backbone_label, optimizer_label
from bocb_hf.report.words.transfer import answer_text, cells_of, level_label, title_text, transfer_text

_PUBLISHED = "published-"


def transfer_info(found: Transfer) -> TransferInfo:
    """Returns what a page shows of a three-way table."""
    table = found.table
    return TransferInfo(
        title=title_text(found),
        answer=answer_text(found),
        sentences=transfer_text(found),
        backbones=[
            TransferBackbone(
                backbone=backbone_label(backbone),
                optimizers=[optimizer_label(name) for name in table.optimizers],
                rows=[
                    TransferRow(pretraining=level_label(table, p), cells=cells)
                    for p, cells in enumerate(cells_of(found, b))
                ],
            )
            for b, backbone in enumerate(table.backbones)
        ],
    )


def about(table: Table, found: Sequence[Transfer]) -> list[TransferInfo]:
    """Returns the three-way tables that a table of records belongs to, by its fine-tuning or by its pre-training."""
    return [
        transfer_info(each)
        for each in found
        if table.dataset == each.table.pretrained_on
        or (table.dataset, table.revision) == (each.table.dataset, each.table.revision)
    ]


def transfers_of(board: Board) -> list[TransferInfo]:
    """Returns the three-way tables of a table of the leaderboard; that of a published table follows from its scores."""
    if board.info.source == "published" and board.info.id.startswith(_PUBLISHED):
        name = board.info.id.removeprefix(_PUBLISHED)
        known: dict[str, Published] = {each: each for each in PUBLISHED}
        table = published_transfer(known[name]) if name in known else None
        return [] if table is None else [transfer_info(analyse_transfer(table))]
    return board.info.transfers
