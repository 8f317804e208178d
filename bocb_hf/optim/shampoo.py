"""Shampoo: each axis of a gradient is preconditioned by a root of its accumulated second moments.

Gupta, Koren and Singer, *Shampoo: Preconditioned Stochastic Tensor Optimization*, arXiv 1802.09568, Algorithm 2. For a
tensor of k axes, G₍ᵢ₎ being its matricisation along axis i:

    Hᵢ ← Hᵢ + G₍ᵢ₎G₍ᵢ₎ᵀ,  from εI
    θ ← θ − lr·(G ×₁ H₁^(−1/2k) … ×ₖ Hₖ^(−1/2k))

A matrix gives L^(−1/4) G R^(−1/4), a vector full-matrix AdaGrad. Axes longer than ``max_dim`` keep the diagonal of Hᵢ
only, as the paper does for long axes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import ShampooHyperparameters
from bocb_hf.optim.parameterwise import ParameterwiseOptimizer, decay


class Shampoo(ParameterwiseOptimizer):
    """Shampoo.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        eps: ε.
        interval: Steps between two computations of the roots. In the first steps, as many as this, the roots are
            computed in every step: the root of a few gradients alone blows up all directions that they do not span.
        max_dim: Longest axis with a full matrix.
        weight_decay: Decoupled weight decay.
    """

    def __init__(
        self, params: Any, lr: float, eps: float, interval: int, max_dim: int, weight_decay: float = 0.0
    ) -> None:
        defaults = {"lr": lr, "eps": eps, "interval": interval, "max_dim": max_dim, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        # half precision has no decompositions, and its sums would stop growing
        update = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
        update = update.reshape(gradient.shape or (1,))
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["moments"] = [_identity(n, group, update) * group["eps"] for n in update.shape]
            state["roots"] = [_identity(n, group, update) for n in update.shape]
        state["step"] += 1
        renew = state["step"] <= group["interval"] or state["step"] % group["interval"] == 0
        unfolded = [
            update.movedim(axis, 0).flatten(1) if update.ndim > 1 else update[:, None] for axis in range(update.ndim)
        ]
        for axis, (moment, root) in enumerate(zip(state["moments"], state["roots"], strict=True)):
            rows = unfolded[axis]  # (n, rest)
            if moment.ndim == 1:
                moment.add_(rows.square().sum(dim=1))
            else:
                moment.addmm_(rows, rows.mT)
            if renew:
                root.copy_(inverse_root(moment, 2 * update.ndim, group["eps"]))
            if root.ndim == 1:
                update = update * root.view(-1, *(1,) * (update.ndim - 1 - axis))
            else:
                # torch's stubs know only one of the forms of dims
                update = torch.tensordot(root, update, dims=([1], [axis])).movedim(0, axis)  # type: ignore[arg-type]
        decay(parameter, group)
        parameter.add_(update.reshape(gradient.shape).to(parameter.dtype), alpha=-group["lr"])


def _identity(n: int, group: dict[str, Any], like: Tensor) -> Tensor:
    """Returns the identity of one axis, shape (n, n), or its diagonal, shape (n,)."""
    if n > group["max_dim"]:
        return torch.ones(n, dtype=like.dtype, device=like.device)
    return torch.eye(n, dtype=like.dtype, device=like.device)


def inverse_root(moment: Tensor, order: int, eps: float) -> Tensor:
    """Returns moment^(−1/order), or NaN if it is not finite.

    Args:
        moment: A symmetric matrix, shape (n, n), with eigenvalues of at least ``eps``, or its diagonal, shape (n,).
        order: 2k for a tensor of k axes.
        eps: Smallest eigenvalue. The moments start from it already, but in float32 the rounding of large moments
            swallows it, so it is applied once more.
    """
    if not moment.isfinite().all():
        # a decomposition of what is not finite would raise an error, but the run has to end as diverged
        return torch.full_like(moment, torch.nan)
    if moment.ndim == 1:
        return moment.clamp(min=eps).pow(-1 / order)
    values, vectors = torch.linalg.eigh(moment.double())
    root = (vectors * values.clamp(min=eps).pow(-1 / order)) @ vectors.mT
    return root.to(moment.dtype)


def build(groups: list[dict[str, Any]], lr: float, h: ShampooHyperparameters) -> Optimizer:
    """Builds Shampoo over parameter groups."""
    return Shampoo(groups, lr=lr, eps=h.eps, interval=h.interval, max_dim=h.max_dim)
