"""The study's optimizers (paper, Section 3.2), as rows."""

from __future__ import annotations

from pydantic import Field

from bocb_hf.optim.row import Centre, Hyperparameters, OptimizerRow


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


STUDY_ROWS: tuple[OptimizerRow, ...] = (
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
        build="bocb_hf.optim.torch_native:sgdm",
    ),
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
        build="bocb_hf.optim.torch_native:adamw",
    ),
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
        build="bocb_hf.optim.timm_native:lamb",
    ),
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
        build="bocb_hf.optim.timm_native:lars",
    ),
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
        build="bocb_hf.optim.torch_native:rmsprop",
    ),
)
