"""Optimizers of timm, each built explicitly, with the single-tensor loop: foreach is slower on a CPU."""

from __future__ import annotations

from typing import Any

from timm.optim.adabelief import AdaBelief
from timm.optim.adafactor import Adafactor
from timm.optim.adamw import AdamWLegacy
from timm.optim.adan import Adan
from timm.optim.adopt import Adopt
from timm.optim.lamb import Lamb
from timm.optim.laprop import LaProp
from timm.optim.lars import Lars
from timm.optim.lion import Lion
from timm.optim.nadamw import NAdamW
from timm.optim.nvnovograd import NvNovoGrad
from torch.optim import Optimizer

from bocb_hf.optim import hyperparameters as hp

Groups = list[dict[str, Any]]


def lion(groups: Groups, lr: float, h: hp.LionHyperparameters) -> Optimizer:
    """Builds Lion."""
    return Lion(groups, lr=lr, betas=(h.beta1, h.beta2), caution=False, foreach=False)


def clion(groups: Groups, lr: float, h: hp.LionHyperparameters) -> Optimizer:
    """Builds Cautious Lion."""
    return Lion(groups, lr=lr, betas=(h.beta1, h.beta2), caution=True, foreach=False)


def lamb(groups: Groups, lr: float, h: hp.LambHyperparameters) -> Optimizer:
    """Builds LAMB. timm drops the trust ratio where weight decay is 0 and clips by default; the paper does neither."""
    return Lamb(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
        max_grad_norm=None,
        always_adapt=True,
        foreach=False,
    )


def lars(groups: Groups, lr: float, h: hp.LarsHyperparameters) -> Optimizer:
    """Builds LARS. Every matrix adapts, also at weight decay 0, where timm would not; norms and biases never do."""
    split: Groups = []
    for group in groups:
        for adapts in (True, False):
            params = [p for p in group["params"] if (p.ndim > 1) == adapts]
            if params:
                decay = group["weight_decay"] if adapts else 0.0
                # all other keys of a group, such as a learning rate of its own, hold for both parts
                split.append(group | {"params": params, "weight_decay": decay, "always_adapt": adapts})
    return Lars(
        split,
        lr=lr,
        momentum=h.momentum,  # type: ignore[arg-type] - timm annotates the argument by its default of 0
        trust_coeff=h.trust_coefficient,
        eps=h.eps,
        foreach=False,
    )


def adan(groups: Groups, lr: float, h: hp.AdanHyperparameters) -> Optimizer:
    """Builds Adan with proximal decay."""
    betas = (h.beta1, h.beta2, h.beta3)
    return Adan(groups, lr=lr, betas=betas, eps=h.eps, no_prox=False, caution=False, foreach=False)


def adafactor(groups: Groups, lr: float, h: hp.AdafactorHyperparameters) -> Optimizer:
    """Builds AdaFactor with a learning rate from outside."""
    return Adafactor(
        groups,
        lr=lr,
        eps=h.eps,
        clip_threshold=h.clip_threshold,
        decay_rate=-h.decay_rate,
        betas=None,
        scale_parameter=False,
        warmup_init=False,
        min_dim_size_to_factor=16,
        caution=False,
    )


def adabelief(groups: Groups, lr: float, h: hp.AdabeliefHyperparameters) -> Optimizer:
    """Builds AdaBelief as in the paper."""
    return _adabelief(groups, lr, h, rectify=False)


def radabelief(groups: Groups, lr: float, h: hp.AdabeliefHyperparameters) -> Optimizer:
    """Builds AdaBelief as in its authors' package."""
    return _adabelief(groups, lr, h, rectify=True)


def _adabelief(groups: Groups, lr: float, h: hp.AdabeliefHyperparameters, rectify: bool) -> Optimizer:
    return AdaBelief(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
        amsgrad=False,
        decoupled_decay=True,
        fixed_decay=False,
        rectify=rectify,
        degenerated_to_sgd=True,
        foreach=False,
    )


def novograd(groups: Groups, lr: float, h: hp.NovogradHyperparameters) -> Optimizer:
    """Builds NovoGrad; ``decoupled_decay=False`` is timm's name for the paper's place of the decay."""
    return NvNovoGrad(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
        grad_averaging=False,
        amsgrad=False,
        decoupled_decay=False,
    )


def adopt(groups: Groups, lr: float, h: hp.AdoptHyperparameters) -> Optimizer:
    """Builds ADOPT with decoupled decay."""
    return Adopt(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
        clip_exp=h.clip_exp,
        decoupled=True,
        caution=False,
        foreach=False,
    )


def cadamw(groups: Groups, lr: float, h: hp.AdamHyperparameters) -> Optimizer:
    """Builds Cautious AdamW."""
    return AdamWLegacy(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
        amsgrad=False,
        caution=True,
        corrected_weight_decay=False,
        foreach=False,
    )


def nadamw(groups: Groups, lr: float, h: hp.AdamHyperparameters) -> Optimizer:
    """Builds NAdamW without a momentum schedule."""
    return NAdamW(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
        caution=False,
        corrected_weight_decay=False,
        maximize=False,
        foreach=False,
        capturable=False,
        clipping_threshold=None,
    )


def laprop(groups: Groups, lr: float, h: hp.LapropHyperparameters) -> Optimizer:
    """Builds LaProp."""
    return LaProp(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
        caution=False,
        corrected_weight_decay=False,
        foreach=False,
    )
