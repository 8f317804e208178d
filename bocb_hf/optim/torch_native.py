"""Optimizers of torch, each built explicitly: fused where torch has it, the fastest path on the CPU and on a GPU.

The others take the single-tensor loop, for foreach is slower on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import Optimizer

from bocb_hf.optim import hyperparameters as hp

Groups = list[dict[str, Any]]


def sgdm(groups: Groups, lr: float, h: hp.SgdmHyperparameters) -> Optimizer:
    """Builds SGD with momentum."""
    return torch.optim.SGD(groups, lr=lr, momentum=h.momentum, fused=True)


def adam(groups: Groups, lr: float, h: hp.AdamHyperparameters) -> Optimizer:
    """Builds Adam, with weight decay added to the gradient."""
    return torch.optim.Adam(groups, lr=lr, betas=(h.beta1, h.beta2), eps=h.eps, fused=True)


def adamax(groups: Groups, lr: float, h: hp.AdamHyperparameters) -> Optimizer:
    """Builds Adamax."""
    return torch.optim.Adamax(groups, lr=lr, betas=(h.beta1, h.beta2), eps=h.eps, foreach=False)


def nadam(groups: Groups, lr: float, h: hp.NadamHyperparameters) -> Optimizer:
    """Builds NAdam, with weight decay added to the gradient."""
    return torch.optim.NAdam(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
        momentum_decay=h.momentum_decay,
        decoupled_weight_decay=False,
        foreach=False,
    )


def adamw(groups: Groups, lr: float, h: hp.AdamHyperparameters) -> Optimizer:
    """Builds AdamW."""
    return torch.optim.AdamW(groups, lr=lr, betas=(h.beta1, h.beta2), eps=h.eps, fused=True)


def radam(groups: Groups, lr: float, h: hp.AdamHyperparameters) -> Optimizer:
    """Builds RAdam. The study calls its decay decoupled, which is not torch's default."""
    return torch.optim.RAdam(
        groups, lr=lr, betas=(h.beta1, h.beta2), eps=h.eps, decoupled_weight_decay=True, foreach=False
    )


def adagrad(groups: Groups, lr: float, h: hp.AdagradHyperparameters) -> Optimizer:
    """Builds AdaGrad."""
    return torch.optim.Adagrad(groups, lr=lr, lr_decay=0.0, initial_accumulator_value=0.0, eps=h.eps, fused=True)


def adadelta(groups: Groups, lr: float, h: hp.AdadeltaHyperparameters) -> Optimizer:
    """Builds AdaDelta."""
    return torch.optim.Adadelta(groups, lr=lr, rho=h.rho, eps=h.eps, foreach=False)


def rmsprop(groups: Groups, lr: float, h: hp.RmspropHyperparameters) -> Optimizer:
    """Builds RMSProp."""
    return torch.optim.RMSprop(groups, lr=lr, alpha=h.alpha, eps=h.eps, momentum=0.0, centered=False, foreach=False)
