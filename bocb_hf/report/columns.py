"""The columns of ``coupling.csv`` and ``coupling.parquet``, one row for each configuration of a cell; and winners."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from bocb_hf.coupling.row import Row
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.winners import winners

Kind = Literal["string", "boolean", "Int64", "Float64"]  # names of pandas types, all of which can hold a missing value


def _joined(values: Sequence[object]) -> str | None:
    """Joins several values in one field, separated by spaces; None when there are none."""
    return " ".join(map(str, values)) or None


# `test_top1` and the losses are empty for a partial failure, so that nobody ranks survivors by accident. The columns of
# scores keep the names that they were published with; `metric` says what the scores are: top-1, AP, or another.
COLUMNS: Mapping[str, tuple[Kind, Callable[[Row], object]]] = {
    "dataset": ("string", lambda r: r.cell.dataset),
    "setting": ("string", lambda r: r.cell.setting),
    "data_revision": ("string", lambda r: r.revision),
    "evaluation_split": ("string", lambda r: next((x.identity.data.evaluation_split for x in r.runs), None)),
    "backbone": ("string", lambda r: r.cell.backbone),
    "family": ("string", lambda r: r.family),
    "optimizer": ("string", lambda r: r.cell.optimizer),
    "category": ("string", lambda r: r.category),
    "config_hash": ("string", lambda r: r.config_hash),
    "shown": ("boolean", lambda r: r.shown),
    "selection": ("string", lambda r: r.selection),
    "status": ("string", lambda r: r.status),
    "n": ("Int64", lambda r: r.n),
    "diverged": ("Int64", lambda r: r.diverged),
    "interrupted": ("Int64", lambda r: r.interrupted),
    "seeds": ("string", lambda r: _joined(r.seeds)),
    "test_top1": ("Float64", lambda r: r.mean),
    "test_top1_low": ("Float64", lambda r: r.interval.low if r.interval else None),
    "test_top1_high": ("Float64", lambda r: r.interval.high if r.interval else None),
    "test_top1_df": (
        "Float64",
        lambda r: r.estimate.error[1] if r.interval and r.estimate and r.estimate.error else None,
    ),
    "survivor_top1": ("Float64", lambda r: r.survivor_mean),
    "failure_low": ("Float64", lambda r: r.failure[0] if r.failure else None),
    "failure_high": ("Float64", lambda r: r.failure[1] if r.failure else None),
    "test_loss": ("Float64", lambda r: r.test_loss),
    "train_loss": ("Float64", lambda r: r.train_loss),
    "test_images": ("Int64", lambda r: r.scores[0].n if r.scores else None),
    "epochs": ("Int64", lambda r: r.finals[0].identity.training.epochs if r.finals else None),
    "lr": ("Float64", lambda r: r.lr),
    "weight_decay": ("Float64", lambda r: r.weight_decay),
    "trials": ("Int64", lambda r: len(r.trials)),
    "trial_lrs": ("string", lambda r: _joined(r.trial_lrs)),
    "lr_at_edge": ("boolean", lambda r: r.edge),
    "grid_extensions": ("Int64", lambda r: r.extensions),
    "images_per_second": ("Float64", lambda r: r.images_per_second),
    "wall_seconds": ("Float64", lambda r: r.wall_seconds),
    # test_top1_low and test_top1_high are of tuning and training where there is a tuning_sd, else given the tuned rates
    "tuning_sd": ("Float64", lambda r: r.estimate.tuning[0] ** 0.5 if r.estimate and r.estimate.tuning else None),
    "given_rates_low": ("Float64", lambda r: r.given_interval.low if r.given_interval else None),
    "given_rates_high": ("Float64", lambda r: r.given_interval.high if r.given_interval else None),
    "metric": ("string", lambda r: next((x.metrics.name for x in r.runs), None)),
}


def winner_columns(scores: ScoreTable) -> dict[str, list[float | None]]:
    """Returns what the best cell of each backbone has without the luck of having been chosen, in points.

    Returns:
        Columns with one value for each cell, optimizers of a backbone after each other, None in cells that are not the
        best; no columns where noise cannot be separated.
    """
    best = {(b, w.place): w for b, w in enumerate(winners(scores)) if w is not None}
    cells = [best.get((b, o)) for b in range(len(scores.backbones)) for o in range(len(scores.optimizers))]
    if not best:
        return {}
    return {
        "winner_estimate": [w and w.estimate for w in cells],
        "winner_low": [w and w.interval.low for w in cells],
        "winner_high": [w and w.interval.high for w in cells],
    }
