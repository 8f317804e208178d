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
from bocb_hf.runs.training_config import TrainingConfig


def is_sharded(accelerator: Accelerator) -> bool:
    """Whether each process holds only a part of each parameter."""
    return accelerator.distributed_type == DistributedType.FSDP


def check_sharding(accelerator: Accelerator, row: OptimizerRow, training: TrainingConfig) -> None:
    """Refuses runs that FSDP would make wrong, because every process holds only a part of each parameter.

    Raises:
        InputError: The optimizer needs whole tensors or several gradients, the setting averages weights, or FSDP is of
            its first version, which hides the parameters in flat ones.
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
    """Prepares plugin and optimizer so that FSDP2 does not fail in ``accelerator.prepare``; does nothing without FSDP.

    Four things are changed. Weights are not loaded from the first process: every process has built the whole network
    with the same weights, and that way of loading fails at any buffer or parameter of the network itself, such as a
    class token (accelerate 1.15). The fused step is switched off, since torch (2.15) has it for shards only of Adam and
    AdamW, not of SGD and AdaGrad. State that AdaGrad keeps of the whole parameters from its construction on is dropped,
    since it would stay beside the state of the shards. Finally, the forward pass is left to autocast, as it is without
    FSDP: accelerate would cast all parameters for mixed precision, those of norms too, and the precision of a run must
    mean the same everywhere.
    """
    if not is_sharded(accelerator):
        return
    plugin: Any = accelerator.state.fsdp_plugin
    plugin.cpu_ram_efficient_loading, plugin.mixed_precision_policy = False, None
    optimizer.state.clear()
    if isinstance(optimizer, torch.optim.SGD | torch.optim.Adagrad):
        for group in optimizer.param_groups:
            group["fused"] = False
        # torch's own mark of a fused step, which torch's type stubs lack
        optimizer._step_supports_amp_scaling = False  # type: ignore[union-attr] - see above
