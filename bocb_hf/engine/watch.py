"""Measures how large a step is: the norm of its gradient, and the norm of its change over that of the weights."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor, nn


class StepWatch:
    """Measures one step; it keeps a copy of the weights from ``before`` to ``after``.

    Args:
        accelerator: For gradients that fp16 has scaled.
        model: Whose parameters that take a gradient are watched.

    Attributes:
        grad_norm: Before clipping, a scalar; whoever clips sets it.
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
        """Norm of the gradient, and norm of the change over norm of the weights before it."""
        moved = nn.utils.get_total_norm([p.detach() - k for p, k in zip(self._parameters, self._kept, strict=True)])
        size = nn.utils.get_total_norm(self._kept)
        self._kept = []
        assert self.grad_norm is not None, "nothing has looked at the gradients"
        norm, moved, size = (_whole(t) for t in (self.grad_norm, moved, size))
        return float(norm), float(moved / size.clamp_min(torch.finfo(size.dtype).tiny))


def _whole(value: Tensor) -> Tensor:
    """A norm of sharded parameters is a tensor over all processes; every process sees its full value."""
    full = getattr(value, "full_tensor", None)
    return full() if full is not None else value
