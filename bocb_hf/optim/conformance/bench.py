"""Small problems that the checks of the suite share, and an optimizer that is stepped as the training loop does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from bocb_hf.optim.build import build_optimizer
from bocb_hf.optim.param_groups import ParamGroups
from bocb_hf.optim.resolve import resolve_row
from bocb_hf.optim.row import OptimizerRow
from bocb_hf.schema import Scalar

BATCH_SIZE = 8  # the batch size that an optimizer is told for its estimate of the Hessian
RUN_STEPS = 24  # steps of the run, for an optimizer that needs to know them
SMALL: Mapping[str, tuple[int, ...]] = {"matrix": (4, 3), "vector": (5,), "convolution": (4, 3, 2, 2)}
# both axes are longer than 16, so that AdaFactor factors the second moment
WIDE: Mapping[str, tuple[int, ...]] = {"matrix": (20, 18), "vector": (17,), "convolution": (18, 17, 2, 2)}


class NonConformance(AssertionError):
    """A check failed; the message says what was expected and what was found."""


class NotApplicable(Exception):
    """A check does not apply to this row; the message says why."""


class Unchecked(Exception):
    """A check that applies to this row could not be run; the message says why."""


def require(condition: bool, message: str) -> None:
    """Raises ``NonConformance`` with the message unless the condition holds."""
    if not condition:
        raise NonConformance(message)


@dataclass
class Bench:
    """An optimizer over a few tensors.

    Attributes:
        row: The row of the optimizer.
        parameters: The tensors by name; those with one axis are exempt from decay.
        optimizer: The optimizer over these tensors.
        steps: Number of steps that were taken.
    """

    row: OptimizerRow
    parameters: dict[str, nn.Parameter]
    optimizer: Optimizer
    steps: int = 0

    def step(self, fill: Callable[[], None], fill_hessian: Callable[[], None] | None = None) -> None:
        """Takes one step in the order of the training loop.

        Args:
            fill: Sets the gradients at the present values of the parameters.
            fill_hessian: Sets the gradients with sampled labels; ``fill`` serves when it is None.
        """
        optimizer: Any = self.optimizer
        if "hessian" in self.row.needs and self.steps % optimizer.hessian_interval == 0:
            (fill_hessian or fill)()
            optimizer.update_hessian(BATCH_SIZE)
            optimizer.zero_grad()
        fill()
        optimizer.step(fill if "closure" in self.row.needs else None)
        optimizer.zero_grad()
        self.steps += 1

    def values(self) -> dict[str, Tensor]:
        """Returns copies of the parameters."""
        return {name: p.detach().clone() for name, p in self.parameters.items()}


def make_bench(
    row: OptimizerRow,
    tensors: Mapping[str, Tensor],
    weight_decay: float | None = None,
    lr: float | None = None,
    hyperparameters: Mapping[str, Scalar] | None = None,
) -> Bench:
    """Builds the row's optimizer over copies of tensors; None takes the defaults of the row."""
    parameters = {name: nn.Parameter(t.clone()) for name, t in tensors.items()}
    return Bench(row, parameters, make_optimizer(row, parameters, weight_decay, lr, hyperparameters))


def make_optimizer(
    row: OptimizerRow,
    parameters: Mapping[str, nn.Parameter],
    weight_decay: float | None = None,
    lr: float | None = None,
    hyperparameters: Mapping[str, Scalar] | None = None,
) -> Optimizer:
    """Builds the row's optimizer; parameters with one axis are exempt from decay, all others are hidden matrices."""
    wide = [(name, p) for name, p in parameters.items() if p.ndim > 1]
    narrow = [(name, p) for name, p in parameters.items() if p.ndim <= 1]
    groups = ParamGroups(wide, narrow, frozenset(name for name, _ in wide))
    hyperparameters = {**row.checked_with, **(hyperparameters or {})}
    return build_optimizer(resolve_row(row, "default", lr, weight_decay, hyperparameters, RUN_STEPS), groups)


def start(shapes: Mapping[str, Sequence[int]], dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Returns random tensors, which are the same in every call."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype) for name, shape in shapes.items()
    }


def noise(shape: Sequence[int], step: int, purpose: int = 0) -> Tensor:
    """Returns a random float64 gradient that depends on shape, step and purpose alone."""
    generator = torch.Generator().manual_seed(1000 * step + purpose)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def fill_noise(bench: Bench, slope: float = 0.5, scale: float = 1.0) -> Callable[[], None]:
    """Returns a function that sets gradients to noise of the present step plus ``slope`` times the parameters."""

    def fill() -> None:
        for i, p in enumerate(bench.parameters.values()):
            p.grad = scale * (noise(p.shape, bench.steps, i).to(p.dtype) + slope * p.detach())

    return fill


def run_noise(bench: Bench, steps: int, slope: float = 0.5) -> dict[str, Tensor]:
    """Steps through noise and returns the parameters."""
    for _ in range(steps):
        bench.step(fill_noise(bench, slope))
    return bench.values()


def state_numbers(state: Mapping[str, Any]) -> int:
    """Counts the numbers in the tensors and lists of one parameter's state; a tensor of one number is a counter."""

    def count(value: Any) -> int:
        if isinstance(value, Tensor):
            return value.numel() if value.numel() > 1 else 0
        return sum(count(item) for item in value) if isinstance(value, list | tuple) else 0

    return sum(count(value) for value in state.values())
