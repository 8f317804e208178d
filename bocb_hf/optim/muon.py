"""Muon: momentum whose matrices are orthogonalised, for hidden matrices; AdamW for everything else.

Jordan et al., *Muon: An optimizer for hidden layers in neural networks*, kellerjordan.github.io/posts/muon, with the
scale of Liu et al., *Muon is Scalable for LLM Training*, arXiv 2502.16982, which makes a step as large as one of AdamW.
For a matrix, or a convolution flattened to (out, rest):

    m ← μm + (1 − μ)g;   u = (1 − μ)g + μm  (Nesterov)
    θ ← θ − lr·λθ − lr·s·NS(u),   s = 0.2·√max(out, rest)

NS is Newton-Schulz: X ← aX + (bA + cA²)X with A = XXᵀ, five times from u/‖u‖. It takes singular values to about 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import MuonHyperparameters

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(Optimizer):
    """Muon.

    Args:
        params: Groups, each with ``matrix``: whether its parameters are hidden matrices.
        lr: Learning rate of both parts.
        momentum: μ.
        nesterov: Whether u looks ahead; else it is m.
        ns_steps: Steps of Newton-Schulz.
        adjust_lr: ``match_rms_adamw`` for s as above, ``original`` for √max(1, out/rest).
        betas: Of the AdamW part.
        eps: Of the AdamW part.
        weight_decay: Decoupled.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float,
        nesterov: bool,
        ns_steps: int,
        adjust_lr: str,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_steps": ns_steps,
            "adjust_lr": adjust_lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step."""
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

    def _matrix(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state, momentum = self.state[parameter], group["momentum"]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer = state["momentum_buffer"].lerp_(gradient, 1 - momentum)
        update = gradient.lerp(buffer, momentum) if group["nesterov"] else buffer
        flat = update.flatten(1)  # (out, rest)
        rows, columns = flat.shape
        if group["adjust_lr"] == "match_rms_adamw":
            scale = 0.2 * math.sqrt(max(rows, columns))
        else:
            scale = math.sqrt(max(1.0, rows / columns))
        return orthogonalise(flat, group["ns_steps"]).mul_(scale).to(parameter.dtype).view_as(parameter)

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


def orthogonalise(matrix: Tensor, steps: int, dtype: torch.dtype | None = None) -> Tensor:
    """Newton-Schulz iteration.

    Args:
        matrix: (m, n).
        steps: How many.
        dtype: To compute in. None is bfloat16 on a GPU, as the authors do, and at least float32 on a CPU: without
            bfloat16 instructions its products are a hundred times slower there.

    Returns:
        (m, n) in that type, with singular values of about 1.
    """
    if dtype is None:
        dtype = torch.bfloat16 if matrix.is_cuda else torch.promote_types(matrix.dtype, torch.float32)
    a, b, c = COEFFICIENTS
    x = matrix.to(dtype)
    x = x.mT if x.shape[0] > x.shape[1] else x  # the product XXᵀ is that of the shorter side
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if matrix.shape[0] > matrix.shape[1] else x).contiguous()


def build(groups: list[dict[str, Any]], lr: float, h: MuonHyperparameters) -> Optimizer:
    """Muon over parameter groups that say whether they hold hidden matrices."""
    return Muon(
        groups,
        lr=lr,
        momentum=h.momentum,
        nesterov=h.nesterov,
        ns_steps=h.ns_steps,
        adjust_lr=h.adjust_lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
    )
