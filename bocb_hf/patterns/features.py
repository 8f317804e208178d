"""What may predict a cell: its weight patterns at the end and early in training, its sharpness, its early loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.failure import find_failures
from bocb_hf.coupling.scores import scores_of
from bocb_hf.coupling.table import Table
from bocb_hf.patterns.prediction import View
from bocb_hf.runs.patterns import OVERFIT, UNDERFIT, LayerPattern, WeightPatterns
from bocb_hf.runs.record import RunRecord

EARLY = 0.1  # the share of training at which early features are taken
RESIDUAL, FAILURE = "coupling residual", "failure"

_Floats = NDArray[np.float64]
_MEASURES: dict[str, Callable[[LayerPattern], float | None]] = {
    "entropy": lambda layer: layer.entropy,
    "log norm": lambda layer: math.log(layer.norm) if layer.norm > 0 else None,
    "energy": lambda layer: layer.energy,
    "α": lambda layer: layer.alpha,
    "log stable rank": lambda layer: None if layer.stable_rank is None else math.log(layer.stable_rank),
}


@dataclass(frozen=True, eq=False)
class Evidence:
    """The tables that ``prediction.ask`` takes, with where they are from.

    Attributes:
        questions: Views by outcome.
        backbones: Rows of the tables: those of which a cell has an outcome.
        optimizers: Columns of the tables.
        split_seeds: Whether features and scores of a cell are of different seeds, so that the luck of a run is not in
            both of them.
        failed: Cells that failed.
        cells: Cells with an outcome.
        features: Each feature over all seeds, shape (B, O), by name.
    """

    questions: dict[str, list[View]]
    backbones: tuple[str, ...]
    optimizers: tuple[str, ...]
    split_seeds: bool
    failed: int
    cells: int
    features: dict[str, _Floats]


def run_features(record: RunRecord) -> dict[str, float]:
    """The features of one run; what its record does not hold is absent.

    Over layers, which differ between backbones, mean and standard deviation are taken.
    """
    found: dict[str, float] = {}
    if record.patterns is not None:
        found |= _of_patterns(record.patterns, "final")
    early = next((i for i in record.inspections if math.isclose(i.share, EARLY)), None)
    if early is not None:
        found |= _of_patterns(early.patterns, "early")
        if early.sharpness is not None and early.sharpness.value > 0:
            found["early log sharpness"] = math.log(early.sharpness.value)
    return found | _early_loss(record)


def _of_patterns(patterns: WeightPatterns, when: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, read in _MEASURES.items():
        values = [value for layer in patterns.layers if (value := read(layer)) is not None]
        if values:
            found[f"{when} {name}, mean over layers"] = float(np.mean(values))
        if len(values) > 1:
            found[f"{when} {name}, spread over layers"] = float(np.std(values))
    alphas = [layer.alpha for layer in patterns.layers if layer.alpha is not None]
    if alphas:
        outside = sum(not OVERFIT <= alpha <= UNDERFIT for alpha in alphas)
        found[f"{when} share of α outside {OVERFIT:g} to {UNDERFIT:g}"] = outside / len(alphas)
    return found


def _early_loss(record: RunRecord) -> dict[str, float]:
    """The training loss around 10 % of training, and its fall from the first step on."""
    curve, first = record.curve, record.metrics.train_loss
    reached = [
        loss for step, loss in zip(curve.step, curve.train_loss, strict=True) if step >= EARLY * record.total_steps
    ]
    if not reached:
        return {}
    found = {"early loss": reached[0]}
    if first is not None and first.initial is not None and first.initial > 0 and reached[0] > 0:
        found["early fall of the loss"] = math.log(first.initial / reached[0])
    return found


def evidence_of(table: Table) -> Evidence:
    """Takes the outcomes and the features of a table's shown cells.

    The coupling residual is asked of the scores, whose main effects ``prediction`` takes off. Where there are two seeds
    or more, features of one half of them meet scores of the other half, and the reverse. Failure is a statement on all
    seeds of a cell, so it meets features of all of them. A backbone without any outcome is left out.
    """
    scores = scores_of(table)
    # a backbone without an outcome, as a sweep that goes on has one, is nothing to predict and nothing to permute
    reached = (scores.ranked | (scores.status == "diverged")).any(axis=1)
    if reached.any() and not reached.all():
        scores = scores.select(backbones=[b for b, kept in zip(scores.backbones, reached, strict=True) if kept])
    shape = (len(scores.backbones), len(table.optimizers))
    runs = {
        (b, o): [r for r in table.shown(backbone, optimizer).finals if r.status != "interrupted"]
        for b, backbone in enumerate(scores.backbones)
        for o, optimizer in enumerate(table.optimizers)
    }
    seeds = sorted({record.seed for found in runs.values() for record in found})
    halves = [set(seeds[::2]), set(seeds[1::2])]
    split = len(seeds) > 1
    everything = _means(runs, shape, set(seeds))
    views: list[View] = []
    for of_features, of_scores in ((0, 1), (1, 0)) if split else ((0, 0),):
        features = _means(runs, shape, halves[of_features])
        views.append(View(_scores(runs, scores.ranked, halves[of_scores]), features))
    judged = find_failures(scores)
    known = scores.ranked | (scores.status == "diverged")
    failed = np.where(known, judged.failed.astype(np.float64), np.nan)
    questions = {RESIDUAL: views, FAILURE: [View(failed, everything)]}
    return Evidence(
        questions,
        scores.backbones,
        table.optimizers,
        split,
        int((judged.failed & known).sum()),
        int(known.sum()),
        everything,
    )


def _means(runs: dict[tuple[int, int], list[RunRecord]], shape: tuple[int, int], seeds: set[int]) -> dict[str, _Floats]:
    """Each feature's mean over the runs of some seeds, by name; NaN where no run has it."""
    found: dict[str, _Floats] = {}
    for cell, records in runs.items():
        held: dict[str, list[float]] = {}
        for record in records:
            if record.seed in seeds:
                for name, value in run_features(record).items():
                    held.setdefault(name, []).append(value)
        for name, values in held.items():
            found.setdefault(name, np.full(shape, np.nan))[cell] = float(np.mean(values))
    return found


def _scores(
    runs: dict[tuple[int, int], list[RunRecord]], ranked: NDArray[np.bool_], seeds: Sequence[int] | set[int]
) -> _Floats:
    """Mean test top-1 of each ranked cell over the runs of some seeds; NaN where there is none."""
    found = np.full(ranked.shape, np.nan)
    for cell, records in runs.items():
        values = [
            test.last
            for record in records
            if record.seed in seeds and (test := record.metrics.test) is not None and test.last is not None
        ]
        if values and ranked[cell]:
            found[cell] = float(np.mean(values))
    return found
