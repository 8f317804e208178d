"""Weight patterns against independent references, and their way into a record."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from builders import make_record, with_patterns
from scipy import stats

from bocb_hf.runs.patterns import BINS, entropy, power_law, spectra, weight_patterns
from bocb_hf.runs.record import RunRecord, parse_record

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (25, 25)])
def test_spectra_are_squared_singular_values_and_principal_components(shape):
    matrix = RNG.normal(0.5, 1, shape)
    plain, centred = spectra(matrix)
    np.testing.assert_allclose(plain, np.linalg.svd(matrix, compute_uv=False) ** 2, rtol=1e-9)
    expected = np.linalg.svd(matrix - matrix.mean(axis=0), compute_uv=False) ** 2
    np.testing.assert_allclose(centred, expected[: len(centred)], rtol=1e-8)
    assert len(centred) == min(shape[0] - 1, shape[1])


def test_entropy_against_scipy():
    values = RNG.normal(size=5000)
    assert entropy(values) == pytest.approx(stats.entropy(np.histogram(values, BINS)[0]))
    assert entropy(np.linspace(0, 1, 100 * BINS)) == pytest.approx(math.log(BINS), abs=1e-4)
    assert entropy(np.full(7, 3.0)) == 0


@pytest.mark.parametrize("alpha", [2.5, 4.0])
def test_the_exponent_of_a_power_law_is_found(alpha):
    tail = stats.pareto(alpha - 1).rvs(4000, random_state=np.random.default_rng(1))
    assert power_law(tail) == pytest.approx(alpha, rel=0.08)
    body = np.random.default_rng(2).uniform(0.01, 1, 4000)  # below the law begins
    assert power_law(np.concatenate([tail, body])) == pytest.approx(alpha, rel=0.12)
    assert power_law(7 * tail) == pytest.approx(power_law(tail))  # has no scale


def test_the_fit_is_the_best_of_all_tails():
    """Against scipy's estimate and its distance, tail by tail."""
    values = np.sort(stats.pareto(2).rvs(60, random_state=np.random.default_rng(3)) + RNG.uniform(0, 0.3, 60))
    fits = []
    for start in range(len(values) - 9):
        tail = values[start:]
        b, _, _ = stats.pareto.fit(tail, floc=0, fscale=tail[0])
        fits.append((stats.kstest(tail, stats.pareto(b, scale=tail[0]).cdf).statistic, b + 1))
    assert power_law(values) == pytest.approx(min(fits)[1], rel=1e-6)


def test_what_has_no_spectrum_has_no_exponent():
    assert power_law(np.arange(1.0, 10.0)) is None
    assert power_law(np.ones(50)) is None


def test_layers_are_matrices_in_the_order_of_the_network():
    state = {
        "stem.weight": RNG.normal(size=(16, 3, 3, 3)),
        "stem.bias": RNG.normal(size=16),
        "norm.weight": np.ones(16),
        "pos_embed": RNG.normal(size=(1, 5, 16)),
        "head.weight": np.zeros((10, 16)),
        "broken.weight": np.full((4, 4), np.nan),
        "a.weight": RNG.normal(size=(32, 16)).astype(np.float32),
    }
    found = weight_patterns(state)
    assert [layer.name for layer in found.layers] == ["stem.weight", "head.weight", "a.weight"]
    stem, head, last = found.layers
    assert stem.norm == pytest.approx(np.linalg.norm(state["stem.weight"]), rel=1e-5)
    assert (head.entropy, head.norm, head.energy, head.alpha) == (0, 0, None, None)
    assert last.energy is not None and 0.1 < last.energy < 1 and last.alpha is not None
    assert weight_patterns({}).layers == []


def test_equal_weights_give_equal_patterns_whatever_their_scale_and_sign():
    matrix = RNG.normal(size=(30, 50))
    one, other = (weight_patterns({"x.weight": w}).layers[0] for w in (matrix, -4 * matrix))
    assert other.norm == pytest.approx(4 * one.norm, rel=1e-5)
    assert (other.energy, other.alpha) == (pytest.approx(one.energy, rel=1e-5), pytest.approx(one.alpha, rel=1e-5))
    assert other.entropy == pytest.approx(one.entropy, abs=0.02)  # bins are closed on one side


def test_a_record_without_patterns_keeps_its_bytes():
    record = make_record()
    assert "patterns" not in record.to_json()
    held = with_patterns(record)
    assert parse_record(held.to_json().encode(), "it") == held and held.config_hash == record.config_hash


def test_only_a_completed_final_run_has_patterns():
    patterns = with_patterns(make_record()).model_dump(mode="json")["patterns"]
    for other in (make_record(status="diverged"), make_record(role="trial")):
        with pytest.raises(ValueError, match="no weight patterns"):
            RunRecord.model_validate_json(other.to_json().replace("{", '{"patterns":' + json.dumps(patterns) + ",", 1))
