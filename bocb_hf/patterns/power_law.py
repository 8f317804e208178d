"""Fits a power law to the tail of a spectrum, and says whether the tail is one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bocb_hf.runs.patterns import MIN_TAIL, FitStatus, TailFit

_Floats = NDArray[np.float64]

DIGITS = 6  # significant digits that are kept
_PROBES = 64  # points of a tail at which its distance is looked at first

# What a modified Kolmogorov–Smirnov distance of an exponential law with estimated rate exceeds in 5 % of samples
# (Stephens, "EDF statistics for goodness of fit and some comparisons", 1974, Table 1.3). Above λ_min, log(λ/λ_min) of a
# power law is exponential with rate α − 1. Since λ_min is chosen for its small distance, fewer good tails are refused.
LILLIEFORS = 1.094


def fit_tail(values: _Floats) -> TailFit:
    """Fits p(λ) ∝ λ^−α above the λ_min that fits best.

    For each eigenvalue but the largest as λ_min, α = 1 + n / Σ log(λ/λ_min) over the n eigenvalues from λ_min on
    (Clauset, Shalizi and Newman, "Power-law distributions in empirical data", 2009, Equation 3.1). The tail taken is
    that with the smallest max |F(λ_i) − i/n|, i = 0 … n − 1 in ascending order, as the package powerlaw has it and
    WeightWatcher after it. The distance that is returned, and judged, is the Kolmogorov–Smirnov distance of that tail,
    which looks at both sides of each step (Equation 3.9); it is larger by at most 1/n.

    Args:
        values: Positive eigenvalues in any order, shape (N,).
    """
    data = np.sort(values)
    logs = np.log(data)
    count = len(logs)
    # λ_min begins a run of equal values, and the largest value begins none
    starts = np.flatnonzero(np.diff(logs, prepend=-np.inf) > 0)
    starts = starts[logs[starts] < logs[-1]] if count else starts
    if not len(starts):
        return TailFit(status="too few eigenvalues", eigenvalues=count)
    n = count - starts
    sums = np.cumsum(logs[::-1])[::-1][starts] - n * logs[starts]
    rates = n / sums  # α − 1
    lower = np.empty(len(starts))
    steps = np.linspace(0.0, 1.0, _PROBES)
    for first in range(0, len(starts), 2048):
        part = slice(first, first + 2048)
        within = np.floor(steps * (n[part, None] - 1)).astype(np.int64)
        excess = logs[starts[part, None] + within] - logs[starts[part], None]
        lower[part] = np.abs(-np.expm1(-rates[part, None] * excess) - within / n[part, None]).max(axis=1)
    best, at = math.inf, -1
    for k in np.argsort(lower, kind="stable"):
        if lower[k] > best:  # no tail that is left can be nearer: each is at least as far as at its probes
            break
        cdf = -np.expm1(-rates[k] * (logs[starts[k] :] - logs[starts[k]]))
        size = int(n[k])
        distance = float(np.abs(cdf - np.arange(size) / size).max())
        if (distance, k) < (best, at):
            best, at = distance, int(k)
    size, rate = int(n[at]), float(rates[at])
    cdf = -np.expm1(-rate * (logs[starts[at] :] - logs[starts[at]]))
    both = float(max(np.abs(cdf - np.arange(size) / size).max(), np.abs(cdf - np.arange(1, size + 1) / size).max()))
    exponent = rounded(1 + rate)
    if exponent <= 1:  # a spectrum over so many orders of magnitude that no digit of α − 1 is left
        return TailFit(status="too few eigenvalues", eigenvalues=count)
    status = _judge(count, size, both)
    return TailFit(status=status, eigenvalues=count, exponent=exponent, tail=size, distance=min(1.0, rounded(both)))


def _judge(count: int, size: int, distance: float) -> FitStatus:
    if min(count, size) < MIN_TAIL:
        return "too few eigenvalues"
    root = math.sqrt(size)
    return "poor fit" if (distance - 0.2 / size) * (root + 0.26 + 0.5 / root) > LILLIEFORS else "ok"


def rounded(value: float) -> float:
    """The value with the significant digits that are kept."""
    return float(f"{value:.{DIGITS}g}")
