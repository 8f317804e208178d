"""The optimizers as rows. Importing this needs no torch; ``bocb_hf.optim.build`` builds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bocb_hf.registry import Registry

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


class SgdmHyperparameters(Hyperparameters):
    momentum: float = Field(default=0.9, ge=0, lt=1)


class AdamWHyperparameters(Hyperparameters):
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)


class LambHyperparameters(Hyperparameters):
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    eps: float = Field(default=1e-6, gt=0)


class LarsHyperparameters(Hyperparameters):
    momentum: float = Field(default=0.9, ge=0, lt=1)
    trust_coefficient: float = Field(default=1e-3, gt=0)
    eps: float = Field(default=1e-8, ge=0)


class RmspropHyperparameters(Hyperparameters):
    alpha: float = Field(default=0.99, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0)


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

    def centre(self, setting: str) -> Centre:
        """Where tuning under a setting starts."""
        return self.centres.get(setting, self.centres["default"])


OPTIMIZERS: Registry[OptimizerRow] = Registry("optimizer", "optimizers")

OPTIMIZERS.add(
    OptimizerRow(
        id="sgdm",
        short="SGD-M",
        category="a",
        paper="Sutskever et al., ICML 2013",
        implementation="torch.optim.SGD",
        variant="no Nesterov, no dampening, learning rate outside the buffer; fused, the fastest path on CPU and GPU",
        decay="coupled",
        centres={"default": Centre(0.1, 1e-4, "released")},
        hyperparameters=SgdmHyperparameters,
    )
)
OPTIMIZERS.add(
    OptimizerRow(
        id="adamw",
        short="AdamW",
        category="b",
        paper="arXiv 1711.05101",
        implementation="torch.optim.AdamW",
        variant="bias-corrected, ε outside the root; fused",
        decay="decoupled",
        centres={"default": Centre(1e-3, 0.05, "released"), "demo": Centre(3e-3, 0.05, "ours")},
        hyperparameters=AdamWHyperparameters,
    )
)
OPTIMIZERS.add(
    OptimizerRow(
        id="lamb",
        short="LAMB",
        category="b",
        paper="arXiv 1904.00962",
        implementation="timm.optim.Lamb",
        variant="bias-corrected, φ = identity, trust ratio for every tensor (always_adapt), no clipping of its own",
        decay="decoupled",
        centres={"default": Centre(5e-3, 0.02, "released"), "demo": Centre(1e-2, 0.02, "ours")},
        hyperparameters=LambHyperparameters,
    )
)
OPTIMIZERS.add(
    OptimizerRow(
        id="lars",
        short="LARS",
        category="c",
        paper="arXiv 1708.03888",
        implementation="timm.optim.Lars",
        variant="learning rate outside the momentum (the paper: inside); no trust ratio for norms and biases",
        decay="decoupled",
        centres={"default": Centre(3.0, 1e-4, "ours")},
        hyperparameters=LarsHyperparameters,
    )
)
OPTIMIZERS.add(
    OptimizerRow(
        id="rmsprop",
        short="RMSProp",
        category="d",
        paper="Tieleman and Hinton, 2012",
        implementation="torch.optim.RMSprop",
        variant="not centred, no momentum, ε outside the root; single-tensor loop",
        decay="coupled",
        centres={"default": Centre(1e-3, 1e-4, "library")},
        hyperparameters=RmspropHyperparameters,
    )
)
