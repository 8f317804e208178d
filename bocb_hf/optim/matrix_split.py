"""Optimizers that treat hidden matrices in a way of their own, and give everything else to AdamW."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from bocb_hf.optim.parameterwise import ParameterwiseOptimizer, adam_moments, decay


class MatrixSplitOptimizer(ParameterwiseOptimizer):
    """Base of optimizers that take their step from ``_matrix`` in groups with ``matrix``, and from AdamW in the others.

    Weight decay is decoupled. Groups hold ``lr``, ``weight_decay``, ``matrix``, and for AdamW ``betas`` and ``eps``.
    """

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        update = (self._matrix if group["matrix"] else self._adam)(parameter, gradient, group)
        decay(parameter, group)
        parameter.add_(update, alpha=-group["lr"])

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
        state = self._adam_state(parameter)
        exp_avg, divisor = adam_moments(state, gradient, group["betas"], group["eps"])
        return exp_avg.div(divisor).div_(1 - group["betas"][0] ** state["step"])
