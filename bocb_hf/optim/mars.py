"""MARS-AdamW: AdamW on gradients whose variance is reduced by the difference to the last step's gradient.

Yuan et al., *MARS: Unleashing the Power of Variance Reduction for Training Large Models*, arXiv 2411.10438, in the
approximate form and with the grouping of its authors' code. For a matrix of two axes, with g₀ = 0:

    c = gₜ + γ·β₁/(1 − β₁)·(gₜ − gₜ₋₁);   c ← c / max(1, ‖c‖)
    m ← β₁m + (1 − β₁)c;   v ← β₂v + (1 − β₂)c²
    θ ← θ − lr·(m̂ / (√v̂ + ε) + λθ)

Every other tensor (convolutions, vectors) takes AdamW, c = gₜ, with β of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import MarsHyperparameters
from bocb_hf.optim.parameterwise import ParameterwiseOptimizer, adam_moments, decay


class Mars(ParameterwiseOptimizer):
    """MARS-AdamW.

    Args:
        params: Parameters or groups.
        lr: Learning rate of both parts.
        betas: β₁ and β₂ of matrices.
        other_betas: β₁ and β₂ of the AdamW part.
        gamma: γ, the weight of the gradient difference.
        eps: ε of both parts.
        weight_decay: Decoupled weight decay.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float],
        other_betas: tuple[float, float],
        gamma: float,
        eps: float,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "other_betas": other_betas,
            "gamma": gamma,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, matrix = self._adam_state(parameter), parameter.ndim == 2
        betas = group["betas"] if matrix else group["other_betas"]
        direction = gradient
        if matrix:
            if "last_grad" not in state:
                state["last_grad"] = torch.zeros_like(parameter)
            change = (gradient - state["last_grad"]).mul_(group["gamma"] * betas[0] / (1 - betas[0]))
            direction = change.add_(gradient)
            direction.div_(direction.norm().clamp(min=1.0))
            state["last_grad"].copy_(gradient)
        exp_avg, divisor = adam_moments(state, direction, betas, group["eps"])
        decay(parameter, group)
        parameter.add_(exp_avg.div(divisor).div_(1 - betas[0] ** state["step"]), alpha=-group["lr"])


def build(groups: list[dict[str, Any]], lr: float, h: MarsHyperparameters) -> Optimizer:
    """Builds MARS over parameter groups."""
    return Mars(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        other_betas=(h.other_beta1, h.other_beta2),
        gamma=h.gamma,
        eps=h.eps,
    )
