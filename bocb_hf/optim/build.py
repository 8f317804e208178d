"""Builds each optimizer explicitly, never through a factory's silent defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.optim.lamb import Lamb
from timm.optim.lars import Lars
from torch.optim import Optimizer

from bocb_hf.config import OptimizerConfig, OptimizerIdentity, Scalar, resolve_hyperparameters
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.param_groups import ParamGroups

Groups = list[dict[str, Any]]


def resolve_optimizer(config: OptimizerConfig, setting: str) -> OptimizerIdentity:
    """Fills in the grid centre of the row for this setting, and the defaults.

    Raises:
        InputError: Unknown optimizer, or unknown or unusable hyper-parameters.
    """
    centre = OPTIMIZERS.get(config.name).centre(setting)
    return OptimizerIdentity(
        name=config.name,
        lr=centre.lr if config.lr is None else float(config.lr),
        weight_decay=centre.weight_decay if config.weight_decay is None else float(config.weight_decay),
        hyperparameters=resolve_hyperparameters(config.name, config.hyperparameters),
    )


def build_optimizer(identity: OptimizerIdentity, groups: ParamGroups) -> Optimizer:
    """Builds the optimizer over two parameter groups, the second without weight decay.

    Args:
        identity: With every hyper-parameter resolved.
        groups: From ``split_parameters``.
    """
    parts = ((groups.decay, identity.weight_decay), (groups.no_decay, 0.0))
    param_groups: Groups = [{"params": [p for _, p in named], "weight_decay": decay} for named, decay in parts if named]
    return _BUILDERS[identity.name](param_groups, identity.lr, identity.hyperparameters)


def _sgdm(groups: Groups, lr: float, h: dict[str, Scalar]) -> Optimizer:
    return torch.optim.SGD(groups, lr=lr, momentum=float(h["momentum"]), fused=True)


def _adamw(groups: Groups, lr: float, h: dict[str, Scalar]) -> Optimizer:
    return torch.optim.AdamW(
        groups, lr=lr, betas=(float(h["beta1"]), float(h["beta2"])), eps=float(h["eps"]), fused=True
    )


def _lamb(groups: Groups, lr: float, h: dict[str, Scalar]) -> Optimizer:
    # timm drops the trust ratio where weight decay is 0 and clips by default; the paper does neither
    return Lamb(
        groups,
        lr=lr,
        betas=(float(h["beta1"]), float(h["beta2"])),
        eps=float(h["eps"]),
        max_grad_norm=None,
        always_adapt=True,
        foreach=False,
    )


def _lars(groups: Groups, lr: float, h: dict[str, Scalar]) -> Optimizer:
    # the decay of a tensor does not decide its trust ratio here: every matrix adapts, also at weight decay 0,
    # and norms and biases never do
    adapted: Groups = []
    for group in groups:
        for always_adapt in (True, False):
            params = [p for p in group["params"] if (p.ndim > 1) == always_adapt]
            if params:
                decay = group["weight_decay"] if always_adapt else 0.0
                adapted.append({"params": params, "weight_decay": decay, "always_adapt": always_adapt})
    return Lars(
        adapted,
        lr=lr,
        momentum=float(h["momentum"]),  # type: ignore[arg-type] - annotated by its default of 0
        trust_coeff=float(h["trust_coefficient"]),
        eps=float(h["eps"]),
        foreach=False,
    )


def _rmsprop(groups: Groups, lr: float, h: dict[str, Scalar]) -> Optimizer:
    return torch.optim.RMSprop(groups, lr=lr, alpha=float(h["alpha"]), eps=float(h["eps"]), foreach=False)


_BUILDERS: dict[str, Callable[[Groups, float, dict[str, Scalar]], Optimizer]] = {
    "sgdm": _sgdm,
    "adamw": _adamw,
    "lamb": _lamb,
    "lars": _lars,
    "rmsprop": _rmsprop,
}
