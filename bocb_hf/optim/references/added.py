"""References of the rows that were added in 2026."""

from __future__ import annotations

import itertools
import math

import numpy as np

from bocb_hf.optim.conformance.reference import Array, Case, Reference, State, Trajectory, each
from bocb_hf.optim.references.adaptive import adam_step, moments
from bocb_hf.optim.references.matrix import multiply, newton_schulz, unfold


@each
def nadamw(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """AdamW with β₁m + (1 − β₁)g in place of m."""
    m, v = moments(w, g, s, h)
    mean = (h.beta1 * m + (1 - h.beta1) * g) / (1 - h.beta1**t)
    return w - lr * wd * w - lr * mean / (np.sqrt(v / (1 - h.beta2**t)) + h.eps)


@each
def laprop(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """m ← β₁m + (1 − β₁)·lr·g/(√v̂ + ε), over its weights' sum at a constant rate; then θ ← (1 − lr·λ)θ."""
    s["v"] = h.beta2 * s.get("v", 0 * w) + (1 - h.beta2) * g**2
    s["m"] = h.beta1 * s.get("m", 0 * w) + (1 - h.beta1) * lr * g / (np.sqrt(s["v"] / (1 - h.beta2**t)) + h.eps)
    s["lr"] = h.beta1 * s.get("lr", 0.0) + (1 - h.beta1) * lr
    return (w - s["m"] * lr / s["lr"]) * (1 - lr * wd)


@each
def stableadamw(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """β̂ = β(1 − βᵗ⁻¹)/(1 − βᵗ); η = lr/max(1, RMS(g/√max(u, ε²))); θ ← θ − ηλθ − η·v/(√u + ε)."""
    first, second = (beta * (1 - beta ** (t - 1)) / (1 - beta**t) for beta in (h.beta1, h.beta2))
    s["v"] = first * s.get("v", 0 * w) + (1 - first) * g
    s["u"] = second * s.get("u", 0 * w) + (1 - second) * g**2
    rate = lr / max(1.0, np.sqrt((g**2 / np.maximum(s["u"], h.eps**2)).mean()))
    return w - rate * wd * w - rate * s["v"] / (np.sqrt(s["u"]) + h.eps)


@each
def signum(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    s["m"] = h.momentum * s.get("m", 0 * w) + (1 - h.momentum) * g
    return w - lr * (np.sign(s["m"]) + wd * w)


def samadamw(case: Case) -> Trajectory:
    """Takes g at w + ρ·g₁/‖g₁‖, the norm over all tensors; then a step of AdamW from w."""
    values = [v.copy() for v in case.start]
    states: list[State] = [{} for _ in values]
    for t in range(1, case.steps + 1):
        first, lr = case.gradient(values, t), case.lr(t)
        norm = np.sqrt(sum((g**2).sum() for g in first))
        grads = case.gradient([v + case.h.rho * g / norm for v, g in zip(values, first, strict=True)], t)
        for i, (v, g, wd) in enumerate(zip(values, grads, case.decays, strict=True)):
            values[i] = v - lr * wd * v - lr * adam_step(v, g, states[i], t, case.h)
    return Trajectory(values)


def orthogonal(flat: Array, steps: int) -> Array:
    """Runs Newton-Schulz on a matrix of any proportions."""
    return newton_schulz(flat.T, steps).T if flat.shape[0] > flat.shape[1] else newton_schulz(flat, steps)


def _adaptive_muon(rows: bool) -> Reference:
    def run(case: Case) -> Trajectory:
        """O = NS(u) or NS(sign(u)); Ô = O/(√v + ε); a step of 0.2·√(mn)·Ô/‖Ô‖; the rest by AdamW."""
        h = case.h
        values: list[Array] = [v.copy() for v in case.start]
        states: list[State] = [{} for _ in values]
        for t in range(1, case.steps + 1):
            lr = case.lr(t)
            for i, g in enumerate(case.gradient(values, t)):
                w, s, wd = values[i], states[i], case.decays[i]
                if not case.matrices[i]:
                    values[i] = w - lr * wd * w - lr * adam_step(w, g, s, t, h)
                    continue
                s["m"] = h.momentum * s.get("m", 0 * w) + (1 - h.momentum) * g
                u = (1 - h.momentum) * g + h.momentum * s["m"] if h.nesterov else s["m"]
                u = u.reshape(len(u), -1)
                o = orthogonal(u if rows or not h.sign else np.sign(u), h.ns_steps)
                squares = (o**2).mean(1, keepdims=True) if rows else o**2
                s["v"] = h.second_momentum * s.get("v", 0 * squares) + (1 - h.second_momentum) * squares
                o = o / (np.sqrt(s["v"]) + h.eps)
                step = 0.2 * np.sqrt(o.size) * o / (np.linalg.norm(o) + h.eps)
                values[i] = w - lr * wd * w - lr * step.reshape(w.shape)
        return Trajectory(values)

    return run


def scion(case: Case) -> Trajectory:
    """θ ← (1 − lr·λ)θ − lr·ρ·lmo(m)."""
    h = case.h
    values: list[Array] = [v.copy() for v in case.start]
    momenta = [0 * v for v in values]
    for t in range(1, case.steps + 1):
        lr = case.lr(t)
        for i, g in enumerate(case.gradient(values, t)):
            momenta[i] = h.momentum * momenta[i] + (1 - h.momentum) * g
            m, w = momenta[i], values[i]
            if case.matrices[i] or m.ndim > 2:
                out, inside = m.shape[:2]
                kernel = math.prod(m.shape[2:])
                point = math.sqrt(out / inside) / kernel * orthogonal(m.reshape(out, -1), h.ns_steps).reshape(m.shape)
            elif m.ndim == 2:
                point = 20 * np.sign(m) / m.shape[1]
            else:
                point = m / np.sqrt((m**2).mean())
            values[i] = w - lr * case.decays[i] * w - lr * h.radius * point
    return Trajectory(values)


def splus(case: Case) -> Trajectory:
    """Q_L sign(Q_Lᵀ u Q_R) Q_Rᵀ with eigenvectors of the averages of ggᵀ and gᵀg; signs for all but matrices."""
    h = case.h
    values: list[Array] = [v.copy() for v in case.start]
    averages, momenta = [0 * v for v in values], [0 * v for v in values]
    sides = [[np.zeros((n, n)) for n in v.shape] for v in values]
    short = [[n < h.max_dim for n in v.shape] for v in values]
    bases = [[np.eye(n) for n in v.shape] for v in values]
    for t in range(1, case.steps + 1):
        for i, g in enumerate(case.gradient(values, t)):
            momenta[i] = h.beta1 * momenta[i] + (1 - h.beta1) * g
            lr, step = case.lr(t) * h.other_scale, np.sign(momenta[i])
            if g.ndim == 2:
                if max(g.shape) <= h.max_dim:
                    lr = case.lr(t) * 2 / sum(g.shape)
                left, right = bases[i]
                step = left @ np.sign(left.T @ momenta[i] @ right) @ right.T
                for axis in range(2):
                    rows = unfold(g, axis)
                    sides[i][axis] = h.beta2 * sides[i][axis] + (1 - h.beta2) * rows @ rows.T
                    if short[i][axis] and (t == 1 or t % h.interval == 0):
                        bases[i][axis] = np.linalg.svd(sides[i][axis])[0]
            values[i] = values[i] - lr * step
            averages[i] = h.average_rate * averages[i] + (1 - h.average_rate) * values[i]
            values[i] = values[i] * (1 - lr * case.decays[i])
    return Trajectory(values, [a / (1 - h.average_rate**case.steps) for a in averages])


def _cut(length: int, longest: int) -> list[slice]:
    return [slice(i, min(i + longest, length)) for i in range(0, length, longest)]


@each
def distributedshampoo(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """m̂ ×ᵢ (Ĥᵢ + εI)^(−1/2k) block by block, each at the norm of Adam's step there; Adam alone before the roots."""
    shape: list[int] = []
    for n in reversed(w.shape):  # neighbouring axes merge while the product of their lengths is small enough
        if shape and shape[0] * n <= h.max_dim:
            shape[0] *= n
        else:
            shape.insert(0, n)
    g = g.reshape(shape)
    step = adam_step(g, g, s, t, h)
    mean = s["m"] / (1 - h.beta1**t)
    for cut in itertools.product(*(_cut(n, h.max_dim) for n in shape)):
        block = g[cut]
        key = f"sides and roots from {[c.start for c in cut]}"
        sides, roots = s.setdefault(key, ([np.zeros((n, n)) for n in block.shape], [np.eye(n) for n in block.shape]))
        direction = mean[cut]
        for axis in range(block.ndim):
            rows = unfold(block, axis)
            sides[axis] = h.beta2 * sides[axis] + (1 - h.beta2) * rows @ rows.T
            if t % h.interval == 0:
                u, values, _ = np.linalg.svd(sides[axis] / (1 - h.beta2**t), hermitian=True)
                roots[axis] = (u * (values + h.eps) ** (-1 / (2 * block.ndim))) @ u.T
            direction = multiply(direction, roots[axis], axis)
        if t >= h.interval:
            step[cut] = direction * np.linalg.norm(step[cut]) / np.linalg.norm(direction)
    return w - lr * wd * w - lr * step.reshape(w.shape)


REFERENCES: dict[str, tuple[Reference, float]] = {
    "nadamw": (nadamw, 1e-11),
    "laprop": (laprop, 1e-6),  # the sum of the second moment's weights is held in float32
    "stableadamw": (stableadamw, 1e-11),
    "signum": (signum, 1e-11),
    "samadamw": (samadamw, 1e-8),  # the norm of the gradient is held in float32
    "adamuon": (_adaptive_muon(rows=False), 1e-10),
    "nadamuon": (_adaptive_muon(rows=False), 1e-10),
    "normuon": (_adaptive_muon(rows=True), 1e-10),
    "scion": (scion, 1e-7),  # the implementation adds 1e-8 to root mean squares
    "splus": (splus, 1e-10),
    # few gradients leave a null space, where a root holds 1e-12 and rounding
    "distributedshampoo": (distributedshampoo, 1e-4),
}
