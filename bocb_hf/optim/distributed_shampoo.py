"""Distributed Shampoo: running averages of Shampoo's moments, roots now and then, and the size of Adam's step.

Shi et al., *A Distributed Data-Parallel PyTorch Implementation of the Distributed Shampoo Optimizer for Training Neural
Networks At-Scale*, arXiv 2309.06497, Algorithm 2 with grafting from Adam and decoupled decay, the variant that won
AlgoPerf; here in one process. Neighbouring axes are merged while their product is at most ``max_dim``, longer axes are
cut. For each such block of k axes, G₍ᵢ₎ being its matricisation along axis i:

    m ← β₁m + (1 − β₁)g;   v ← β₂v + (1 − β₂)g²;   a = m̂/(√v̂ + ε_a)          (Adam's step, corrected for its start)
    Hᵢ ← β₂Hᵢ + (1 − β₂)G₍ᵢ₎G₍ᵢ₎ᵀ;   every ``interval`` steps: Rᵢ = (Ĥᵢ + εI)^(−1/2k)
    p = m̂ ×₁ R₁ … ×ₖ Rₖ
    θ ← θ − lr·λθ − lr·p·‖a‖/‖p‖                                          (with a alone until there are roots)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import DistributedShampooHyperparameters
from bocb_hf.optim.parameterwise import ParameterwiseOptimizer, decay


class DistributedShampoo(ParameterwiseOptimizer):
    """Distributed Shampoo in one process.

    Args:
        params: Parameters or groups.
        lr: Learning rate, as of the AdamW that it replaces.
        betas: β₁ and β₂.
        eps: ε, added to the eigenvalues of the moments.
        adam_eps: ε_a, added to √v̂ of Adam's step.
        interval: Steps between two computations of the roots; the first computation comes after as many steps.
        max_dim: Longest axis of a block.
        weight_decay: Decoupled weight decay.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        adam_eps: float,
        interval: int,
        max_dim: int,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "adam_eps": adam_eps,
            "interval": interval,
            "max_dim": max_dim,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        update = self._precondition(parameter, gradient, group)
        decay(parameter, group)
        parameter.add_(update.reshape(parameter.shape).to(parameter.dtype), alpha=-group["lr"])

    def _precondition(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        """Returns the tensor that the learning rate multiplies, in the merged shape."""
        shape = merged_shape(parameter.shape, group["max_dim"])
        # half precision has no decompositions, and its sums would stop growing
        gradient = gradient.to(torch.promote_types(gradient.dtype, torch.float32)).reshape(shape)
        cuts = list(itertools.product(*(_slices(n, group["max_dim"]) for n in shape)))
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = 0
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            state["moments"] = [[gradient.new_zeros(n, n) for n in gradient[cut].shape] for cut in cuts]
            state["roots"] = [[gradient.new_zeros(n, n) for n in gradient[cut].shape] for cut in cuts]
        state["step"] += 1
        step = state["step"]
        mean = state["exp_avg"].lerp_(gradient, 1 - beta1) / (1 - beta1**step)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        update = mean / square.div(1 - beta2**step).sqrt_().add_(group["adam_eps"])  # Adam's step
        for cut, moments, roots in zip(cuts, state["moments"], state["roots"], strict=True):
            for axis, (moment, root) in enumerate(zip(moments, roots, strict=True)):
                rows = _unfold(gradient[cut], axis)
                moment.mul_(beta2).addmm_(rows, rows.mT, alpha=1 - beta2)
                if step % group["interval"] == 0:
                    root.copy_(inverse_root(moment / (1 - beta2**step), 2 * len(shape), group["eps"]))
            if step >= group["interval"]:
                block = mean[cut]
                for axis, root in enumerate(roots):
                    # torch's stubs know only one of the forms of dims
                    block = torch.tensordot(root, block, dims=([1], [axis])).movedim(0, axis)  # type: ignore[arg-type]
                size = block.norm().clamp(min=torch.finfo(block.dtype).tiny)
                update[cut] = block * (update[cut].norm() / size)
        return update


def merged_shape(shape: Sequence[int], max_dim: int) -> tuple[int, ...]:
    """Leaves out axes of length 1, and merges neighbours, from the last, while their product is at most ``max_dim``."""
    lengths = [n for n in reversed(shape) if n != 1] or [1]
    merged = lengths[:1]
    for length in lengths[1:]:
        if merged[-1] * length <= max_dim:
            merged[-1] *= length
        else:
            merged.append(length)
    return tuple(reversed(merged))


def _slices(length: int, max_dim: int) -> list[slice]:
    return [slice(start, min(start + max_dim, length)) for start in range(0, length, max_dim)]


def _unfold(tensor: Tensor, axis: int) -> Tensor:
    """Returns the matricisation of a tensor along one axis, shape (n, rest)."""
    return tensor.movedim(axis, 0).reshape(tensor.shape[axis], math.prod(tensor.shape) // tensor.shape[axis])


def inverse_root(moment: Tensor, order: int, eps: float) -> Tensor:
    """Returns (moment + eps·I)^(−1/order), or NaN if it is not finite.

    Args:
        moment: A symmetric matrix, shape (n, n), with eigenvalues of at least 0 but for rounding.
        order: 2k for a block of k axes.
        eps: ε, which is also the smallest eigenvalue of the sum: rounding may leave smaller ones, and then all are
            lifted by the same amount, as in the authors' code.
    """
    if not moment.isfinite().all():
        # a decomposition of what is not finite would raise an error, but the run has to end as diverged
        return torch.full_like(moment, torch.nan)
    values, vectors = torch.linalg.eigh(moment)
    values = values - values[0].clamp(max=0.0) + eps
    return (vectors * values.pow(-1 / order)) @ vectors.mT


def build(groups: list[dict[str, Any]], lr: float, h: DistributedShampooHyperparameters) -> Optimizer:
    """Builds Distributed Shampoo over parameter groups."""
    return DistributedShampoo(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
        adam_eps=h.adam_eps,
        interval=h.interval,
        max_dim=h.max_dim,
    )
