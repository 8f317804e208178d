"""Typed hyper-parameters of the optimizers; each default has its home here. This module needs no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bocb_hf.optim.row import Hyperparameters
from bocb_hf.schema import later

Decay = Annotated[float, Field(ge=0, lt=1)]  # the share of itself that a running average keeps in a step
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class SgdmHyperparameters(Hyperparameters):
    momentum: Decay = 0.9


class SgdpHyperparameters(Hyperparameters):
    """``delta``: cosine below which a weight counts as scale-invariant; ``wd_ratio``: share of the decay it keeps."""

    momentum: Decay = 0.9
    delta: NonNegative = 0.1
    wd_ratio: NonNegative = 0.1
    eps: Positive = 1e-8


class LionHyperparameters(Hyperparameters):
    beta1: Decay = 0.9
    beta2: Decay = 0.99


class AdamHyperparameters(Hyperparameters):
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    eps: Positive = 1e-8


class NadamHyperparameters(AdamHyperparameters):
    momentum_decay: NonNegative = 0.004


class LambHyperparameters(Hyperparameters):
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    eps: Positive = 1e-6


class AdampHyperparameters(AdamHyperparameters):
    delta: NonNegative = 0.1
    wd_ratio: NonNegative = 0.1


class AdanHyperparameters(Hyperparameters):
    """Each ``beta`` is the share that an average keeps in a step, as in timm; the paper's β is 1 minus that."""

    beta1: Decay = 0.98
    beta2: Decay = 0.92
    beta3: Decay = 0.99
    eps: Positive = 1e-8


class AdaboundHyperparameters(AdamHyperparameters):
    """``final_lr``: the learning rate that the bounds close in on; ``gamma``: how fast the bounds close in."""

    final_lr: Positive = 0.1
    gamma: Positive = 1e-3


class LarsHyperparameters(Hyperparameters):
    momentum: Decay = 0.9
    trust_coefficient: Positive = 1e-3
    eps: NonNegative = 1e-8


class AdafactorHyperparameters(Hyperparameters):
    """``clip_threshold``: largest root mean square of an update; ``decay_rate``: β₂ at step t is 1 − t^−rate."""

    eps: Positive = 1e-30
    clip_threshold: Positive = 1.0
    decay_rate: Annotated[float, Field(gt=0, le=1)] = 0.8


class AdabeliefHyperparameters(Hyperparameters):
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    eps: Positive = 1e-16


class NovogradHyperparameters(Hyperparameters):
    beta1: Decay = 0.95
    beta2: Decay = 0.98
    eps: Positive = 1e-8


class SophiaHyperparameters(Hyperparameters):
    """``hessian_interval``: steps between two estimates of the Hessian's diagonal."""

    beta1: Decay = 0.965
    beta2: Decay = 0.99
    rho: Positive = 0.04
    eps: Positive = 1e-12
    hessian_interval: Count = 10


class SophiaUpstreamHyperparameters(Hyperparameters):
    beta1: Decay = 0.965
    eps: Positive = 1e-15


class AdagradHyperparameters(Hyperparameters):
    eps: Positive = 1e-10


class AdadeltaHyperparameters(Hyperparameters):
    rho: Decay = 0.9
    eps: Positive = 1e-6


class RmspropHyperparameters(Hyperparameters):
    alpha: Decay = 0.99
    eps: Positive = 1e-8


class MuonHyperparameters(Hyperparameters):
    """``adjust_lr``: ``match_rms_adamw`` scales a matrix by 0.2·√max(m, n), ``original`` by √max(1, m/n).

    ``coefficients``: name of the coefficients of Newton-Schulz; those of ``polar_express`` (arXiv 2505.16932) change
    with the step.

    ``beta1``, ``beta2`` and ``eps`` are those of the AdamW part.
    """

    momentum: Decay = 0.95
    nesterov: bool = True
    ns_steps: Annotated[int, Field(ge=1, le=20)] = 5
    adjust_lr: Literal["match_rms_adamw", "original"] = "match_rms_adamw"
    beta1: Decay = 0.9
    beta2: Decay = 0.95
    eps: Positive = 1e-10
    coefficients: Literal["muon", "polar_express"] = later("muon")


class SoapHyperparameters(Hyperparameters):
    """``max_dim``: axes longer than this are not preconditioned; ``interval``: steps between two eigenbases."""

    beta1: Decay = 0.95
    beta2: Decay = 0.95
    eps: Positive = 1e-8
    interval: Count = 10
    max_dim: Count = 10_000


class ShampooHyperparameters(Hyperparameters):
    """``eps``: multiple of the identity that the moments start from; ``interval``: steps between two roots.

    ``max_dim``: axes longer than this keep a diagonal only.
    """

    eps: Positive = 1e-6
    interval: Count = 1
    max_dim: Count = 1200


class ScheduleFreeSgdHyperparameters(Hyperparameters):
    """``momentum``: weight of the average in the point where gradients are taken."""

    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9


class ScheduleFreeAdamwHyperparameters(Hyperparameters):
    beta1: Annotated[float, Field(gt=0, lt=1)] = 0.9
    beta2: Decay = 0.999
    eps: Positive = 1e-8


