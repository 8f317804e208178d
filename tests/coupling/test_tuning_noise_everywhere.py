"""The component of tuning in every statistic, and in tables of records with one and with two tuning seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from builders import make_record
from simulated_tuning import Protocol, simulate_tuned, tuned_errors

from bocb_hf.coupling.analysis import analyse, to_plain
from bocb_hf.coupling.bootstrap import bootstrap
from bocb_hf.coupling.combination import combine
from bocb_hf.coupling.contrast import Contrast, contrast_weights, family_contrast
from bocb_hf.coupling.contrast_design import Design, design, unseen
from bocb_hf.coupling.decomposition import decompose
from bocb_hf.coupling.indices import kappa, residuals
from bocb_hf.coupling.interaction_tests import interaction_test
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.noise import cell_noise, tuning_part
from bocb_hf.coupling.ranks import best_sets
from bocb_hf.coupling.reading import BOTH, GIVEN
from bocb_hf.coupling.scores import ScoreTable, scores_of
from bocb_hf.coupling.statistics import Estimate
from bocb_hf.coupling.table import Table, build_tables
from bocb_hf.coupling.winners import winners
from bocb_hf.report.tables import caption
from bocb_hf.report.words.analysis import analysis_text
from bocb_hf.report.words.answer import reading_text
from bocb_hf.report.words.tables import contrast_text, notes, terminal_text
from bocb_hf.runs.record import RunRecord


@pytest.fixture(scope="module")
def tuned() -> ScoreTable:
    """A table of the simulation that was tuned with two seeds."""
    return simulate_tuned(np.random.default_rng(5), 6, 5, 3, Protocol(0.4, 2), interaction=0.5)[1]


def test_every_statistic_takes_it_and_the_other_reading_leaves_it_out(tuned: ScoreTable) -> None:
    plain = replace(tuned, tuning=None)
    assert tuned.reading.both and tuned.given.reading.text == GIVEN
    given, both = interaction_test(tuned.given), interaction_test(tuned)
    part = tuning_part(tuned, "points")
    assert given is not None and both is not None and given == interaction_test(plain) and part is not None
    assert both.f < given.f and both.p > given.p
    weights = contrast_weights(tuned)
    assert weights is not None
    error = [combine(table, weights).error for table in (tuned, tuned.given)]
    assert error[0] is not None and error[1] is not None
    assert error[0] ** 2 - error[1] ** 2 == pytest.approx(float((weights**2 * part.variance).sum()), rel=0.02)
    wide, narrow = residuals(tuned), residuals(tuned.given)
    assert (wide.high - wide.low > narrow.high - narrow.low).all() and np.array_equal(wide.r, narrow.r)
    assert (kappa(tuned).backbone <= kappa(tuned.given).backbone).all()
    some, all_of = best_sets(tuned.given), best_sets(tuned)
    assert some is not None and all_of is not None and all_of.candidates.sum() >= some.candidates.sum()
    found, without = decompose(tuned), decompose(tuned.given)
    assert found.tuning == pytest.approx(float(part.variance.mean())) and without.tuning is None
    assert found.variances[2] < without.variances[2]


def test_intervals_of_the_bootstrap_take_it(tuned: ScoreTable) -> None:
    both, given, plain = (bootstrap(t, draws=500) for t in (tuned, tuned.given, replace(tuned, tuning=None)))
    assert both is not None and given is not None and plain is not None
    for name, interval in given.intervals.items():
        assert np.array_equal(interval.low, plain.intervals[name].low), name
    width = {
        name: [float(np.mean(b.intervals[name].high - b.intervals[name].low)) for b in (both, given)]
        for name in ("cost", "contrast")
    }
    assert all(wide > 1.03 * narrow for wide, narrow in width.values())
    assert both.intervals["variances"].estimate[2] < given.intervals["variances"].estimate[2]


def test_on_the_logit_scale_it_is_that_in_points_times_the_slope(tuned: ScoreTable) -> None:
    table = replace(tuned, n_test=10_000)
    points, logit = tuning_part(table, "points"), tuning_part(table, "logit")
    assert points is not None and logit is not None
    share = table.means / 100
    assert logit.variance == pytest.approx(points.variance / (100 * share * (1 - share)) ** 2, rel=0.01)


def test_an_interval_of_a_cell_adds_both_errors() -> None:
    given = Estimate(80.0, 4, 0.36, 30.0)
    both = replace(given, tuning=(0.09, 60.0))
    assert both.given == given and both.error is not None and given.error == (0.3, 30.0)
    error, df = both.error
    assert error == pytest.approx(math.sqrt(0.18))
    assert df == pytest.approx(0.18**2 / (0.09**2 / 30 + 0.09**2 / 60))
    wide, narrow = both.interval(), given.interval()
    assert wide is not None and narrow is not None and wide.half_width > 1.3 * narrow.half_width
    assert replace(given, tuning=(0.0, 60.0)).interval() == narrow


def test_an_interval_is_never_narrower_than_given_the_tuned_rates() -> None:
    for variance, df in product((0.0, 0.01, 0.1, 0.5, 2.0), (3.0, 100.0)):
        own = Estimate(70.0, 2, 0.5, 1.5, tuning=(variance, df))
        both, given = own.interval(), own.given.interval()
        assert both is not None and given is not None and both.half_width >= given.half_width


def test_where_cells_and_scores_are_missing_each_cell_has_its_own_component(tuned: ScoreTable) -> None:
    values, status = tuned.values.copy(), tuned.status.copy()
    values[0, 0], status[0, 0], values[1:4, 1, 2] = np.nan, "missing", np.nan
    table = replace(tuned, values=values, status=status)
    both, given, part = interaction_test(table), interaction_test(table.given), tuning_part(table, "points")
    noise = cell_noise(values)
    assert both is not None and given is not None and part is not None and noise is not None
    kept = table.ranked
    more = float((table.n * part.variance)[kept].mean() / noise[kept].mean())
    assert more > 0 and given.f / both.f == pytest.approx(1 + more) and both.p >= given.p
    wide, narrow = residuals(table, draws=200), residuals(table.given, draws=200)
    assert (wide.error > narrow.error)[kept].all() and np.isnan(wide.r[0, 0])
    found = design(table)
    assert isinstance(found, Design) and found.holes.any()
    less, many = (unseen(some, found, "points") for some in (table, table.given))
    # what tuning does to cells is no interaction, so missing cells may differ by less
    assert less is not None and many is not None and less.variance <= many.variance
    analysis = analyse(table, 200)
    assert analysis.given is not None and analysis.given.test is not None and analysis.given.test.f > both.f


def test_the_best_of_a_backbone_is_corrected_for_tuning_too() -> None:
    table = simulate_tuned(np.random.default_rng(4), 6, 5, 3, Protocol(1.0, 2))[1]
    both, given = winners(table), winners(table.given)
    part = tuning_part(table, "points")
    assert part is not None and all(w is not None for w in (*both, *given))
    for b, (wide, narrow) in enumerate(zip(both, given, strict=True)):
        assert wide is not None and narrow is not None and wide.place == narrow.place
        if part.variance[b, wide.place] > 0:
            assert wide.interval.half_width > narrow.interval.half_width


def test_additive_tables_have_no_interaction_of_tuning_and_training() -> None:
    found = tuned_errors(8, 6, (5,), Protocol(0.4, 2), 25)
    assert found[GIVEN, 5].value > 50
    assert found[BOTH, 5].value <= 100 * (0.06 + 3 * (0.06 * 0.94 / 25) ** 0.5)


def records(tuning_seeds: Sequence[int]) -> list[RunRecord]:
    """A store of 2 × 2 cells whose rates were tried with some seeds."""
    generator = np.random.default_rng(0)
    found: list[RunRecord] = []
    for backbone, optimizer in product(("resnet50", "convnext_tiny"), ("sgdm", "adamw")):
        level = 80 + (backbone == "resnet50") + 2 * (optimizer == "adamw")
        for lr in (0.001, 0.003, 0.01):
            for seed in tuning_seeds:
                top1 = level - 0.5 * (lr != 0.003) + 0.3 * float(generator.normal())
                found.append(make_record(backbone, optimizer, lr=lr, seed=seed, role="trial", val_top1=top1))
        trials = [r for r in found if r.identity.cell().names[2:] == (backbone, optimizer)]
        tried = {
            lr: [r.metrics.val_top1.last for r in trials if r.identity.optimizer.lr == lr and r.metrics.val_top1]
            for lr in (0.001, 0.003, 0.01)
        }
        best = max(tried, key=lambda lr: float(np.mean([x for x in tried[lr] if x is not None])))
        for seed in (11, 12, 13):
            k = round(20 * (level + 0.4 * float(generator.normal())))
            found.append(make_record(backbone, optimizer, lr=best, seed=seed, correct=k))
    return found


@pytest.fixture(scope="module")
def twice() -> Table:
    return build_tables(records((0, 1)))[0]


@pytest.fixture(scope="module")
def once() -> Table:
    return build_tables(records((0,)))[0]


def test_a_table_of_records_with_two_tuning_seeds_has_both_readings(twice: Table) -> None:
    assert twice.reading.both and twice.tuning is not None and len(twice.tuning.cells) == 4
    row = twice.shown("resnet50", "adamw")
    assert row.estimate is not None and row.estimate.tuning is not None and row.estimate.tuning[0] > 0
    assert row.interval is not None and row.given_interval is not None
    assert row.interval.half_width > row.given_interval.half_width
    assert row.standard_error is not None and row.standard_error**2 > row.estimate.tuning[0]
    scores = scores_of(twice)
    part = tuning_part(scores, "points")
    assert part is not None
    b, o = twice.backbones.index("resnet50"), twice.optimizers.index("adamw")
    assert row.estimate.tuning[0] == pytest.approx(float(part.variance[b, o]))


def test_with_one_tuning_seed_intervals_are_what_they_were(once: Table) -> None:
    assert not once.reading.both and once.reading.text == GIVEN
    row = once.shown("resnet50", "adamw")
    assert row.estimate is not None and row.estimate.tuning is None and row.interval == row.given_interval
    assert scores_of(once).given.tuning is None


def test_trials_that_did_not_choose_the_final_runs_tell_nothing() -> None:
    some = [r for r in records((0, 1)) if r.role == "trial" or r.identity.optimizer.lr == 0.003]
    odd = [make_record("resnet50", "sgdm", lr=0.02, seed=seed, correct=1600) for seed in (11, 12)]
    others = [r for r in some if r.role == "trial" or r.identity.cell().names[2:] != ("resnet50", "sgdm")]
    table = build_tables([*others, *odd])[0]
    assert "the trials do not choose the configuration of the final runs" in (table.reading.reason or "")


def test_every_output_says_what_its_intervals_are_over(once: Table, twice: Table) -> None:
    for table, reading in ((once, GIVEN), (twice, BOTH)):
        scores = scores_of(table)
        analysis = analyse(scores, 200)
        contrast = family_contrast(table)
        assert isinstance(contrast, Contrast)
        texts = {
            "terminal": terminal_text(table, [], Marks.of(scores, table)),
            "caption": caption(scores, Marks.of(scores, table)),
            "contrast": contrast_text(contrast)[0],
            "notes": " ".join(notes(table, [])),
            "analysis": " ".join(analysis_text(analysis)),
            "answer": " ".join(reading_text(analysis)),
        }
        assert {name for name, text in texts.items() if reading not in text} == set()
        plain = to_plain(analysis)
        assert plain["reading"] == reading
        assert (plain["points_given_the_tuned_rates"] is None) == (reading == GIVEN)
        if reading == BOTH:  # both are printed where both are known
            assert {
                name
                for name in ("contrast", "notes", "analysis", "answer")
                if GIVEN not in " ".join({**texts, "contrast": " ".join(contrast_text(contrast)).lower()}[name].split())
            } == set()
            assert contrast.given is not None and contrast.points.error is not None
            assert contrast.given.error is not None and contrast.points.error > contrast.given.error
        else:
            assert "two or more tuning seeds would tell it" in texts["notes"]
