"""Operations in which all processes of a run take part."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import nn

from bocb_hf.engine.interrupt import StopSignal
from bocb_hf.errors import InputError


def share_buffers(accelerator: Accelerator, model: nn.Module) -> None:
    """Gives every process the running statistics of the first; batch norm's differ until the next forward pass."""
    if accelerator.num_processes > 1:
        for buffer in model.buffers():
            buffer.copy_(broadcast(buffer))  # type: ignore[arg-type] - a tensor in, a tensor out


def check_world_size(processes: int) -> None:
    """Checks that the processes of a launcher know of each other.

    Args:
        processes: Number of processes as ``accelerate`` counts them.

    Raises:
        InputError: The launcher started more processes than that.
    """
    started = int(os.environ.get("WORLD_SIZE") or 1)
    if started > 1 and processes == 1:
        raise InputError(
            f"the launcher started {started} processes, but each of them would train alone: without a GPU accelerate "
            "joins them only if told so; set ACCELERATE_USE_CPU=true before `accelerate launch`, or start one process"
        )


@torch.no_grad()
def all_finite(accelerator: Accelerator, model: nn.Module) -> bool:
    """Whether all parameters and buffers are finite in every process, each of which looks at its own shards."""
    bad = torch.zeros((), device=accelerator.device)
    for tensor in [*model.parameters(), *model.buffers()]:
        if tensor.is_floating_point():
            to_local = getattr(tensor, "to_local", None)
            mine = tensor if to_local is None else to_local()
            bad += ~torch.isfinite(mine).all()
    return float(accelerator.reduce(bad, "sum")) == 0  # type: ignore[arg-type] - a tensor in, a tensor out


def agree_to_stop(stop: StopSignal, accelerator: Accelerator, at_sync: bool) -> bool:
    """Whether to stop now. Several processes agree at logged steps only, so that all of them stop at the same step.

    Args:
        stop: Flag of this process that says whether it was told to stop.
        accelerator: The accelerator that joins the processes.
        at_sync: Whether all processes make this call at a step at which they agree.
    """
    if accelerator.num_processes == 1 or not at_sync:
        return stop.requested and accelerator.num_processes == 1
    flag = torch.tensor(int(stop.requested), device=accelerator.device)
    return bool(accelerator.reduce(flag, "sum") > 0)  # type: ignore[operator] - a tensor in, a tensor out
