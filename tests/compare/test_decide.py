"""What a comparison decides from sizes and speeds alone: the order of the cuts, and the refusal that names a time."""

from __future__ import annotations

import re

import pytest

from bocb_hf.compare.decide import Decision, Images, Speed, Way, decide, duration, run_seconds, shorter, smaller
from bocb_hf.compare.design import Design, Fixed
from bocb_hf.errors import InputError

FULL = Design(("adamw", "sgdm", "lamb", "adan"))
IMAGES = Images(train=8000, validation=800, test=2000)
TUNE = Way("generic/finetune", 224, 8, 64, pretrained=True)
PROBE = Way("generic/linear_probe", 224, 20, 256, probe=True, pretrained=True)


def measure(way: Way) -> Speed:
    """A step of 0.2 s at 224 px; a head alone takes nothing after one pass over the images."""
    if way.probe:
        return Speed(0.001, once=20.0)
    return Speed(0.2 * (way.image_size / 224) ** 2)


def decided(minutes: float, **more: object) -> Decision:
    return decide(TUNE, FULL, Fixed(), IMAGES, 60 * minutes, 2, measure, probe=PROBE, **more)  # type: ignore[arg-type] # flags by name


def test_with_enough_time_nothing_is_cut() -> None:
    found = decided(120)
    assert found.way == TUNE and found.found.design == FULL and found.cuts == ()
    assert found.run == run_seconds(TUNE, IMAGES, measure(TUNE))
    assert 200 < found.run < 250  # 8 epochs of 125 steps, and nine evaluations
    assert found.seconds <= 0.9 * 120 * 60


def test_the_cuts_come_in_order() -> None:
    """The less time, the more is cut: the design first, then epochs, then the size, then fine-tuning itself."""
    seen = [decided(minutes) for minutes in (120, 60, 40, 20, 10, 6, 3, 1)]
    assert [len(found.found.design.optimizers) for found in seen[:3]] == [4, 4, 3]
    keys = [(found.way.probe, -found.way.image_size, -found.way.epochs) for found in seen]
    assert keys == sorted(keys)
    assert any(found.way.epochs < 8 and found.way.image_size == 224 for found in seen)
    small = next(found for found in seen if found.way.image_size < 224)
    assert small.way.epochs <= 8 and any("px instead of 224" in cut for cut in small.cuts)
    assert seen[-1].way.probe and "says little about fine-tuning" in seen[-1].cuts[-1]
    for found, minutes in zip(seen, (120, 60, 40, 20, 10, 6, 3, 1), strict=True):
        assert found.seconds <= 0.9 * 60 * minutes


def test_a_refusal_names_a_time_that_does() -> None:
    with pytest.raises(InputError, match="too short") as raised:
        decided(0.5)
    named = re.search(r"give --time (\d+)m", str(raised.value))
    assert named is not None
    assert len(decided(int(named[1])).found.design.optimizers) >= 2
    with pytest.raises(InputError, match="images of 96 px\\)"):
        decide(TUNE, FULL, Fixed(), IMAGES, 40, 2, measure)


def test_what_the_user_fixed_is_not_cut() -> None:
    found = decided(30, fixed_size=True, fixed_epochs=True)
    assert (found.way.image_size, found.way.epochs, found.way.probe) == (224, 8, False) or found.way.probe
    asked = decide(TUNE, FULL, Fixed(optimizers=True), IMAGES, 60 * 20, 2, measure, probe=PROBE)
    assert asked.found.design.optimizers == FULL.optimizers


def test_only_ways_that_are_looked_at_are_timed() -> None:
    seen: list[Way] = []

    def noted(way: Way) -> Speed:
        seen.append(way)
        return measure(way)

    decide(TUNE, FULL, Fixed(), IMAGES, 7200, 2, noted, probe=PROBE)
    assert [way.image_size for way in seen] == [224]


def test_epochs_and_sizes_to_try() -> None:
    assert shorter(Way("x", 32, 20, 64)) == [20, 10, 5]
    assert shorter(Way("x", 32, 3, 64)) == [3]
    assert shorter(Way("x", 224, 5, 64, pretrained=True)) == [5, 3, 2]
    assert smaller(Way("x", 224, 5, 64, pretrained=True)) == [192, 160, 128, 96]
    assert smaller(Way("x", 64, 5, 64)) == [48, 32]


def test_durations() -> None:
    assert [duration(s) for s in (5, 89, 120, 5399, 5400, 7200, 9000)] == [
        *("5 s", "89 s", "2 min", "1 h 30 min", "1 h 30 min", "2 h", "2 h 30 min")
    ]
