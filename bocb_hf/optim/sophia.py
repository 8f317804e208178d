"""Sophia-G: momentum divided by a light estimate of the Hessian's diagonal, and clipped.

Liu et al., *Sophia: A Scalable Stochastic Second-order Optimizer for Language Model Pre-training*, arXiv 2305.14342,
Algorithm 3 with the Gauss-Newton-Bartlett estimator of Algorithm 2:

    m ← β₁m + (1 − β₁)g
    every k steps, before the step:  h ← β₂h + (1 − β₂)·B·ĝ²
    θ ← θ − lr·λθ;   θ ← θ − lr·clip(m / max(ρh, ε), 1)

ĝ is the gradient of the mean loss over B images whose labels are sampled from the model's own predictions. The training
loop computes it (``bocb_hf/engine/step.py``); this module only uses it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import SophiaHyperparameters, SophiaUpstreamHyperparameters
from bocb_hf.optim.parameterwise import ParameterwiseOptimizer, decay


class Sophia(ParameterwiseOptimizer):
    """Sophia-G.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        betas: Decay of the momentum and of the Hessian estimate.
        rho: Share of the Hessian that divides the momentum.
        eps: Smallest divisor.
        hessian_interval: Steps between two estimates, for the loop to read.
        weight_decay: Decoupled weight decay.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float],
        rho: float,
        eps: float,
        hessian_interval: int,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "rho": rho, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        self.hessian_interval = hessian_interval

    @torch.no_grad()
    def update_hessian(self, batch_size: int) -> None:
        """Moves the estimate towards B·ĝ², reading ĝ from the gradients.

        Args:
            batch_size: B, the images of the whole batch over whose mean loss ĝ was taken.
        """
        for group in self.param_groups:
            beta2 = group["betas"][1]
            for parameter in group["params"]:
                if parameter.grad is not None:
                    hessian = self._state(parameter)["hessian"]
                    hessian.mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=(1 - beta2) * batch_size)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self._state(parameter)
        exp_avg = state["exp_avg"].lerp_(gradient, 1 - group["betas"][0])
        divisor = state["hessian"].mul(group["rho"]).clamp_(min=group["eps"])
        decay(parameter, group)
        parameter.add_(exp_avg.div(divisor).clamp_(-1, 1), alpha=-group["lr"])

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["exp_avg"] = torch.zeros_like(parameter)
            state["hessian"] = torch.zeros_like(parameter)
        return state


def build(groups: list[dict[str, Any]], lr: float, h: SophiaHyperparameters) -> Optimizer:
    """Builds Sophia-G over parameter groups."""
    betas = (h.beta1, h.beta2)
    return Sophia(groups, lr=lr, betas=betas, rho=h.rho, eps=h.eps, hessian_interval=h.hessian_interval)


def build_upstream(groups: list[dict[str, Any]], lr: float, h: SophiaUpstreamHyperparameters) -> Optimizer:
    """Builds Sophia as the study ran it: no estimate is ever made, so β₂ and ρ have nothing to act on."""
    return Sophia(groups, lr=lr, betas=(h.beta1, 0.99), rho=0.04, eps=h.eps, hessian_interval=0)
