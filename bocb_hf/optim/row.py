"""What a row of the optimizer registry says. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

# The study's four categories (Section 3.2).
CATEGORIES = {
    "a": "fixed learning rate, momentum",
    "b": "adaptive learning rate, momentum",
    "c": "estimated learning rate, momentum",
    "d": "adaptive learning rate, current gradient",
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
        category: Category a to d of the study.
        paper: Where the update comes from.
        implementation: The class that is built.
        variant: Which variant of the paper's update it is, and why this implementation.
        decay: ``coupled`` (L2 added to the gradient) or ``decoupled``, as in the study.
        centres: Centre of the tuning grid by setting; ``default`` serves every setting without its own. Those of
            ``demo`` come from a pilot on the validation split with seed 90, before any other seed was run.
        hyperparameters: The typed hyper-parameters with their defaults.
        build: Function that builds it, as ``module:function``, so that a row needs no torch. It is called with the
            parameter groups (dictionaries with ``params`` and ``weight_decay``), the learning rate and the
            hyper-parameters, and names every argument that it passes on.
    """

    id: str
    short: str
    category: Literal["a", "b", "c", "d"]
    paper: str
    implementation: str
    variant: str
    decay: Literal["coupled", "decoupled"]
    centres: Mapping[str, Centre]
    hyperparameters: type[Hyperparameters]
    build: str

    def centre(self, setting: str) -> Centre:
        """Where tuning under a setting starts."""
        return self.centres.get(setting, self.centres["default"])
