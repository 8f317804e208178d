"""The sharpness of a network: the largest eigenvalue of the Hessian of its loss on a fixed batch, by power iteration.

A product of the Hessian with a vector is the gradient of (gradient · vector) (Pearlmutter, "Fast exact multiplication
by the Hessian", 1994), about as dear as two to three gradients. No weight, gradient, statistic or random number of the
training is touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from bocb_hf.errors import InputError
from bocb_hf.optim.param_groups import train_mode
from bocb_hf.runs.patterns import Sharpness

TOLERANCE = 0.01  # change of the value in an iteration, as a share of it, below which it has converged
MOST = 100  # iterations of one search

Part = tuple[Tensor, Tensor]  # inputs (B, 3, S, S) and targets, (B,) or (B, K)
LossFunction = Callable[[Tensor, Tensor], Tensor]


def measure_sharpness(
    model: nn.Module,
    parts: Sequence[Part],
    loss_of: LossFunction,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    most: int = MOST,
) -> Sharpness:
    """Finds the largest eigenvalue of the Hessian of the mean loss, over the parameters that are trained.

    The network is in evaluation mode meanwhile: batch norm uses its running statistics, and nothing is dropped. Where
    the eigenvalue of largest absolute value is negative, the iteration goes on from the Hessian less that value, whose
    largest eigenvalue is that of the Hessian less it.

    Args:
        model: The network; its mode is restored.
        parts: The batch, in parts that fit the memory.
        loss_of: Mean loss of logits (B, K) and targets.
        seed: Seed of the vector that the iteration begins with.
        tolerance: Change of the value, as a share of it, at which the iteration ends.
        most: Most iterations of each search.

    Raises:
        InputError: The loss, or what follows from it, is not finite, or a second derivative cannot be taken.
    """
    training = model.training
    model.eval()
    try:
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no second derivative
            return _search(_Hessian(model, parts, loss_of), seed, tolerance, most)
    except (RuntimeError, NotImplementedError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise InputError("the memory does not hold a second derivative of this batch") from error
        raise InputError(f"the second derivative cannot be taken: {str(error).splitlines()[0][:200]}") from error
    finally:
        if training:
            train_mode(model)


class _Hessian:
    """Products of the Hessian with vectors; of a batch in one part the gradient's graph is kept between them."""

    def __init__(self, model: nn.Module, parts: Sequence[Part], loss_of: LossFunction) -> None:
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.images = sum(len(inputs) for inputs, _ in parts)
        self._model, self._parts, self._loss_of = model, parts, loss_of
        self._kept = self._gradient(parts[0]) if len(parts) == 1 else None

    def _gradient(self, part: Part) -> tuple[Tensor, ...]:
        inputs, targets = part
        with torch.enable_grad():
            loss = self._loss_of(self._model(inputs).float(), targets) * (len(inputs) / self.images)
            return torch.autograd.grad(loss, self.parameters, create_graph=True, materialize_grads=True)

    def __call__(self, vector: list[Tensor]) -> list[Tensor]:
        total = [torch.zeros_like(v) for v in vector]
        for part in self._parts:
            gradient = self._kept if self._kept is not None else self._gradient(part)
            # a gradient that does not depend on the weights has no graph, and adds nothing
            pairs = [(g, v) for g, v in zip(gradient, vector, strict=True) if g.requires_grad]
            if not pairs:
                continue
            outputs, along = zip(*pairs, strict=True)
            product = torch.autograd.grad(
                outputs, self.parameters, along, retain_graph=self._kept is not None, materialize_grads=True
            )
            for t, p in zip(total, product, strict=True):
                t += p
        return total


def _search(hessian: _Hessian, seed: int, tolerance: float, most: int) -> Sharpness:
    value, iterations, converged = _iterate(hessian, 0.0, seed, tolerance, most)
    if value < 0:
        above, more, converged = _iterate(hessian, value, seed, tolerance, most)
        value, iterations = value + above, iterations + more
    return Sharpness(
        value=value, iterations=iterations, converged=converged, tolerance=tolerance, images=hessian.images
    )


def _iterate(hessian: _Hessian, shift: float, seed: int, tolerance: float, most: int) -> tuple[float, int, bool]:
    """The eigenvalue of largest absolute value of H − shift, with the iterations, and whether it has converged."""
    generator = torch.Generator().manual_seed(seed)  # not the generator of the training
    vector = [torch.randn(p.shape, generator=generator).to(p) for p in hessian.parameters]
    vector = _scaled(vector, _length(vector))
    last, iteration = math.inf, 0
    for iteration in range(1, most + 1):
        product = [h - shift * v for h, v in zip(hessian(vector), vector, strict=True)]
        value = float(sum((h * v).sum() for h, v in zip(product, vector, strict=True)))
        length = _length(product)
        if not math.isfinite(value) or not math.isfinite(length):
            raise InputError("the loss or its curvature is not finite at these weights")
        if abs(value - last) <= tolerance * abs(value) or length == 0:
            return value, iteration, True
        last, vector = value, _scaled(product, length)
    return last, iteration, False


def _length(vector: list[Tensor]) -> float:
    return float(nn.utils.get_total_norm(vector))


def _scaled(vector: list[Tensor], length: float) -> list[Tensor]:
    return [v / length for v in vector] if length else vector
