"""References of the study's category c: estimated learning rate, momentum."""

from __future__ import annotations

import numpy as np

from bocb_hf.optim.conformance.reference import Array, Case, Reference, State, Trajectory, each
from bocb_hf.optim.references.adaptive import moments, rectification


def adabound(case: Case) -> Trajectory:
    """Algorithm 1 of arXiv 1902.09843 with bias correction and bounds that follow lr / base_lr."""

    @each
    def run(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
        m, v = moments(w, g + wd * w, s, h)
        final = h.final_lr * lr / case.base_lr
        rate = lr * np.sqrt(1 - h.beta2**t) / (1 - h.beta1**t) / (np.sqrt(v) + h.eps)
        bounds = final * (1 - 1 / (h.gamma * t + 1)), final * (1 + 1 / (h.gamma * t))
        return w - np.clip(rate, *bounds) * m

    return run(case)


@each
def lars(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """Trust ratio η‖w‖/(‖g‖ + λ‖w‖) for tensors of 2 axes and more; learning rate outside the momentum."""
    if w.ndim > 1:
        norm = np.linalg.norm(w)
        g = h.trust_coefficient * norm / (np.linalg.norm(g) + wd * norm + h.eps) * (g + wd * w)
    s["m"] = h.momentum * s.get("m", 0 * w) + g
    return w - lr * s["m"]


@each
def adafactor(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """Algorithms 4 and 5 of arXiv 1804.04235; V ≈ R·C / mean(R) over the axes (out, in), or the last two."""
    beta = 1 - t**-h.decay_rate
    square = g**2 + h.eps
    axes = None
    if w.ndim > 2 and min(w.shape[:2]) > 16:
        axes = (0, 1)
    elif w.ndim >= 2 and min(w.shape[-2:]) > 16:
        axes = (w.ndim - 2, w.ndim - 1)
    if axes is None:
        s["v"] = beta * s.get("v", 0 * w) + (1 - beta) * square
        estimate = s["v"]
    else:
        rows, columns = square.mean(axes[1], keepdims=True), square.mean(axes[0], keepdims=True)
        s["r"] = beta * s.get("r", 0 * rows) + (1 - beta) * rows
        s["c"] = beta * s.get("c", 0 * columns) + (1 - beta) * columns
        estimate = s["r"] * s["c"] / s["r"].mean(axes[0], keepdims=True)
    step = g / np.sqrt(estimate)
    step = step / max(1.0, np.sqrt((step**2).mean()) / h.clip_threshold)
    return w - lr * wd * w - lr * step


def _adabelief(rectify: bool) -> Reference:
    @each
    def update(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
        s["m"] = h.beta1 * s.get("m", 0 * w) + (1 - h.beta1) * g
        s["s"] = h.beta2 * s.get("s", 0 * w) + (1 - h.beta2) * (g - s["m"]) ** 2 + h.eps
        w, mean = w - lr * wd * w, s["m"] / (1 - h.beta1**t)
        if not rectify:
            return w - lr * mean / (np.sqrt(s["s"] / (1 - h.beta2**t)) + h.eps)
        rho, r = rectification(t, h.beta2)
        if rho < 5:
            return w - lr * mean
        return w - lr * r * np.sqrt(1 - h.beta2**t) * mean / (np.sqrt(s["s"]) + h.eps)

    return update


@each
def novograd(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """v per tensor from ‖g₁‖²; m ← β₁m + (g/(√v + ε) + λw)."""
    square = (g**2).sum()
    s["v"] = square if t == 1 else h.beta2 * s["v"] + (1 - h.beta2) * square
    s["m"] = h.beta1 * s.get("m", 0 * w) + g / (np.sqrt(s["v"]) + h.eps) + wd * w
    return w - lr * s["m"]


def sophia(case: Case) -> Trajectory:
    """Algorithm 3 of arXiv 2305.14342: at t mod k = 1, before the step, h ← β₂h + (1 − β₂)·B·ĝ²."""
    h = case.h
    values = [v.copy() for v in case.start]
    m, curvature = [0 * v for v in values], [0 * v for v in values]
    for t in range(1, case.steps + 1):
        if t % h.hessian_interval == 1 % h.hessian_interval:
            for i, g in enumerate(case.hessian_gradient(values, t)):
                curvature[i] = h.beta2 * curvature[i] + (1 - h.beta2) * case.batch_size * g**2
        for i, g in enumerate(case.gradient(values, t)):
            m[i] = h.beta1 * m[i] + (1 - h.beta1) * g
            step = np.clip(m[i] / np.maximum(h.rho * curvature[i], h.eps), -1, 1)
            values[i] = values[i] * (1 - case.lr(t) * case.decays[i]) - case.lr(t) * step
    return Trajectory(values)


@each
def sophiaupstream(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    s["m"] = h.beta1 * s.get("m", 0 * w) + (1 - h.beta1) * g
    return w * (1 - lr * wd) - lr * np.sign(s["m"])


def prodigy(case: Case) -> Trajectory:
    """Algorithm 4 of arXiv 2306.06101 with β₃ = √β₂, decoupled decay and no bias correction."""
    h, beta3 = case.h, np.sqrt(case.h.beta2)
    values, start = [v.copy() for v in case.start], [v.copy() for v in case.start]
    m, v, s = ([0 * x for x in values] for _ in range(3))
    d, r = h.d0, 0.0
    for t in range(1, case.steps + 1):
        grads, lr = case.gradient(values, t), case.lr(t)
        # numerator and s are carried in units of 1/d₀, which cancels
        r = beta3 * r + d * d * lr * sum((g * (x0 - x)).sum() for g, x0, x in zip(grads, start, values, strict=True))
        for i, g in enumerate(grads):
            m[i] = h.beta1 * m[i] + (1 - h.beta1) * d * g
            v[i] = h.beta2 * v[i] + (1 - h.beta2) * d * d * g**2
            s[i] = beta3 * s[i] + d * d * (1.0 if h.safeguard_warmup else lr) * g
        old, d = d, max(d, h.d_coef * r / sum(np.abs(x).sum() for x in s))
        for i, x in enumerate(values):
            # the step size is taken before this step's estimate, ε after it
            values[i] = x * (1 - old * lr * case.decays[i]) - old * lr * m[i] / (np.sqrt(v[i]) + d * h.eps)
    return Trajectory(values)


REFERENCES: dict[str, tuple[Reference, float]] = {
    "adabound": (adabound, 1e-11),
    "lars": (lars, 1e-11),
    "adafactor": (adafactor, 1e-11),
    "adabelief": (_adabelief(rectify=False), 1e-11),
    "radabelief": (_adabelief(rectify=True), 1e-11),
    "novograd": (novograd, 1e-6),  # the second moments are held in float32
    "sophia": (sophia, 1e-11),
    "sophiaupstream": (sophiaupstream, 1e-11),
    "prodigy": (prodigy, 1e-5),  # the sums of the estimate are held in float32
}
