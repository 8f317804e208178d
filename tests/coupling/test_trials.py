"""Expected best of k trials, against enumeration."""

from __future__ import annotations

import math
from itertools import combinations, pairwise
from statistics import fmean

import pytest
from builders import make_record
from hypothesis import given
from hypothesis import strategies as st

from bocb_hf.coupling.table import build_tables
from bocb_hf.coupling.trials import expected_best, trial_curves
from bocb_hf.runs.record import RunRecord, Status

SCORES = st.lists(st.floats(0, 100).map(lambda v: round(v, 3)), min_size=1, max_size=7)


@given(SCORES, st.integers(0, 3))
def test_it_is_the_mean_over_all_draws_without_replacement(scores, failed):
    draws = [*scores, *[None] * failed]
    for best in expected_best(scores, failed):
        maxima = [max((x for x in draw if x is not None), default=None) for draw in combinations(draws, best.k)]
        completed = [m for m in maxima if m is not None]
        assert best.no_result == pytest.approx(1 - len(completed) / len(maxima))
        if not completed:
            assert best.mean is None and best.range is None
            continue
        assert best.mean == pytest.approx(fmean(completed))
        assert best.range is not None
        inside = sum(best.range.holds(m) for m in completed) / len(completed)
        assert inside >= 0.95 and best.range.low in completed and best.range.high in completed


@given(SCORES)
def test_it_rises_to_the_best_that_was_found(scores):
    found = expected_best(scores)
    means = [b.mean for b in found if b.mean is not None]
    assert [b.k for b in found] == list(range(1, len(scores) + 1))
    assert means[0] == pytest.approx(fmean(scores)) and means[-1] == pytest.approx(max(scores))
    assert all(b >= a - 1e-9 for a, b in pairwise(means))


def test_with_replacement_would_be_too_low():
    """Dodge et al. 2019 draw with replacement, which never reaches the best of three."""
    scores = [10.0, 20.0, 30.0]
    with_replacement = fmean(max(a, b, c) for a in scores for b in scores for c in scores)
    assert with_replacement < 30 and expected_best(scores)[-1].mean == 30


def test_a_thousand_trials_are_no_trouble():
    """Their binomials have 300 digits; the recurrence needs none of them."""
    scores = [90 - 0.05 * i for i in range(900)]
    found = expected_best(scores, 100)
    assert len(found) == 1000
    exact = sum((90 - 0.05 * i) * math.comb(999 - i, 9) for i in range(900)) / (
        math.comb(1000, 10) - math.comb(100, 10)
    )
    assert found[9].mean == pytest.approx(exact, rel=1e-12)
    assert found[9].no_result == pytest.approx(math.comb(100, 10) / math.comb(1000, 10), rel=1e-12)
    assert found[-1].mean == 90 and found[-1].no_result == 0


def trial(backbone: str, optimizer: str, lr: float, top1: float, status: Status = "completed") -> RunRecord:
    return make_record(backbone, optimizer, role="trial", seed=0, lr=lr, val_top1=top1, status=status)


def test_curves_average_the_shortfall_over_backbones():
    records = [
        *(trial("tiny_vit", "sgdm", lr, v) for lr, v in ((0.03, 60), (0.1, 70))),
        *(trial("tiny_resnet", "sgdm", lr, v) for lr, v in ((0.03, 80), (0.1, 90), (0.3, 50))),
        *(trial("tiny_vit", "adamw", lr, v) for lr, v in ((0.001, 75), (0.003, 65))),
        trial("tiny_resnet", "adamw", 0.001, 0, "diverged"),
    ]
    curves = {c.optimizer: c for c in trial_curves(build_tables(records)[0])}
    first, second = curves["sgdm"].points  # as far as both backbones have trials
    assert first.shortfall == pytest.approx(fmean([75 - 65, 90 - 220 / 3])) and first.backbones == 2
    assert second.shortfall == pytest.approx(fmean([75 - 70, 90 - fmean([90, 80, 90])]))
    assert first.interval is not None and first.interval.holds(first.shortfall)
    assert curves["adamw"].left_out == ("tiny_resnet",) and curves["adamw"].points[0].interval is None
    assert curves["adamw"].points[1].shortfall == 0


def test_diverged_trials_are_spent_but_no_number():
    records = [
        trial("tiny_vit", "sgdm", 0.03, 60),
        trial("tiny_vit", "sgdm", 0.1, 70),
        trial("tiny_vit", "sgdm", 0.3, 0, "diverged"),
    ]
    (curve,) = trial_curves(build_tables(records)[0])
    assert [p.no_result for p in curve.points] == pytest.approx([1 / 3, 0, 0])
    assert [p.shortfall for p in curve.points] == pytest.approx([5, 10 / 3, 0])


def test_a_table_without_trials_has_no_curve():
    assert trial_curves(build_tables([make_record()])[0]) == []
