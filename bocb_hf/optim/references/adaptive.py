"""References of the study's category b: adaptive learning rate, momentum."""

from __future__ import annotations

import numpy as np

from bocb_hf.optim.conformance.reference import Array, Reference, State, each
from bocb_hf.optim.references.fixed import mask, project


def moments(w: Array, g: Array, s: State, h) -> tuple[Array, Array]:
    """m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²."""
    s["m"] = h.beta1 * s.get("m", 0 * w) + (1 - h.beta1) * g
    s["v"] = h.beta2 * s.get("v", 0 * w) + (1 - h.beta2) * g**2
    return s["m"], s["v"]


def adam_step(w: Array, g: Array, s: State, t: int, h) -> Array:
    """m̂ / (√v̂ + ε)."""
    m, v = moments(w, g, s, h)
    return m / (1 - h.beta1**t) / (np.sqrt(v / (1 - h.beta2**t)) + h.eps)


@each
def adam(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    return w - lr * adam_step(w, g + wd * w, s, t, h)


@each
def adamw(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    return w - lr * wd * w - lr * adam_step(w, g, s, t, h)


@each
def cadamw(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    return w - lr * wd * w - lr * mask(adam_step(w, g, s, t, h), g)


@each
def adamax(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """u ← max(β₂u, |g|) as in the paper; torch's extra ε is what the tolerance allows for."""
    g = g + wd * w
    s["m"] = h.beta1 * s.get("m", 0 * w) + (1 - h.beta1) * g
    s["u"] = np.maximum(h.beta2 * s.get("u", 0 * w), np.abs(g))
    return w - lr / (1 - h.beta1**t) * s["m"] / s["u"]


@each
def nadam(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """Dozat's update of NAdam with the momentum schedule μ_t."""
    g = g + wd * w
    m, v = moments(w, g, s, h)
    mu, following = (h.beta1 * (1 - 0.5 * 0.96 ** (k * h.momentum_decay)) for k in (t, t + 1))
    s["product"] = s.get("product", 1.0) * mu
    mean = following * m / (1 - s["product"] * following) + (1 - mu) * g / (1 - s["product"])
    return w - lr * mean / (np.sqrt(v / (1 - h.beta2**t)) + h.eps)


@each
def lamb(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    step = adam_step(w, g, s, t, h) + wd * w
    return w - lr * np.linalg.norm(w) / np.linalg.norm(step) * step


def rectification(t: int, beta2: float) -> tuple[float, float]:
    """ρ_t and r_t of arXiv 1908.03265."""
    top = 2 / (1 - beta2) - 1
    rho = top - 2 * t * beta2**t / (1 - beta2**t)
    ratio = (rho - 4) * (rho - 2) * top / ((top - 4) * (top - 2) * rho)
    return rho, np.sqrt(ratio) if ratio > 0 else 0.0


@each
def radam(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    m, v = moments(w, g, s, h)
    rho, r = rectification(t, h.beta2)
    step = m / (1 - h.beta1**t)
    if rho > 5:
        # torch adds ε to √v before its bias correction
        step = step * r * np.sqrt(1 - h.beta2**t) / (np.sqrt(v) + h.eps)
    return w - lr * wd * w - lr * step


@each
def adamp(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    step, ratio = adam_step(w, g, s, t, h), 1.0
    if w.ndim > 1:
        step, ratio = project(w, g, step, h)
    return w * (1 - lr * wd * ratio) - lr * step


@each
def adan(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """m, d and n with bias correction; w ← (w − η·(m̂ + β₂d̂)/(√n̂ + ε)) / (1 + ηλ)."""
    difference = g - s.get("g", g)
    s["g"] = g
    s["m"] = h.beta1 * s.get("m", 0 * w) + (1 - h.beta1) * g
    s["d"] = h.beta2 * s.get("d", 0 * w) + (1 - h.beta2) * difference
    s["n"] = h.beta3 * s.get("n", 0 * w) + (1 - h.beta3) * (g + h.beta2 * difference) ** 2
    step = s["m"] / (1 - h.beta1**t) + h.beta2 * s["d"] / (1 - h.beta2**t)
    return (w - lr * step / (np.sqrt(s["n"] / (1 - h.beta3**t)) + h.eps)) / (1 + lr * wd)


REFERENCES: dict[str, tuple[Reference, float]] = {
    "adam": (adam, 1e-11),
    "adamax": (adamax, 1e-4),
    "nadam": (nadam, 1e-7),  # torch keeps the product of the momenta in float32
    "adamw": (adamw, 1e-11),
    "cadamw": (cadamw, 1e-11),
    "lamb": (lamb, 1e-11),
    "radam": (radam, 1e-11),
    "adamp": (adamp, 1e-11),
    "adan": (adan, 1e-11),
}
