"""References of the study's category d: adaptive learning rate, current gradient."""

from __future__ import annotations

import numpy as np

from bocb_hf.optim.conformance.reference import Array, Reference, State, each


@each
def adagrad(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    g = g + wd * w
    s["sum"] = s.get("sum", 0 * w) + g**2
    return w - lr * g / (np.sqrt(s["sum"]) + h.eps)


@each
def adadelta(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """Scales the gradient by RMS of the steps over RMS of the gradients, ε inside both roots."""
    g = g + wd * w
    s["g"] = h.rho * s.get("g", 0 * w) + (1 - h.rho) * g**2
    step = np.sqrt(s.get("d", 0 * w) + h.eps) / np.sqrt(s["g"] + h.eps) * g
    s["d"] = h.rho * s.get("d", 0 * w) + (1 - h.rho) * step**2
    return w - lr * step


@each
def rmsprop(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    g = g + wd * w
    s["v"] = h.alpha * s.get("v", 0 * w) + (1 - h.alpha) * g**2
    return w - lr * g / (np.sqrt(s["v"]) + h.eps)


REFERENCES: dict[str, tuple[Reference, float]] = {
    "adagrad": (adagrad, 1e-11),
    "adadelta": (adadelta, 1e-11),
    "rmsprop": (rmsprop, 1e-11),
}
