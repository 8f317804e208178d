"""SGDP as the study's code has it: that code projects the momentum buffer itself.

Heo et al., *AdamP: Slowing Down the Slowdown for Momentum Optimizers on Scale-invariant Weights*, arXiv 2006.08217,
Algorithm 1. There Π acts on the step alone; here its result stays in the buffer, so that radial momentum is lost for
good:

    p ← μp + g;   p ← Π(p) where the cosine of w and g is small;   w ← w − lr·p
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.optim.adamp import projection
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import SgdpHyperparameters


class SgdpUpstream(Optimizer):
    """SGDP whose projection happens inside the momentum buffer.

    Args:
        params: Parameters or groups.
        lr: Learning rate.
        momentum: μ.
        delta: Cosine below which a weight counts as scale-invariant, before division by the root of its size.
        wd_ratio: Share of the decay that such a weight keeps.
        eps: Added to norms.
        weight_decay: Decoupled, scaled by 1/(1 − μ).
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float,
        delta: float,
        wd_ratio: float,
        eps: float,
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

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Takes one step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                buffer, ratio = state["momentum"].mul_(group["momentum"]).add_(p.grad), 1.0
                if p.ndim > 1:
                    # in place, which is what this variant is about
                    buffer, ratio = projection(p, p.grad, buffer, group["delta"], group["wd_ratio"], group["eps"])
                if group["weight_decay"] != 0:
                    p.mul_(1 - group["lr"] * group["weight_decay"] * ratio / (1 - group["momentum"]))
                p.add_(buffer, alpha=-group["lr"])
        return loss


def build(groups: list[dict[str, Any]], lr: float, h: SgdpHyperparameters) -> Optimizer:
    """Builds SGDP of the study's code over parameter groups."""
    return SgdpUpstream(groups, lr=lr, momentum=h.momentum, delta=h.delta, wd_ratio=h.wd_ratio, eps=h.eps)
