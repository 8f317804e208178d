"""Registries: ids are unique, names match exactly, and a miss says what to do."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bocb_hf.backbones import BACKBONES
from bocb_hf.data import DATASETS
from bocb_hf.errors import InputError
from bocb_hf.optim import CATEGORIES, OPTIMIZERS
from bocb_hf.registry import Registry, suggestion


@dataclass(frozen=True)
class Fruit:
    id: str
    price: int = 1


@pytest.fixture
def fruits() -> Registry[Fruit]:
    registry: Registry[Fruit] = Registry("fruit", "fruits")
    for name in ("pear", "apple", "cherry"):
        registry.add(Fruit(name))
    return registry


def test_rows_keep_the_order_of_registration(fruits: Registry[Fruit]) -> None:
    assert fruits.names() == [row.id for row in fruits] == ["pear", "apple", "cherry"]
    assert len(fruits) == 3
    assert "apple" in fruits
    assert "grape" not in fruits
    assert fruits.get("apple") == Fruit("apple")


def test_a_taken_id_raises_and_keeps_the_first_row(fruits: Registry[Fruit]) -> None:
    with pytest.raises(InputError, match="fruit 'apple' is registered already; choose another id"):
        fruits.add(Fruit("apple", price=2))
    assert fruits.get("apple").price == 1
    assert len(fruits) == 3


@pytest.mark.parametrize("name", ["Apple", " apple", "appl", "apple_", ""])
def test_only_the_exact_name_matches(fruits: Registry[Fruit], name: str) -> None:
    with pytest.raises(InputError, match=r"unknown fruit .*`bocb list fruits` shows all"):
        fruits.get(name)


def test_a_miss_suggests_the_closest_name_and_no_far_one(fruits: Registry[Fruit]) -> None:
    with pytest.raises(InputError, match="did you mean 'cherry'"):
        fruits.get("chery")
    with pytest.raises(InputError) as raised:
        fruits.get("zzzzzz")
    assert "did you mean" not in str(raised.value)
    assert suggestion("zzzzzz", ["apple"]) == ""


def test_the_shipped_registries_refuse_a_second_row_of_each_id() -> None:
    checked = 0
    for registry in (BACKBONES, OPTIMIZERS, DATASETS):
        for row in list(registry):
            with pytest.raises(InputError, match="registered already"):
                registry.add(row)  # type: ignore[arg-type] - wrong on purpose
            checked += 1
    assert checked == len(BACKBONES) + len(OPTIMIZERS) + len(DATASETS) >= 10


def test_every_category_of_the_study_has_an_optimizer() -> None:
    assert {row.category for row in OPTIMIZERS} == set(CATEGORIES)


def test_the_default_hyperparameters_of_every_optimizer_are_valid() -> None:
    for row in OPTIMIZERS:
        assert row.hyperparameters().model_dump()
        assert row.centre("a setting without its own centre") == row.centres["default"]
        assert row.centres["default"].lr > 0
