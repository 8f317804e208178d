"""Measures a step: the norm of its gradient, and the norm of the change of the weights over that of the weights."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor, nn


class StepWatch:
    """Measures one step; it keeps a copy of the weights from ``before`` to ``after``.

    Args:
        accelerator: The accelerator, which unscales gradients that fp16 has scaled.
        model: The network; its parameters that take a gradient are watched.

    Attributes:
        grad_norm: Norm of the gradients before clipping, a scalar; the loop sets it when it clips.
    """

    def __init__(self, accelerator: Accelerator, model: nn.Module) -> None:
        self._accelerator = accelerator
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._kept: list[Tensor] = []
        self.grad_norm: Tensor | None = None

    @torch.no_grad()
    def before(self) -> None:
        """Remembers the weights."""
        self._kept = [p.detach().clone() for p in self._parameters]

    def gradients(self) -> Tensor:
        """Norm of the gradients as they are, a scalar."""
        self._accelerator.unscale_gradients()
        return nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])

    @torch.no_grad()
    def after(self) -> tuple[float, float]:
        """Norm of the gradient, and norm of the change of the weights over the norm of the weights before the step."""
        moved = nn.utils.get_total_norm([p.detach() - k for p, k in zip(self._parameters, self._kept, strict=True)])
        size = nn.utils.get_total_norm(self._kept)
        self._kept = []
        assert self.grad_norm is not None, "nothing has looked at the gradients"
        norm, moved, size = (_whole(t) for t in (self.grad_norm, moved, size))
        return float(norm), float(moved / size.clamp_min(torch.finfo(size.dtype).tiny))


def _whole(value: Tensor) -> Tensor:
    """Full value of a norm on every process; the norm of sharded parameters is a tensor spread over the processes."""
    full = getattr(value, "full_tensor", None)
    return full() if full is not None else value
