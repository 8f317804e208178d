"""The best of several means, corrected: against scipy's truncated normal, and in simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from kinds import kind_coverage
from scipy.optimize import brentq
from simulated import simulate, table_of

from bocb_hf.coupling.scores import make_scores
from bocb_hf.coupling.winners import correct_winner, winners
from bocb_hf.errors import InputError

ALPHA, BETA = 0.05, 0.005


def known(*errors: float) -> np.ndarray:
    """Errors that are known, shape (k, 1)."""
    return np.array(errors)[:, None]


def hybrid(x: float, second: float, sigma: float, cells: int, probability: float) -> float:
    """Solves F(x; μ) = probability with scipy: a normal cut at the second mean and at ±c about μ."""
    c = scipy.stats.norm.ppf(0.5 + 0.5 * (1 - BETA) ** (1 / cells)) * sigma

    def above(mu: float) -> float:
        a, b = max(second - mu, -c) / sigma, c / sigma
        return float(scipy.stats.truncnorm.cdf((x - mu) / sigma, a, b)) - probability

    solution: Any = brentq(above, x - c + 1e-9, x + c - 1e-9)
    return float(solution)


@pytest.mark.parametrize("gap", [0.02, 0.3, 1.0, 4.0])
def test_estimate_and_ends_are_those_of_a_truncated_normal(gap):
    found = correct_winner(np.array([60.0, 71.0, 71.0 - gap]), known(0.3, 0.5, 0.4))
    assert found is not None and found.place == 1 and found.rivals == 2
    rest = (ALPHA - BETA) / (1 - BETA)
    for value, probability in (
        (found.estimate, 0.5), (found.interval.low, 1 - rest / 2), (found.interval.high, rest / 2),
    ):  # fmt: skip
        assert value == pytest.approx(hybrid(71.0, 71.0 - gap, 0.5, 3, probability), abs=2e-4)


def test_a_clear_winner_is_hardly_corrected_and_a_close_one_is():
    clear, close = (correct_winner(np.array([80.0, 80.0 - gap]), known(0.5, 0.5)) for gap in (20, 0.1))
    assert clear is not None and close is not None
    assert clear.estimate == pytest.approx(80, abs=1e-3)
    assert clear.interval.half_width == pytest.approx(1.96 * 0.5, rel=0.03)
    assert close.estimate < 79.5 and close.interval.low < clear.interval.low and close.interval.high < 81


def test_a_tie_stays_inside_the_simultaneous_interval():
    found = correct_winner(np.array([80.0, 80.0, 79.0]), known(0.5, 0.5, 0.5), step=0.05)
    assert found is not None and found.place == 0
    assert 80 - 0.5 * 3.2 < found.interval.low < found.estimate < 80 < found.interval.high


def test_noise_that_cells_share_is_no_luck():
    """With a covariance, another mean's part that is independent of the winner's lies further away from it."""
    apart, shared = (correct_winner(np.array([80.0, 79.8]), known(0.5, 0.5), shared=s) for s in (0.0, 0.2))
    assert apart is not None and shared is not None
    assert apart.estimate < shared.estimate < 80
    assert shared.estimate == pytest.approx(hybrid(80, (79.8 - 0.8 * 80) / 0.2, 0.5, 2, 0.5), abs=2e-4)


def test_median_and_coverage_with_unequal_known_errors():
    rng = np.random.default_rng(0)
    sigma = np.array([0.3, 0.6, 1.2, 0.6])
    truth = np.array([70.0, 70.0, 69.5, 70.2])
    held, high, plain = [], [], []
    for _ in range(800):
        means = truth + sigma * rng.normal(size=4)
        found = correct_winner(means, sigma[:, None])
        assert found is not None
        held.append(found.interval.holds(truth[found.place]))
        high.append(found.estimate > truth[found.place])
        plain.append(found.mean > truth[found.place])
    assert np.mean(held) == pytest.approx(0.95, abs=0.025)
    assert np.mean(high) == pytest.approx(0.5, abs=0.055)
    assert np.mean(plain) > 0.8


@pytest.mark.parametrize(("noise", "seeds"), [("equal", 2), ("factor 5", 3), ("factor 50", 5)])
def test_median_and_coverage_with_a_few_seeds(noise, seeds):
    found = kind_coverage(noise, seeds, 40, winner=True, size=(4, 6))
    assert found["corrected"].value >= 92 - 3 * (92 * 8 / 160) ** 0.5
    assert 50 - 3 * 50 / 160**0.5 < found["corrected too high"].value < 50 + 3 * 50 / 160**0.5
    assert found["corrected too high"].value < found["best too high"].value


def test_a_backbone_without_choice_or_noise_has_no_winner():
    _, table = simulate(np.random.default_rng(0), 4, 4, 3, "equal")
    assert all(w is not None for w in winners(table))
    values = table.values.copy()
    values[0, 1:] = np.nan
    found = winners(make_scores(values, table.backbones, table.optimizers, unit="percent"))
    assert found[0] is None and found[1] is not None
    assert winners(table_of(table.values[:, :, :1].copy())) == (None,) * 4


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"give \(k,\) and \(k, draws\)"):
        correct_winner(np.zeros(3), known(1.0, 1.0))
    with pytest.raises(InputError, match="not finite"):
        correct_winner(np.array([1.0, np.nan]), known(1.0, 1.0))
    with pytest.raises(InputError, match="not positive"):
        correct_winner(np.zeros(2), known(1.0, 0.0))
    assert correct_winner(np.array([1.0]), known(1.0)) is None
