"""References of the study's category a: fixed learning rate, momentum."""

from __future__ import annotations

import numpy as np

from bocb_hf.optim.conformance.reference import Array, Case, Reference, State, Trajectory, each


@each
def sgdm(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """m ← μm + (g + λw); w ← w − η·m."""
    s["m"] = h.momentum * s.get("m", 0 * w) + g + wd * w
    return w - lr * s["m"]


def project(w: Array, g: Array, step: Array, h) -> tuple[Array, float]:
    """Algorithm 1 of arXiv 2006.08217: removes the radial part of a step where w looks scale-invariant.

    The condition is tried channel by channel first, then for the whole tensor.
    """
    for rows in (w.shape[0], 1):
        wv, gv, sv = (x.reshape(rows, -1) for x in (w, g, step))
        cosine = np.abs((wv * gv).sum(1)) / (np.linalg.norm(wv, axis=1) * np.linalg.norm(gv, axis=1))
        if cosine.max() < h.delta / np.sqrt(wv.shape[1]):
            unit = wv / (np.linalg.norm(wv, axis=1, keepdims=True) + h.eps)
            return (sv - unit * (unit * sv).sum(1, keepdims=True)).reshape(w.shape), h.wd_ratio
    return step, 1.0


def _sgdp(in_place: bool) -> Reference:
    @each
    def update(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
        s["m"] = h.momentum * s.get("m", 0 * w) + g
        step, ratio = project(w, g, s["m"], h) if w.ndim > 1 else (s["m"], 1.0)
        if in_place:
            s["m"] = step
        return w * (1 - lr * wd * ratio / (1 - h.momentum)) - lr * step

    return update


def _lion(cautious: bool) -> Reference:
    @each
    def update(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
        m = s.get("m", 0 * w)
        step = np.sign(h.beta1 * m + (1 - h.beta1) * g)
        s["m"] = h.beta2 * m + (1 - h.beta2) * g
        return w - lr * wd * w - lr * (mask(step, g) if cautious else step)

    return update


def mask(step: Array, g: Array) -> Array:
    """Cautious optimizers: the step where it agrees with the gradient, scaled up by the share that does."""
    agrees = (step * g > 0).astype(float)
    return step * agrees / max(agrees.mean(), 1e-3)


def sam(case: Case) -> Trajectory:
    """Takes g at w + ρ·g₁/‖g₁‖, the norm over all tensors; then a step of SGD with momentum from w."""
    values = [v.copy() for v in case.start]
    buffers = [0 * v for v in values]
    for t in range(1, case.steps + 1):
        first = case.gradient(values, t)
        norm = np.sqrt(sum((g**2).sum() for g in first))
        grads = case.gradient([v + case.h.rho * g / norm for v, g in zip(values, first, strict=True)], t)
        for i, (v, g, wd) in enumerate(zip(values, grads, case.decays, strict=True)):
            buffers[i] = case.h.momentum * buffers[i] + g + wd * v
            values[i] = v - case.lr(t) * buffers[i]
    return Trajectory(values)


def schedulefreesgd(case: Case) -> Trajectory:
    """y = (1−β)z + βx; z ← z − γ(∇f(y) + λy); x ← (1−c)x + cz with c = γ²_max / Σγ²_max."""
    z, x = [v.copy() for v in case.start], [v.copy() for v in case.start]
    beta, top, total = case.h.momentum, 0.0, 0.0

    def interpolate() -> list[Array]:
        return [(1 - beta) * a + beta * b for a, b in zip(z, x, strict=True)]

    for t in range(1, case.steps + 1):
        y = interpolate()
        grads = case.gradient(y, t)
        top = max(top, case.lr(t))
        total += top**2
        c = top**2 / total
        for i, g in enumerate(grads):
            z[i] = z[i] - case.lr(t) * (g + case.decays[i] * y[i])
            x[i] = (1 - c) * x[i] + c * z[i]
    return Trajectory(interpolate(), x)


REFERENCES: dict[str, tuple[Reference, float]] = {
    "sgdm": (sgdm, 1e-11),
    "larsupstream": (sgdm, 1e-11),
    "sgdp": (_sgdp(in_place=False), 1e-11),
    "sgdpupstream": (_sgdp(in_place=True), 1e-11),
    "lion": (_lion(cautious=False), 1e-11),
    "clion": (_lion(cautious=True), 1e-11),
    "sam": (sam, 1e-8),  # the norm of the gradient is held in float32
    "schedulefreesgd": (schedulefreesgd, 1e-11),
}
