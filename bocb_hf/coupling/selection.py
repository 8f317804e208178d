"""Which configuration of a cell tuning chooses from its trials: pure functions, for a sweep and for drawing it again.

A configuration counts by its mean last-epoch validation top-1 over the tuning seeds. It loses to every one that
completed with more seeds; ties go to the lower validation loss, then to the lower values (learning rate first). That is
the *best* one, and it alone decides whether a grid is extended.

``one_standard_error`` then takes the safest of those whose mean lies at most one standard error below that of the best
one (Breiman et al., *Classification and Regression Trees*, 1984, Section 3.4.3, where the simplest tree is the safest):
the nearest to the centre of the grid, then the one of lower values. The standard error is s/√S of the best one over S
seeds. One seed gives no s; there it is √(p(1−p)/N) of N validation images. ``benchmarks/selection.py`` compares the
rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.tuned import LR, WEIGHT_DECAY, SelectionRule, Tuned, TunedAxis
from bocb_hf.schema import Scalar

Values = tuple[Scalar, ...]


@dataclass(frozen=True)
class Candidate:
    """One tried configuration; ``top1`` and ``loss`` hold one entry for each tuning seed, None without a score.

    Attributes:
        values: The tuned values, in the order of the axes.
        distance: Steps from the centre, summed over the axes.
        top1: Last-epoch validation top-1 in percent.
        loss: Last-epoch validation loss in nats.
        images: Number of validation images; 0 where no trial completed.
        config_hash: Hash of the configuration, where it was read from records.
    """

    values: Values
    distance: float
    top1: tuple[float | None, ...]
    loss: tuple[float | None, ...]
    images: int = 0
    config_hash: str = ""


def best(top1: NDArray[np.float64], loss: NDArray[np.float64] | None = None) -> NDArray[np.intp]:
    """Returns the index of the configuration with the highest mean.

    Args:
        top1: Validation top-1 in percent, shape (..., C, S) for C configurations in rising order and S seeds; NaN
            where a trial diverged or was not run.
        loss: Validation losses of the same shape, for ties; without them, ties go to the lower index.

    Returns:
        Indices into the configurations, shape (...); the first one where none has a score.
    """
    mean, full = _means(top1)
    leading = full & (mean == mean.max(axis=-1, keepdims=True))
    tie = np.where(leading, 0.0 if loss is None else _nanmean(loss), np.inf)
    return np.argmin(np.where(np.isnan(tie), np.finfo(np.float64).max, tie), axis=-1)


def select(
    top1: NDArray[np.float64],
    distance: NDArray[np.float64],
    images: int,
    rule: SelectionRule,
    loss: NDArray[np.float64] | None = None,
) -> NDArray[np.intp]:
    """Returns the index of the configuration that a rule chooses.

    Args:
        top1: As for ``best``, shape (..., C, S).
        distance: Steps of each configuration from the centre, shape (C,).
        images: Number of validation images, at least 1; read with one seed only.
        rule: The rule.
        loss: As for ``best``.

    Returns:
        Indices into the configurations, shape (...).
    """
    winner = best(top1, loss)
    if rule == "best":
        return winner
    mean, full = _means(top1)
    leader = np.take_along_axis(mean, winner[..., None], axis=-1)
    own = np.take_along_axis(top1, winner[..., None, None], axis=-2)[..., 0, :]
    margin = standard_error(own, images)
    near: NDArray[np.bool_] = full & np.isfinite(mean) & (mean >= leader - margin[..., None])
    # where none has a score, the winner is the only one to take
    np.put_along_axis(near, winner[..., None], True, axis=-1)
    return np.argmin(np.where(near, distance, np.inf), axis=-1)


def standard_error(top1: NDArray[np.float64], images: int) -> NDArray[np.float64]:
    """Returns the standard error of a configuration's mean in points.

    Args:
        top1: Its validation top-1 in percent, shape (..., S); NaN where there is none.
        images: Number of validation images, at least 1.

    Returns:
        s/√S over the seeds that have a score, √(p(1−p)/N) where one seed has, 0 where none has; shape (...).
    """
    n = np.isfinite(top1).sum(axis=-1)
    mean = np.nan_to_num(_nanmean(top1))
    squares = np.nansum((top1 - mean[..., None]) ** 2, axis=-1)
    share = mean / 100
    by_images = 100 * np.sqrt(share * (1 - share) / images)
    return np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1) / np.maximum(n, 1)), np.where(n == 1, by_images, 0.0))


def choose_candidate(candidates: Sequence[Candidate], rule: SelectionRule) -> Candidate:
    """Returns the configuration that a rule chooses; ``candidates`` are in rising order and not empty."""
    top1, loss = (_array([getattr(c, name) for c in candidates]) for name in ("top1", "loss"))
    distance = np.array([c.distance for c in candidates])
    images = max(1, *(c.images for c in candidates))
    return candidates[int(select(top1, distance, images, rule, loss))]


def candidates_of(trials: Sequence[RunRecord], final: RunRecord) -> list[Candidate]:
    """Returns the configurations that a final run was chosen among, in rising order.

    Those are the trials with its tuning seeds that differ from it on the tuned axes alone.

    Args:
        trials: Trials of the run's cell, of any configuration.
        final: A run whose record says how it was tuned.

    Raises:
        ValueError: The record does not say how the run was tuned.
    """
    if final.tuned is None:
        raise ValueError(f"run {final.run_id} does not say how it was tuned")
    axes, found = final.tuned.axes, dict[Values, dict[int, RunRecord]]()
    for trial in trials:
        values = values_of(trial, axes)
        ours = trial.role == "trial" and trial.seed in final.tuned.seeds
        if ours and values is not None and _differs_only_on(axes, trial, final):
            found.setdefault(values, {})[trial.seed] = trial
    return [_candidate(values, found[values], final.tuned) for values in sorted(found, key=order)]


def chosen_configuration(trials: Sequence[RunRecord], final: RunRecord) -> str | None:
    """Returns the configuration hash that the rule of a final run chooses from the trials; None without any trial.

    Raises:
        ValueError: The record does not say how the run was tuned.
    """
    candidates = candidates_of(trials, final)
    if final.tuned is None or not candidates:
        return None
    return choose_candidate(candidates, final.tuned.selection).config_hash


def values_of(record: RunRecord, axes: Sequence[TunedAxis]) -> Values | None:
    """Returns the values of a run on the axes; None where its optimizer has no hyper-parameter of such a name."""
    optimizer = record.identity.optimizer
    known = {LR: optimizer.lr, WEIGHT_DECAY: optimizer.weight_decay, **optimizer.hyperparameters}
    return tuple(known[axis.name] for axis in axes) if all(axis.name in known for axis in axes) else None


def order(values: Values) -> tuple[tuple[bool, float | str], ...]:
    """The key that sorts configurations: numbers by size, texts after them."""
    return tuple((isinstance(v, str), v if isinstance(v, str) else float(v)) for v in values)


def _differs_only_on(axes: Sequence[TunedAxis], trial: RunRecord, final: RunRecord) -> bool:
    """Whether two runs have one configuration apart from the values on the axes."""
    kept = final.identity.optimizer
    names = {axis.name for axis in axes}
    if kept.hyperparameters.keys() != trial.identity.optimizer.hyperparameters.keys():
        return False
    changes: dict[str, Any] = {name: getattr(kept, name) for name in (LR, WEIGHT_DECAY) if name in names}
    own = {name: kept.hyperparameters[name] for name in names & kept.hyperparameters.keys()}
    changes["hyperparameters"] = trial.identity.optimizer.hyperparameters | own
    same = trial.identity.optimizer.model_copy(update=changes)
    changed = trial.identity.model_copy(update={"optimizer": same})
    if final.identity.backbone.pretraining is not None:  # pre-training seeds are of one configuration
        return changed.config_hash() == final.config_hash
    return changed == final.identity


def _candidate(values: Values, trials: dict[int, RunRecord], tuned: Tuned) -> Candidate:
    scores = [_scores(trials[seed]) if seed in trials else (None, None, 0) for seed in tuned.seeds]
    return Candidate(
        values=values,
        distance=distance_of(values, tuned.axes),
        top1=tuple(top1 for top1, _, _ in scores),
        loss=tuple(loss for _, loss, _ in scores),
        images=max(n for _, _, n in scores),
        config_hash=next(iter(trials.values())).config_hash,
    )


def distance_of(values: Values, axes: Sequence[TunedAxis]) -> float:
    """Returns the steps of a configuration from the centre, summed over the axes, to 2 decimals."""
    return round(sum(axis.steps(value) for axis, value in zip(axes, values, strict=True)), 2)


def _scores(trial: RunRecord) -> tuple[float | None, float | None, int]:
    """Last-epoch validation top-1 in percent and loss in nats of a completed trial, and the number of images."""
    top1, loss = trial.metrics.val, trial.metrics.val_loss
    if trial.status != "completed" or top1 is None:
        return None, None, 0
    return top1.last, loss.last if loss is not None else None, top1.n


def _array(rows: Sequence[tuple[float | None, ...]]) -> NDArray[np.float64]:
    return np.array([[np.nan if value is None else value for value in row] for row in rows], np.float64)


def _means(top1: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Mean of each configuration, −inf for those with fewer scores than another, and which have as many as any.

    Means are rounded to 9 decimals, so that equal numbers of correct images tie in whatever order they are added.
    """
    done = np.isfinite(top1).sum(axis=-1)
    full = done == done.max(axis=-1, keepdims=True)
    return np.where(full & (done > 0), np.round(_nanmean(top1), 9), -np.inf), full


def _nanmean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis without NaN; NaN where there is nothing else, without a warning."""
    known = np.isfinite(values)
    n = known.sum(axis=-1)
    return np.where(n > 0, np.where(known, values, 0.0).sum(axis=-1) / np.maximum(n, 1), np.nan)
