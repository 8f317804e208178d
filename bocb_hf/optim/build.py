"""Builds each optimizer explicitly, never through a factory's silent defaults."""

from __future__ import annotations

import importlib
from typing import Any

from torch.optim import Optimizer

from bocb_hf.config import OptimizerConfig, resolve_hyperparameters
from bocb_hf.errors import InputError
from bocb_hf.identity import OptimizerIdentity
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.param_groups import ParamGroups


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

    For a row that needs ``matrix_split`` each of them falls into hidden matrices and the rest, and with layer decay
    into one for each learning rate.

    Args:
        identity: With every hyper-parameter resolved.
        groups: From ``split_parameters``.

    Raises:
        InputError: The extra that holds the implementation is not installed, or nothing is trainable.
    """
    row = OPTIMIZERS.get(identity.name)
    param_groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for named, decay in ((groups.decay, identity.weight_decay), (groups.no_decay, 0.0)):
        for name, parameter in named:
            matrix = name in groups.matrices if "matrix_split" in row.needs else None
            scale = groups.lr_scales.get(name, 1.0)
            # the order of the keys is that of the groups: first those with decay, in each the matrices first
            key = (named is groups.no_decay, matrix is False, -scale)
            if key not in param_groups:
                param_groups[key] = {"params": [], "weight_decay": decay}
                if matrix is not None:
                    param_groups[key]["matrix"] = matrix
                if groups.lr_scales:
                    param_groups[key] |= {"lr": identity.lr * scale, "lr_scale": scale}
            param_groups[key]["params"].append(parameter)
    if not param_groups:
        raise InputError("backbone: there is nothing to train, for no parameter takes a gradient")
    module, _, function = row.build.partition(":")
    build = getattr(importlib.import_module(module), function)
    return build(
        [param_groups[key] for key in sorted(param_groups)],
        identity.lr,
        row.hyperparameters(**identity.hyperparameters),
    )
