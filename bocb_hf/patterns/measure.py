"""The instrument: entropy, norm, energy, exponent and stable rank of a layer's weights.

A layer is read once as it is stored, and worked on in float64 a block at a time. So the memory that it takes is the
layer and the two Gram matrices of its smaller side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg as _linalg

from bocb_hf.patterns.power_law import fit_tail, rounded
from bocb_hf.runs.patterns import BINS, TOP_SHARE, Kernels, LayerPattern, WeightPatterns

_Floats = NDArray[np.float64]
Widen = Callable[[NDArray[Any]], _Floats]

_CHUNK = 65536  # weights of a histogram that are counted together
_BLOCK = 2**18  # weights of a matrix product that are in float64 together
# scipy makes these modules from Fortran code, so no stub names their functions
_blas: Any = _linalg.blas
_lapack: Any = _linalg.lapack


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
        norm=rounded(math.sqrt(float(spectrum.sum()))),
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
    parts = (matrix,) if np.issubdtype(matrix.dtype, np.floating) else _chunks(matrix, widen)
    found = [(float(part.min()), float(part.max())) for part in parts]  # NaN, where there is one
    if not all(math.isfinite(bound) for bounds in found for bound in bounds):
        return None
    return min(low for low, _ in found), max(high for _, high in found)


def _entropy(matrix: NDArray[Any], bounds: tuple[float, float], widen: Widen) -> float:
    if bounds[0] == bounds[1]:
        return 0.0
    counts, (low, high) = np.zeros(BINS, np.int64), bounds
    for chunk in _chunks(matrix, widen):
        chunk -= low
        chunk *= BINS / (high - low)
        places = chunk.astype(np.int64)
        counts += np.bincount(np.minimum(places, BINS - 1, out=places), minlength=BINS)  # the last bin is closed
    p = counts[counts > 0] / matrix.size
    return float(max(0.0, -(p * np.log(p)).sum()))


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

    Both come from one Gram matrix, that of the smaller side of W, and from one reduction to a tridiagonal matrix T. The
    mean row m (or, where W has more columns than rows, the vector of ones) is turned into the first basis vector
    beforehand, and the reduction leaves that where it is. So subtracting the mean changes nothing but the first
    diagonal entry of T (or takes its first row and column away).

    An eigenvalue is exact to about 1e-16 of the largest one, and what is below that times the size is taken for zero.

    Args:
        matrix: W, shape (rows, columns).
        widen: Function that turns a block of stored numbers into float64.
    """
    rows, columns = matrix.shape
    tall = columns <= rows
    gram = np.zeros((min(rows, columns),) * 2, order="F")  # its lower triangle is all that is used
    total = np.zeros(columns)
    step = max(1, _BLOCK // min(rows, columns))
    for first in range(0, max(rows, columns), step):
        block = widen(matrix[first : first + step] if tall else matrix[:, first : first + step])
        # the transpose of a block of C's order is in Fortran's, so that it is not copied
        gram = _blas.dsyrk(1.0, block.T, 1.0, gram, trans=not tall, lower=1, overwrite_c=1)
        if tall:
            total += block.sum(axis=0)
    axis = total / rows if tall else np.ones(rows)
    least = len(gram) * np.finfo(np.float64).eps * float(np.trace(gram))
    diagonal, off = _tridiagonal(gram, axis)
    plain = _eigenvalues(diagonal, off)
    if tall:
        diagonal[0] -= rows * float(axis @ axis)
        centred = _eigenvalues(diagonal, off)
    else:
        centred = _eigenvalues(diagonal[1:], off[1:])
    return plain[plain > least], centred[centred > least]


def _tridiagonal(gram: _Floats, axis: _Floats) -> tuple[_Floats, _Floats]:
    """Diagonal and off-diagonal of a tridiagonal matrix similar to a symmetric one, which is overwritten.

    Args:
        gram: The matrix, shape (n, n), in Fortran's order.
        axis: The vector that becomes a multiple of the first basis vector, shape (n,).
    """
    length = float(np.linalg.norm(axis))
    if length > 0:
        v = axis / length
        v[0] += 1.0 if v[0] >= 0 else -1.0
        v *= math.sqrt(2 / float(v @ v))  # the reflection is I − vvᵀ
        w = _blas.dsymv(1.0, gram, v, lower=1)
        w -= (0.5 * float(v @ w)) * v
        gram = _blas.dsyr2(-1.0, v, w, a=gram, lower=1, overwrite_a=1)
    size = int(_lapack.dsytrd_lwork(len(gram), lower=1)[0])
    # reflections of the lower form leave the first basis vector alone
    _, diagonal, off, _, failed = _lapack.dsytrd(gram, lower=1, lwork=size, overwrite_a=1)
    assert not failed, "an argument of LAPACK is wrong"
    return diagonal, off


def _eigenvalues(diagonal: _Floats, off: _Floats) -> _Floats:
    """Eigenvalues of a tridiagonal matrix, descending."""
    if len(diagonal) < 2:
        return diagonal.copy()
    values, failed = _lapack.dsterf(diagonal, off)
    if failed:
        raise ArithmeticError(f"{failed} eigenvalues did not converge")
    return np.asarray(values, np.float64)[::-1]
