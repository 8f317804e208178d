"""References of optimizers that see a tensor as a matrix: Muon, Shampoo, SOAP and Kron."""

from __future__ import annotations

import random

import numpy as np

from bocb_hf.optim.conformance.reference import Array, Case, Reference, State, Trajectory, each
from bocb_hf.optim.references.adaptive import adam_step


def multiply(tensor: Array, matrix: Array, axis: int) -> Array:
    """Σ_j matrix[i, j] · tensor[…, j, …] along an axis."""
    return np.moveaxis(np.tensordot(matrix, tensor, (1, axis)), 0, axis)


def unfold(tensor: Array, axis: int) -> Array:
    """Brings one axis to the front and flattens the others: (n, rest)."""
    return np.moveaxis(tensor, axis, 0).reshape(tensor.shape[axis], -1)


def newton_schulz(g: Array, steps: int) -> Array:
    """X ← aX + (bA + cA²)X with A = XXᵀ and Muon's coefficients, from g/‖g‖; g has no more rows than columns."""
    x = g / np.linalg.norm(g)
    for _ in range(steps):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x


def muon(case: Case) -> Trajectory:
    """Nesterov momentum m ← μm + (1 − μ)g, orthogonalised, scaled by 0.2·√max(out, rest); the rest by AdamW."""
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
            step = (1 - h.momentum) * g + h.momentum * s["m"] if h.nesterov else s["m"]
            flat = step.reshape(step.shape[0], -1)
            flip = flat.shape[0] > flat.shape[1]
            flat = newton_schulz(flat.T, h.ns_steps).T if flip else newton_schulz(flat, h.ns_steps)
            rows, columns = flat.shape
            scale = (
                0.2 * np.sqrt(max(rows, columns)) if h.adjust_lr == "match_rms_adamw" else max(1, rows / columns) ** 0.5
            )
            values[i] = w - lr * wd * w - lr * scale * flat.reshape(w.shape)
    return Trajectory(values)


