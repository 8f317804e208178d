"""The exponent of a spectrum's tail: against scipy, powerlaw and WeightWatcher, and what is refused as no power law."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pattern_reference
import pytest
from scipy import stats

from bocb_hf.patterns.measure import layer_spectra
from bocb_hf.patterns.power_law import fit_tail

REFERENCE = json.loads((Path(__file__).parent / "reference.json").read_text(encoding="utf-8"))
TOLERANCE = 1e-5  # relative: six digits of an exponent are kept

# Where WeightWatcher's rules are others: spectra of fewer than 20 eigenvalues are fitted with a correction for small n.
# Beside these it leaves out layers of fewer than 8, and eigenvalues below 1e-5 whatever the scale of the weights.
SMALL_FOR_WEIGHTWATCHER = {"head"}


@pytest.mark.parametrize("alpha", [2.5, 4.0])
def test_the_exponent_of_a_power_law_is_found(alpha):
    tail = stats.pareto(alpha - 1).rvs(4000, random_state=np.random.default_rng(1))
    fit = fit_tail(tail)
    assert (fit.status, fit.exponent) == ("ok", pytest.approx(alpha, rel=0.08))
    body = np.random.default_rng(2).uniform(0.01, 1, 4000)  # below the law begins
    assert fit_tail(np.concatenate([tail, body])).exponent == pytest.approx(alpha, rel=0.12)
    assert fit_tail(7 * tail).exponent == pytest.approx(fit.exponent)  # has no scale


def test_the_fit_is_the_best_of_all_tails():
    """Against scipy's estimate, tail by tail, with the distance that powerlaw takes; the pruning loses none."""
    generator = np.random.default_rng(3)
    for size in (12, 60, 300):
        values = np.sort(stats.pareto(2).rvs(size, random_state=generator) + generator.uniform(0, 0.3, size))
        fits = []
        for start in range(size - 1):
            tail = values[start:]
            b = stats.pareto.fit(tail, floc=0, fscale=tail[0])[0]
            cdf = stats.pareto(b, scale=tail[0]).cdf(tail)
            fits.append((np.abs(cdf - np.arange(len(tail)) / len(tail)).max(), b + 1, len(tail)))
        found, best = fit_tail(values), min(fits)
        assert (found.exponent, found.tail) == (pytest.approx(best[1], rel=TOLERANCE), best[2])
        tail = values[-best[2] :]
        distance = stats.kstest(tail, stats.pareto(best[1] - 1, scale=tail[0]).cdf).statistic
        assert found.distance == pytest.approx(distance, rel=1e-4)


def test_what_has_no_spectrum_has_no_exponent():
    for values in (np.ones(50), np.array([]), np.array([3.0])):
        fit = fit_tail(values)
        assert (fit.status, fit.exponent, fit.eigenvalues) == ("too few eigenvalues", None, len(values))
    few = fit_tail(np.arange(1.0, 10.0))
    assert few.status == "too few eigenvalues" and few.exponent is not None


def test_a_poor_fit_is_said_and_a_good_one_seldom_refused():
    generator = np.random.default_rng(4)
    laws = [fit_tail(generator.pareto(2, 200) + 1).status for _ in range(100)]
    assert laws.count("poor fit") <= 5  # Lilliefors refuses 5 %, and λ_min is chosen for a small distance
    # Marchenko and Pastur's law ends in no power law; with some draws a short tail of it passes for one
    bulk = layer_spectra(np.random.default_rng(0).normal(size=(300, 500)))[0]
    fit = fit_tail(bulk)
    assert (fit.status, fit.tail, fit.exponent) == ("poor fit", 83, pytest.approx(3.93588, rel=TOLERANCE))


@pytest.mark.parametrize("name", pattern_reference.WEIGHTS)
def test_alpha_is_that_of_powerlaw(name):
    expected = REFERENCE["powerlaw"][name]
    fit = fit_tail(layer_spectra(pattern_reference.draw(name), "rows")[0])
    assert (fit.exponent, fit.tail) == (pytest.approx(expected["alpha"], rel=TOLERANCE), expected["n"])


@pytest.mark.parametrize("name", pattern_reference.WEIGHTS)
def test_alpha_is_that_of_weightwatcher_where_its_rules_are_the_same(name):
    expected = REFERENCE["weightwatcher"][name]
    fit = fit_tail(layer_spectra(pattern_reference.draw(name), "slices")[0])
    assert fit.eigenvalues == expected["evals"] and expected["status"] == "success"
    same = fit.exponent == pytest.approx(expected["alpha"], rel=TOLERANCE)
    assert same == (name not in SMALL_FOR_WEIGHTWATCHER)


@pytest.mark.skipif(importlib.util.find_spec("powerlaw") is None, reason="powerlaw is not installed here")
def test_the_reference_is_what_powerlaw_says_today():
    for name, expected in REFERENCE["powerlaw"].items():
        found = pattern_reference.by_powerlaw(pattern_reference.spectrum(pattern_reference.draw(name)))
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("weightwatcher") is None, reason="weightwatcher is not installed here")
def test_the_reference_is_what_weightwatcher_says_today():
    _, layers = pattern_reference.by_weightwatcher()
    for name, expected in REFERENCE["weightwatcher"].items():
        assert layers[name]["alpha"] == pytest.approx(expected["alpha"], rel=1e-6)
