"""'Your backbone': which table answers for a name, and why that one. The page looks it up and decides nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bocb_hf.page.ask import BOUND, DESIGN, MEASURED
from bocb_hf.page.layout import AnswerInfo
from bocb_hf.page.names import ASKED, designs, places
from bocb_hf.page.read import Board
from bocb_hf.page.texts import is_demo, toy
from bocb_hf.recommend.tags import known_tags
from bocb_hf.report.words.tables import backbone_label, optimizer_label, span

_Given = tuple[Board, AnswerInfo]


def lookup(boards: Mapping[str, Board]) -> dict[str, Any]:
    """Returns every answer by what can be asked, the most relevant table first (``Ask`` of the page's format).

    A table that measured the backbone itself comes before one that did not; a demonstration after the others, and one
    of tiny networks alone before it; own records before what the study published, a table of more cells before one of
    fewer.
    """
    by_key: dict[str, list[_Given]] = {}
    for board in boards.values():
        for key, given in board.answers[0].items():
            by_key.setdefault(key, []).append((board, given))
    keys = {tags.design: DESIGN + (like or "") for like, tags in designs()}
    measured: dict[str, list[_Given]] = {}
    for name in (key.removeprefix(MEASURED) for key in by_key if key.startswith(MEASURED)):
        own = by_key[MEASURED + name]
        there = {board.info.id for board, _ in own}
        # the other tables answer by its design
        others = by_key.get(keys.get(known_tags(name).design, ""), [])
        measured[name] = [
            *own,
            *((board, _named(given, name)) for board, given in others if board.info.id not in there),
        ]
    known = dict(designs())
    return {
        "bound": BOUND,
        "names": places(),
        "labels": {name: backbone_label(name) for name in measured},
        "measured": {name: _answers(given, backbone_label(name)) for name, given in measured.items()},
        "designs": [
            {
                "like": like,
                "family": tags.family,
                "stage_wise": tags.stage_wise,
                "block_wise": tags.block_wise,
                "operator": tags.operator,
                "answers": _answers(by_key.get(DESIGN + (like or ""), []), None),
            }
            for like, tags in known.items()
        ],
        "unanswered": [
            {"table": name, "why": why} for name, board in boards.items() if (why := board.answers[1]) is not None
        ],
    }


def _named(given: AnswerInfo, name: str) -> AnswerInfo:
    """Returns the answer for a design in the name of a backbone of that design."""
    texts = {
        field: [text.replace(ASKED, name) for text in getattr(given, field)]
        for field in ("sentences", "evidence", "caveats", "next", "commands")
    }
    return given.model_copy(update=texts)


def _answers(found: Sequence[_Given], label: str | None) -> list[dict[str, Any]]:
    """Returns the answers for one key, the most relevant first.

    Args:
        found: Tables with what they answer.
        label: The backbone, where it was measured; None for a design.
    """
    order = sorted(found, key=lambda each: _relevance(*each))
    return [
        {
            "table": board.info.id,
            "toy": toy(board.info),
            "why": _why(board, given, order, label),
            **given.model_dump(exclude={"start"}),
            "start": [start.model_dump() | {"label": optimizer_label(start.optimizer)} for start in given.start],
        }
        for board, given in order
    ]


def _relevance(board: Board, given: AnswerInfo) -> tuple[bool, bool, bool, bool, bool, int]:
    """Returns what tables are sorted by, the most relevant first."""
    info = board.info
    return (
        not given.own,
        is_demo(info),
        toy(info) is not None,
        info.source == "published",
        not info.metric.startswith("top-1"),
        -_cells(board),
    )


def _why(board: Board, given: AnswerInfo, others: Sequence[_Given], label: str | None) -> str:
    """Returns in one sentence why this table is asked, and how it stands to the others."""
    info, n = board.info, span(c.n for c in board.cells.values() if c.mean is not None)
    where = f"the study's {info.dataset} table" if info.source == "published" else f"the records of {info.title}"
    if given.own:
        alone = sum(each.own for _, each in others) == 1
        only = ", as in no other table here" if alone and len(others) > 1 else ""
        return f"From {where}, where {label} itself was measured (n = {n} a cell){only}."
    first = others[0][0] is board
    if any(each.own for _, each in others):
        why = "where it was not measured itself"
    elif first:
        why = "the most relevant one, since no table here measured this backbone" if len(others) > 1 else "the only one"
    else:
        why = "which did not measure this backbone either"
    return f"From {where}, {why}: by backbones of a like design ({_cells(board)} cells, n = {n})."


def _cells(board: Board) -> int:
    return sum(cell.mean is not None for cell in board.cells.values())
