"""The tables of a store with everything that their outputs need, computed once and handed to every output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bocb_hf.coupling.contrast import Contrast, NotAvailable, family_contrast
from bocb_hf.coupling.ledger import Entry, ledger
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.primary import Primary
from bocb_hf.coupling.scores import ScoreTable, scores_of
from bocb_hf.coupling.table import Floor, Table, build_tables, floors
from bocb_hf.coupling.transfer import Transfer, analyse_transfer, transfer_tables
from bocb_hf.errors import InputError
from bocb_hf.report.findings import Findings, find
from bocb_hf.store.contents import StoreContents


@dataclass(frozen=True)
class Wanted:
    """What a user asks of the findings.

    Attributes:
        draws: Tables that each bootstrap draws.
        primaries: The primary statistic by setting; the key None is for every setting.
        target: Validation score in percent of the time to target; None takes the median of each backbone.
    """

    draws: int = 2000
    primaries: Mapping[str | None, Primary] = field(default_factory=dict[str | None, Primary])
    target: float | None = None

    def primary(self, table: Table) -> Primary:
        """The primary statistic of a table."""
        return self.primaries.get(table.setting) or self.primaries.get(None) or Primary()


@dataclass(frozen=True)
class TableResults:
    """One table with all that is computed from it.

    Attributes:
        table: The table.
        scores: The scores of the table by backbone, optimizer and seed.
        marks: The intervals and flags beside the means of the table.
        ledger: The tuning and training that each cell got.
        floors: The floor rows of the table.
        contrast: The family contrast of the table, or why there is none.
        wanted: What the findings are to rest on.
    """

    table: Table
    scores: ScoreTable
    marks: Marks
    ledger: Sequence[Entry]
    floors: Sequence[Floor]
    contrast: Contrast | NotAvailable
    wanted: Wanted

    @cached_property
    def findings(self) -> Findings:
        """The analysis and the comparisons of the table, computed when they are first asked for."""
        wanted = self.wanted
        return find(self.scores, self.marks, self.table, wanted.draws, wanted.primary(self.table), wanted.target)


@dataclass(frozen=True)
class Tabulated:
    """The contents and the tables of a store.

    Attributes:
        contents: The contents of the store.
        results: The tables of the store, at least one; the one with most runs comes first.
        transfers: The three-way tables of runs that were fine-tuned from checkpoints of runs of this project.
    """

    contents: StoreContents
    results: Sequence[TableResults]
    transfers: Sequence[Transfer] = ()


def tabulate(contents: StoreContents, wanted: Wanted | None = None) -> Tabulated:
    """Builds the tables of a store.

    Args:
        contents: The contents of the store.
        wanted: What the findings of each table are to rest on; None takes the defaults.

    Raises:
        InputError: The store holds no valid record; the message names the first that were left out.
    """
    if not contents.records:
        bad = "".join(f"\n  {item}" for item in contents.quarantined[:5])
        raise InputError(
            f"{contents.uri} holds no valid record of a run; make some with `bocb train` or `make demo`, or name "
            f"another store with --store{bad}"
        )
    asked = wanted or Wanted()
    return Tabulated(
        contents,
        [_results(table, contents, asked) for table in build_tables(contents.records)],
        [analyse_transfer(table, asked.draws) for table in transfer_tables(contents.records, contents.uri)],
    )


def _results(table: Table, contents: StoreContents, wanted: Wanted) -> TableResults:
    scores = scores_of(table, contents.uri)
    return TableResults(
        table=table,
        scores=scores,
        marks=Marks.of(scores, table, 2 * wanted.draws),
        ledger=ledger(table),
        floors=floors(table, contents.floors),
        contrast=family_contrast(table, scores),
        wanted=wanted,
    )
