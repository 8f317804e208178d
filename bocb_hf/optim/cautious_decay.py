"""Cautious weight decay, an option of every optimizer whose decay is plain.

Chen et al., *Cautious Weight Decay*, arXiv 2510.12402, Algorithm 1: a number decays only where the step takes it
towards 0 as well. With the optimizer's own step lr·u:

    θ ← θ − lr·(u + λ·1(u·θ ≥ 0)·θ)

It adds no number to tune, and its paper measured it with AdamW, Lion and Muon on ImageNet too. That is why it is the
option here and not AdamC's corrected decay (arXiv 2506.02285), which reshapes the schedule of the decay, and for
normalised layers only, so that one would have to say which these are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


def make_cautious(optimizer: Optimizer) -> None:
    """Makes the decay of an optimizer cautious, in place.

    The step itself runs without decay, and the sign of u is that of the change that it makes: a step that is rounded
    away counts as 0, and then the number decays. A copy of the decayed weights is kept while a step lasts.

    Args:
        optimizer: An optimizer whose decay is lr·λ·θ and whose step does not depend on it
            (``OptimizerRow.plain_decay``).
    """
    before: list[tuple[Tensor, Tensor, float]] = []  # parameter, its value before the step, lr·λ
    decays: list[float] = []

    def hold(*_: Any) -> None:
        before.clear()
        decays[:] = [group["weight_decay"] for group in optimizer.param_groups]
        for group in optimizer.param_groups:
            if group["weight_decay"] != 0:
                rate = float(group["lr"]) * group["weight_decay"]
                before.extend((p, p.detach().clone(), rate) for p in group["params"] if p.grad is not None)
                group["weight_decay"] = 0.0

    @torch.no_grad()
    def decay(*_: Any) -> None:
        for group, value in zip(optimizer.param_groups, decays, strict=True):
            group["weight_decay"] = value
        for parameter, value, rate in before:
            towards = (value - parameter).mul_(value) >= 0
            parameter.addcmul_(value, towards.to(value.dtype), value=-rate)
        before.clear()

    optimizer.register_step_pre_hook(hold)
    optimizer.register_step_post_hook(decay)
