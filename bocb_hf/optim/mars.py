"""MARS-AdamW: AdamW on gradients whose variance is reduced by the difference to the last step's gradient.

Yuan et al., *MARS: Unleashing the Power of Variance Reduction for Training Large Models*, arXiv 2411.10438, in the
approximate form and with the grouping of its authors' code. For a matrix of two axes, with g₀ = 0:

    c = gₜ + γ·β₁/(1 − β₁)·(gₜ − gₜ₋₁);   c ← c / max(1, ‖c‖)
    m ← β₁m + (1 − β₁)c;   v ← β₂v + (1 − β₂)c²
    θ ← θ − lr·(m̂ / (√v̂ + ε) + λθ)

Every other tensor (convolutions, vectors) takes AdamW, c = gₜ, with β of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import MarsHyperparameters


class Mars(Optimizer):
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

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Takes one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, matrix = self.state[parameter], parameter.ndim == 2
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
            if matrix:
                state["last_grad"] = torch.zeros_like(parameter)
        state["step"] += 1
        beta1, beta2 = group["betas"] if matrix else group["other_betas"]
        direction = gradient
        if matrix:
            change = (gradient - state["last_grad"]).mul_(group["gamma"] * beta1 / (1 - beta1))
            direction = change.add_(gradient)
            direction.div_(direction.norm().clamp(min=1.0))
            state["last_grad"].copy_(gradient)
        exp_avg = state["exp_avg"].lerp_(direction, 1 - beta1)
        exp_avg_sq = state["exp_avg_sq"].mul_(beta2).addcmul_(direction, direction, value=1 - beta2)
        divisor = exp_avg_sq.sqrt().div_(math.sqrt(1 - beta2 ** state["step"])).add_(group["eps"])
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(exp_avg.div(divisor).div_(1 - beta1 ** state["step"]), alpha=-group["lr"])


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
