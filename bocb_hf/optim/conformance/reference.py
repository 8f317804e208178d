"""Defines an independent reference of an update: numpy in float64, from the paper's equations. It needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Gradient = Callable[[Sequence[Array], int], list[Array]]
State = dict[str, Any]
Update = Callable[[Array, Array, State, int, float, float, Any], Array]


@dataclass(frozen=True)
class Case:
    """A problem for a reference.

    Attributes:
        start: Initial tensors.
        decays: Weight decay of each tensor.
        matrices: Whether each tensor is a hidden matrix.
        gradient: Gradients of all tensors at given values in step t, from 1.
        hessian_gradient: Gradients with sampled labels in step t.
        batch_size: Images of a batch.
        lr: Learning rate at step t, from 1.
        base_lr: Peak of the learning rate.
        steps: Number of steps.
        h: The typed hyper-parameters.
    """

    start: Sequence[Array]
    decays: Sequence[float]
    matrices: Sequence[bool]
    gradient: Gradient
    hessian_gradient: Gradient
    batch_size: int
    lr: Callable[[int], float]
    base_lr: float
    steps: int
    h: Any


@dataclass(frozen=True)
class Trajectory:
    """The weights that training ends with, and those that are to be evaluated there (None: the same)."""

    trained: list[Array]
    evaluated: list[Array] | None = None


Reference = Callable[[Case], Trajectory]


def each(update: Update) -> Reference:
    """Makes a reference from the update of one tensor: (value, gradient, state, t, lr, decay, h) -> value."""

    def run(case: Case) -> Trajectory:
        values = [v.copy() for v in case.start]
        states: list[State] = [{} for _ in values]
        for t in range(1, case.steps + 1):
            grads = case.gradient(values, t)
            values = [
                update(v, g, s, t, case.lr(t), wd, case.h)
                for v, g, s, wd in zip(values, grads, states, case.decays, strict=True)
            ]
        return Trajectory(values)

    return run
