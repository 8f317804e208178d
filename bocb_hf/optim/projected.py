"""SGDP and AdamP: steps without their radial part where a weight looks scale-invariant.

Heo et al., *AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights*, arXiv 2006.08217,
Algorithms 1 and 2. With the step p of SGD with momentum or of Adam, for tensors of two axes and more, first channel by
channel and then for the tensor as a whole:

    if |cos(w, g)| < δ/√dim(w), for every channel:   p ← p − (ŵ·p)ŵ  with ŵ = w/(‖w‖ + ε),  and the decay times wd_ratio

The arithmetic is that of timm's classes. What differs is the cost: torch's ``cosine_similarity`` is five times as slow
as the three sums over rows that it stands for, and both views need the same three.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import AdampHyperparameters, SgdpHyperparameters
from bocb_hf.optim.parameterwise import ParameterwiseOptimizer, adam_moments, decay


def radial_part(weight: Tensor, gradient: Tensor, step: Tensor, delta: float, eps: float) -> Tensor | None:
    """Returns the radial part of the step, to be removed, or None if the weight does not look scale-invariant.

    Args:
        weight: The weight, of two axes or more.
        gradient: The gradient, in the shape of the weight; its direction decides.
        step: The step to be projected, in the shape of the weight.
        delta: Cosine below which a weight counts as scale-invariant, before division by the root of its size.
        eps: Added to the norm of the weight, and the least norm in the cosine.
    """
    if weight.ndim < 2:
        return None
    w, g = (tensor.reshape(len(tensor), -1) for tensor in (weight, gradient))  # (channels, rest)
    dots = (w * g).sum(dim=1)
    w_norms, g_norms = torch.linalg.vector_norm(w, dim=1), torch.linalg.vector_norm(g, dim=1)
    cosines = dots.abs() / (w_norms.clamp(min=eps) * g_norms.clamp(min=eps))
    if cosines.max() < delta / math.sqrt(w.shape[1]):
        shares = (w * step.reshape(w.shape)).sum(dim=1) / (w_norms + eps).square()
        return (w * shares[:, None]).view(weight.shape)
    w_norm, g_norm = torch.linalg.vector_norm(w_norms), torch.linalg.vector_norm(g_norms)
    cosine = dots.sum().abs() / (w_norm.clamp(min=eps) * g_norm.clamp(min=eps))
    if cosine < delta / math.sqrt(w.numel()):
        return weight * ((w * step.reshape(w.shape)).sum() / (w_norm + eps).square())
    return None


class SGDP(ParameterwiseOptimizer):
    """SGDP.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        momentum: μ, the share that the momentum keeps in a step.
        delta: δ, the cosine below which a weight counts as scale-invariant, before division by √dim(w).
        wd_ratio: Share of the decay that a projected weight keeps.
        eps: ε, added to the norm of the weight.
        in_buffer: Whether the momentum buffer itself is projected, as in the study's code, so that radial momentum is
            lost for good; Algorithm 1 projects the step alone.
        weight_decay: Decoupled weight decay, scaled by 1/(1 − μ).
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float,
        delta: float,
        wd_ratio: float,
        eps: float,
        in_buffer: bool,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "delta": delta,
            "wd_ratio": wd_ratio,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)
        self.in_buffer = in_buffer

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, ratio, lr, momentum = self.state[parameter], 1.0, group["lr"], group["momentum"]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        step = state["momentum"].mul_(momentum).add_(gradient)
        radial = radial_part(parameter, gradient, step, group["delta"], group["eps"])
        if radial is not None:
            step = step.sub_(radial) if self.in_buffer else step - radial
            ratio = group["wd_ratio"]
        if group["weight_decay"] != 0:
            parameter.mul_(1 - lr * group["weight_decay"] * ratio / (1 - momentum))
        parameter.add_(step, alpha=-lr)


class AdamP(ParameterwiseOptimizer):
    """AdamP.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        betas: Decay of the moments.
        delta: δ, the cosine below which a weight counts as scale-invariant, before division by √dim(w).
        wd_ratio: Share of the decay that a projected weight keeps.
        eps: ε, added to the norm of the weight, and also that of Adam.
        weight_decay: Decoupled weight decay.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float],
        delta: float,
        wd_ratio: float,
        eps: float,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "delta": delta,
            "wd_ratio": wd_ratio,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, ratio = self._adam_state(parameter), 1.0
        exp_avg, divisor = adam_moments(state, gradient, group["betas"], group["eps"])
        step = torch.div(exp_avg, divisor, out=divisor)
        radial = radial_part(parameter, gradient, step, group["delta"], group["eps"])
        if radial is not None:
            step.sub_(radial)
            ratio = group["wd_ratio"]
        decay(parameter, group, ratio)
        parameter.add_(step, alpha=-group["lr"] / (1 - group["betas"][0] ** state["step"]))


def sgdp(groups: list[dict[str, Any]], lr: float, h: SgdpHyperparameters) -> Optimizer:
    """Builds SGDP over parameter groups."""
    return SGDP(groups, lr=lr, momentum=h.momentum, delta=h.delta, wd_ratio=h.wd_ratio, eps=h.eps, in_buffer=False)


def sgdpupstream(groups: list[dict[str, Any]], lr: float, h: SgdpHyperparameters) -> Optimizer:
    """Builds SGDP of the study's code over parameter groups."""
    return SGDP(groups, lr=lr, momentum=h.momentum, delta=h.delta, wd_ratio=h.wd_ratio, eps=h.eps, in_buffer=True)


def adamp(groups: list[dict[str, Any]], lr: float, h: AdampHyperparameters) -> Optimizer:
    """Builds AdamP over parameter groups."""
    return AdamP(groups, lr=lr, betas=(h.beta1, h.beta2), delta=h.delta, wd_ratio=h.wd_ratio, eps=h.eps)
