"""The tuning rule as a function of finished trials, and what a plan must not hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from builders import make_record

from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.schema import parse_strict
from bocb_hf.sweep.plan import SweepPlan, Trial, Tuning, best_trial, grid, load_plan, next_rates
from bocb_hf.sweep.run import Sweep

PLAN: dict[str, Any] = {
    "name": "mine",
    "config": "fashion_mnist_subset/demo",
    "backbones": ["tiny_resnet", "tiny_vit"],
    "optimizers": ["sgdm", "adamw"],
    "final_seeds": [1, 2],
}


def trial(lr: float, top1: float | None = 50.0, loss: float | None = 1.0) -> Trial:
    return Trial(lr, top1, loss if top1 is not None else None)


def tune(centre: float, tuning: Tuning, score: Callable[[float], float | None]) -> list[float]:
    """Runs the whole loop and returns every tried rate, in the order in which they were tried."""
    trials: list[Trial] = []
    for _ in range(50):
        rates = next_rates(centre, tuning, trials)
        if not rates:
            return [t.lr for t in trials]
        assert not {t.lr for t in trials} & set(rates), "no rate is tried twice"
        trials += [trial(lr, score(lr)) for lr in rates]
    raise AssertionError("tuning does not end")


# grid


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


def test_the_winner_has_the_highest_validation_accuracy() -> None:
    assert best_trial([trial(0.1, 50), trial(0.2, 60), trial(0.3, 55)]).lr == 0.2


def test_ties_go_to_the_lower_loss_and_then_to_the_lower_rate() -> None:
    assert best_trial([trial(0.1, 60, 0.9), trial(0.2, 60, 0.8), trial(0.3, 59, 0.1)]).lr == 0.2
    assert best_trial([trial(0.3, 60, 0.8), trial(0.2, 60, 0.8)]).lr == 0.2


def test_a_diverged_trial_loses_to_any_other() -> None:
    assert best_trial([trial(0.1, None), trial(0.2, 0.0, 99.0)]).lr == 0.2
    assert best_trial([trial(0.2, None), trial(0.1, None)]).lr == 0.1


def test_a_trial_is_read_from_its_record() -> None:
    done = make_record(role="trial", lr=0.3, val_top1=71.0, val_loss=0.7)
    assert Trial.from_record(done) == Trial(0.3, 71.0, 0.7)
    for status in ("diverged", "interrupted"):
        assert Trial.from_record(make_record(role="trial", lr=0.3, status=status)) == Trial(0.3, None, None)


# the loop


def test_nothing_is_tuned_before_the_whole_grid_is_tried() -> None:
    tuning = Tuning()
    assert next_rates(0.1, tuning, []) == [0.03333, 0.1, 0.3]
    assert next_rates(0.1, tuning, [trial(0.3)]) == [0.03333, 0.1]
    assert next_rates(0.1, tuning, [trial(0.3), trial(0.03333)]) == [0.1]


def test_a_winner_in_the_middle_ends_the_tuning() -> None:
    assert tune(0.1, Tuning(), lambda lr: 60 if lr == 0.1 else 50) == [0.03333, 0.1, 0.3]
    assert tune(0.1, Tuning(points=5), lambda lr: -abs(lr - 0.3)) == grid(0.1, Tuning(points=5))


def test_a_winner_at_the_upper_edge_extends_upwards_at_most_so_often() -> None:
    for most, expected in ((0, []), (1, [0.9]), (2, [0.9, 2.7]), (3, [0.9, 2.7, 8.1])):
        assert tune(0.1, Tuning(max_extensions=most), lambda lr: lr)[3:] == expected


def test_a_winner_at_the_lower_edge_extends_downwards_at_most_so_often() -> None:
    for most, expected in ((0, []), (1, [0.01111]), (2, [0.01111, 0.003703])):
        assert tune(0.1, Tuning(max_extensions=most), lambda lr: -lr)[3:] == expected


def test_an_extension_ends_when_the_new_point_loses() -> None:
    assert tune(0.1, Tuning(max_extensions=5), lambda lr: -abs(lr - 0.31)) == [0.03333, 0.1, 0.3, 0.9]


def test_extensions_in_both_directions_are_counted_together() -> None:
    # the winner is first at the upper edge; what is tried there diverges, and so on: the sum stays bounded
    scores = {0.03333: 60.0, 0.1: 50.0, 0.3: 60.0, 0.9: None, 0.01111: 70.0}
    losses = {0.03333: 0.9, 0.3: 0.8}

    def loop(most: int) -> list[float]:
        trials: list[Trial] = []
        while rates := next_rates(0.1, Tuning(max_extensions=most), trials):
            for lr in rates:
                # after the upper edge failed, the lower one counts
                loss = losses.get(lr, 1.0)
                trials.append(Trial(lr, scores.get(lr), loss if scores.get(lr) is not None else None))
            if 0.9 in {t.lr for t in trials}:
                trials = [t if t.lr != 0.3 else Trial(0.3, 55.0, 1.0) for t in trials]
        return [t.lr for t in trials][3:]

    assert loop(0) == []
    assert loop(1) == [0.9]
    assert loop(2) == [0.9, 0.01111]
    # the next point, 0.003703, has no score here: it diverged, so 0.01111 is in the middle and wins
    assert loop(3) == loop(9) == [0.9, 0.01111, 0.003703]


@pytest.mark.parametrize("most", range(4))
def test_when_all_diverge_the_grid_extends_downwards_and_stops(most: int) -> None:
    tried = tune(0.1, Tuning(max_extensions=most), lambda lr: None)
    assert tried == [0.03333, 0.1, 0.3, 0.01111, 0.003703, 0.001234][: 3 + most]


def test_one_finite_trial_in_the_middle_of_diverged_ones_is_the_result() -> None:
    assert tune(0.1, Tuning(), lambda lr: 10 if lr == 0.1 else None) == [0.03333, 0.1, 0.3]


@pytest.mark.parametrize("points", [1, 3, 5])
@pytest.mark.parametrize("most", [0, 1, 2, 5])
def test_any_landscape_ends_within_the_budget(points: int, most: int) -> None:
    tuning = Tuning(points=points, max_extensions=most)
    for seed in range(40):
        tried = tune(1e-3, tuning, lambda lr, seed=seed: hash((seed, lr)) % 97 if hash((lr, seed)) % 5 else None)
        assert points <= len(tried) <= points + most
        assert len(set(tried)) == len(tried)
        assert all(lr > 0 for lr in tried)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": 2}, "must be odd, so that the centre is one of the points"),
        ({"points": 0}, "greater than or equal to 1"),
        ({"factor": 1.0}, "greater than 1"),
        ({"factor": float("nan")}, "finite number"),
        ({"max_extensions": -1}, "greater than or equal to 0"),
        ({"max_extension": 1}, "Extra inputs"),
    ],
)
def test_an_unusable_tuning_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_strict(Tuning, changes)


# plans


def load(tmp_path: Path, **changes: Any) -> SweepPlan:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in (PLAN | changes).items() if v is not ...}))
    return load_plan(path)


@pytest.mark.parametrize(("of", "decay"), [("ours", 0.05), ("released", 0.0)])
def test_a_plan_names_the_grid_of_its_runs(tmp_path: Path, of: str, decay: float) -> None:
    plan = load(tmp_path, optimizers=["adamp", "adamw"], tuning={"grid": of})
    assert plan.tuning.grid == of
    sweep = Sweep(plan, cast(Any, SimpleNamespace(threads=1)), ["training.batch_size=256"])
    # four times the batch of the demo: the root of it for ours, while the study's values are never scaled
    assert [cell.centre for cell in sweep.cells] == ([2e-3, 6e-3] if of == "ours" else [1e-3, 3e-3]) * 2
    config = sweep._config("tiny_vit", "adamp", [])
    assert config.optimizer.grid == of
    centre = OPTIMIZERS.get("adamp").centre(config.setting, grid=config.optimizer.grid)
    assert centre.weight_decay == decay
    with pytest.raises(InputError, match=r"tuning\.grid: input should be 'ours' or 'released'"):
        load(tmp_path, tuning={"grid": "study"})


def test_a_plan_is_read_with_its_defaults(tmp_path: Path) -> None:
    plan = load(tmp_path)
    assert plan == SweepPlan(**PLAN)
    assert plan.tuning == Tuning(points=3, factor=3.0, seed=0, max_extensions=2)
    assert (plan.overrides, plan.baselines) == ([], True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"final_seeds": [0, 1]}, "final_seeds: holds the tuning seed 0; the result needs fresh seeds"),
        ({"final_seeds": [1, 5], "tuning": {"seed": 5}}, "final_seeds: holds the tuning seed 5"),
        ({"final_seeds": [1, 1]}, "final_seeds: holds a value twice"),
        ({"final_seeds": []}, "final_seeds: list should have at least 1 item"),
        ({"final_seeds": ["1"]}, "final_seeds.0: input should be a valid integer"),
        ({"final_seeds": [-1]}, "final_seeds.0: input should be greater than or equal to 0"),
        ({"backbones": ["a", "b", "a"]}, "backbones: holds a value twice"),
        ({"backbones": []}, "backbones: list should have at least 1 item"),
        ({"optimizers": ["sgdm", "sgdm"]}, "optimizers: holds a value twice"),
        ({"optimizers": ["sgdm", "adamww"]}, "optimizers: unknown optimizer 'adamww'; did you mean 'adamw'?"),
        ({"optimizer": ["sgdm"]}, "optimizer: unknown key; did you mean 'optimizers'?"),
        ({"tuning": {"point": 3}}, "tuning.point: unknown key; did you mean 'points'?"),
        ({"tuning": {"points": 4}}, "tuning.points: must be odd"),
        ({"config": ...}, "config: missing"),
        ({"name": "Not A Slug"}, "name: string should match pattern"),
        ({"overrides": "seed=1"}, "overrides: input should be a valid array"),
    ],
)
def test_each_problem_of_a_plan_is_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        load(tmp_path, **changes)
    headline, *lines = str(raised.value).splitlines()
    assert headline.endswith(f"plan.yaml has {len(lines)} problem(s):")
    assert any(line.startswith(f"  {message}") for line in lines), lines


def test_all_problems_of_a_plan_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has 4 problem\(s\)"):
        load(tmp_path, final_seeds=[0], optimizers=["adamww"], name="!", extra=1)


@pytest.mark.parametrize("text", ["", "- 1\n", "3\n"])
def test_a_file_that_is_no_plan_is_an_input_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"plan\.yaml has 1 problem"):
        load_plan(path)
