"""What a page fetches after a click: the runs of a cell, and what a table has beside its cells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any
from urllib.parse import quote

from huggingface_hub import constants

from bocb_hf.coupling.pareto import AXES
from bocb_hf.page.commands import reproduce_command
from bocb_hf.page.layout import TableInfo, Trial
from bocb_hf.page.read import Board, CellRow, RunRow
from bocb_hf.page.standings import beside_study, order, ranking, shares
from bocb_hf.page.summary import rounded
from bocb_hf.page.texts import cell_notes, cell_summary
from bocb_hf.page.weights import plain_inspection, plain_patterns, ridge
from bocb_hf.schema import HUB_SCHEME

CHUNK = 100_000  # characters of JSON after which a chunk ends: what a click fetches, before compression
_Plain = dict[str, Any]
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def table_more(board: Board, study: Board | None) -> _Plain:
    """Returns what the views of a table beside the heat map show (``TableMore`` of the page's format).

    Args:
        board: The table.
        study: The study's main table; None where it is not there.
    """
    info, told = board.info, board.info.told
    beside = study if study is not None and study is not board else None
    return {
        "sentences": info.sentences,
        "comparisons": told.comparisons if told is not None else [],
        "differences": _differences(info),
        "ranking": ranking(board),
        "shares": shares(board),
        "order": order(board),
        "fronts": {b: [_front(front) for front in fronts] for b, fronts in board.fronts().items()},
        "robustness": info.robustness,
        "trial_curves": [_trial_curve(curve) for curve in info.trial_curves],
        "profiles": told.profiles if told is not None else None,
        "times": told.times if told is not None else None,
        "study": beside_study(board, beside) if beside is not None else None,
        "study_claim": beside.info.claims[:1] if beside is not None else None,
        "environments": [{"runs": runs, "text": text} for runs, text in told.environments] if told is not None else [],
        "cells_ledger": None
        if told is None or told.cells_ledger is None
        else [entry.model_dump() for entry in told.cells_ledger],
        "reproduce": _reproduce(board),
    }


def cell_chunks(board: Board) -> Iterator[dict[int, _Plain]]:
    """Yields the details of a table's cells by place in the table, some cells of one backbone at a time.

    A published cell without runs has no details.
    """
    if board.info.source == "published":
        return
    for b, backbone in enumerate(board.info.backbones):
        by_optimizer: dict[str, list[RunRow]] = {}
        for run in board.runs(backbone):
            by_optimizer.setdefault(run.optimizer, []).append(run)
        chunk: dict[int, _Plain] = {}
        size = 0
        for o, optimizer in enumerate(board.info.optimizers):
            more = cell_more(board, board.cells[backbone, optimizer], by_optimizer.get(optimizer, []))
            chunk[b * len(board.info.optimizers) + o] = more
            size += len(json.dumps(more, ensure_ascii=False))
            if size > CHUNK:
                yield chunk
                chunk, size = {}, 0
        if chunk:
            yield chunk


def cell_more(board: Board, cell: CellRow, runs: list[RunRow]) -> _Plain:
    """Returns what opens when a cell is clicked (``CellMore`` of the page's format).

    Args:
        board: The table.
        cell: The cell.
        runs: Its final runs, of all configurations.
    """
    info = board.cell_info(cell)
    runs = sorted(runs, key=lambda r: (r.config_hash != cell.config_hash, r.seed))
    first = runs[0] if runs else None
    on_hub = board.info.origin.startswith(HUB_SCHEME)
    loads = first is not None and on_hub and first.info.weights and first.status == "completed"
    return {
        "scores": [rounded(score) for score in cell.scores],
        "seeds": list(cell.seeds),
        "summary": cell_summary(cell, board),
        "notes": cell_notes(cell, info, board),
        "trials": [trial.model_dump() for trial in info.trials],
        "rates": by_rate(info.trials),
        "curves": [
            curve.model_dump() | {"val_top1": [rounded(value) for value in curve.val_top1]} for curve in info.curves
        ],
        "ridge": ridge([run for run in runs if run.config_hash == cell.config_hash]),
        "chosen_by": info.selection,
        "edge": info.edge,
        "others": [other.model_dump() for other in info.others],
        "runs": [_run(board, cell, run, on_hub) for run in runs],
        "hyperparameters": dict(first.info.hyperparameters) if first is not None else {},
        "load": f"import bocb_hf\nmodel = bocb_hf.load_backbone({first.repository!r}, seed={first.seed})"
        if first is not None and loads
        else None,
    }


def by_rate(trials: Sequence[Trial]) -> list[_Plain]:
    """Returns the validation score of each learning rate: the mean over tuning seeds, of its best weight decay.

    A pair of both that diverged with any seed has no mean, as survivors are never ranked.
    """
    found: dict[float, dict[float, list[float | None]]] = {}
    for trial in trials:
        found.setdefault(trial.lr, {}).setdefault(trial.weight_decay, []).append(trial.val_top1)
    rows: list[_Plain] = []
    for lr, decays in sorted(found.items()):
        each = [[score for score in scores if score is not None] for scores in decays.values()]
        means = [fmean(known) for known, scores in zip(each, decays.values(), strict=True) if len(known) == len(scores)]
        count = sum(map(len, decays.values()))
        rows.append({"lr": lr, "val_top1": rounded(max(means, default=None)), "trials": count})
    return rows


def _differences(info: TableInfo) -> list[_Plain]:
    """Returns SGD minus adaptive of each backbone, by its place in the table."""
    places = {name: place for place, name in enumerate(info.backbones)}
    rows = info.told.differences if info.told is not None else []
    return [
        {
            "backbone": places[row.backbone],
            "value": rounded(row.value),
            "low": rounded(row.low),
            "high": rounded(row.high),
        }
        for row in rows
        if row.backbone in places
    ]


def _run(board: Board, cell: CellRow, run: RunRow, on_hub: bool) -> _Plain:
    info = run.info
    return {
        "seed": run.seed,
        "status": run.status,
        "reason": info.reason,
        "score": rounded(run.mean),
        "level": run.level,
        "shown": run.config_hash == cell.config_hash,
        "config_hash": run.config_hash,
        "run_id": run.run_id,
        "record_sha256": run.record_sha256,
        "repository": run.repository,
        "path": info.path,
        "finished": info.finished_at,
        "links": _links(run) if on_hub else [],
        "reproduce": reproduce_command(board.info.origin, run.repository, info.path),
        "metrics": {name: value for name, value in info.metrics.items() if value is not None},
        "cost": dict(info.cost),
        "environment": info.environment,
        "diagnosis": info.diagnosis,
        "epochs_per_step": info.epochs_per_step,
        "steps": info.steps,
        "losses": info.losses,
        "val_steps": info.val_steps,
        "val_top1": [rounded(value) for value in info.val_top1],
        "patterns": plain_patterns(info.patterns),
        "inspections": [plain_inspection(seen, info.epochs_per_step) for seen in info.inspections],
    }


def _links(run: RunRow) -> list[dict[str, str]]:
    """Returns the addresses of checkpoint and record; none for a name that is no repository of the Hub."""
    if not _REPOSITORY.fullmatch(run.repository) or ".." in run.info.path:
        return []
    base, path = f"{constants.ENDPOINT}/{run.repository}", quote(run.info.path)
    folder = path.rpartition("/")[0]
    checkpoint = [{"label": "checkpoint", "href": f"{base}/tree/main/{folder}"}] if run.info.weights else []
    return [*checkpoint, {"label": "record", "href": f"{base}/blob/main/{path}"}]


def _front(front: Any) -> _Plain:
    return {
        "axis": front.axis,
        "label": AXES[front.axis],
        "points": [
            {
                "optimizer": p.optimizer,
                "mean": rounded(p.mean),
                "low": rounded(p.interval.low) if p.interval else None,
                "high": rounded(p.interval.high) if p.interval else None,
                "n": p.n,
                "cost": rounded(p.cost),
                "on_front": p.on_front,
                "dominated_by": list(p.dominated_by),
            }
            for p in front.points
        ],
        "left_out": dict(front.left_out),
        "caveats": list(front.caveats),
    }


def _trial_curve(curve: _Plain) -> _Plain:
    return {
        "optimizer": curve["optimizer"],
        "points": [
            {
                "k": point["k"],
                "shortfall": point["shortfall"],
                "low": point["interval"]["low"] if point["interval"] else None,
                "high": point["interval"]["high"] if point["interval"] else None,
                "no_result": point["no_result"],
                "backbones": point["backbones"],
            }
            for point in curve["points"]
        ],
    }


def _reproduce(board: Board) -> list[str]:
    if board.info.source == "published":
        return [f"bocb aggregate --source paper:{board.info.id.removeprefix('published-')} --full"]
    told, origin = board.info.told, board.info.origin
    return [
        f"bocb aggregate --{'source' if origin.endswith('.parquet') else 'store'} {origin}",
        *([told.example] if told is not None and told.example is not None else []),
    ]
