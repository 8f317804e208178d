"""Optimizers of torch, each built explicitly: fused where torch has it, the fastest path on the CPU and on a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from bocb_hf.optim import study

Groups = list[dict[str, Any]]


def sgdm(groups: Groups, lr: float, h: study.SgdmHyperparameters) -> Optimizer:
    """SGD with momentum."""
    return torch.optim.SGD(groups, lr=lr, momentum=h.momentum, fused=True)


def adamw(groups: Groups, lr: float, h: study.AdamWHyperparameters) -> Optimizer:
    """AdamW."""
    return torch.optim.AdamW(groups, lr=lr, betas=(h.beta1, h.beta2), eps=h.eps, fused=True)


def rmsprop(groups: Groups, lr: float, h: study.RmspropHyperparameters) -> Optimizer:
    """RMSProp; torch has no fused path for it, and foreach is slower than the loop on a CPU."""
    return torch.optim.RMSprop(groups, lr=lr, alpha=h.alpha, eps=h.eps, foreach=False)
