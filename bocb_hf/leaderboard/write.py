"""Makes the leaderboard's file: everything is computed here, so that the app computes nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bocb_hf.coupling.analysis import Analysis, analyse, to_plain
from bocb_hf.coupling.contrast import family_contrast
from bocb_hf.coupling.ledger import ledger, summarize, unequal
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.pareto import AXES, pareto
from bocb_hf.coupling.published import PUBLISHED, SOURCE, published
from bocb_hf.coupling.robustness import robustness
from bocb_hf.coupling.row import Row
from bocb_hf.coupling.scores import ScoreTable, scores_of
from bocb_hf.coupling.table import Table, build_tables, floors
from bocb_hf.coupling.trials import trial_curves
from bocb_hf.leaderboard.layout import (
    GROUP,
    SCHEMA,
    CellInfo,
    FloorRow,
    LedgerRow,
    TableInfo,
    TriedRow,
)
from bocb_hf.leaderboard.record_rows import own_cell, run_row
from bocb_hf.recommend.evidence import tried_of
from bocb_hf.report.figures.grid import ranks
from bocb_hf.report.outputs import table_slug
from bocb_hf.report.words.analysis import analysis_text
from bocb_hf.report.words.tables import contrast_text, floor_text, notes, span
from bocb_hf.store.contents import StoreContents

DRAWS = 2000
_Row = dict[str, Any]


def leaderboard_parquet(contents: StoreContents, draws: int = DRAWS) -> bytes:
    """The file of the tables of a store and of the four published ones.

    Args:
        contents: From ``read_counted``; may be empty, the published tables are always there.
        draws: Bootstrap draws of each analysis.
    """
    return to_parquet([*_own(contents, draws), *_published(draws)])


def to_parquet(rows: Iterable[_Row]) -> bytes:
    """The file of rows as ``score_rows`` gives them."""
    rows = list(rows)
    order = {"table": 0, "cell": 1, "front": 2, "run": 3}
    rows.sort(key=lambda row: order[row["kind"]])  # stable: the order within a kind stays
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, SCHEMA, compression="zstd", compression_level=9) as writer:
        for kind in order:
            of_kind = [row for row in rows if row["kind"] == kind]
            for start in range(0, len(of_kind), GROUP):
                writer.write_table(pa.Table.from_pylist(of_kind[start : start + GROUP], schema=SCHEMA))
    return buffer.getvalue()


def _own(contents: StoreContents, draws: int) -> Iterator[_Row]:
    for table in build_tables(contents.records):
        scores = scores_of(table, contents.uri)
        marks = Marks.of(scores, table, 2 * draws)
        analysis = analyse(scores, draws, marks=marks)
        name = table_slug(table)
        yield _table_row(name, _own_info(name, table, scores, analysis, contents))
        yield from _cells(name, scores, marks, analysis, _columns(table, contents))
        for backbone in table.backbones:
            fronts = [asdict(front) for axis in AXES if (front := pareto(table, backbone, axis)).points]
            if fronts:
                yield {"kind": "front", "table": name, "backbone": backbone, "payload": _json(fronts)}
        for row in table.rows:
            for record in row.finals:
                yield run_row(name, record, contents)


def _published(draws: int) -> Iterator[_Row]:
    for source in PUBLISHED:
        yield from score_rows(f"published-{source}", f"The study's table: {source}", SOURCE, published(source), draws)


def score_rows(name: str, title: str, origin: str, scores: ScoreTable, draws: int) -> Iterator[_Row]:
    """The rows of a table that was published as scores, without records.

    Args:
        name: Id of the table.
        title: For people.
        origin: Where the scores come from.
        scores: The table.
        draws: Bootstrap draws of its analysis.
    """
    marks = Marks.of(scores, draws=2 * draws)
    analysis = analyse(scores, draws, marks=marks)
    yield _table_row(name, _info(name, title, "published", origin, scores, analysis, "test"))
    yield from _cells(name, scores, marks, analysis, {})


def _table_row(name: str, info: TableInfo) -> _Row:
    return {"kind": "table", "table": name, "payload": info.model_dump_json()}


def _own_info(name: str, table: Table, scores: ScoreTable, analysis: Analysis, contents: StoreContents) -> TableInfo:
    below = floors(table, contents.floors)
    entries = ledger(table)
    found = robustness(table)
    plain = asdict(found) if found.offsets else None
    if plain is not None:
        plain["left_out"] = [[*pair, reason] for pair, reason in found.left_out.items()]
    title = f"{table.dataset}, setting {table.setting}" + (f", from {table.start}" if table.start else "")
    info = _info(name, title, "records", contents.uri, scores, analysis, table.split_label)
    return info.model_copy(
        update={
            "contrast": contrast_text(family_contrast(table, scores)),
            "notes": [*info.notes, *notes(table, below)],
            "floors": [FloorRow(text=floor_text(floor), backbone=floor.backbone) for floor in below],
            "ledger": [
                LedgerRow(
                    optimizer=s.optimizer,
                    cells=s.cells,
                    trials=span(s.trials),
                    rates=span(s.rates),
                    epochs=span(s.epochs),
                    diverged=s.diverged,
                    edges=s.edges,
                    tuning_hours=s.tuning_seconds / 3600,
                    final_hours=s.final_seconds / 3600,
                )
                for s in summarize(entries)
            ],
            "fairness": unequal(entries),
            "robustness": plain,
            "trial_curves": [asdict(curve) for curve in trial_curves(table)],
            "tried": [TriedRow(**asdict(best)) for best in tried_of(table)],
        }
    )


def _info(
    name: str, title: str, source: Any, origin: str, scores: ScoreTable, analysis: Analysis, split: str
) -> TableInfo:
    """What every table has, published ones included."""
    return TableInfo(
        id=name,
        title=title,
        source=source,
        origin=origin,
        dataset=scores.dataset,
        setting=scores.setting,
        revision=scores.revision,
        metric=scores.metric,
        split=split,
        n_test=scores.n_test,
        num_classes=scores.num_classes,
        trials_per_value=scores.trials_per_value,
        seeds=sorted(set(scores.seeds)),
        backbones=list(scores.backbones),
        families=list(scores.families),
        clusters=list(scores.clusters),
        optimizers=list(scores.optimizers),
        categories=list(scores.categories),
        analysis=_without_cells(to_plain(analysis)),
        sentences=analysis_text(analysis),
        contrast=[],
        notes=list(scores.notes),
        floors=[],
        ledger=None,
        fairness=[],
        robustness=None,
        trial_curves=[],
        tried=None,
    )


_CELLWISE = ("cells", "config_hashes", "failed", "collapsed")
_CELLWISE_SCALE = ("residual", "residual_low", "residual_high", "candidates_for_best")


def _without_cells(plain: dict[str, Any]) -> dict[str, Any]:
    """The analysis without what the rows of the cells hold in columns."""
    kept = {key: value for key, value in plain.items() if key not in _CELLWISE}
    for scale in ("points", "logit"):
        if isinstance(kept[scale], dict):
            kept[scale] = {key: value for key, value in kept[scale].items() if key not in _CELLWISE_SCALE}
    return kept


def _cells(
    name: str, scores: ScoreTable, marks: Marks, analysis: Analysis, own: Mapping[tuple[str, str], _Row]
) -> Iterator[_Row]:
    """One row a cell, backbone after backbone."""
    place = ranks(scores)
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


def _columns(table: Table, contents: StoreContents) -> Mapping[tuple[str, str], _Row]:
    """What records add to the row of a cell."""
    others: dict[tuple[str, str], list[Row]] = {}
    for row in table.rows:
        if not row.shown:
            others.setdefault((row.cell.backbone, row.cell.optimizer), []).append(row)
    return {
        key: own_cell(row, others.get(key, []), contents)
        for row in table.rows
        if row.shown
        for key in [(row.cell.backbone, row.cell.optimizer)]
    }


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
