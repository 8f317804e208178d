"""Optimizers that treat hidden matrices in a way of their own, and give everything else to AdamW."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class MatrixSplitOptimizer(Optimizer, ABC):
    """Base of optimizers that take their step from ``_matrix`` in groups with ``matrix``, and from AdamW in the others.

    Weight decay is decoupled. Groups hold ``lr``, ``weight_decay``, ``matrix``, and for AdamW ``betas`` and ``eps``.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Takes one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                update = (self._matrix if group["matrix"] else self._adam)(parameter, parameter.grad, group)
                parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"])
        return loss

    @abstractmethod
    def _matrix(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        """Returns the tensor that the learning rate multiplies, in the shape and type of the parameter."""

    def _momentum(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        """Returns the running average of the gradient, or Nesterov's look-ahead from it, flattened to (out, rest)."""
        state, momentum = self.state[parameter], group["momentum"]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        return (gradient.lerp(buffer, momentum) if group["nesterov"] else buffer).flatten(1)

    def _adam(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        exp_avg = state["exp_avg"].lerp_(gradient, 1 - beta1)
        exp_avg_sq = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        divisor = exp_avg_sq.sqrt().div_(math.sqrt(1 - beta2 ** state["step"])).add_(group["eps"])
        return exp_avg.div(divisor).div_(1 - beta1 ** state["step"])
