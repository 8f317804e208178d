"""Optimizers of timm, each built explicitly."""

from __future__ import annotations

from typing import Any

from timm.optim.lamb import Lamb
from timm.optim.lars import Lars
from torch.optim import Optimizer

from bocb_hf.optim import study

Groups = list[dict[str, Any]]


def lamb(groups: Groups, lr: float, h: study.LambHyperparameters) -> Optimizer:
    """LAMB. timm drops the trust ratio where weight decay is 0 and clips by default; the paper does neither."""
    return Lamb(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
        max_grad_norm=None,
        always_adapt=True,
        foreach=False,
    )


def lars(groups: Groups, lr: float, h: study.LarsHyperparameters) -> Optimizer:
    """LARS. Every matrix adapts, also at weight decay 0, where timm would not; norms and biases never do."""
    split: Groups = []
    for group in groups:
        for adapts in (True, False):
            params = [p for p in group["params"] if (p.ndim > 1) == adapts]
            if params:
                decay = group["weight_decay"] if adapts else 0.0
                split.append({"params": params, "weight_decay": decay, "always_adapt": adapts})
    return Lars(
        split,
        lr=lr,
        momentum=h.momentum,  # type: ignore[arg-type] - annotated by its default of 0
        trust_coeff=h.trust_coefficient,
        eps=h.eps,
        foreach=False,
    )
