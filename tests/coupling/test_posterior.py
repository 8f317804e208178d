"""Draws of true means: they know what a chosen optimizer loses, shrink where there is nothing, and say n = 1."""

from __future__ import annotations

import numpy as np
import pytest
from simulated import simulate

from bocb_hf.coupling.posterior import FURTHER, posterior
from bocb_hf.coupling.scores import make_scores


def test_claimed_regret_is_true_and_that_of_observed_means_is_not():
    """The same draws as benchmarks/regret.txt, few of them: spreads by 50, two seeds."""
    claimed, true, held, naive = [], [], [], []
    for i in range(8):
        truth, table = simulate(np.random.default_rng((i, 7)), 6, 8, 2, "factor 50")
        found = posterior(table)
        assert found is not None and found.noise_known
        for b in range(6):
            draws = found.means[:, b]
            chosen = int(draws.mean(axis=0).argmax())
            lost = draws.max(axis=1) - draws[:, chosen]
            loss = float(truth[b].max() - truth[b, chosen])
            low, high = np.quantile(lost, [0.0, 0.95])
            claimed.append(float(lost.mean()))
            true.append(loss)
            held.append(low - 1e-9 <= loss <= high)
            naive.append(float(truth[b].max() - truth[b, table.means[b].argmax()]))
    assert np.mean(claimed) == pytest.approx(np.mean(true), abs=0.12)
    assert np.mean(held) > 0.85
    assert np.mean(true) < np.mean(naive)  # what the other cells say helps to choose, too


def test_means_are_shrunken_towards_the_additive_fit_only_where_that_fits():
    rng = np.random.default_rng(0)
    additive = 70 + 3 * rng.normal(size=(6, 1)) + 1.5 * rng.normal(size=8)
    noisy = additive[..., None] + 0.6 * rng.normal(size=(6, 8, 2))
    table = make_scores(noisy, [f"b{i}" for i in range(6)], _OPTIMIZERS, unit="percent")
    found = posterior(table)
    assert found is not None
    error = float(np.sqrt(np.square(found.means.mean(axis=0) - additive).mean()))
    assert error < 0.75 * float(np.sqrt(np.square(table.means - additive).mean()))
    noisy[2, 3] -= 40  # a collapsed cell stays where it is and moves no other
    collapsed = posterior(make_scores(noisy, [f"b{i}" for i in range(6)], _OPTIMIZERS, unit="percent"))
    assert collapsed is not None
    assert collapsed.means[:, 2, 3].mean() == pytest.approx(table.means[2, 3] - 40, abs=1.0)
    moved = np.abs(collapsed.means.mean(axis=0) - found.means.mean(axis=0))
    moved[2, 3] = 0
    assert moved.max() < 0.6


_OPTIMIZERS = ("sgdm", "sgdp", "adam", "adamw", "lamb", "adan", "lars", "rmsprop")


def test_one_seed_leaves_open_how_much_is_noise():
    truth, table = simulate(np.random.default_rng(3), 6, 8, 1, "equal")
    found = posterior(table)
    assert found is not None and not found.noise_known
    assert found.further.shape[1:] == (FURTHER, 8)
    width = float(np.ptp(np.quantile(found.means[:, 0, 0], [0.025, 0.975])))
    assert 0.5 < width < 12 and np.abs(found.means.mean(axis=0) - truth).max() < 3
    assert posterior(table) is found  # several questions of one table


def test_a_hole_has_what_the_others_let_expect():
    rng = np.random.default_rng(5)
    values = (70 + 3 * rng.normal(size=(6, 1)) + np.linspace(-2, 2, 8))[..., None] + 0.1 * rng.normal(size=(6, 8, 3))
    expected = float(values[2, 4].mean())
    values[2, 4] = np.nan
    found = posterior(make_scores(values, [f"b{i}" for i in range(6)], _OPTIMIZERS, unit="percent"))
    assert found is not None and found.means[:, 2, 4].mean() == pytest.approx(expected, abs=0.3)


def test_a_table_without_interaction_has_no_posterior():
    assert posterior(make_scores([[70.0, 71.0, 72.0]], ["b"], _OPTIMIZERS[:3], unit="percent")) is None
    assert posterior(make_scores([[70.0, 71.0], [60.0, 61.0]], ["b", "c"], _OPTIMIZERS[:2], unit="percent")) is None
