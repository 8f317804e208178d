"""Other passes over the batch, which some optimizers need in a step beside one gradient.

A row of the registry says so (``needs``). For all other optimizers nothing here runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bocb_hf.errors import InputError
from bocb_hf.optim.row import OptimizerRow
from bocb_hf.runs.identity import Identity

Part = TypeVar("Part")

# Batches whose statistics batch norm averages at weights that were never trained with, as schedule-free's authors do.
RECALIBRATION_BATCHES = 50


def check_precision(identity: Identity, row: OptimizerRow) -> None:
    """Refuses what cannot work.

    Raises:
        InputError: fp16, whose gradient scaling knows one gradient a step, with an optimizer that takes more.
    """
    if identity.training.precision == "fp16" and row.needs & {"closure", "hessian"}:
        raise InputError(f"training.precision: {row.id} takes several gradients a step, which fp16 cannot; choose bf16")


def batch_gradient(
    accelerator: Accelerator, network: nn.Module, parts: Sequence[Part], loss_of: Callable[[Part], Tensor]
) -> None:
    """Adds the gradient of the whole batch to the parameters' gradients, without moving batch norm's statistics.

    Args:
        accelerator: Its count of accumulated micro-batches is left alone.
        network: As it was prepared.
        parts: What ``loss_of`` takes, for each micro-batch.
        loss_of: Mean loss of a micro-batch, a scalar.
    """
    with _still_statistics(network):
        for i, part in enumerate(parts):
            with nullcontext() if i == len(parts) - 1 else accelerator.no_sync(network):
                accelerator.backward(loss_of(part))


@contextmanager
def _still_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norm uses the batch's statistics as in training, but does not remember them: one batch counts once."""
    tracking = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
