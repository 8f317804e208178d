"""The instrument against independent references: singular values, scipy's entropy, principal components."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from bocb_hf.patterns.measure import entropy, is_layer, layer_spectra, measure_layer, spectra, weight_patterns
from bocb_hf.runs.patterns import BINS

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(40, 12), (12, 40), (25, 25), (2, 5), (5, 2), (3, 90_000), (90_000, 3)])
def test_spectra_are_squared_singular_values_and_principal_components(shape):
    """Also where a matrix is worked on in several blocks."""
    matrix = RNG.normal(0.5, 1, shape)
    plain, centred = spectra(matrix)
    np.testing.assert_allclose(plain, np.linalg.svd(matrix, compute_uv=False) ** 2, rtol=1e-9)
    expected = np.linalg.svd(matrix - matrix.mean(axis=0), compute_uv=False) ** 2
    np.testing.assert_allclose(centred, expected[: len(centred)], rtol=1e-8)
    assert len(centred) == min(shape[0] - 1, shape[1])


def test_a_matrix_whose_mean_row_is_zero_has_one_spectrum():
    half = RNG.normal(size=(20, 8))
    plain, centred = spectra(np.concatenate([half, -half]))
    np.testing.assert_allclose(plain, centred, rtol=1e-10)
    assert [len(found) for found in spectra(np.zeros((4, 6)))] == [0, 0]


def test_slices_of_a_kernel_pool_their_eigenvalues():
    kernel = RNG.normal(size=(6, 10, 3, 2))
    plain, centred = layer_spectra(kernel, "slices")
    slices = [kernel[:, :, i, j] for i in range(3) for j in range(2)]
    expected = np.sort(np.concatenate([np.linalg.svd(w, compute_uv=False) ** 2 for w in slices]))[::-1]
    np.testing.assert_allclose(plain, expected, rtol=1e-9)
    assert len(plain) == 36 and len(centred) == 30
    np.testing.assert_allclose(layer_spectra(kernel)[0], spectra(kernel.reshape(6, -1))[0])
    flat = kernel[..., 0, 0]
    np.testing.assert_array_equal(layer_spectra(flat, "slices")[0], layer_spectra(flat, "rows")[0])


def test_entropy_against_scipy():
    values = RNG.normal(size=150_000)
    assert entropy(values) == pytest.approx(stats.entropy(np.histogram(values, BINS)[0]), rel=1e-6)
    assert entropy(np.linspace(0, 1, 100 * BINS)) == pytest.approx(math.log(BINS), abs=1e-4)
    assert entropy(np.full(7, 3.0)) == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_numbers_of_a_layer_in_every_format(dtype):
    from bocb_hf.patterns.tensors import StoredTensor  # its way of reading bfloat16

    stored = torch.from_numpy(RNG.normal(size=(30, 20))).to(dtype)
    name = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}[dtype]
    raw = stored.view(torch.uint16).numpy() if dtype is torch.bfloat16 else stored.numpy()
    layer = measure_layer("x.weight", raw, widen=StoredTensor(Path(), name, (30, 20), 0).widen)
    exact = stored.double().numpy()
    singular = np.linalg.svd(exact, compute_uv=False)
    variances = np.linalg.svd(exact - exact.mean(axis=0), compute_uv=False) ** 2
    assert layer is not None and layer.fit is not None and layer.fit.eigenvalues == 20
    assert layer.norm == pytest.approx(np.linalg.norm(exact), rel=1e-5)
    assert layer.stable_rank == pytest.approx((singular**2).sum() / singular.max() ** 2, rel=1e-5)
    assert layer.energy == pytest.approx(variances[:2].sum() / variances.sum(), rel=1e-5)
    assert layer.entropy == pytest.approx(stats.entropy(np.histogram(exact, BINS)[0]), rel=1e-5)


def test_layers_are_matrices_in_the_order_of_the_network():
    state = {
        "stem.weight": RNG.normal(size=(16, 3, 3, 3)),
        "stem.bias": RNG.normal(size=16),
        "norm.weight": np.ones(16),
        "pos_embed": RNG.normal(size=(1, 5, 16)),
        "head.weight": np.zeros((10, 16)),
        "broken.weight": np.full((4, 4), np.nan),
        "endless.weight": np.full((4, 4), np.inf),
        "a.weight": RNG.normal(size=(32, 16)).astype(np.float32),
    }
    found = weight_patterns(state)
    assert [layer.name for layer in found.layers] == ["stem.weight", "head.weight", "a.weight"]
    stem, head, last = found.layers
    assert stem.norm == pytest.approx(np.linalg.norm(state["stem.weight"]), rel=1e-5)
    assert (head.entropy, head.norm, head.energy, head.alpha, head.stable_rank) == (0, 0, None, None, None)
    assert head.fit is not None and (head.fit.status, head.fit.eigenvalues) == ("too few eigenvalues", 0)
    assert last.energy is not None and 0.1 < last.energy < 1
    assert weight_patterns({}).layers == []
    assert (found.kernels, found.tail_rule) == ("rows", "powerlaw")


def test_what_is_a_layer():
    assert (
        is_layer("a.weight", (2, 2)) and is_layer("attn.in_proj_weight", (6, 2)) and is_layer("d.weight", (4, 1, 3, 3))
    )
    for name, shape in (("a.bias", (4, 4)), ("a.weight", (4,)), ("a.weight", (4, 1, 1, 1)), ("a.weight", (1, 9))):
        assert not is_layer(name, shape)


def test_equal_weights_give_equal_patterns_whatever_their_scale_and_sign():
    matrix = RNG.normal(size=(30, 50))
    one, other = (weight_patterns({"x.weight": w}).layers[0] for w in (matrix, -4 * matrix))
    assert other.norm == pytest.approx(4 * one.norm, rel=1e-5)
    assert (other.energy, other.stable_rank) == (pytest.approx(one.energy, rel=1e-5), pytest.approx(one.stable_rank))
    assert other.fit == one.fit
    assert other.entropy == pytest.approx(one.entropy, abs=0.02)  # bins are closed on one side
