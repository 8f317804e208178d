"""FSDP2: parameters, gradients and optimizer state in shards, one on each process.

A GPU option of accelerate. The tests run it on the CPU, with two processes and gloo.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch.optim import Optimizer

from bocb_hf.errors import InputError
from bocb_hf.optim.row import OptimizerRow
from bocb_hf.runs.config import TrainingConfig


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether each process holds only a part of each parameter."""
    return accelerator.distributed_type == DistributedType.FSDP


def check_sharding(accelerator: Accelerator, row: OptimizerRow, training: TrainingConfig) -> None:
    """Refuses what FSDP would make wrong: every process holds only a part of each parameter.

    Raises:
        InputError: An optimizer that needs whole tensors or several gradients, averaged weights, or FSDP's first
            version, which hides the parameters in flat ones.
    """
    if not is_sharded(accelerator):
        return
    if not accelerator.is_fsdp2:
        raise InputError("FSDP: version 1 hides the parameters; set fsdp_version: 2, as recipes/accelerate/fsdp.yaml")
    if not row.elementwise or row.needs - {"run_length"}:
        raise InputError(
            f"FSDP: {row.id} needs whole tensors or more than one gradient, but each process holds a shard; take DDP "
            "(recipes/accelerate/multi_gpu.yaml)"
        )
    if training.ema_decay is not None:
        raise InputError("FSDP: averaged weights of shards are not supported; set training.ema_decay=null or take DDP")


def fit_to_shards(accelerator: Accelerator, optimizer: Optimizer) -> None:
    """Makes ready for ``accelerator.prepare`` what FSDP2 would stumble over; does nothing without FSDP.

    Every process has built the whole network with the same weights, so that none needs those of the first process;
    and that way of loading fails at any buffer or parameter of the network itself, such as a class token (accelerate
    1.15). torch has no fused step of SGD and AdaGrad for shards (2.15), only of Adam and AdamW. What AdaGrad keeps of
    the whole parameters from its construction on would stay beside what it keeps of the shards. And accelerate would
    cast all parameters for mixed precision, those of norms too, where it leaves the choice to autocast without FSDP:
    the precision of a run must mean the same everywhere, so that the forward pass is left to autocast here as well.
    """
    if not is_sharded(accelerator):
        return
    plugin: Any = accelerator.state.fsdp_plugin
    plugin.cpu_ram_efficient_loading, plugin.mixed_precision_policy = False, None
    optimizer.state.clear()
    if isinstance(optimizer, torch.optim.SGD | torch.optim.Adagrad):
        for group in optimizer.param_groups:
            group["fused"] = False
        # torch's own mark of a fused step, which its stubs do not have
        optimizer._step_supports_amp_scaling = False  # type: ignore[union-attr]
