"""The answer from runs: what is told apart, by how much, what more time would tell, and how often that holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bocb_hf.compare.answer import Answer, Entry, find_answer
from bocb_hf.compare.words import floor_lines, legend, sentence, table
from bocb_hf.coupling.table import Floor

N = 2000


def entry(
    name: str, scores: list[float], lr: float = 1e-3, diverged: int = 0, tried: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
) -> Entry:
    """Runs with these scores, each of which gets the first images right: only the noise of seeds tells them apart."""
    bits = [np.arange(N) < round(score / 100 * N) for score in scores]
    correct = np.mean(bits, axis=0) if bits else np.empty(0)
    return Entry(name, lr, tried, tuple(scores), tuple(range(1, len(scores) + 1)), correct, diverged, (), 30.0)


def by_hand(*entries: Entry) -> Answer:
    return find_answer(list(entries), workers=2)


def test_what_is_clear_is_said_so() -> None:
    found = by_hand(entry("sgdm", [86.9, 87.3, 87.1]), entry("adamw", [91.0, 91.4, 91.2], lr=3e-4))
    assert found.best == "adamw" and found.apart and not found.none_told and found.more is None
    (loss,) = found.losses
    assert loss.optimizer == "sgdm" and loss.points == pytest.approx(4.1) and loss.interval is not None
    assert 0 < loss.interval.low < 4.1 < loss.interval.high
    assert found.better_by == 0
    text = sentence(found, 1800)
    assert text.startswith("AdamW at 0.0003: 91.2 %, [") and "SGD-M loses 4.1 [" in text
    assert "at the edge" in "\n".join(table(found))  # 3e-4 is the lowest rate that was tried


def test_what_is_not_clear_is_said_so_with_the_time_that_would_tell() -> None:
    found = by_hand(entry("adamw", [90.1, 91.9]), entry("lamb", [90.3, 91.3]))
    assert found.none_told and found.better_by is not None and found.better_by > 0
    text = sentence(found, 1800)
    assert text.startswith("AdamW and LAMB cannot be told apart with 30 min")
    assert "none is better by more than" in text
    assert found.more is not None
    if found.more.seconds is not None:
        assert f"more would tell differences of {found.more.points:g} points" in text


def test_some_near_and_some_far() -> None:
    scores = {"adamw": [91.0, 91.3, 91.2], "lamb": [90.9, 91.2, 91.0], "sgdm": [80.0, 80.4, 80.2]}
    found = by_hand(*(entry(name, each) for name, each in scores.items()))
    assert [loss.told for loss in found.losses] == [False, True]
    text = sentence(found, 1800)
    assert "nothing tried is better by more than" in text and "SGD-M loses" in text
    assert "LAMB cannot be told apart from it" in text
    assert found.corrected and found.interval is not None
    assert found.score <= found.entry("adamw").mean + 1e-9  # the luck of the highest is taken off
    assert "corrected for having been the highest" in " ".join(legend(found))


def test_test_images_bound_what_time_can_tell() -> None:
    """Two optimizers that are right on different images: seeds agree, and only more images would tell them apart."""
    rng = np.random.default_rng(0)
    right = {name: (rng.random(200) < 0.8).astype(float) for name in ("adamw", "sgdm")}
    entries = [
        Entry(name, 1e-3, (1e-3,), (100 * float(bits.mean()),) * 2, (1, 2), bits, 0, (79.0, 79.5), 30.0)
        for name, bits in right.items()
    ]
    found = find_answer(entries)
    assert found.none_told and found.more is not None
    assert found.more.seconds is None and found.more.images is not None and found.more.images > 1000
    assert "no time would tell differences of 1 point" in sentence(found, 60)


def test_survivors_are_not_ranked() -> None:
    found = by_hand(entry("adamw", [80.0, 80.4]), entry("sgdm", [95.0], diverged=1), entry("lamb", [], diverged=2))
    assert found.best == "adamw" and found.losses == ()
    assert found.unranked == {"sgdm": "diverged in 1 of 2 final runs", "lamb": "diverged in all final runs"}
    assert "nothing else has final runs to compare it with" in sentence(found, 60)


def test_one_run_each_and_none_at_all() -> None:
    single = by_hand(entry("adamw", [80.0]), entry("sgdm", [70.0]))
    assert single.interval is None and single.better_by is None and single.more is None
    assert "noise cannot be told from differences (SGD-M −10.0)" in sentence(single, 60)
    none = by_hand(
        Entry("adamw", math.nan, (), (), (), np.empty(0)), Entry("sgdm", math.nan, (1e-3,), (), (), np.empty(0))
    )
    assert none.best is None and "there is no answer" in sentence(none, 60)
    assert none.unranked["adamw"] == "has no final run and no trial"
    assert len(table(none)) == 3


def test_a_probe_and_a_floor_are_said() -> None:
    found = by_hand(entry("adamw", [80.0, 80.4]), entry("sgdm", [79.0, 79.4]))
    assert "says little about fine-tuning" in sentence(found, 60, probe=True)
    lines = floor_lines(found, [Floor("chance, 10 classes", 10.0), Floor("logistic regression on pixels", 85.0)])
    assert lines[-1].startswith("The best optimizer is below logistic regression on pixels")


@pytest.mark.parametrize("seeds", [2, 3])
def test_the_intervals_hold(seeds: int) -> None:
    """True differences 0, 1 and 3 points, seeds with their own noise and test images drawn anew: 95 % or more hold."""
    rng, held, told, scored, draws = np.random.default_rng(1), 0, 0, 0, 120
    truth, names = np.array([80.0, 80.0, 79.0, 77.0]), ("adamw", "sgdm", "lamb", "adan")
    for _ in range(draws):
        hard = rng.normal(size=500)  # images that are hard are so for all optimizers
        entries: list[Entry] = []
        for name, mean in zip(names, truth, strict=True):
            bits = []
            for _ in range(seeds):
                level = mean + rng.normal(0, 0.8)
                noise = hard + 0.5 * rng.normal(size=500)
                bits.append((noise < math.sqrt(1.25) * float(_quantile(level / 100))).astype(float))
            tops = tuple(100 * float(each.mean()) for each in bits)
            pair = tuple(float(mean + rng.normal(0, 1.2)) for _ in range(2))
            entries.append(Entry(name, 1e-3, (1e-3,), tops, tuple(range(seeds)), np.mean(bits, axis=0), 0, pair, 1.0))
        found = find_answer(entries)
        assert found.best is not None
        true = dict(zip(names, truth, strict=True))
        gaps = [(true[found.best] - true[loss.optimizer], loss.interval) for loss in found.losses]
        held += all(interval is not None and interval.holds(gap) for gap, interval in gaps)
        scored += found.interval is not None and found.interval.holds(true[found.best])
        told += sum(loss.told and true[found.best] <= true[loss.optimizer] for loss in found.losses)
    assert held / draws >= 0.94 and scored / draws >= 0.92
    assert told / draws <= 0.05  # an optimizer that is as good is not called worse


def _quantile(probability: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(probability))


def test_rates_that_were_never_tuned_are_said_in_the_sentence() -> None:
    alone = [entry("sgdm", [87.1, 87.3], tried=(1e-3,)), entry("adamw", [91.0, 91.2], tried=(1e-3,))]
    assert "no rate was tuned: each optimizer has the centre of its grid" in sentence(by_hand(*alone), 60)
    alone[0] = entry("sgdm", [87.1, 87.3])
    assert "no rate was tuned" not in sentence(by_hand(*alone), 60)
