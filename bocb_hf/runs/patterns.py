"""Weight patterns: what training left in each layer, as four numbers (the parameter patterns of the study).

The study names the measures but neither the bins of the histogram nor how many components count; both are chosen here
and stand in the record. A layer's weight is read as a matrix with one row for each output: (out, in · height · width).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bocb_hf.schema import Frozen, Printable

BINS = 256  # bins of the histogram, from the smallest to the largest weight of the layer
TOP_SHARE = 0.1  # share of the principal components whose energy counts; at least one component does
MIN_TAIL = 10  # the fewest eigenvalues that a power law is fitted to
DIGITS = 6  # significant digits that are kept
OVERFIT, UNDERFIT = 2.0, 6.0  # exponents outside which the study, after WeightWatcher, sees a risk

_Floats = NDArray[np.float64]
_NonNegative = Annotated[float, Field(ge=0)]


class LayerPattern(Frozen):
    """The four numbers of one weight matrix.

    Attributes:
        name: Name of the tensor.
        entropy: −Σ p log p of the histogram of its weights, in nats.
        norm: ‖w‖₂ over all its weights.
        energy: Share of the variance over rows that the first tenth of the principal components holds; None where the
            rows are all alike.
        alpha: Exponent of the power law that the tail of the spectrum of WᵀW follows; None with fewer than ten
            eigenvalues.
    """

    name: Annotated[Printable, Field(min_length=1, max_length=300)]
    entropy: _NonNegative
    norm: _NonNegative
    energy: Annotated[float, Field(ge=0, le=1)] | None
    alpha: Annotated[float, Field(gt=1)] | None


class WeightPatterns(Frozen):
    """The patterns of a run's last weights, layer by layer in the order of the network."""

    version: Literal[1] = 1
    bins: int = Field(default=BINS, ge=2)
    top_share: float = Field(default=TOP_SHARE, gt=0, le=1)
    layers: Annotated[list[LayerPattern], Field(max_length=5000)]


def weight_patterns(state: Mapping[str, NDArray[Any]]) -> WeightPatterns:
    """Reads the patterns off a state dict.

    Args:
        state: Tensors by name, in the order of the network. A layer is a tensor whose name ends in ``weight`` and that
            has at least two rows and two columns; all others are left out, as is one that is not finite.

    The eigenvalues take most of the time: 0.1 s for 512 rows and 4,608 columns on one core, a minute for 4,096 rows.
    """
    layers: list[LayerPattern] = []
    for name, tensor in state.items():
        if not name.endswith("weight") or tensor.ndim < 2:
            continue
        matrix = np.asarray(tensor, np.float64).reshape(tensor.shape[0], -1)
        if min(matrix.shape) > 1 and np.isfinite(matrix).all():
            layers.append(_layer(name, matrix))
    return WeightPatterns(layers=layers)


def _layer(name: str, matrix: _Floats) -> LayerPattern:
    spectrum, variances = spectra(matrix)
    alpha = power_law(spectrum)
    total = float(variances.sum())
    first = max(1, round(TOP_SHARE * len(variances)))
    return LayerPattern(
        name=name,
        entropy=_rounded(entropy(matrix)),
        norm=_rounded(float(np.linalg.norm(matrix))),
        energy=min(1.0, _rounded(float(variances[:first].sum()) / total)) if total > 0 else None,
        alpha=None if alpha is None else _rounded(alpha),
    )


def entropy(values: _Floats) -> float:
    """Returns −Σ p log p, in nats, of a histogram of ``BINS`` equal bins over the values; 0 where all are equal."""
    counts, _ = np.histogram(values, BINS)
    p = counts[counts > 0] / values.size
    return float(max(0.0, -(p * np.log(p)).sum()))


def spectra(matrix: _Floats) -> tuple[_Floats, _Floats]:
    """Returns the eigenvalues of WᵀW, and those with the mean row subtracted, both descending and without zeros.

    Both come from one matrix product, that of the smaller side of W.

    Args:
        matrix: W, shape (rows, columns).
    """
    rows, columns = matrix.shape
    if columns <= rows:
        gram = matrix.T @ matrix
        mean = matrix.mean(axis=0)
        centred = gram - rows * np.outer(mean, mean)
    else:
        gram = matrix @ matrix.T
        by_row = gram.mean(axis=0)
        centred = gram - by_row[:, None] - by_row[None, :] + by_row.mean()
    return _positive(gram, gram), _positive(centred, gram)


def _positive(gram: _Floats, scale: _Floats) -> _Floats:
    """Returns the eigenvalues, descending, that are larger than rounding makes them in a matrix of that scale."""
    values = np.asarray(np.linalg.eigvalsh(gram)[::-1], np.float64)
    least = len(gram) * np.finfo(np.float64).eps * float(np.trace(scale))
    return values[values > least]


def power_law(values: _Floats) -> float | None:
    """Exponent α of p(λ) ∝ λ^−α above the λ_min that fits best.

    The maximum-likelihood estimate α = 1 + n / Σ log(λ/λ_min), with λ_min where the Kolmogorov–Smirnov distance is
    smallest (Clauset, Shalizi and Newman, "Power-law distributions in empirical data", 2009, Equations 3.1 and 3.9).

    Args:
        values: Positive eigenvalues; the tail keeps at least ``MIN_TAIL`` of them.

    Returns:
        The exponent, or None when there are fewer values than that, or when they do not differ.
    """
    descending = np.sort(values)[::-1]
    logs = np.log(descending)
    best: tuple[float, float] | None = None
    for n in range(MIN_TAIL, len(logs) + 1):
        excess = logs[:n] - logs[n - 1]  # log(λ/λ_min), descending
        total = float(excess.sum())
        if total <= 0:
            continue
        alpha = 1 + n / total
        survival = np.exp(-(alpha - 1) * excess)  # share of the fitted law above each λ, ascending
        steps = np.arange(1, n + 1) / n
        distance = float(max(np.abs(steps - survival).max(), np.abs(survival - (steps - 1 / n)).max()))
        if best is None or distance < best[0]:
            best = (distance, alpha)
    return None if best is None else best[1]


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
