"""The optimizers as rows. Importing this needs no torch; ``bocb_hf.optim.build`` builds them."""

from __future__ import annotations

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

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
        lr: Centre of the learning-rate grid.
        weight_decay: Centre of the weight-decay grid.
        centre_source: Where the centre comes from: ``released`` (the study), ``library`` or ``ours``.
        hyperparameters: The typed hyper-parameters with their defaults.
    """

    id: str
    short: str
    category: Literal["a", "b", "c", "d"]
    paper: str
    implementation: str
    variant: str
    decay: Literal["coupled", "decoupled"]
    lr: float
    weight_decay: float
    centre_source: Literal["released", "library", "ours"]
    hyperparameters: type[Hyperparameters]


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
        lr=0.1,
        weight_decay=1e-4,
        centre_source="released",
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
        lr=1e-3,
        weight_decay=0.05,
        centre_source="released",
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
        lr=5e-3,
        weight_decay=0.02,
        centre_source="ours",
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
        lr=3.0,
        weight_decay=1e-4,
        centre_source="ours",
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
        lr=1e-3,
        weight_decay=1e-4,
        centre_source="library",
        hyperparameters=RmspropHyperparameters,
    )
)