class KronHyperparameters(Hyperparameters):
    """``max_size``: axes longer than this get a diagonal factor; ``precond_lr``: step size of the factors."""

    momentum: Decay = 0.9
    precond_lr: Positive = 0.1
    max_size: Count = 2048


class MarsHyperparameters(Hyperparameters):
    """``gamma``: weight of the gradient difference; ``other_beta1``, ``other_beta2``: β of the AdamW part."""

    beta1: Decay = 0.95
    beta2: Decay = 0.99
    gamma: NonNegative = 0.025
    eps: Positive = 1e-8
    other_beta1: Decay = 0.9
    other_beta2: Decay = 0.95


class AdemamixHyperparameters(AdamHyperparameters):
    """``warmup_steps``: steps over which ``alpha`` and ``beta3`` rise; 0 starts with both at their full value.

    ``warmup_share``: these warm-up steps as a share of the run; the paper takes the whole run, 1.
    """

    beta3: Decay = 0.9999
    alpha: NonNegative = 5.0
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    warmup_share: float = later(0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _one_length(self) -> AdemamixHyperparameters:
        if self.warmup_steps and self.warmup_share:
            raise ValueError("warmup_steps and warmup_share both give the length of the warm-up; give one of them")
        return self


class ProdigyHyperparameters(AdamHyperparameters):
    """``d0``: first estimate of the distance to the solution; ``d_coef``: factor on that estimate.

    ``safeguard_warmup`` leaves the learning rate out of the estimate's denominator, which a warm-up would make too
    small.
    """

    d0: Positive = 1e-6
    d_coef: Positive = 1.0
    safeguard_warmup: bool = later(False)


class AdoptHyperparameters(Hyperparameters):
    """``clip_exp``: normalised gradients are clipped to ±(t − 1)^clip_exp."""

    beta1: Decay = 0.9
    beta2: Decay = 0.9999
    eps: Positive = 1e-6
    clip_exp: Positive = 0.25


class SamHyperparameters(Hyperparameters):
    """``rho``: radius of the neighbourhood; ``momentum``: momentum of the SGD that SAM runs over."""

    momentum: Decay = 0.9
    rho: Positive = 0.05


class AdaMuonHyperparameters(Hyperparameters):
    """``second_momentum``: β of the second moment; ``sign``: orthogonalise only the signs of the momentum.

    ``beta1`` and ``beta2`` are those of the AdamW part.
    """

    momentum: Decay = 0.95
    second_momentum: Decay = 0.95
    nesterov: bool = False
    sign: bool = True
    ns_steps: Annotated[int, Field(ge=1, le=20)] = 5
    beta1: Decay = 0.9
    beta2: Decay = 0.95
    eps: Positive = 1e-8


class NadaMuonHyperparameters(AdaMuonHyperparameters):
    nesterov: bool = True


class NorMuonHyperparameters(Hyperparameters):
    """``second_momentum``: β of the rows' second moment; ``beta1`` and ``beta2`` are those of the AdamW part."""

    momentum: Decay = 0.95
    second_momentum: Decay = 0.95
    nesterov: bool = True
    ns_steps: Annotated[int, Field(ge=1, le=20)] = 5
    beta1: Decay = 0.9
    beta2: Decay = 0.95
    eps: Positive = 1e-10


class ScionHyperparameters(Hyperparameters):
    """``momentum``: share that the average keeps (the authors' 1 − momentum); ``radius``: of hidden layers' ball."""

    momentum: Decay = 0.9
    radius: Positive = 25.0
    ns_steps: Annotated[int, Field(ge=1, le=20)] = 5


class SplusHyperparameters(Hyperparameters):
    """``average_rate``: share that the weights' average keeps in a step; ``interval``: steps between two eigenbases.

    ``max_dim``: axes from this length on have no eigenbasis; ``other_scale``: factor on the learning rate of everything
    that is not a matrix.
    """

    beta1: Decay = 0.9
    beta2: Decay = 0.999
    average_rate: Annotated[float, Field(gt=0, lt=1)] = 0.999
    interval: Count = 100
    max_dim: Count = 10_000
    other_scale: Positive = 1e-3


class DistributedShampooHyperparameters(Hyperparameters):
    """``eps``: added to the moments' eigenvalues; ``adam_eps``: ε of the grafted Adam.

    ``interval``: steps between two computations of the roots; ``max_dim``: longest side of a block; shorter
    neighbouring axes are merged up to it.
    """

    beta1: Decay = 0.9
    beta2: Decay = 0.999
    eps: Positive = 1e-12
    adam_eps: Positive = 1e-8
    interval: Count = 100
    max_dim: Count = 1024


class StableAdamwHyperparameters(Hyperparameters):
    beta1: Decay = 0.9
    beta2: Decay = 0.99
    eps: Positive = 1e-8


class LapropHyperparameters(Hyperparameters):
    beta1: Decay = 0.9
    beta2: Decay = 0.999
    eps: Positive = 1e-15


class SignumHyperparameters(Hyperparameters):
    momentum: Decay = 0.9


class SamAdamwHyperparameters(AdamHyperparameters):
    """``rho``: radius of the neighbourhood; the others are those of the AdamW that SAM runs over."""

    rho: Positive = 0.05
