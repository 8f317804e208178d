"""Tuning grids: what they hold for every row and setting, how they follow the batch, and which one a run took."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import yaml

from bocb_hf.data import DATASETS
from bocb_hf.engine.schedule import learning_rate
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.resolve import resolve_optimizer
from bocb_hf.optim.row import SHIPPED_BATCHES, Centre, OptimizerRow
from bocb_hf.resources import config_files
from bocb_hf.runs.training_config import TrainingConfig
from bocb_hf.schema import parse_strict

CONFIGS: dict[str, dict[str, Any]] = {
    name: yaml.safe_load(path.read_text())
    for name, path in config_files("recipes/configs").items()
    # of these the data are the user's, so that batch or steps are not known, and the rows have no centres
    if not name.startswith(("generic/", "coco/", "transfer/"))
}
IMAGES = {"cifar100": 50_000, "fashion_mnist": 60_000, "fashion_mnist_subset": 6_000, "imagenet1k": 1_281_167}
SMALLEST_DIFFERENCE = 0.05

# Published records of the demo were tuned around LAMB's centre, and its trust ratio decides how much a decay does.
NO_FIXED_SHARE = {"adam", "adamax", "nadam", "adabound", "adagrad", "adadelta", "rmsprop", "lamb", "lars"}
NO_FIXED_SHARE |= {"splus"}  # the shape of a matrix decides
# Rows whose ``released`` grid had no decay at its centre, and so five equal points.
WITHOUT_DECAY = {"adamp", "adafactor", "adabelief", "radabelief", "kron", "mars", "ademamix", "prodigy", "adopt"}
WITHOUT_DECAY |= {"schedulefreeadamw", "schedulefreesgd"}


def total_rate(name: str) -> float:
    """Sum of the learning rate over a run with a peak of 1."""
    config = CONFIGS[name]
    training = parse_strict(TrainingConfig, config["training"])
    epoch = IMAGES[config["data"]["name"]] // training.batch_size
    steps = epoch * training.epochs
    stride = max(1, steps // 2000)  # the schedule is smooth
    return stride * sum(learning_rate(step, steps, epoch, 1.0, training) for step in range(0, steps, stride))


RATES = {name: total_rate(name) for name in CONFIGS}


def indistinguishable(row: OptimizerRow, name: str, grid: Any = "ours") -> bool:
    """Whether the strongest and the weakest decay of a grid leave weights within 5 % of each other at the end."""
    data, setting = CONFIGS[name]["data"]["name"], CONFIGS[name]["setting"]
    decays = row.decay_grid(setting, data, grid)
    exponent = row.centre(setting, data, grid=grid).lr * RATES[name] * (row.shrinkage or 0.0)
    return 1 - math.exp(-exponent * (decays[-1] - decays[0])) < SMALLEST_DIFFERENCE


@pytest.mark.parametrize("optimizer", OPTIMIZERS.names())
def test_the_points_of_a_decay_grid_can_differ(optimizer: str) -> None:
    row = OPTIMIZERS.get(optimizer)
    assert (row.shrinkage is None) == (optimizer in NO_FIXED_SHARE)
    if row.shrinkage is not None:
        assert [name for name in CONFIGS if indistinguishable(row, name)] == []


def test_grids_without_a_decay_are_found() -> None:
    """The measure of the test above finds the grids that compared decay with none."""
    found = {
        row.id
        for row in OPTIMIZERS
        if row.shrinkage and indistinguishable(row, "fashion_mnist_subset/demo", "released")
    }
    assert found >= WITHOUT_DECAY
    assert {row.id for row in OPTIMIZERS if row.released and row.centre("x", grid="released").weight_decay == 0} == (
        WITHOUT_DECAY
    )
    assert not any(row.released and row.centre("x").weight_decay == 0 for row in OPTIMIZERS)


def test_the_released_grid_is_that_of_before() -> None:
    expected = {
        "adamp": (1e-3, 0.0), "sgdp": (0.1, 1e-5), "adan": (1e-3, 0.02), "prodigy": (1.0, 0.0), "mars": (3e-3, 0.0),
        "adamw": (1e-3, 0.05), "lion": (1e-4, 0.5), "schedulefreeadamw": (2.5e-3, 0.0), "rmsprop": (1e-3, 1e-4),
    }  # fmt: skip
    for optimizer, values in expected.items():
        for data in ("imagenet1k", "cifar100"):
            centre = OPTIMIZERS.get(optimizer).centre("deit", data, 4096, "released")
            assert (centre.lr, centre.weight_decay) == values
    assert OPTIMIZERS.get("adamw").centre("demo", grid="released").lr == 3e-3
    assert OPTIMIZERS.get("adamp").decay_grid("deit", grid="released") == [0.0, 1e-5, 3e-5, 9e-5, 2.7e-4]


def test_the_authors_rates_of_adan_are_on_its_grid() -> None:
    adan = OPTIMIZERS.get("adan")
    for setting in ("pytorch", "deit", "rsb_a1", "rsb_a2", "rsb_a3"):
        low, *_, high = adan.lr_grid(setting, "imagenet1k")
        assert low <= 1e-2 and high >= 3e-2
        assert adan.centre(setting, "imagenet1k").weight_decay == 0.02
    assert adan.centre("deit", "cifar100") == adan.centres["default"]


# batch sizes


def test_the_shipped_batches_are_those_of_the_files() -> None:
    assert {
        f"{config['data']['name']}/{config['setting']}": config["training"]["batch_size"] for config in CONFIGS.values()
    } == dict(SHIPPED_BATCHES)
    assert set(IMAGES) <= set(DATASETS.names())


@pytest.mark.parametrize("optimizer", OPTIMIZERS.names())
def test_a_centre_holds_as_it_stands_for_what_is_shipped(optimizer: str) -> None:
    row = OPTIMIZERS.get(optimizer)
    for name, batch in SHIPPED_BATCHES.items():
        data, setting = name.split("/")
        assert row.centre(setting, data, batch) is row.centre(setting, data)
    assert row.centre("of my own", "my data", row.source_batch) is row.centres["default"]


@pytest.mark.parametrize(("optimizer", "factor"), [("sgdm", 4.0), ("adamw", 2.0), ("prodigy", 1.0)])
def test_another_batch_scales_the_rate_by_the_rows_rule(optimizer: str, factor: float) -> None:
    row = OPTIMIZERS.get(optimizer)
    lr = row.centre("pytorch", "imagenet1k").lr
    assert row.centre("pytorch", "imagenet1k", 4 * 256).lr == pytest.approx(factor * lr)
    assert row.centre("pytorch", "imagenet1k", 64).lr == pytest.approx(lr / factor)
    assert row.centre("of my own", None, 4 * row.source_batch).lr == pytest.approx(factor * row.centres["default"].lr)
    assert row.centre("pytorch", "imagenet1k", 1024).weight_decay == row.centre("pytorch").weight_decay


def test_on_other_data_the_batches_of_a_setting_span_what_needs_no_scale() -> None:
    row = OPTIMIZERS.get("sgdm")
    assert [row.centre("pytorch", "my data", batch).lr for batch in (50, 100, 200, 256, 512)] == [
        pytest.approx(lr) for lr in (0.05, 0.1, 0.1, 0.1, 0.2)
    ]


def test_a_resolved_rate_is_scaled_and_a_given_one_is_not() -> None:
    def lr(given: float | None, batch: int) -> float:
        return resolve_optimizer("sgdm", "demo", given, data="fashion_mnist_subset", batch_size=batch).lr

    assert (lr(None, 64), lr(None, 128), lr(0.1, 128)) == (0.1, 0.2, 0.1)
    released = resolve_optimizer("adamp", "deit", data="cifar100", batch_size=200, grid="released")
    assert (released.lr, released.weight_decay) == (1e-3, 0.0)


def test_a_plug_in_that_says_nothing_of_batches_keeps_its_rate() -> None:
    row = dataclasses.replace(
        OPTIMIZERS.get("sgdm"), scaling="none", centres={"default": Centre(0.5, 1e-4, "ours")}, released={}
    )
    assert row.centre("pytorch", "imagenet1k", 8192) is row.centres["default"]
