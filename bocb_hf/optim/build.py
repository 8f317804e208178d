"""Builds each optimizer explicitly, never through a factory's silent defaults."""

from __future__ import annotations

import importlib
from typing import Any

from torch.optim import Optimizer

from bocb_hf.errors import InputError
from bocb_hf.optim.cautious_decay import make_cautious
from bocb_hf.optim.param_groups import ParamGroups
from bocb_hf.optim.resolve import CAUTIOUS_DECAY, ResolvedOptimizer


def build_optimizer(resolved: ResolvedOptimizer, groups: ParamGroups) -> Optimizer:
    """Builds the optimizer over two parameter groups, the second without weight decay.

    For a row that needs ``matrix_split`` each group is divided into hidden matrices and the rest, and with layer decay
    into one group for each learning rate.

    Args:
        resolved: The optimizer with every hyper-parameter filled in.
        groups: What ``split_parameters`` returned for the network.

    Raises:
        InputError: The extra that holds the implementation is not installed, or nothing is trainable.
    """
    row = resolved.row
    param_groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for named, decay in ((groups.decay, resolved.weight_decay), (groups.no_decay, 0.0)):
        for name, parameter in named:
            matrix = name in groups.matrices if "matrix_split" in row.needs else None
            scale = groups.lr_scales.get(name, 1.0)
            # the groups come in the order of their keys: those with decay first, and among these the matrices first
            key = (named is groups.no_decay, matrix is False, -scale)
            if key not in param_groups:
                param_groups[key] = {"params": [], "weight_decay": decay}
                if matrix is not None:
                    param_groups[key]["matrix"] = matrix
                if groups.lr_scales:
                    param_groups[key] |= {"lr": resolved.lr * scale, "lr_scale": scale}
            param_groups[key]["params"].append(parameter)
    if not param_groups:
        raise InputError("backbone: there is nothing to train, for no parameter takes a gradient")
    module, _, function = row.build.partition(":")
    build = getattr(importlib.import_module(module), function)
    more = {"total_steps": resolved.total_steps} if "run_length" in row.needs else {}
    own = dict(resolved.hyperparameters)
    cautious = own.pop(CAUTIOUS_DECAY, False)
    built = [param_groups[key] for key in sorted(param_groups)]
    optimizer = build(built, resolved.lr, row.hyperparameters(**own), **more)
    if cautious:
        make_cautious(optimizer)
    return optimizer
