"""The frame of the optimizers that are written here: a step updates one parameter after the other."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class ParameterwiseOptimizer(Optimizer, ABC):
    """An optimizer whose update of a parameter reads that parameter, its gradient, its state and its group alone.

    A parameter without a gradient keeps its value and its state.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override] - torch overloads it
        """Takes one step.

        Args:
            closure: Computes the loss again, with its gradients; it is called once, before the update.

        Returns:
            What the closure returned, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    @abstractmethod
    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Updates one parameter and its state in place."""

    def _adam_state(self, parameter: Tensor) -> dict[str, Any]:
        """Returns the state of a parameter that keeps two moments as Adam does, with its step counted on by one."""
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        return state


def decay(parameter: Tensor, group: dict[str, Any], share: float = 1.0) -> None:
    """Multiplies a parameter by 1 − lr · weight_decay · share, the decoupled weight decay of AdamW, in place."""
    if group["weight_decay"] != 0:
        parameter.mul_(1 - group["lr"] * group["weight_decay"] * share)


def adam_moments(
    state: dict[str, Any], gradient: Tensor, betas: tuple[float, float], eps: float
) -> tuple[Tensor, Tensor]:
    """Moves Adam's two moments of a parameter.

    Returns:
        The first moment, without the correction of its start at 0, and √v̂ + ε in a tensor of its own.
    """
    beta1, beta2 = betas
    exp_avg = state["exp_avg"].lerp_(gradient, 1 - beta1)
    exp_avg_sq = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
    return exp_avg, exp_avg_sq.sqrt().div_(math.sqrt(1 - beta2 ** state["step"])).add_(eps)
