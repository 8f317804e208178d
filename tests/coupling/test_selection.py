"""The rules that choose among trials: on known scores, against a plain loop, and in the table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builders import make_record

from bocb_hf.coupling.selection import (
    Candidate,
    best,
    candidates_of,
    choose_candidate,
    chosen_configuration,
    select,
    standard_error,
)
from bocb_hf.coupling.table import build_tables
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.tuned import SelectionRule, Tuned, TunedAxis

NAN = float("nan")
AXIS = TunedAxis(name="lr", centre=0.1, factor=3.0)


def candidate(lr: float, *top1: float | None, loss: float = 0.5) -> Candidate:
    return Candidate((lr,), AXIS.steps(lr), top1, tuple(None if t is None else loss for t in top1), 1000)


def chosen(rule: SelectionRule, *candidates: Candidate) -> Any:
    return choose_candidate(candidates, rule).values[0]


def plainly(candidates: list[Candidate], rule: SelectionRule) -> Candidate:
    """The rules as a reader would write them down."""
    counts = [sum(t is not None for t in c.top1) for c in candidates]
    full = [c for c, n in zip(candidates, counts, strict=True) if n == max(counts)]
    if max(counts) == 0:
        return candidates[0]

    def mean(values: tuple[float | None, ...]) -> float:
        known = [v for v in values if v is not None]
        return round(sum(known) / len(known), 9)

    winner = min(full, key=lambda c: (-mean(c.top1), mean(c.loss)))
    if rule == "best":
        return winner
    scores = [t for t in winner.top1 if t is not None]
    share = mean(winner.top1) / 100
    margin = (
        np.std(scores, ddof=1) / np.sqrt(len(scores))
        if len(scores) > 1
        else 100 * np.sqrt(share * (1 - share) / winner.images)
    )
    near = [c for c in full if mean(c.top1) >= mean(winner.top1) - margin]
    return min(near, key=lambda c: c.distance)


def test_the_best_has_the_highest_mean_over_seeds() -> None:
    assert chosen("best", candidate(0.03, 80, 84), candidate(0.1, 81, 82), candidate(0.3, 85, 70)) == 0.03


def test_ties_go_to_the_lower_loss_and_then_to_the_lower_rate() -> None:
    assert chosen("best", candidate(0.03, 80, 82), candidate(0.1, 81, 81, loss=0.4)) == 0.1
    assert chosen("best", candidate(0.03, 80.1, 80.2, 80.3), candidate(0.1, 80.3, 80.2, 80.1)) == 0.03


def test_what_diverged_with_a_seed_loses_to_what_did_not() -> None:
    for rule in ("best", "one_standard_error"):
        assert chosen(rule, candidate(0.03, 10, 10), candidate(0.1, 90, None)) == 0.03
        assert chosen(rule, candidate(0.03, None, None), candidate(0.1, None, None)) == 0.03, "the lowest, if all did"
        assert chosen(rule, candidate(0.03, None, None), candidate(0.1, 12, None)) == 0.1


def test_one_standard_error_takes_the_nearest_to_the_centre_and_then_the_lower() -> None:
    # the best one's scores 80 and 84: mean 82, s = 2.83, standard error 2.0
    best_one = candidate(0.9, 80, 84)
    assert chosen("one_standard_error", candidate(0.1, 79.9, 79.9), best_one) == 0.9
    assert chosen("one_standard_error", candidate(0.1, 80.0, 80.0), best_one) == 0.1
    pair = candidate(0.03333, 81, 81), candidate(0.1, 70, 70), candidate(0.3, 81, 81), best_one
    assert chosen("one_standard_error", *pair) == 0.03333
    assert chosen("best", *pair) == 0.9


def test_with_one_seed_the_standard_error_is_that_of_the_images() -> None:
    # p = 0.8 of 1,000 images: 1.265 points
    assert chosen("one_standard_error", candidate(0.1, 78.8), candidate(0.3, 80.0)) == 0.1
    assert chosen("one_standard_error", candidate(0.1, 78.7), candidate(0.3, 80.0)) == 0.3


def test_the_standard_error() -> None:
    found = standard_error(np.array([[80.0, 84.0, 82.0], [80.0, NAN, NAN], [NAN, NAN, NAN], [80.0, 84.0, NAN]]), 1000)
    assert found == pytest.approx([2 / 3**0.5, 100 * (0.16 / 1000) ** 0.5, 0.0, 2.0])


def test_many_draws_at_once_equal_the_plain_rule() -> None:
    rng = np.random.default_rng(5)
    top1 = np.round(rng.normal(80, 1, (300, 5, 3)) * 5) / 5  # coarse, so that ties occur
    top1[rng.random(top1.shape) < 0.15] = NAN
    loss = np.where(np.isnan(top1), NAN, rng.integers(1, 4, top1.shape) / 10)
    rates = [0.01111, 0.03333, 0.1, 0.3, 0.9]
    distance = np.array([AXIS.steps(lr) for lr in rates])
    for rule in ("best", "one_standard_error"):
        found = select(top1, distance, 1000, rule, loss)
        for draw in range(len(top1)):
            scores = [[tuple(None if v != v else v for v in row) for row in x[draw].tolist()] for x in (top1, loss)]
            cells = [replace(candidate(lr), top1=t, loss=v) for lr, t, v in zip(rates, *scores, strict=True)]
            assert cells[found[draw]] == plainly(cells, rule) == choose_candidate(cells, rule)
    assert (best(top1, loss) == select(top1, distance, 1000, "best", loss)).all()
    assert (select(top1, distance, 1000, "one_standard_error", loss) != best(top1, loss)).mean() > 0.2


# records

TUNED = Tuned(protocol="grid", selection="one_standard_error", seeds=(0, 5), axes=(AXIS,))


def trials_of(scores: dict[float, tuple[float | None, float | None]]) -> list[RunRecord]:
    return [
        make_record(role="trial", seed=seed, lr=lr, val_top1=top1 or 0.0, status="completed" if top1 else "diverged")
        for lr, both in scores.items()
        for seed, top1 in zip(TUNED.seeds, both, strict=True)
    ]


SCORES: dict[float, tuple[float | None, float | None]] = {0.1: (80.5, 80.5), 0.3: (80, 82), 0.9: (90, None)}


def test_the_candidates_of_a_final_run_are_the_trials_that_differ_on_its_axes_alone() -> None:
    trials = trials_of(SCORES)
    final = make_record(lr=0.1, tuned=TUNED)
    others = [
        make_record(role="trial", seed=7, lr=0.1, val_top1=99.0),  # another seed
        make_record(role="trial", seed=0, lr=0.2, weight_decay=0.5, val_top1=99.0),  # another decay, which is no axis
        make_record(role="trial", seed=0, lr=0.2, epochs=9, val_top1=99.0),
    ]
    found = candidates_of([*others, *reversed(trials)], final)
    assert [c.values for c in found] == [(0.1,), (0.3,), (0.9,)]
    assert [c.distance for c in found] == [0.0, 1.0, 2.0]
    assert [c.top1 for c in found] == list(SCORES.values())
    assert found[1].loss == (0.5, 0.5) and found[1].images == 1000
    assert found[0].config_hash == final.config_hash == chosen_configuration(trials, final)
    assert chosen_configuration([], final) is None
    with pytest.raises(ValueError, match="does not say how it was tuned"):
        candidates_of(trials, make_record())


def test_a_table_shows_what_the_stated_rule_chooses() -> None:
    """Of two configurations with final runs, validation has 0.3 ahead by mean, the rule takes 0.1."""
    trials = trials_of(SCORES)[:4]
    safe, higher = make_record(lr=0.1, tuned=TUNED), make_record(lr=0.3, seed=2)
    (table,) = build_tables([*trials, safe, higher])
    assert [(row.lr, row.shown, row.selection) for row in table.rows] == [
        (0.1, True, "validation"),
        (0.3, False, None),
    ]
    (older,) = build_tables([*trials, safe.model_copy(update={"tuned": None}), higher])
    assert [(row.lr, row.shown) for row in older.rows] == [(0.3, True), (0.1, False)]
    # the configuration that the rule chooses has no final run: the highest mean is shown, as ever
    (other,) = build_tables([*trials, higher.model_copy(update={"tuned": TUNED})])
    assert [(row.lr, row.selection) for row in other.rows] == [(0.3, "validation")]
