"""The tables of a store with everything that their outputs need, computed once and handed to every output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bocb_hf.coupling.contrast import Contrast, NotAvailable, family_contrast
from bocb_hf.coupling.ledger import Entry, ledger
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.scores import ScoreTable, scores_of
from bocb_hf.coupling.table import Floor, Table, build_tables, floors
from bocb_hf.errors import InputError
from bocb_hf.store.contents import StoreContents


@dataclass(frozen=True)
class TableResults:
    """One table with all that is computed from it.

    Attributes:
        table: The table.
        scores: The scores of the table by backbone, optimizer and seed.
        marks: The intervals and flags beside the means of the table.
        ledger: The tuning and training that each cell got.
        floors: The floor rows of the table.
        contrast: The primary contrast of the table, or why there is none.
    """

    table: Table
    scores: ScoreTable
    marks: Marks
    ledger: Sequence[Entry]
    floors: Sequence[Floor]
    contrast: Contrast | NotAvailable


@dataclass(frozen=True)
class Tabulated:
    """The contents and the tables of a store.

    Attributes:
        contents: The contents of the store.
        results: The tables of the store, at least one; the one with most runs comes first.
    """

    contents: StoreContents
    results: Sequence[TableResults]


def tabulate(contents: StoreContents) -> Tabulated:
    """Builds the tables of a store.

    Raises:
        InputError: The store holds no valid record; the message names the first that were left out.
    """
    if not contents.records:
        bad = "".join(f"\n  {item}" for item in contents.quarantined[:5])
        raise InputError(
            f"store: {contents.uri} holds no valid record of a run; make some with `bocb train` or `make demo`, "
            f"or name another store with --store{bad}"
        )
    return Tabulated(contents, [_results(table, contents) for table in build_tables(contents.records)])


def _results(table: Table, contents: StoreContents) -> TableResults:
    scores = scores_of(table, contents.uri)
    return TableResults(
        table=table,
        scores=scores,
        marks=Marks.of(scores, table),
        ledger=ledger(table),
        floors=floors(table, contents.floors),
        contrast=family_contrast(table),
    )
