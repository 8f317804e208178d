"""Rows of the leaderboard's file that are drawn from records: what a cell and a run show when they are opened."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

from bocb_hf.coupling.row import Row
from bocb_hf.page.layout import (
    LEVELS,
    CellInfo,
    OtherConfiguration,
    RunInfo,
    Trial,
    TrialCurve,
)
from bocb_hf.runs.diagnosis import diagnose
from bocb_hf.runs.identity import flatten
from bocb_hf.runs.measurements import Measurement
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.contents import StoreContents

POINTS = 100  # of the curve of a trial, evenly spaced and with its last one


def own_cell(row: Row, others: Sequence[Row], contents: StoreContents) -> dict[str, Any]:
    """What records add to the row of a cell.

    Args:
        row: The configuration that is shown.
        others: The other configurations of the cell.
        contents: Where they come from.
    """
    counted = [r for r in row.finals if r.status != "interrupted"]
    held = [contents.levels.get(r.sha256(), LEVELS[0]) for r in counted]
    places = [contents.places[r.role, r.run_id].split("/")[:2] for r in counted]
    info = CellInfo(
        selection=row.selection,
        edge=row.edge,
        survivor_mean=row.survivor_mean,
        failure_low=row.failure[0] if row.failure else None,
        failure_high=row.failure[1] if row.failure else None,
        trials=tuple(
            Trial(
                lr=r.identity.optimizer.lr,
                weight_decay=r.identity.optimizer.weight_decay,
                val_top1=r.metrics.val.last if r.metrics.val and r.status == "completed" else None,
            )
            for r in row.trials
        ),
        others=tuple(
            OtherConfiguration(
                config_hash=other.config_hash or "",
                n=other.n,
                mean=other.mean,
                low=other.interval.low if other.interval else None,
                high=other.interval.high if other.interval else None,
            )
            for other in others
        ),
        curves=tuple(_curve(r) for r in row.trials if _chosen(row, r) and len(r.curve.val_step) > 1),
    )
    return {
        "namespace": " ".join(sorted({owner for owner, _ in places})) or None,
        "repository": " ".join(sorted({f"{owner}/{name}" for owner, name in places})) or None,
        "level": min(held, key=LEVELS.index) if held else None,
        "standard_error": row.standard_error,
        "lr": row.lr,
        "weight_decay": row.weight_decay,
        "trials": len(row.trials),
        "wall_seconds": row.wall_seconds,
        "test_loss": row.test_loss,
        "train_loss": row.train_loss,
        "memory_bytes": max((r.cost.peak_memory_bytes for r in row.completed), default=None),
        "payload": info.model_dump_json(),
    }


def run_row(name: str, record: RunRecord, contents: StoreContents) -> dict[str, Any]:
    """The row of a final run of a table; without the correctness bits, which no page shows."""
    owner, repository, _ = contents.places[record.role, record.run_id].split("/", 2)
    digest, test = record.sha256(), record.metrics.test
    held = {key: getattr(record.metrics, key) for key in type(record.metrics).model_fields}
    metrics = {key: value for key, value in held.items() if isinstance(value, Measurement)}
    cost = record.cost
    spent = {
        "wall time": f"{cost.wall_seconds:.1f} s",
        "images a second while training": f"{cost.images_per_second:,.0f}",
        "peak memory": f"{cost.peak_memory_bytes / 2**20:,.0f} MiB ({cost.memory_kind})",
        "trainable parameters": f"{cost.parameters:,}",
    }
    if cost.energy_joules is not None:
        spent["energy"] = f"{cost.energy_joules:,.0f} J ({cost.energy_source})"
    info = RunInfo(
        path=record.path(),
        finished_at=record.finished_at,
        reason=record.reason,
        weights=record.weights_sha256 is not None,
        metrics={key: m.last for key, m in metrics.items()} | record.metrics.test_details,
        hyperparameters={key: _plain(v) for key, v in flatten(record.identity.model_dump(mode="json")).items()},
        environment=environment_text(record),
        cost=spent,
        diagnosis=[f"{d.finding.replace('_', ' ')}: {d.text}" for d in diagnose(record)],
        epochs_per_step=record.identity.training.epochs / record.total_steps,
        steps=list(record.curve.step),
        losses=[float(f"{v:.5g}") for v in record.curve.train_loss],
        val_steps=list(record.curve.val_step),
        val_top1=list(record.curve.validated),
        patterns=record.patterns,
        inspections=record.inspections,
    )
    return {
        "kind": "run",
        "table": name,
        "backbone": record.identity.backbone.name,
        "family": record.family,
        "optimizer": record.identity.optimizer.name,
        "category": record.category,
        "config_hash": record.config_hash,
        "namespace": owner,
        "repository": f"{owner}/{repository}",
        "level": contents.levels.get(digest, LEVELS[0]),
        "status": record.status,
        "run_id": record.run_id,
        "record_sha256": digest,
        "seed": record.seed,
        "mean": test.last if test else None,
        "lr": record.identity.optimizer.lr,
        "weight_decay": record.identity.optimizer.weight_decay,
        "wall_seconds": cost.wall_seconds,
        "memory_bytes": cost.peak_memory_bytes,
        "payload": info.model_dump_json(),
    }


def environment_text(record: RunRecord) -> str:
    """Returns device and software of a run in one line."""
    e = record.environment
    libraries = ", ".join(f"{name} {version}" for name, version in sorted(e.libraries.items()))
    commit = f" ({e.code_commit[:12]}{'-dirty' * e.code_commit.endswith('-dirty')})" if e.code_commit else ""
    return (
        f"{e.device}, {e.processes} process(es) of {e.threads} thread(s), "
        f"{'deterministic' if e.deterministic else 'not deterministic'}; {e.platform}; Python {e.python}, {libraries}; "
        f"bocb-hf {e.code_version}{commit}"
    )


def _chosen(row: Row, trial: RunRecord) -> bool:
    """Returns whether a trial had the learning rate and weight decay of the configuration that is shown."""
    optimizer = trial.identity.optimizer
    return (optimizer.lr, optimizer.weight_decay) == (row.lr, row.weight_decay)


def _curve(trial: RunRecord) -> TrialCurve:
    steps, last = trial.curve.val_step, len(trial.curve.val_step) - 1
    every = -(-len(steps) // POINTS)
    kept = [(last - place) % every == 0 for place in range(len(steps))]
    scale = trial.identity.training.epochs / trial.total_steps
    return TrialCurve(
        seed=trial.seed,
        epochs=[round(step * scale, 4) for step in compress(steps, kept)],
        val_top1=list(compress(trial.curve.validated, kept)),
    )


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)
