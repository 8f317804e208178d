"""Compiles the step of an optimizer that has no fused kernel with ``torch.compile``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from bocb_hf.errors import InputError
from bocb_hf.optim.row import OptimizerRow


def compile_step(optimizer: Optimizer, row: OptimizerRow, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compiles ``optimizer.step`` in place; the first steps then take a minute or so.

    Args:
        optimizer: The optimizer as it was built, before accelerate wraps it.
        row: The row of the optimizer.
        backend: Backend of ``torch.compile``.

    Raises:
        InputError: The row says that this step does not compile.
    """
    if not row.compiles:
        raise InputError(
            f"runtime.compile_optimizer: the step of {row.id} runs a fused kernel or looks at numbers on the way, so "
            "that compiling it gains nothing; leave it off"
        )
    for group in optimizer.param_groups:
        set_lr(group, float(group["lr"]), compiled=True)
    step: Any = torch.compile(optimizer.step, backend=backend)
    optimizer.step = step


def set_lr(group: dict[str, Any], lr: float, compiled: bool) -> None:
    """Sets a group's learning rate, times the group's own ``lr_scale`` if it has one.

    A compiled step takes the learning rate from a tensor: a number would be a constant of the graph, and each change of
    it would compile the step anew.
    """
    lr *= group.get("lr_scale", 1.0)
    if not compiled:
        group["lr"] = lr
    elif isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(lr)
    else:  # the rate is a number as it was built, or as it was read from the state of a run that was not compiled
        group["lr"] = torch.tensor(lr, dtype=torch.float64)
