"""AdaBound: Adam whose step sizes are clipped between bounds that close in on one learning rate.

Luo et al., *Adaptive Gradient Methods with Dynamic Bound of Learning Rate*, arXiv 1902.09843, Algorithm 1, in the form
of its authors' code: with bias correction, L2 decay, and bounds that follow the learning-rate schedule.

    m ← β₁m + (1 − β₁)g        v ← β₂v + (1 − β₂)g²        with g ← g + λθ
    α* = final_lr · lr / base_lr
    η = clip(lr·√(1 − β₂ᵗ) / ((1 − β₁ᵗ)(√v + ε)),  α*(1 − 1/(γt + 1)),  α*(1 + 1/(γt)))
    θ ← θ − η·m
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import AdaboundHyperparameters
from bocb_hf.optim.parameterwise import ParameterwiseOptimizer


class AdaBound(ParameterwiseOptimizer):
    """AdaBound, whose step sizes are clipped between two bounds.

    ``base_lr`` lives in the parameter group, so that it is in the state_dict and a group that is added later has one.

    Args:
        params: Parameters or groups.
        lr: Peak learning rate; a schedule then changes ``lr`` of the groups, while ``base_lr`` stays.
        betas: Decay of the two averages.
        eps: Added to √v.
        final_lr: The learning rate that the bounds close in on while ``lr`` is at its peak.
        gamma: How fast the bounds close in on that learning rate.
        weight_decay: Added to the gradient.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        final_lr: float,
        gamma: float,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "final_lr": final_lr,
            "gamma": gamma,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group; its learning rate without its ``lr_scale`` becomes its ``base_lr``."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        # the bounds of a group that runs at a share of the common rate close in on that share too
        group.setdefault("base_lr", group["lr"] / group.get("lr_scale", 1.0))

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        state = self._adam_state(parameter)
        t, lr = state["step"], group["lr"]
        if group["weight_decay"] != 0:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        exp_avg = state["exp_avg"].lerp_(gradient, 1 - beta1)
        exp_avg_sq = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        final = group["final_lr"] * lr / group["base_lr"]
        low = final * (1 - 1 / (group["gamma"] * t + 1))
        high = final * (1 + 1 / (group["gamma"] * t))
        size = lr * math.sqrt(1 - beta2**t) / (1 - beta1**t)
        rates = exp_avg_sq.sqrt().add_(group["eps"]).reciprocal_().mul_(size).clamp_(low, high)
        parameter.addcmul_(rates, exp_avg, value=-1)


def build(groups: list[dict[str, Any]], lr: float, h: AdaboundHyperparameters) -> Optimizer:
    """Builds AdaBound over parameter groups."""
    return AdaBound(groups, lr=lr, betas=(h.beta1, h.beta2), eps=h.eps, final_lr=h.final_lr, gamma=h.gamma)
