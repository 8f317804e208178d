"""What a row of the optimizer registry says. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict

from bocb_hf.schema import Scalar

# The study's four categories (Section 3.2).
CATEGORIES = {
    "a": "fixed learning rate, momentum",
    "b": "adaptive learning rate, momentum",
    "c": "estimated learning rate, momentum",
    "d": "adaptive learning rate, current gradient",
}

# The study tunes over five consecutive values around a centre chosen by hand and prints neither values nor spacing.
GRID_POINTS = 5
LR_FACTOR = 3.0
DECAY_FACTOR = 3.0
SMALLEST_DECAY = 1e-5  # first positive point of a grid whose centre is no decay

Need = Literal["closure", "hessian", "train_eval", "matrix_split"]
NEEDS: Mapping[Need, str] = {
    "closure": "a second gradient at other weights in every step",
    "hessian": "now and then a gradient of the loss with labels sampled from the model",
    "train_eval": "a switch between the weights that are trained and those that are evaluated and saved",
    "matrix_split": "to know which parameters are hidden matrices",
}


class Hyperparameters(BaseModel):
    """What an optimizer takes beside learning rate and weight decay. Unknown names raise; nothing is dropped."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Centre:
    """Centre of a tuning grid, and whether the study released it, the library has it as default, or it is ours."""

    lr: float
    weight_decay: float
    source: Literal["released", "library", "ours"]


@dataclass(frozen=True)
class OptimizerRow:
    """One optimizer.

    Attributes:
        id: Lowercase, without separators.
        short: Its name in a table row.
        category: Category a to d of the study; for later optimizers, by the study's definition.
        paper: Where the update comes from.
        implementation: The class that is built.
        variant: Which variant of the paper's update it is, and how the implementation deviates from the paper.
        why: Why this implementation and path and no other.
        decay: ``coupled`` (L2 added to the gradient) or ``decoupled``, as in the study unless ``variant`` says so.
        centres: Centre of the tuning grid by setting; ``default`` serves every setting without its own. Those of
            ``demo`` come from a pilot on the validation split with seed 90, before any other seed was run.
        hyperparameters: The typed hyper-parameters with their defaults.
        build: Function that builds it, as ``module:function``, so that a row needs no torch. It is called with the
            parameter groups (dictionaries with ``params`` and ``weight_decay``, and ``matrix`` if the row needs
            ``matrix_split``), the learning rate and the hyper-parameters, and names every argument that it passes on.
        state_floats: Numbers of optimizer state for each parameter of a 64 × 64 matrix, measured by a test.
        needs: What the training loop must offer it beside gradients.
        elementwise: Whether the update of a number depends on its own history only, not on the rest of its tensor or
            of the network; such an optimizer may step on shards of parameters.
        compiles: Whether ``torch.compile`` takes its step (``runtime.compile_optimizer``). The others run fused kernels
            or look at numbers on the way.
        plain_decay: Whether its decay takes lr·λ·θ off the weights and the rest of its step does not depend on that.
            Such an optimizer has one hyper-parameter more, ``cautious_decay``.
        exceptions: Checks of the conformance suite that do not apply, each with its reason.
        reference: For a plug-in, its update in numpy (``bocb_hf.optim.conformance.reference``) as
            ``module:function``. Those of the rows of this package are in ``tests/references``.
        tolerance: Of the comparison with that reference.
        checked_with: Hyper-parameters other than the defaults that the conformance suite uses, so that what acts every
            hundredth step acts within its two dozen steps.
    """

    id: str
    short: str
    category: Literal["a", "b", "c", "d"]
    paper: str
    implementation: str
    variant: str
    why: str
    decay: Literal["coupled", "decoupled"]
    centres: Mapping[str, Centre]
    hyperparameters: type[Hyperparameters]
    build: str
    state_floats: float
    needs: frozenset[Need] = frozenset()
    elementwise: bool = False
    compiles: bool = False
    plain_decay: bool = False
    exceptions: Mapping[str, str] = field(default_factory=dict[str, str])
    reference: str | None = None
    tolerance: float = 1e-10
    checked_with: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])

    def centre(self, setting: str) -> Centre:
        """Where tuning under a setting starts."""
        return self.centres.get(setting, self.centres["default"])

    def lr_grid(self, setting: str) -> list[float]:
        """Five learning rates in rising order, ``LR_FACTOR`` apart, around the centre."""
        return _around(self.centre(setting).lr, LR_FACTOR)

    def decay_grid(self, setting: str) -> list[float]:
        """Five weight decays in rising order: ``DECAY_FACTOR`` apart around the centre, or up from 0 if that is 0."""
        centre = self.centre(setting).weight_decay
        if centre == 0:
            return [0.0] + [_round(SMALLEST_DECAY * DECAY_FACTOR**k) for k in range(GRID_POINTS - 1)]
        return _around(centre, DECAY_FACTOR)


def _around(centre: float, factor: float) -> list[float]:
    half = GRID_POINTS // 2
    return [_round(centre * factor**k) for k in range(-half, half + 1)]


def _round(value: float) -> float:
    return float(f"{value:.4g}")
