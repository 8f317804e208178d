"""The payload of a table in the leaderboard's file: its facts, and its findings in the words of every other output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bocb_hf.coupling.contrast import differences
from bocb_hf.coupling.ledger import Entry, summarize, unequal
from bocb_hf.coupling.robustness import robustness
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.table import Table
from bocb_hf.coupling.trials import trial_curves
from bocb_hf.page.commands import reproduce_command
from bocb_hf.page.layout import CellLedger, DifferenceRow, FloorRow, LedgerRow, TableInfo, Told, TriedRow
from bocb_hf.page.record_rows import environment_text
from bocb_hf.recommend.evidence import tried_of
from bocb_hf.report.findings import Findings, findings_plain
from bocb_hf.report.tabulate import TableResults
from bocb_hf.report.words.analysis import analysis_text
from bocb_hf.report.words.answer import answer_text, primary_text, reading_text
from bocb_hf.report.words.comparisons import comparison_text
from bocb_hf.report.words.ledger import grid_text, tried_text
from bocb_hf.report.words.rare import rare_text
from bocb_hf.report.words.tables import contrast_text, floor_text, notes, span
from bocb_hf.store.contents import StoreContents

SELECTION = {"validation": "validation", "not_best": "validation, not the best trial", "untuned": "untuned"}
_CELLWISE = ("cells", "config_hashes", "failed", "collapsed")
_CELLWISE_SCALE = ("residual", "residual_low", "residual_high", "candidates_for_best")
_TOLD = ("primary", "marks", "comparisons", "profiles", "time_to_target")  # beside the analysis, or in columns


def own_info(name: str, result: TableResults, contents: StoreContents) -> TableInfo:
    """Returns the payload of a table of records.

    Args:
        name: Id of the table.
        result: The table with its findings.
        contents: The store that it is from.
    """
    table, scores, found = result.table, result.scores, result.findings
    tuned = robustness(table)
    plain = asdict(tuned) if tuned.offsets else None
    if plain is not None:
        plain["left_out"] = [[*pair, reason] for pair, reason in tuned.left_out.items()]
    title = f"{table.dataset}, setting {table.setting}" + (f", from {table.start}" if table.start else "")
    info = table_info(name, title, "records", contents.uri, scores, found, table.split_label)
    assert info.told is not None
    contrast = result.contrast
    told = info.told.model_copy(
        update={
            "primary": primary_text(found.primary, found.analysis, contrast),
            "grids": grid_text(result.ledger),
            "environments": _environments(table),
            "date": max((record.finished_at[:10] for record in table.records), default=None),
            "parameters": [_parameters(table, backbone) for backbone in table.backbones],
            "cells_ledger": [_entry(entry) for entry in result.ledger],
            "example": _example(table, contents),
        }
    )
    return info.model_copy(
        update={
            "told": told,
            "contrast": contrast_text(contrast, "Family contrast"),
            "notes": [*info.notes, *rare_text(table), *notes(table, result.floors)],
            "floors": [FloorRow(text=floor_text(floor), backbone=floor.backbone) for floor in result.floors],
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
                for s in summarize(result.ledger)
            ],
            "fairness": unequal(result.ledger),
            "robustness": plain,
            "trial_curves": [asdict(curve) for curve in trial_curves(table)],
            "tried": [TriedRow(**asdict(best)) for best in tried_of(table)],
        }
    )


def table_info(
    name: str, title: str, source: Any, origin: str, scores: ScoreTable, found: Findings, split: str
) -> TableInfo:
    """Returns what the payload of every table has, published ones included."""
    plain = findings_plain(found)
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
        analysis=_without_cells(plain),
        sentences=analysis_text(found.analysis),
        contrast=[],
        notes=list(scores.notes),
        floors=[],
        ledger=None,
        fairness=[],
        robustness=None,
        trial_curves=[],
        tried=None,
        told=Told(
            answer=answer_text(found.analysis, found.marks),
            reading=reading_text(found.analysis),
            primary=primary_text(found.primary, found.analysis, None),
            differences=[
                DifferenceRow(
                    backbone=backbone, value=d, low=interval and interval.low, high=interval and interval.high
                )
                for backbone, (d, interval) in differences(scores).items()
            ],
            comparisons=comparison_text(found.comparisons, scores, found.profiles, found.times),
            profiles=plain["profiles"],
            times=plain["time_to_target"],
        ),
    )


def _without_cells(plain: dict[str, Any]) -> dict[str, Any]:
    """Returns the analysis without what the rows of the cells hold in columns."""
    kept = {key: value for key, value in plain.items() if key not in (*_CELLWISE, *_TOLD)}
    for scale in ("points", "logit", "points_given_the_tuned_rates"):
        if isinstance(kept.get(scale), dict):
            kept[scale] = {key: value for key, value in kept[scale].items() if key not in _CELLWISE_SCALE}
    return kept


def _environments(table: Table) -> list[tuple[int, str]]:
    """Returns every combination of device and software with its number of final runs, the most frequent first."""
    counts = Counter(environment_text(record) for record in table.records)
    return [(count, text) for text, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _parameters(table: Table, backbone: str) -> int | None:
    """Returns the trainable parameters of a backbone's runs; None where they differ, or where there is no run."""
    found = {record.cost.parameters for row in table.column(backbone) for record in row.finals}
    return found.pop() if len(found) == 1 else None


def _entry(entry: Entry) -> CellLedger:
    return CellLedger(
        backbone=entry.backbone,
        optimizer=entry.optimizer,
        trials=entry.trials,
        diverged=entry.diverged,
        rates=tried_text(entry.rates),
        decays=tried_text(entry.decays),
        lr=entry.lr,
        weight_decay=entry.weight_decay,
        edge=entry.edge,
        extensions=entry.extensions,
        chosen_by=SELECTION.get(entry.selection or "", "–"),
        epochs=_listed(entry.epochs),
        steps=_listed(entry.steps),
        tuning_seconds=entry.tuning_seconds,
        final_seconds=entry.final_seconds,
    )


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values)) or "–"


def _example(table: Table, contents: StoreContents) -> str | None:
    """Returns the command that repeats the first completed run."""
    row = next((row for row in table.rows if row.shown and row.n), None)
    if row is None:
        return None
    record = row.completed[0]
    owner, repository, path = contents.places[record.role, record.run_id].split("/", 2)
    return reproduce_command(contents.uri, f"{owner}/{repository}", path)
