"""References of element-wise optimizers beside the study's."""

from __future__ import annotations

import math

import numpy as np

from bocb_hf.optim.conformance.reference import Array, Case, Reference, State, Trajectory, each


def schedulefreeadamw(case: Case) -> Trajectory:
    """The equations of schedule-free SGD, with z moving by g/(√v̂ + ε) + λy."""
    h = case.h
    z, x = [v.copy() for v in case.start], [v.copy() for v in case.start]
    v = [0 * a for a in z]
    top, total = 0.0, 0.0

    def interpolate() -> list[Array]:
        return [(1 - h.beta1) * a + h.beta1 * b for a, b in zip(z, x, strict=True)]

    for t in range(1, case.steps + 1):
        y = interpolate()
        top = max(top, case.lr(t))
        total += top**2
        c = top**2 / total
        for i, g in enumerate(case.gradient(y, t)):
            v[i] = h.beta2 * v[i] + (1 - h.beta2) * g**2
            step = g / (np.sqrt(v[i] / (1 - h.beta2**t)) + h.eps) + case.decays[i] * y[i]
            z[i] = z[i] - case.lr(t) * step
            x[i] = (1 - c) * x[i] + c * z[i]
    return Trajectory(interpolate(), x)


@each
def mars(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """c = g + γ·β₁/(1 − β₁)·(g − g₋₁), clipped to norm 1, in AdamW's place of g; all but matrices by AdamW."""
    if w.ndim != 2:
        b1, b2, c = h.other_beta1, h.other_beta2, g
    else:
        b1, b2 = h.beta1, h.beta2
        c = g + h.gamma * b1 / (1 - b1) * (g - s.get("g", 0 * g))
        c = c / max(1.0, np.linalg.norm(c))
    s["g"] = g
    s["m"] = b1 * s.get("m", 0 * w) + (1 - b1) * c
    s["v"] = b2 * s.get("v", 0 * w) + (1 - b2) * c**2
    return w - lr * (wd * w + s["m"] / (1 - b1**t) / (np.sqrt(s["v"] / (1 - b2**t)) + h.eps))


@each
def ademamix(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """(m̂₁ + α·m₂)/(√v̂ + ε), with the paper's schedules of α and β₃ where warm-up steps are given."""
    alpha, beta3 = h.alpha, h.beta3
    if h.warmup_steps:
        share = t / h.warmup_steps
        alpha = min(share * alpha, alpha)
        low, high = math.log(h.beta1), math.log(h.beta3)
        beta3 = min(math.exp(low * high / ((1 - share) * high + share * low)), beta3)
    s["m"] = h.beta1 * s.get("m", 0 * w) + (1 - h.beta1) * g
    s["slow"] = beta3 * s.get("slow", 0 * w) + (1 - beta3) * g
    s["v"] = h.beta2 * s.get("v", 0 * w) + (1 - h.beta2) * g**2
    mean = s["m"] / (1 - h.beta1**t) + alpha * s["slow"]
    return w - lr * wd * w - lr * mean / (np.sqrt(s["v"] / (1 - h.beta2**t)) + h.eps)


@each
def adopt(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """Algorithm 2 of arXiv 2411.02853: normalised by the v of before this step; the first step only sets v."""
    if t == 1:
        s["v"] = g**2
        return w
    bound = (t - 1) ** h.clip_exp
    normalised = np.clip(g / np.maximum(np.sqrt(s["v"]), h.eps), -bound, bound)
    s["m"] = h.beta1 * s.get("m", 0 * w) + (1 - h.beta1) * normalised
    s["v"] = h.beta2 * s["v"] + (1 - h.beta2) * g**2
    return w - lr * wd * w - lr * s["m"]


REFERENCES: dict[str, tuple[Reference, float]] = {
    "schedulefreeadamw": (schedulefreeadamw, 1e-6),  # the implementation adds 1e-15 inside the root
    "mars": (mars, 1e-11),
    "ademamix": (ademamix, 1e-11),
    "adopt": (adopt, 1e-11),
}
