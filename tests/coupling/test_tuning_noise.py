"""The component of tuning: what it is on known tables, how it is drawn again, and where nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from simulated_tuning import NOISE, Protocol, expected_loss, simulate_tuned

from bocb_hf.coupling import tuning_noise as module
from bocb_hf.coupling.losses import Losses, Observed
from bocb_hf.coupling.noise import tuning_part
from bocb_hf.coupling.selection import select
from bocb_hf.coupling.tuning import CellTuning, Tuning
from bocb_hf.coupling.tuning_noise import tuning_noise
from bocb_hf.coupling.tuning_trials import validation_shifts
from bocb_hf.runs.tuned import SelectionRule

ALL = np.ones((4, 5), np.bool_)


def tuning_with(losses: Sequence[float], seeds: int = 2, rule: SelectionRule = "best", noise: float = NOISE) -> Tuning:
    """Trials of 4 × 5 cells whose configurations lie so many points below the best one."""
    generator = np.random.default_rng(3)
    means = 70 - np.array(losses)[:, None]
    distance = np.arange(len(losses), dtype=np.float64)
    cells: dict[tuple[int, int], CellTuning] = {}
    for place in product(range(4), range(5)):
        top1 = means + noise * generator.normal(size=(len(losses), seeds))
        cells[place] = CellTuning(top1, distance, 5000, rule, int(select(top1, distance, 5000, rule)))
    return Tuning(cells, {}, (4, 5))


@pytest.mark.parametrize("rule", ["best", "one_standard_error"])
def test_there_is_no_component_where_one_configuration_wins_clearly(rule: SelectionRule) -> None:
    found = tuning_noise(tuning_with((0.0, 30.0, 40.0), rule=rule), ALL)
    assert found is not None
    assert (found.variance == 0).all() and (found.drawn == 0).all()


def test_there_is_no_component_where_nothing_was_chosen() -> None:
    found = tuning_noise(tuning_with((0.0,)), ALL)
    assert found is not None and (found.variances == 0).all()


def test_it_falls_as_one_configuration_wins_more_clearly() -> None:
    found = [tuning_noise(tuning_with((0.0, gap)), ALL) for gap in (0.8, 1.6, 2.4, 3.2)]
    means = [float(part.variance.mean()) for part in found if part is not None]
    assert len(means) == 4 and all(a > 1.1 * b for a, b in pairwise(means))


def test_a_cell_whose_trials_tie_has_more_than_one_with_a_clear_winner() -> None:
    clear, close = tuning_with((0.0, 6.0)), tuning_with((0.0, 0.8))
    some = dict(close.cells) | {place: clear.cells[place] for place in product(range(4), range(2))}
    found = tuning_noise(Tuning(some, {}, (4, 5)), ALL)
    assert found is not None
    assert found.variance[:, :2].max() == 0 < float(np.median(found.variance[:, 2:]))
    margin = {place: abs(float(np.diff(cell.top1.mean(axis=1))[0])) for place, cell in some.items()}
    order = sorted(margin, key=lambda place: margin[place])
    thirds = [float(np.mean([found.variance[p] for p in order[i : i + 4]])) for i in (0, 4, 8)]
    assert thirds[0] > thirds[1] > thirds[2], "the closer the trials, the larger it is"


@pytest.mark.parametrize(
    "protocol", [Protocol(0.4, 2), Protocol(1.0, 2), Protocol(0.4, 3, "one_standard_error")], ids=str
)
def test_its_mean_over_a_table_is_the_variance_that_the_procedure_has(protocol: Protocol) -> None:
    generator = np.random.default_rng(1)
    tables = [simulate_tuned(generator, 8, 8, 2, protocol)[1] for _ in range(6)]
    found = [tuning_part(table, "points") for table in tables]
    mean = np.mean([float(part.variance.mean()) for part in found if part is not None])
    # one table's lies within 30 % in two of three
    assert 0.7 < float(mean) / expected_loss(protocol)[1] < 1.4


def test_its_draws_have_its_variance_and_no_mean() -> None:
    found = tuning_noise(tuning_with((0.0, 0.5, 1.0)), ALL)
    assert found is not None
    shift, estimate = found.draw(np.random.default_rng(0), 4000)
    assert shift.shape == estimate.shape == (4000, 4, 5)
    assert abs(float(shift.mean())) < 0.02
    assert float(np.square(shift).mean()) == pytest.approx(float(found.variance.mean()), rel=0.06)
    assert float(estimate.mean()) == pytest.approx(float(found.variance.mean()), rel=0.06)
    weights = np.zeros((4, 5))
    weights[0, 0], weights[1, 1] = 1.0, -2.0
    expected = found.variances[:, 0, 0] + 4 * found.variances[:, 1, 1]
    assert found.of_sum(weights) == pytest.approx(expected)


def test_equal_input_gives_equal_output() -> None:
    first, second = (tuning_noise(tuning_with((0.0, 0.5)), ALL) for _ in range(2))
    assert first is not None and second is not None
    assert np.array_equal(first.drawn, second.drawn) and np.array_equal(first.variances, second.variances)


# losses


def test_losses_that_trials_show_clearly_are_found_and_what_is_not_there_stays_away() -> None:
    generator = np.random.default_rng(4)
    true = np.array([0.0, 2.0, 5.0])
    means = 70 - true + 0.3 * generator.normal(size=(40, 3))
    means[::4, 2] = np.nan
    observed = Observed(means, np.full((40, 3), 0.3))
    drawn = Losses.fit(observed, 2, generator).draw(observed, 50, generator)
    assert drawn.shape == (2, 50, 40, 3)
    assert (drawn.max(axis=3) == 0).all() and np.isneginf(drawn[:, :, ::4, 2]).all()
    assert -drawn[..., 1].mean() == pytest.approx(2.0, abs=0.15)
    # the grid is coarse where no choice hangs on it
    assert -drawn[:, :, 1::4, 2].mean() == pytest.approx(5.0, abs=0.8)
    assert (drawn[..., 0] == 0).mean() > 0.99


def test_losses_that_noise_hides_are_smaller_than_the_observed_ones() -> None:
    """All candidates are equal: the best of noisy means looks 1.1 standard errors better than the next, and is not."""
    generator = np.random.default_rng(4)
    means = 70 + generator.normal(size=(200, 2))
    observed = Observed(means, np.ones((200, 2)))
    drawn = Losses.fit(observed, 2, generator).draw(observed, 20, generator)
    assert -drawn.min(axis=3).mean() < 0.5 * np.abs(np.diff(means, axis=1)).mean()


# the rule


@pytest.mark.parametrize("rule", ["best", "one_standard_error"])
def test_the_choice_that_is_drawn_again_is_the_choice_of_the_rule(rule: SelectionRule) -> None:
    generator = np.random.default_rng(0)
    truth = np.round(generator.normal(size=(7, 11, 4)), 1)
    truth[:, 3, 2:] = -np.inf  # cells of fewer configurations
    distance = np.array([1.0, 0.0, 1.0, 2.0])[None] + np.zeros((11, 1))
    shift = np.round(generator.normal(size=(module.AGAIN, 7, 11, 4)), 1)
    got = module._choose(truth, np.full(11, 1e-6), shift, distance, module._Rule(rule, 2, 1000), generator)
    scores = np.where(np.isfinite(truth), truth + shift, np.nan)
    means = np.take_along_axis(
        np.broadcast_to(truth, shift.shape), select(scores[..., None], distance, 1000, "best")[..., None], axis=-1
    )[..., 0]
    untied = np.sort(np.nan_to_num(scores, nan=-99.0), axis=-1)
    untied = untied[..., -1] - untied[..., -2] > 0.05  # a tie is decided by the last 1e-6 of noise
    assert untied.mean() > 0.5
    assert (got == means)[untied].all()


def test_the_one_standard_error_rule_is_drawn_with_its_own_standard_error() -> None:
    """Far from the centre and better by one standard error at most, a configuration is passed over, and often is."""
    generator = np.random.default_rng(0)
    truth = np.broadcast_to(np.array([0.0, -0.2]), (400, 1, 2))
    distance = np.array([[1.0, 0.0]])
    draw = [
        float(module._choose(truth, np.ones(1), 0.0, distance, module._Rule(rule, 2, 1000), generator).mean())
        for rule in ("best", "one_standard_error")
    ]
    trials = 70 + truth[..., None] + generator.normal(size=(400, 1, 2, 2))
    expected = -0.2 * float((select(trials, distance, 1000, "one_standard_error") == 1).mean())
    assert draw[1] == pytest.approx(expected, abs=0.012)
    assert draw[1] < draw[0] - 0.02


def test_halving_is_drawn_again_from_its_first_seed() -> None:
    """Of three configurations the worst of the first seed is out, and no second seed brings it back."""
    generator = np.random.default_rng(0)
    truth = np.broadcast_to(np.array([0.0, -0.4, -0.6]), (3000, 1, 3))
    distance = np.zeros((1, 3))
    got = module._choose(truth, np.ones(1), 0.0, distance, module._Rule("best", 2, 1000, halved=3), generator)
    trials = truth[:, 0, :, None] + generator.normal(size=(3000, 3, 2))
    trials[np.arange(3000), trials[:, :, 0].argmin(axis=1), 1] = np.nan
    expected = np.array([0.0, -0.4, -0.6])[select(trials, distance[0], 1000, "best")].mean()
    assert float(got.mean()) == pytest.approx(float(expected), abs=0.02)
    # among five of which two were left out, the better half is three
    all_kept = module._choose(truth, np.ones(1), 0.0, distance, module._Rule("best", 2, 1000, halved=5), generator)
    both = module._choose(truth, np.ones(1), 0.0, distance, module._Rule("best", 2, 1000), generator)
    assert float(all_kept.mean()) == pytest.approx(float(both.mean()), abs=0.02)


def test_a_configuration_that_halving_dropped_may_be_chosen_in_a_draw() -> None:
    plain = tuning_with((0.0, 0.3, 0.6))
    halved: dict[tuple[int, int], CellTuning] = {}
    for place, cell in plain.cells.items():
        top1 = cell.top1.copy()
        top1[top1[:, 0].argmin(), 1] = np.nan
        chosen = int(select(top1, cell.distance, 5000, "best"))
        halved[place] = replace(cell, top1=top1, chosen=chosen, halving=True)
        assert halved[place].possible.all() and halved[place].full.sum() == 2
    found, whole = tuning_noise(Tuning(halved, {}, (4, 5)), ALL), tuning_noise(plain, ALL)
    assert found is not None and whole is not None
    assert 0.5 < float(found.variance.mean() / whole.variance.mean()) < 2.5


# validation images


def test_validation_images_are_shared_by_all_trials_and_cells() -> None:
    """Two configurations that differ on some images: the choice hangs on how often these are drawn."""
    images = 400
    bits = np.zeros((2, 2, images), np.bool_)
    bits[:, :, :200] = True
    bits[0, :, 200:224], bits[1, :, 224:238] = True, True
    bits[:, 1, :2] = False  # trials differ between seeds as well, both configurations alike and then a little apart
    bits[0, 1, 2:4] = False
    top1 = 100 * bits.mean(axis=2)
    cell = CellTuning(top1, np.array([0.0, 1.0]), images, "best", 0, np.packbits(bits, axis=2))
    found = tuning_noise(Tuning(dict.fromkeys(product(range(4), range(5)), cell), {}, (4, 5)), ALL)
    assert found is not None and found.together
    # all cells meet the same images in a draw, so they often choose wrongly together
    shift, _ = found.draw(np.random.default_rng(0), 2000)
    assert np.corrcoef(shift[:, 0, 0], shift[:, 3, 4])[0, 1] > 0.2
    assert 0 < found.variance.mean() < (100 * 38 / images / 2) ** 2


def test_how_candidates_move_with_the_images() -> None:
    generator = np.random.default_rng(2)
    bits = generator.random((3, 2, 1000)) < 0.7
    cell = CellTuning(100 * bits.mean(axis=2), np.arange(3.0), 1000, "best", 0, np.packbits(bits, axis=2))
    found = validation_shifts([cell], [np.arange(3)], np.random.default_rng(0))
    assert found is not None
    right = bits.mean(axis=1)
    expected = 1e4 * np.cov(right, ddof=0) / 1000
    assert np.cov(found.shifts[:, 0].T) == pytest.approx(expected, abs=0.35 * expected.max())
    assert found.luck[0] == pytest.approx(1e4 * 0.21 / 1000, rel=0.1)  # nothing but luck in these bits
    assert found.apart[0] == pytest.approx(found.luck[0] / 2, rel=0.1)


# what cannot be known


def test_with_one_seed_nothing_is_known() -> None:
    tuning = Tuning({}, dict.fromkeys(product(range(4), range(5)), "rates were tried with one seed"), (4, 5))
    assert tuning_noise(tuning, ALL) is None and tuning_noise(None, ALL) is None
    assert tuning.reason(ALL) == "rates were tried with one seed"


def test_one_cell_without_is_named_by_its_reason_and_a_part_of_the_table_without_it_is_known() -> None:
    tuning = tuning_with((0.0, 0.5))
    lacking = dict(tuning.cells)
    del lacking[1, 2]
    partly = Tuning(lacking, {(1, 2): "rates were tried with one seed"}, (4, 5))
    assert tuning_noise(partly, ALL) is None
    assert partly.reason(ALL) == "rates were tried with one seed in 1 of 20 cells"
    part = partly.select([0, 2, 3], [0, 1, 2])
    found = tuning_noise(part, np.ones((3, 3), np.bool_))
    whole = tuning_noise(partly, np.arange(20).reshape(4, 5) != 7)
    assert found is not None and whole is not None
    assert np.array_equal(found.variance, whole.variance[np.ix_([0, 2, 3], [0, 1, 2])])


# every statistic