@each
def shampoo(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """G ×ᵢ Hᵢ^(−1/2k), Hᵢ = εI + Σ G₍ᵢ₎G₍ᵢ₎ᵀ."""
    moments = s.setdefault("moments", [h.eps * np.eye(n) for n in w.shape])
    step = g
    for axis in range(w.ndim):
        rows = unfold(g, axis)
        moments[axis] += rows @ rows.T
        u, values, _ = np.linalg.svd(moments[axis])
        step = multiply(step, (u * values ** (-1 / (2 * w.ndim))) @ u.T, axis)
    return w - lr * wd * w - lr * step


@each
def soap(w: Array, g: Array, s: State, t: int, lr: float, wd: float, h) -> Array:
    """Algorithm 3 of arXiv 2409.11321: Adam in the eigenbasis of Shampoo's running averages."""
    precondition = w.ndim > 1

    def accumulate() -> None:
        for axis in range(w.ndim if precondition else 0):
            rows = unfold(g, axis)
            s["moments"][axis] = h.beta2 * s["moments"][axis] + (1 - h.beta2) * rows @ rows.T

    def rotate(x: Array, back: bool) -> Array:
        for axis in range(w.ndim if precondition else 0):
            x = multiply(x, s["bases"][axis] if back else s["bases"][axis].T, axis)
        return x

    if t == 1:
        s["moments"] = [np.zeros((n, n)) for n in w.shape]
        accumulate()
        s["bases"] = [np.linalg.eigh(m)[1][:, ::-1] for m in s["moments"]] if precondition else []
        s["m"], s["v"] = 0 * w, 0 * w
        return w
    k = t - 1  # the first gradient takes no step
    s["m"] = h.beta1 * s["m"] + (1 - h.beta1) * g
    s["v"] = h.beta2 * s["v"] + (1 - h.beta2) * rotate(g, back=False) ** 2
    # ε is added to √v before its bias correction
    step = rotate(rotate(s["m"], back=False) / (np.sqrt(s["v"]) + h.eps), back=True)
    w = w - lr * np.sqrt(1 - h.beta2**k) / (1 - h.beta1**k) * step
    w = w - lr * wd * w
    accumulate()
    if k % h.interval == 0:
        for axis in range(w.ndim if precondition else 0):
            product = s["moments"][axis] @ s["bases"][axis]
            order = np.argsort(-(s["bases"][axis] * product).sum(0))
            s["v"] = np.take(s["v"], order, axis)
            s["bases"][axis] = np.linalg.qr(product[:, order])[0]
    return w


def kron(case: Case) -> Trajectory:
    """PSGD with triangular Kronecker factors: Q ← Q − μ·triu(AAᵀ − BBᵀ)/‖AAᵀ + BBᵀ‖·Q, A = Qm̂, B = Q⁻ᵀv.

    The probes v are drawn from the generator that the implementation names (seed 1337); all else is numpy.
    """
    import torch  # torch is used for nothing but the draws of the probes

    h, source = case.h, random.Random(1337)
    values: list[Array] = [w.copy() for w in case.start]
    shapes = [w.shape if w.ndim < 3 else (*w.shape[:2], int(np.prod(w.shape[2:]))) for w in values]
    factors: list[list[Array]] = [
        [np.eye(n) if len(shape) > 1 and n > 1 else np.ones(n) for n in shape] for shape in shapes
    ]
    momenta = [np.zeros(shape) for shape in shapes]

    def apply(x: Array, q: Array, axis: int, inverse: bool = False) -> Array:
        if q.ndim == 1:
            q = np.diag(q)
        return multiply(x, np.asarray(np.linalg.inv(q).T, np.float64) if inverse else q, axis)

    for t in range(1, case.steps + 1):
        grads = case.gradient(values, t)
        for i in case_order(case):
            g = grads[i].reshape(shapes[i])
            momenta[i] = h.momentum * momenta[i] + (1 - h.momentum) * g
            mean = momenta[i] / (1 - h.momentum**t)
            if source.random() < 0.01 and g.ndim > 1:  # now and then the scales of the factors are balanced
                tops = np.array([np.abs(q).max() for q in factors[i]])
                for q, top in zip(factors[i], tops, strict=True):
                    q *= tops.prod() ** (1 / len(tops)) / top
            generator = torch.Generator().manual_seed(source.randint(0, 2**31))
            b = torch.randn(shapes[i], generator=generator, dtype=torch.float64).numpy()
            a = mean
            for axis, q in enumerate(factors[i]):
                a, b = apply(a, q, axis), apply(b, q, axis, inverse=True)
            for axis, q in enumerate(factors[i]):
                first, second = (unfold(x, axis) @ unfold(x, axis).T for x in (a, b))
                if q.ndim == 1:
                    first, second = np.diag(first), np.diag(second)
                    q -= h.precond_lr * (first - second) * q / np.abs(first + second).max()
                else:
                    q -= h.precond_lr * np.triu(first - second) / lower_bound(first + second) @ q
            step = mean
            for axis, q in enumerate(factors[i]):
                step = apply(apply(step, q, axis), q.T, axis)
            step = step * min(1.0, 1.1 / (np.sqrt((step**2).mean()) + 1e-8))
            lr = case.lr(t)
            values[i] = values[i] * (1 - lr * case.decays[i]) - lr * step.reshape(values[i].shape)
    return Trajectory(values)


def case_order(case: Case) -> list[int]:
    """Returns the tensors in the order in which the optimizer holds them: those with decay first."""
    return sorted(range(len(case.start)), key=lambda i: case.start[i].ndim == 1)


def lower_bound(a: Array) -> float:
    """Computes PSGD's cheap lower bound of a symmetric matrix's spectral norm."""
    top = np.abs(a).sum(1).max()
    a = a / top
    i = (a**2).sum(1).argmax()
    x = a @ a[i]
    return top * float(np.linalg.norm(a.T @ (x / np.linalg.norm(x))))


REFERENCES: dict[str, tuple[Reference, float]] = {
    "muon": (muon, 1e-11),
    "shampoo": (shampoo, 1e-10),
    "soap": (soap, 1e-5),  # the QR decomposition runs in float32
    "kron": (kron, 1e-10),
}
