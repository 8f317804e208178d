"""What tuning tries, as a function of ended trials: grids, extensions, draws, halving, and the choice at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from builders import make_record

from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.row import Centre
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.sweep.protocols import (
    Place,
    Space,
    Trial,
    choose,
    decay_grid,
    describe_choice,
    draw,
    grid,
    make_space,
    next_trials,
)
from bocb_hf.sweep.tuning import Tuning

SGDM = OPTIMIZERS.get("sgdm")
Score = Callable[..., float | None]


def space_of(tuning: Tuning, lr: float = 0.1, decay: float = 1e-4) -> Space:
    return make_space(SGDM, Centre(lr, decay, "ours"), tuning)


def trial(top1: float | None = 50.0, loss: float | None = 1.0) -> Trial:
    return Trial() if top1 is None else Trial(top1, loss, 1000)


def run(tuning: Tuning, score: Score, space: Space | None = None) -> dict[Place, Trial]:
    """Runs the whole loop; ``score`` takes the values of a configuration and a seed."""
    space, trials = space or space_of(tuning), dict[Place, Trial]()
    for _ in range(50):
        places = next_trials(space, tuning, trials)
        if not places:
            return trials
        assert not trials.keys() & set(places), "nothing is tried twice"
        for values, seed in places:
            assert next_trials(space, tuning, trials), "what is asked for stays asked for until all of it has ended"
            trials[values, seed] = trial(score(*values, seed))
    raise AssertionError("tuning does not end")


def rates(tuning: Tuning, score: Callable[[float], float | None], lr: float = 0.1) -> list[Any]:
    """The learning rates that are tried, in their order, on one axis with one seed."""
    return [values[0] for values, _ in run(tuning, lambda lr, _: score(lr), space_of(tuning, lr))]


# one axis


def test_the_grid_lies_around_the_centre() -> None:
    assert grid(0.1, Tuning()) == [0.03333, 0.1, 0.3]
    assert grid(1e-3, Tuning(points=5, factor=10)) == [1e-5, 1e-4, 1e-3, 1e-2, 1e-1]
    assert grid(0.2, Tuning(points=1)) == [0.2]


@pytest.mark.parametrize("row", OPTIMIZERS, ids=lambda row: row.id)
def test_every_centre_of_the_registry_is_on_its_grid(row: Any) -> None:
    for centre in row.centres.values():
        low, middle, high = grid(centre.lr, Tuning())
        assert middle == centre.lr
        assert low < middle < high
        assert middle / low == pytest.approx(3, rel=1e-3) == high / middle
    for setting in row.centres:
        assert decay_grid(row.centre(setting).weight_decay) == row.decay_grid(setting)


def test_a_trial_is_read_from_its_record() -> None:
    assert Trial.from_record(make_record(role="trial", val_top1=71.0, val_loss=0.7)) == Trial(71.0, 0.7, 1000)
    for status in ("diverged", "interrupted"):
        assert Trial.from_record(make_record(role="trial", status=status)) == Trial()


def test_nothing_is_tuned_before_the_whole_grid_is_tried() -> None:
    tuning = Tuning(seeds=[0, 7])
    space = space_of(tuning)
    everything = [((lr,), seed) for seed in (0, 7) for lr in (0.03333, 0.1, 0.3)]
    assert next_trials(space, tuning, {}) == everything
    assert next_trials(space, tuning, {everything[1]: trial(), everything[4]: trial()}) == [
        everything[i] for i in (0, 2, 3, 5)
    ]


def test_a_winner_in_the_middle_ends_the_tuning() -> None:
    assert rates(Tuning(), lambda lr: 60 if lr == 0.1 else 50) == [0.03333, 0.1, 0.3]
    assert rates(Tuning(points=5), lambda lr: 50 - abs(lr - 0.3)) == grid(0.1, Tuning(points=5))


def test_a_winner_at_an_edge_extends_the_grid_at_most_so_often() -> None:
    for most, up, down in ((0, [], []), (1, [0.9], [0.01111]), (2, [0.9, 2.7], [0.01111, 0.003703])):
        tuning = Tuning(max_extensions=most)
        assert rates(tuning, lambda lr: lr)[3:] == up
        assert rates(tuning, lambda lr: 50 - lr)[3:] == down


def test_an_extension_ends_when_the_new_value_loses() -> None:
    assert rates(Tuning(max_extensions=5), lambda lr: 50 - abs(lr - 0.31)) == [0.03333, 0.1, 0.3, 0.9]


@pytest.mark.parametrize("most", range(4))
def test_when_all_diverge_the_grid_extends_downwards_and_stops(most: int) -> None:
    tried = rates(Tuning(max_extensions=most), lambda lr: None)
    assert tried == [0.03333, 0.1, 0.3, 0.01111, 0.003703, 0.001234][: 3 + most]


def test_one_finite_trial_in_the_middle_of_diverged_ones_is_the_result() -> None:
    assert rates(Tuning(), lambda lr: 10 if lr == 0.1 else None) == [0.03333, 0.1, 0.3]


@pytest.mark.parametrize("points", [1, 3, 5])
@pytest.mark.parametrize("most", [0, 1, 2, 5])
@pytest.mark.parametrize("decays", [1, 3])
def test_any_landscape_ends_within_the_budget(points: int, most: int, decays: int) -> None:
    tuning = Tuning(points=points, max_extensions=most, decay_points=decays)
    for seed in range(10):

        def score(*values: Any) -> float | None:
            return hash((seed, values)) % 97 if hash((values, seed)) % 5 else None  # noqa: B023 - called in this turn

        tried = [values for values, _ in run(tuning, score, space_of(tuning, 1e-3))]
        assert points * decays <= len(tried) == len(set(tried))
        assert points <= len({values[0] for values in tried}) <= points + most
        assert all(float(values[0]) > 0 for values in tried)
        if decays == 3:
            assert 3 <= len({values[1] for values in tried}) <= 3 + most


# seeds and rules


def test_the_mean_over_seeds_decides_whether_a_grid_is_extended() -> None:
    scores = {(0.1, 0): 60.0, (0.1, 1): 60.0, (0.3, 0): 59.0, (0.3, 1): 62.0}
    tuning = Tuning(seeds=[0, 1], selection="one_standard_error", max_extensions=1)
    trials = run(tuning, lambda lr, seed: scores.get((lr, seed), 50.0))
    assert ((0.9,), 1) in trials, "the best is 0.3, at the edge"
    assert choose(space_of(tuning), tuning, trials) == (0.1,), "0.3 leads by 0.5, with a standard error of 1.5"
    plain = tuning.model_copy(update={"selection": "best"})
    assert choose(space_of(plain), plain, trials) == (0.3,)


def test_a_rate_that_diverges_with_one_seed_is_not_chosen() -> None:
    tuning = Tuning(seeds=[0, 1])
    trials = run(tuning, lambda lr, seed: {0.03333: 40, 0.1: 60}.get(lr, 90 if seed == 0 else None))
    assert choose(space_of(tuning), tuning, trials) == (0.1,)


# several axes


def test_weight_decay_and_named_values_are_further_axes() -> None:
    tuning = Tuning(decay_points=3, grid_of={"sgdm": {"momentum": [0.95, 0.9]}, "adamw": {"beta1": [0.9, 0.8]}})
    space = space_of(tuning)
    assert len(space.points()) == tuning.configurations("sgdm") == 18
    assert space.points()[0] == (0.03333, 3.333e-05, 0.9)
    assert [(a.name, a.centre, a.factor) for a in space.tuned] == [
        ("lr", 0.1, 3.0),
        ("weight_decay", 1e-4, 3.0),
        ("momentum", 0.9, None),
    ]
    pairs = space.overrides(space.points()[1])
    assert pairs == [
        "optimizer.lr=0.03333",
        "optimizer.weight_decay=3.333e-05",
        "optimizer.hyperparameters.momentum=0.95",
    ]
    sections = {"setting": "a", "backbone": {"name": "b"}, "optimizer": {"name": "sgdm"}, "training": {"epochs": 1}}
    sections["training"]["batch_size"] = 8
    config = build_run_config({**sections, "data": {"name": "d", "image_size": 32}}, pairs)
    assert (config.optimizer.weight_decay, config.optimizer.hyperparameters) == (3.333e-05, {"momentum": 0.95})
    assert describe_choice(space, tuning).axes == space.tuned


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"momentun": [0.9, 0.8]}, "sgdm has no such hyper-parameter; it has momentum"),
        ({"momentum": [0.7, 0.8]}, r"its default 0\.9 must be among the values"),
    ],
)
def test_named_values_that_do_not_fit_are_refused(values: dict[str, list[Any]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        space_of(Tuning(grid_of={"sgdm": values}))


def test_the_study_s_grid_extends_where_its_best_lies_at_an_edge() -> None:
    """5 × 5 around the centre: the best lies at the upper edge of the rates and inside the decays."""
    tuning = Tuning(points=5, decay_points=5)

    def score(lr: float, decay: float, _: int) -> float:
        return 50 + lr - 1e4 * abs(decay - 1e-4)

    tried = [values for values, _ in run(tuning, score)]
    assert len(tried) == 27 and tried[25:] == [(2.7, 1e-4), (8.1, 1e-4)]


def test_a_weight_decay_of_zero_is_no_edge() -> None:
    tuning = Tuning(points=1, decay_points=3, max_extensions=1)
    space = space_of(tuning, 0.1, 0.0)
    assert [a.values for a in space.axes] == [(0.1,), (0.0, 1e-05, 3e-05)]
    decays = {decay for (_, decay), _ in run(tuning, lambda lr, decay, _: 50 - decay, space)}
    assert decays == {0.0, 1e-05, 3e-05}, "nothing lies below no decay"
    decays = {decay for (_, decay), _ in run(tuning, lambda lr, decay, _: 50 + decay, space)}
    assert decays == {0.0, 1e-05, 3e-05, 9e-05}


# draws


def test_draws_are_the_same_steps_in_every_cell() -> None:
    tuning = Tuning(protocol="random", points=5, decay_points=3, draws=200, seeds=[3, 4])
    one, other = (draw(space_of(tuning, lr, 1e-4), tuning) for lr in (0.1, 0.001))
    assert [lr for lr, _ in one] == pytest.approx([100 * lr for lr, _ in other], rel=1e-3)
    assert [d for _, d in one] == [d for _, d in other]
    low, *_, high = grid(0.1, tuning)
    drawn = [float(lr) for lr, _ in one]
    assert low <= min(drawn) < 1.2 * low and 0.8 * high < max(drawn) <= high
    assert sum(lr < 0.1 for lr in drawn) == pytest.approx(100, abs=25), "uniform in the logarithm"
    places = next_trials(space_of(tuning), tuning, {})
    assert len(places) == 400 and {seed for _, seed in places} == {3, 4}
    assert next_trials(space_of(tuning), tuning, dict.fromkeys(places, trial())) == [], "and nothing is extended"
    assert draw(space_of(tuning), tuning.model_copy(update={"seeds": [4]})) != one


# halving


def test_halving_tries_the_better_half_with_each_further_seed() -> None:
    tuning = Tuning(protocol="halving", points=5, seeds=[0, 1, 2], max_extensions=0)
    order = {0.01111: 1.0, 0.03333: 4.0, 0.1: 3.0, 0.3: 5.0, 0.9: 2.0}
    trials = run(tuning, lambda lr, seed: 50 + order[lr] - (20 if (lr, seed) == (0.3, 1) else 0))
    tried = {seed: sorted(v[0] for v, s in trials if s == seed) for seed in (0, 1, 2)}
    assert tried == {0: sorted(order), 1: [0.03333, 0.1, 0.3], 2: [0.03333, 0.1]}
    assert len(trials) == tuning.trials("sgdm") == 10
    assert choose(space_of(tuning), tuning, trials) == (0.03333,)


def test_halving_extends_with_its_first_seed() -> None:
    tuning = Tuning(protocol="halving", seeds=[0, 1], max_extensions=1)
    trials = run(tuning, lambda lr, seed: 50 + lr)
    assert sorted(v[0] for v, s in trials if s == 0) == [0.03333, 0.1, 0.3, 0.9]
    assert sorted(v[0] for v, s in trials if s == 1) == [0.3, 0.9]


def test_the_number_of_trials_is_known_beforehand() -> None:
    for tuning in (
        Tuning(),
        Tuning(seeds=[0, 1, 2], points=5, decay_points=3),
        Tuning(protocol="random", draws=7, seeds=[0, 1]),
        Tuning(protocol="halving", points=9, seeds=[0, 1, 2, 3]),
    ):
        space = space_of(tuning)
        centre = tuple(a.centre for a in space.tuned)
        trials = run(tuning, lambda *values, c=centre: 60 if values[:-1] == c else 50, space)
        assert len(trials) == tuning.trials("sgdm")
