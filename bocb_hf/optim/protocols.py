"""Gives what some optimizers ask of a training loop beside one gradient: sampled labels, other weights to evaluate.

The loop (``bocb_hf/engine/loop.py``) and the conformance suite both go by these functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from bocb_hf.optim.param_groups import train_mode


def sampled_label_loss(logits: Tensor, uniforms: Tensor, loss: Literal["ce", "bce"] = "ce") -> Tensor:
    """Computes the loss with labels drawn from the model's predictions (Gauss-Newton-Bartlett, arXiv 2305.14342).

    The squared gradient of this loss, times the number of images, has the diagonal of the training loss's Gauss-Newton
    matrix as its mean. Binary cross-entropy is a mean over K classes, each with a label of its own: the square of that
    mean of K independent terms is K times too small for their matrix, which the factor √K makes good.

    Args:
        logits: Logits, shape (B, K).
        uniforms: Random numbers in [0, 1). For ``ce`` their shape is (B,), and classes are drawn from them by
            inversion; for ``bce`` it is (B, K), and each class is drawn on its own.
        loss: Which loss the run trains with.
    """
    if loss == "bce":
        labels = (uniforms < logits.detach().sigmoid()).to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, labels) * math.sqrt(logits.shape[1])
    with torch.no_grad():
        below = logits.softmax(dim=1).cumsum(dim=1) <= uniforms[:, None]  # (B, K)
        # rounding may leave the sum of all probabilities below 1
        labels = below.sum(dim=1).clamp_(max=logits.shape[1] - 1)
    return functional.cross_entropy(logits, labels)


class AveragingOptimizer(Protocol):
    """An optimizer that evaluates at other weights than it trains at, such as schedule-free ones."""

    def train(self) -> None:
        """Puts the training weights into the parameters."""
        ...

    def eval(self) -> None:
        """Puts the weights to evaluate into the parameters."""
        ...


@contextmanager
def evaluation_weights(
    optimizer: AveragingOptimizer, model: nn.Module, batches: Callable[[], Iterable[Tensor]]
) -> Iterator[None]:
    """Puts the weights to evaluate into the model, and afterwards restores exactly those from before.

    The optimizer's own way back rounds, so training would depend on how often the model was evaluated.

    Args:
        optimizer: An optimizer with ``train`` and ``eval``, which change between its two sets of weights.
        model: The network without wrappers.
        batches: Gives training inputs, from which batch norm's statistics are computed for the weights to evaluate;
            otherwise they would belong to the training weights.
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
