"""The instrument: entropy, norm, energy, exponent and stable rank of a layer's weights.

A layer is read once as it is stored, and worked on in float64 a block at a time. So the memory that it takes is the
layer and the two Gram matrices of its smaller side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from bocb_hf.patterns.power_law import fit_tail, rounded
from bocb_hf.runs.patterns import BINS, TOP_SHARE, Kernels, LayerPattern, WeightPatterns

_Floats = NDArray[np.float64]
Widen = Callable[[NDArray[Any]], _Floats]

_CHUNK = 65536  # weights of a histogram that are counted together
_BLOCK = 2**18  # weights of a matrix product that are in float64 together


def widen(block: NDArray[Any]) -> _Floats:
    """The numbers of a block in float64."""
    return block.astype(np.float64)


def is_layer(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor is a layer's weight: its name ends in ``weight``, and it has two rows and columns or more."""
    return name.endswith("weight") and len(shape) > 1 and min(shape[0], math.prod(shape[1:])) > 1


def weight_patterns(state: Mapping[str, NDArray[Any]], kernels: Kernels = "rows") -> WeightPatterns:
    """Reads the patterns off a state dict.

    Args:
        state: Tensors by name, in the order of the network. All but layers (``is_layer``) are left out, and so is a
            layer that is not finite.
        kernels: How a kernel becomes a matrix.
    """
    found = (measure_layer(name, w, kernels) for name, w in state.items() if is_layer(name, w.shape))
    return as_patterns((layer for layer in found if layer is not None), kernels)


def as_patterns(layers: Iterable[LayerPattern], kernels: Kernels) -> WeightPatterns:
    """The layers with the conventions that this module measures by."""
    return WeightPatterns(layers=list(layers), kernels=kernels, tail_rule="powerlaw")


def measure_layer(
    name: str, weight: NDArray[Any], kernels: Kernels = "rows", widen: Widen = widen
) -> LayerPattern | None:
    """Measures one layer.

    Args:
        name: Name of the tensor.
        weight: The weight as it is stored, shape (out, in, ...), of two rows and columns or more.
        kernels: How a kernel becomes a matrix.
        widen: Function that turns a block of stored numbers into float64.

    Returns:
        The numbers, or None where a weight is not finite.
    """
    matrix = weight.reshape(weight.shape[0], -1)
    bounds = _bounds(matrix, widen)
    if bounds is None:
        return None
    spectrum, variances = layer_spectra(weight, kernels, widen)
    fit = fit_tail(spectrum)
    total, first = float(variances.sum()), max(1, round(TOP_SHARE * len(variances)))
    return LayerPattern(
        name=name,
        entropy=rounded(_entropy(matrix, bounds, widen)),
        norm=rounded(_norm(matrix, widen)),
        energy=min(1.0, rounded(float(variances[:first].sum()) / total)) if total > 0 else None,
        alpha=fit.exponent if fit.status == "ok" else None,
        stable_rank=max(1.0, rounded(float(spectrum.sum() / spectrum[0]))) if len(spectrum) else None,
        fit=fit,
    )


def entropy(values: NDArray[Any]) -> float:
    """Returns −Σ p log p, in nats, of a histogram of ``BINS`` equal bins over the values; 0 where all are equal."""
    return _entropy(values, (float(values.min()), float(values.max())), widen)


def _chunks(matrix: NDArray[Any], widen: Widen) -> Iterator[_Floats]:
    flat = matrix.reshape(-1)
    for first in range(0, len(flat), _CHUNK):
        yield widen(flat[first : first + _CHUNK])


def _bounds(matrix: NDArray[Any], widen: Widen) -> tuple[float, float] | None:
    """The smallest and the largest weight; None where one is not finite."""
    low, high = math.inf, -math.inf
    for chunk in _chunks(matrix, widen):
        smallest, largest = float(chunk.min()), float(chunk.max())
        if not (math.isfinite(smallest) and math.isfinite(largest)):
            return None
        low, high = min(low, smallest), max(high, largest)
    return low, high


def _entropy(matrix: NDArray[Any], bounds: tuple[float, float], widen: Widen) -> float:
    if bounds[0] == bounds[1]:
        return 0.0
    counts = np.zeros(BINS, np.int64)
    for chunk in _chunks(matrix, widen):
        counts += np.histogram(chunk, BINS, bounds)[0]
    p = counts[counts > 0] / matrix.size
    return float(max(0.0, -(p * np.log(p)).sum()))


def _norm(matrix: NDArray[Any], widen: Widen) -> float:
    return math.sqrt(sum(float(chunk @ chunk) for chunk in _chunks(matrix, widen)))


def layer_spectra(weight: NDArray[Any], kernels: Kernels = "rows", widen: Widen = widen) -> tuple[_Floats, _Floats]:
    """Returns the eigenvalues of a layer's WᵀW, and those with the mean row subtracted; both descending.

    Args:
        weight: The weight, shape (out, in, ...).
        kernels: How a kernel becomes a matrix; of several matrices the eigenvalues are pooled.
        widen: Function that turns a block of stored numbers into float64.
    """
    if kernels == "rows" or weight.ndim == 2:
        return spectra(weight.reshape(weight.shape[0], -1), widen)
    slices = weight.reshape(*weight.shape[:2], -1)
    parts = [spectra(slices[:, :, k], widen) for k in range(slices.shape[2])]
    plain, centred = (np.sort(np.concatenate(found))[::-1] for found in zip(*parts, strict=True))
    return plain, centred


def spectra(matrix: NDArray[Any], widen: Widen = widen) -> tuple[_Floats, _Floats]:
    """Returns the eigenvalues of WᵀW, and those with the mean row subtracted, both descending and without zeros.

    Both come from one matrix product, that of the smaller side of W. An eigenvalue is exact to about 1e-16 of the
    largest one, and what is below that times the size is taken for zero.

    Args:
        matrix: W, shape (rows, columns).
        widen: Function that turns a block of stored numbers into float64.
    """
    rows, columns = matrix.shape
    gram = np.zeros((min(rows, columns),) * 2)
    if columns <= rows:
        total = np.zeros(columns)
        step = max(1, _BLOCK // columns)
        for first in range(0, rows, step):
            block = widen(matrix[first : first + step])
            gram += block.T @ block
            total += block.sum(axis=0)
        mean = total / rows
        centred = gram - rows * np.outer(mean, mean)
    else:
        step = max(1, _BLOCK // rows)
        for first in range(0, columns, step):
            block = widen(matrix[:, first : first + step])
            gram += block @ block.T
        by_row = gram.mean(axis=0)
        centred = gram - by_row[:, None]
        centred -= by_row[None, :]
        centred += by_row.mean()
    trace = float(np.trace(gram))
    return _positive(gram, trace), _positive(centred, trace)


def _positive(gram: _Floats, trace: float) -> _Floats:
    """Returns the eigenvalues, descending, that are larger than rounding makes them in a matrix of that trace.

    The matrix is overwritten. It is symmetric, so its transpose, which is in Fortran's order, is not copied.
    """
    least = len(gram) * np.finfo(np.float64).eps * trace
    values = scipy.linalg.eigh(gram.T, eigvals_only=True, overwrite_a=True, check_finite=False, driver="evr")
    values = np.asarray(values, np.float64)[::-1]
    return values[values > least]
