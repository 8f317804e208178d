"""Scion: momentum projected on the boundary of a norm ball, with a norm for each kind of layer.

Pethick et al., *Training Deep Learning Models with Norm-Constrained LMOs*, arXiv 2502.07529, Algorithm 2. With a
radius ρ:

    m ← μm + (1 − μ)g
    θ ← (1 − lr·λ)θ − lr·ρ·lmo(m)

λ = 1 is the paper's constrained step, which keeps θ in the ball; λ = 0 is the unconstrained one. As in the authors'
code for DeiT, lmo(m) is

    hidden matrices, all convolutions (out, in, k, k)     √(out/in)/k² · NS(m flattened to (out, rest))
    other matrices, such as the head                      20·sign(m)/in
    vectors, and each vector of an embedding              m/RMS(m)
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import ScionHyperparameters
from bocb_hf.optim.newton_schulz import orthogonalise
from bocb_hf.optim.parameterwise import ParameterwiseOptimizer, decay

HEAD_RADIUS = 20.0  # ratio to the radius of hidden matrices; the authors' recipe for DeiT has 25 and 500
EPS = 1e-8  # the number that is added to root mean squares


class Scion(ParameterwiseOptimizer):
    """Scion.

    Args:
        params: Groups, each with ``matrix``: whether its parameters are hidden matrices.
        lr: Learning rate.
        momentum: μ; the authors' argument of that name is 1 − μ.
        radius: ρ, the radius of the norm ball.
        ns_steps: Steps of Newton-Schulz.
        weight_decay: λ, the decoupled weight decay.
    """

    def __init__(
        self, params: Any, lr: float, momentum: float, radius: float, ns_steps: int, weight_decay: float = 0.0
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "radius": radius,
            "ns_steps": ns_steps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        momentum = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        update = oracle(momentum, group["matrix"], group["ns_steps"])
        decay(parameter, group)
        parameter.add_(update.to(parameter.dtype), alpha=-group["lr"] * group["radius"])


def oracle(momentum: Tensor, hidden: bool, ns_steps: int) -> Tensor:
    """Returns lmo(m) of the module's equations: the point of the unit ball in which the momentum is largest.

    Args:
        momentum: The momentum of a parameter, of any shape.
        hidden: Whether the parameter is a hidden matrix.
        ns_steps: Steps of Newton-Schulz.
    """
    if momentum.ndim < 2 or momentum.shape[0] == 1:
        last = -1 if momentum.ndim else ()
        return momentum / (momentum.square().mean(dim=last, keepdim=True).sqrt() + EPS)
    if momentum.ndim == 2 and not hidden:
        return momentum.sign() * (HEAD_RADIUS / momentum.shape[1])
    out, inside = momentum.shape[:2]
    scale = math.sqrt(out / inside) / math.prod(momentum.shape[2:])
    return orthogonalise(momentum.flatten(1), ns_steps).mul_(scale).view_as(momentum)


def build(groups: list[dict[str, Any]], lr: float, h: ScionHyperparameters) -> Optimizer:
    """Builds Scion over parameter groups that say whether they hold hidden matrices."""
    return Scion(groups, lr=lr, momentum=h.momentum, radius=h.radius, ns_steps=h.ns_steps)
