"""Further passes over the batch, which some optimizers need in a step beside one gradient.

The row of such an optimizer in the registry says so in ``needs``. For all other optimizers nothing of this module runs.
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

# Number of batches over which batch norm averages its statistics anew for weights that no forward pass of training
# used, as the authors of schedule-free do.
RECALIBRATION_BATCHES = 50


def check_precision(identity: Identity, row: OptimizerRow) -> None:
    """Refuses a precision that cannot work with the optimizer.

    Raises:
        InputError: The optimizer takes several gradients a step, and the precision is fp16, whose gradient scaling
            allows one.
    """
    if identity.training.precision == "fp16" and row.needs & {"closure", "hessian"}:
        raise InputError(f"training.precision: {row.id} takes several gradients a step, which fp16 cannot; choose bf16")


def batch_gradient(
    accelerator: Accelerator, network: nn.Module, parts: Sequence[Part], loss_of: Callable[[Part], Tensor]
) -> None:
    """Adds the gradient of the whole batch to the parameters' gradients, without moving batch norm's statistics.

    Args:
        accelerator: The accelerator; its count of accumulated micro-batches is left alone.
        network: The network as the accelerator prepared it.
        parts: The argument of ``loss_of`` for each micro-batch.
        loss_of: Function that returns the mean loss of a micro-batch, a scalar.
    """
    with _still_statistics(network):
        for i, part in enumerate(parts):
            with nullcontext() if i == len(parts) - 1 else accelerator.no_sync(network):
                accelerator.backward(loss_of(part))


@contextmanager
def _still_statistics(network: nn.Module) -> Iterator[None]:
    """Inside this context, batch norm uses a batch's statistics but does not keep them, so that a batch counts once."""
    tracking = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
