"""Makes the leaderboard's Parquet file: everything is computed here, so that no page computes anything."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.pareto import AXES, pareto
from bocb_hf.coupling.published import PUBLISHED, SOURCE, published
from bocb_hf.coupling.row import Row
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.transfer import analyse_transfer, transfer_tables
from bocb_hf.page import EMBEDDED
from bocb_hf.page.ask import ANSWERED, answers_of
from bocb_hf.page.layout import GROUP, KINDS, SCHEMA, CellInfo, TableInfo
from bocb_hf.page.record_rows import own_cell, run_row
from bocb_hf.page.table_rows import own_info, table_info
from bocb_hf.page.transfers import about
from bocb_hf.recommend.evidence import Evidence, evidence_of
from bocb_hf.report.figures.grid import ranks
from bocb_hf.report.findings import Findings, find
from bocb_hf.report.outputs import table_slug
from bocb_hf.report.tabulate import TableResults, Wanted, tabulate
from bocb_hf.store.contents import StoreContents

DRAWS = 2000
_Row = dict[str, Any]


def leaderboard_parquet(contents: StoreContents, draws: int = DRAWS, anew: bool = False) -> bytes:
    """Makes the file of the tables of a store and of the four published ones.

    Args:
        contents: From ``read_counted``; may be empty, the published tables are always there.
        draws: Bootstrap draws of the analysis of each table of the store.
        anew: Whether to compute the published tables as well, which takes a minute; else they are as the package has
            them.
    """
    results = tabulate(contents, Wanted(draws)).results if contents.records else []
    return tabulated_parquet(results, contents, anew)


def tabulated_parquet(results: Sequence[TableResults], contents: StoreContents, anew: bool = False) -> bytes:
    """Makes the same file of tables that were computed already.

    Args:
        results: The tables of the store, as ``tabulate`` returns them.
        contents: The store that they are from.
        anew: As in ``leaderboard_parquet``.
    """
    return to_parquet([*own_rows(results, contents, None), *(compute_published() if anew else published_rows())])


def to_parquet(rows: Iterable[_Row]) -> bytes:
    """Makes the file of rows as ``own_rows`` and ``score_rows`` give them."""
    rows = list(rows)
    order = {kind: place for place, kind in enumerate(KINDS)}
    rows.sort(key=lambda row: order[row["kind"]])  # stable: the order within a kind stays
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, SCHEMA, compression="zstd", compression_level=9) as writer:
        for kind in order:
            of_kind = [row for row in rows if row["kind"] == kind]
            for start in range(0, len(of_kind), GROUP):
                writer.write_table(pa.Table.from_pylist(of_kind[start : start + GROUP], schema=SCHEMA))
    return buffer.getvalue()


def own_rows(results: Sequence[TableResults], contents: StoreContents, limit: int | None = ANSWERED) -> Iterator[_Row]:
    """Yields the rows of the tables of a store, whose findings are those of every other output.

    Args:
        results: The tables, as ``tabulate`` returns them.
        contents: The store that they are from.
        limit: Largest number of cells of a table that answers are computed of; None computes them for every table.
    """
    draws = results[0].wanted.draws if results else DRAWS
    transfers = [analyse_transfer(each, draws) for each in transfer_tables(contents.records, contents.uri)]
    for result in results:
        table, scores = result.table, result.scores
        name = table_slug(table)
        evidence = evidence_of(table, "the records of this table", contents.uri, scores, result.ledger)
        info = own_info(name, result, contents).model_copy(update={"transfers": about(table, transfers)})
        yield from _with_answers(name, info, evidence, limit, contents.uri)
        yield from _cells(name, scores, result.marks, result.findings, _columns(result, contents))
        for backbone in table.backbones:
            fronts = [asdict(front) for axis in AXES if (front := pareto(table, backbone, axis)).points]
            if fronts:
                yield {"kind": "front", "table": name, "backbone": backbone, "payload": _json(fronts)}
        for row in table.rows:
            for record in row.finals:
                yield run_row(name, record, contents)


def published_rows() -> list[_Row]:
    """Returns the rows of the four published tables, which come computed with the package."""
    names = [f"published-{source}" for source in PUBLISHED]
    return pq.read_table(EMBEDDED, filters=[("table", "in", names)]).to_pylist()


def compute_published(draws: int = DRAWS) -> Iterator[_Row]:
    """Yields the rows of the four published tables, computed anew; this takes a minute."""
    for source in PUBLISHED:
        yield from score_rows(f"published-{source}", f"The study's table: {source}", SOURCE, published(source), draws)


def score_rows(name: str, title: str, origin: str, scores: ScoreTable, draws: int) -> Iterator[_Row]:
    """Yields the rows of a table that was published as scores, without records.

    Args:
        name: Id of the table.
        title: For people.
        origin: Where the scores come from.
        scores: The table.
        draws: Bootstrap draws of its analysis.
    """
    found = find(scores, Marks.of(scores, draws=2 * draws), draws=draws)
    info = table_info(name, title, "published", origin, scores, found, "test")
    yield from _with_answers(name, info, Evidence(f"published ({origin})", scores), ANSWERED, None)
    yield from _cells(name, scores, found.marks, found, {})


def _with_answers(
    name: str, info: TableInfo, evidence: Evidence, limit: int | None, store: str | None
) -> Iterator[_Row]:
    """Yields the row of a table and those of its answers."""
    answers, unanswered = answers_of(evidence, limit, store)
    info = info.model_copy(update={"unanswered": unanswered})
    yield {"kind": "table", "table": name, "payload": info.model_dump_json()}
    for key, given in answers.items():
        yield {"kind": "answer", "table": name, "backbone": key, "payload": given.model_dump_json()}


def _cells(
    name: str, scores: ScoreTable, marks: Marks, found: Findings, own: Mapping[tuple[str, str], _Row]
) -> Iterator[_Row]:
    """Yields one row a cell, backbone after backbone."""
    place, analysis = ranks(scores), found.analysis
    points = analysis.points if not isinstance(analysis.points, str) else None
    for b, backbone in enumerate(scores.backbones):
        for o, optimizer in enumerate(scores.optimizers):
            mean, (down, up) = float(scores.means[b, o]), marks.ends(b, o)
            values = [float(v) for v in scores.values[b, o] if np.isfinite(v)]
            seeds = [s for s, v in zip(scores.seeds, scores.values[b, o], strict=True) if np.isfinite(v)]
            residual: _Row = {}
            if points is not None:
                ends = (points.residuals.r, points.residuals.low, points.residuals.high)
                names = ("residual", "residual_low", "residual_high")
                residual = {k: _number(v[b, o]) for k, v in zip(names, ends, strict=True)}
                if points.best is not None and scores.ranked[b].any():
                    residual["candidate"] = bool(points.best.candidates[b, o])
            yield {
                "kind": "cell",
                "table": name,
                "backbone": backbone,
                "family": scores.families[b],
                "optimizer": optimizer,
                "category": scores.categories[o],
                "config_hash": str(scores.config_hashes[b, o]) or None,
                "status": str(scores.status[b, o]),
                "n": int(scores.n[b, o]),
                "diverged": int(scores.diverged[b, o]),
                "rank": int(place[b, o]) or None,
                "mean": _number(mean),
                "low": _number(mean - down),
                "high": _number(mean + up),
                "near_best": bool(marks.near[b, o]),
                "failed": bool(analysis.failures.failed[b, o]),
                "collapsed": bool(analysis.failures.collapsed[b, o]),
                "seeds": seeds if scores.trials_per_value == 1 else [],
                "scores": values,
                "payload": CellInfo().model_dump_json(),
                **residual,
                **own.get((backbone, optimizer), {}),
            }


def _columns(result: TableResults, contents: StoreContents) -> Mapping[tuple[str, str], _Row]:
    """Returns what records add to the row of a cell."""
    others: dict[tuple[str, str], list[Row]] = {}
    for row in result.table.rows:
        if not row.shown:
            others.setdefault((row.cell.backbone, row.cell.optimizer), []).append(row)
    return {
        key: own_cell(row, others.get(key, []), contents)
        for row in result.table.rows
        if row.shown
        for key in [(row.cell.backbone, row.cell.optimizer)]
    }


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
