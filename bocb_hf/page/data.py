"""The two files that a page reads: a summary with every table, and details that it fetches a piece at a time.

The summary is JSON, compressed with gzip. The details are JSON documents, each compressed by itself, one after the
other; the summary says where each begins, so that a page can ask for one of them with a range of bytes. Both are a
projection of the leaderboard's Parquet file: nothing is computed here, and equal files give equal bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from bocb_hf.page import STUDY
from bocb_hf.page.commands import INSTALL, SUBMIT
from bocb_hf.page.details import cell_chunks, table_more
from bocb_hf.page.lead import Lead
from bocb_hf.page.lookup import lookup
from bocb_hf.page.read import Board
from bocb_hf.page.summary import table_summary
from bocb_hf.page.texts import toy
from bocb_hf.version import __version__

FORMAT = 1
PAPER = """\
@article{li2024bocb,
  title   = {Unveiling the Backbone-Optimizer Coupling Bias in Visual Representation Learning},
  author  = {Li, Siyuan and others},
  journal = {arXiv preprint arXiv:2410.06373},
  year    = {2024}
}
"""


class PageData(NamedTuple):
    """The data of a page.

    Attributes:
        summary: Compressed JSON.
        details: Compressed documents, one after the other.
    """

    summary: bytes
    details: bytes


def page_data(
    boards: Mapping[str, Board],
    source: str,
    quarantined: Sequence[tuple[str, str, str]] = (),
    opens: str | None = None,
    lead: Lead | None = None,
) -> PageData:
    """Makes the data of a page.

    Args:
        boards: The tables by id, own ones first; at least one.
        source: Where the data come from, for people.
        quarantined: (repository, path, reason) of what is in no table.
        opens: Id of the table to open with; None takes the most informative one.
        lead: What stands above the tables; None for nothing.
    """
    study = boards.get(STUDY)
    documents: list[str] = []
    tables: list[dict[str, Any]] = []
    for board in boards.values():
        table: dict[str, Any] = table_summary(board) | {"chunk": len(documents)}
        documents.append(_json({"table": table_more(board, study)}))
        places: list[int | None] = [None] * len(board.cells)
        for cells in cell_chunks(board):
            for place in cells:
                places[place] = len(documents)
            documents.append(_json({"cells": cells}))
        if any(place is not None for place in places):
            table["cells"]["chunk"] = places
        tables.append(table)
    summary = {
        "format": FORMAT,
        "release": __version__,
        "date": max((table["date"] for table in tables if table["date"]), default=None),
        "open": opens or most_informative(boards),
        "source": source,
        "lead": None if lead is None else asdict(lead),
        "tables": tables,
        "ask": lookup(boards),
        "study": STUDY if study is not None else None,
        "citation": _citation(source, tables),
        "install": INSTALL,
        "submit": list(SUBMIT),
        "quarantined": [
            {"repository": repository, "path": path, "reason": reason} for repository, path, reason in quarantined
        ],
    }
    # a page with this summary and the details of another time would show what does not belong together
    digest = hashlib.sha256(_json(summary).encode())
    for document in documents:
        digest.update(document.encode())
    name = digest.hexdigest()[:16]
    members = [_compressed(f'{{"id":"{name}",{document[1:]}') for document in documents]
    starts = [0]
    for member in members:
        starts.append(starts[-1] + len(member))
    return PageData(_compressed(_json(summary | {"id": name, "chunks": starts})), b"".join(members))


def most_informative(boards: Mapping[str, Board]) -> str:
    """Returns the id of the table with most means that is no demonstration, or of the first where all are."""

    def informs(name: str) -> tuple[bool, int]:
        board = boards[name]
        return toy(board.info) is None, sum(cell.mean is not None for cell in board.cells.values())

    return max(boards, key=informs)  # the first of equal ones, and own tables come first


def _citation(source: str, tables: Sequence[Mapping[str, Any]]) -> str:
    """Returns BibTeX of the study, and of the records where the page shows any."""
    own = [table for table in tables if table["kind"] == "records" and table["date"]]
    if not own:
        return PAPER
    date = max(str(table["date"]) for table in own)
    plain = source.translate(str.maketrans({c: f"\\{c}" for c in "_%#&$"} | dict.fromkeys("{}\\", "")))
    revisions = ", ".join(dict.fromkeys(str(table["revision"])[:12] for table in own))
    note = f"Records of {plain} as of {date}; data revision {revisions}"
    return PAPER + (
        "\n@misc{bocb_hf,\n  title        = {Backbone-optimizer coupling: results},\n"
        f"  howpublished = {{bocb-hf {__version__}}},\n  year         = {{{date[:4]}}},\n"
        f"  note         = {{{note}}}\n}}\n"
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _compressed(text: str) -> bytes:
    return gzip.compress(text.encode(), 6, mtime=0)
