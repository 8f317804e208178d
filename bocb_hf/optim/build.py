"""Builds each optimizer explicitly, never through a factory's silent defaults."""

from __future__ import annotations

import importlib
from typing import Any

from torch.optim import Optimizer

from bocb_hf.config import OptimizerConfig, resolve_hyperparameters
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

    For a row that needs ``matrix_split`` each of them falls into hidden matrices and the rest.

    Args:
        identity: With every hyper-parameter resolved.
        groups: From ``split_parameters``.

    Raises:
        InputError: The extra that holds the implementation is not installed.
    """
    row = OPTIMIZERS.get(identity.name)
    parts = ((groups.decay, identity.weight_decay), (groups.no_decay, 0.0))
    param_groups: list[dict[str, Any]] = []
    if "matrix_split" in row.needs:
        for named, decay in parts:
            for matrix in (True, False):
                params = [p for name, p in named if (name in groups.matrices) == matrix]
                if params:
                    param_groups.append({"params": params, "weight_decay": decay, "matrix": matrix})
    else:
        param_groups = [{"params": [p for _, p in named], "weight_decay": decay} for named, decay in parts if named]
    module, _, function = row.build.partition(":")
    build = getattr(importlib.import_module(module), function)
    return build(param_groups, identity.lr, row.hyperparameters(**identity.hyperparameters))
