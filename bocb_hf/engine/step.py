"""What some optimizers need in a step beside one gradient: other passes over the batch, and other weights to evaluate.

A row of the registry says so (``needs``). For all other optimizers nothing here runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from bocb_hf.errors import InputError
from bocb_hf.identity import Identity
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.param_groups import train_mode

Part = TypeVar("Part")

# Batches whose statistics batch norm averages at weights that were never trained with, as schedule-free's authors do.
RECALIBRATION_BATCHES = 50


def check_precision(identity: Identity) -> None:
    """Refuses what cannot work.

    Raises:
        InputError: fp16, whose gradient scaling knows one gradient a step, with an optimizer that takes more.
    """
    name = identity.optimizer.name
    if identity.training.precision == "fp16" and OPTIMIZERS.get(name).needs & {"closure", "hessian"}:
        raise InputError(f"training.precision: {name} takes several gradients a step, which fp16 cannot; choose bf16")


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


def sampled_label_loss(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Mean cross-entropy with labels drawn from the model's own predictions (Gauss-Newton-Bartlett estimator).

    Args:
        logits: (B, K).
        uniforms: (B,) in [0, 1), from which labels are drawn by inversion.
    """
    with torch.no_grad():
        below = logits.softmax(dim=1).cumsum(dim=1) <= uniforms[:, None]  # (B, K)
        labels = below.sum(dim=1).clamp_(max=logits.shape[1] - 1)  # rounding may leave the sum of all below 1
    return functional.cross_entropy(logits, labels)


@contextmanager
def evaluation_weights(
    optimizer: AcceleratedOptimizer, model: nn.Module, batches: Callable[[], Iterable[Tensor]]
) -> Iterator[None]:
    """Puts the weights that count into the model, and afterwards exactly those from before.

    The optimizer's own way back rounds, and training would then depend on how often it was evaluated.

    Args:
        optimizer: With ``train`` and ``eval``.
        model: Without wrappers.
        batches: Gives training inputs for batch norm's statistics, which belong to the training weights otherwise.
    """
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    training = model.training
    optimizer.eval()
    try:
        if any(isinstance(module, _BatchNorm) for module in model.modules()):
            update_bn(batches(), model)
        _restore_mode(model, training)
        yield
    finally:
        optimizer.train()
        model.load_state_dict(kept)
        _restore_mode(model, training)


def _restore_mode(model: nn.Module, training: bool) -> None:
    if training:
        train_mode(model)
    else:
        model.eval()


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
