"""SPlus: the sign of the momentum in the eigenbasis of Shampoo's moments; evaluated at an average of the weights.

Frans, Levine and Abbeel, *A Stable Whitening Optimizer for Efficient Neural Network Training*, arXiv 2506.07254,
Algorithm 1, and the authors' code. For a matrix of shape (m, n):

    u ← β₁u + (1 − β₁)g
    step = Q_L sign(Q_Lᵀ u Q_R) Q_Rᵀ
    L ← β₂L + (1 − β₂)ggᵀ,  R ← β₂R + (1 − β₂)gᵀg;   Q_L, Q_R: their eigenvectors, at the first step and every k-th
    θ ← θ − lr·2/(m + n)·step;   average ← ρ·average + (1 − ρ)θ;   θ ← θ − lr·2/(m + n)·λθ

Everything else, convolutions too, takes the sign of its momentum, with a constant in place of 2/(m + n).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import SplusHyperparameters
from bocb_hf.optim.parameterwise import ParameterwiseOptimizer


class SPlus(ParameterwiseOptimizer):
    """SPlus.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        betas: β₁ of the momentum and β₂ of the moments.
        average_rate: ρ, the share that the average of the weights keeps in a step.
        interval: k, the steps between two computations of the eigenvectors.
        max_dim: Axes of this length and more have no eigenbasis.
        other_scale: Factor on the learning rate of everything that is not a matrix.
        weight_decay: Decoupled weight decay.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float],
        average_rate: float,
        interval: int,
        max_dim: int,
        other_scale: float,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "average_rate": average_rate,
            "interval": interval,
            "max_dim": max_dim,
            "other_scale": other_scale,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, max_dim = self.state[parameter], group["max_dim"]
        wide = torch.promote_types(gradient.dtype, torch.float32)  # half precision has no decompositions
        if not state:
            state["step"] = 0
            state["momentum"] = torch.zeros_like(parameter)
            state["average"] = torch.zeros_like(parameter)
            lengths = [n for n in parameter.shape if n < max_dim] if parameter.ndim == 2 else []
            state["moments"] = [torch.zeros(n, n, dtype=wide, device=parameter.device) for n in lengths]
            state["bases"] = [torch.eye(n, dtype=wide, device=parameter.device) for n in lengths]
        state["step"] += 1
        update = state["momentum"].lerp_(gradient, 1 - group["betas"][0])
        if parameter.ndim == 2:
            update = self._whiten(update.to(wide), gradient.to(wide), state, group).to(parameter.dtype)
        else:
            update = update.sign()
        standard = parameter.ndim == 2 and max(parameter.shape) <= max_dim
        lr = group["lr"] * (2 / sum(parameter.shape) if standard else group["other_scale"])
        parameter.add_(update, alpha=-lr)
        state["average"].lerp_(parameter, 1 - group["average_rate"])
        if group["weight_decay"] != 0:
            parameter.mul_(1 - lr * group["weight_decay"])

    def _whiten(self, update: Tensor, gradient: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
        """Returns the momentum's sign in the present basis, then updates the moments and, when due, the basis."""
        sides = [axis for axis in range(2) if gradient.shape[axis] < group["max_dim"]]
        renew = state["step"] == 1 or state["step"] % group["interval"] == 0
        for axis, basis in zip(sides, state["bases"], strict=True):
            update = update @ basis if axis else basis.mT @ update
        update = update.sign()
        for axis, moment, basis in zip(sides, state["moments"], state["bases"], strict=True):
            update = update @ basis.mT if axis else basis @ update
            moment.lerp_(gradient.mT @ gradient if axis else gradient @ gradient.mT, 1 - group["betas"][1])
            if renew:
                if moment.isfinite().all():
                    basis.copy_(torch.linalg.eigh(moment)[1])
                else:  # a decomposition of what is not finite would raise an error, but the run has to end as diverged
                    basis.fill_(torch.nan)
        return update

    @torch.no_grad()
    def eval(self) -> None:
        """Puts the averages, corrected for their start at 0, into the parameters."""
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state.get(parameter)
                if state and "trained" not in state:
                    state["trained"] = parameter.clone()
                    parameter.copy_(state["average"] / (1 - group["average_rate"] ** state["step"]))

    @torch.no_grad()
    def train(self) -> None:
        """Puts the training weights back."""
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state.get(parameter)
                if state and "trained" in state:
                    parameter.copy_(state.pop("trained"))


def build(groups: list[dict[str, Any]], lr: float, h: SplusHyperparameters) -> Optimizer:
    """Builds SPlus over parameter groups."""
    return SPlus(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        average_rate=h.average_rate,
        interval=h.interval,
        max_dim=h.max_dim,
        other_scale=h.other_scale,
    )
