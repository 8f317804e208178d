"""Optimizers of pytorch_optimizer (extra ``optimizers``), each built explicitly.

Every argument is named: the package's classes take ``**kwargs`` and drop what they do not know.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from bocb_hf.errors import InputError, missing_extra
from bocb_hf.optim import hyperparameters as hp
from bocb_hf.optim.newton_schulz import symmetric_product

try:
    import pytorch_optimizer as po
except ImportError:
    raise missing_extra("pytorch_optimizer", "optimizers") from None

Groups = list[dict[str, Any]]


def _spread_nan(optimizer: Optimizer) -> None:
    """Hides gradients whose squares are not finite from the step, and fills their parameters with NaN.

    Eigenvalue decompositions raise on NaN. A run that diverges must end with its record and not with a traceback, so
    its weights become what an element-wise update would make of them.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and not parameter.grad.square().sum().isfinite():
                parameter.grad = None
                parameter.detach().fill_(torch.nan)


class Soap(po.SOAP):
    """SOAP that answers a gradient which is not finite with NaN, and costs two thirds of the package's own.

    The package rotates the momentum into the eigenbasis in every step. Here it stays there and is turned when the basis
    changes, and the moments, which are symmetric, are multiplied in strips. In exact arithmetic neither changes a
    result.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """Takes one step; a parameter without a gradient stays as it is."""
        _spread_nan(self)
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self.init_group(group)
            group["step"] += 1
            if group["step"] == 1:  # the first gradient only starts the statistics
                continue
            (beta1, beta2), count = group["betas"], group["step"] - 1
            rate = group["lr"] * math.sqrt(1 - beta2**count) / (1 - beta1**count)
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if "exp_avg" in state:  # the state as the package starts it, or as it saved it
                    state["rotated"] = self.project(state.pop("exp_avg"), state)
                gradient = self.project(p.grad, state)
                rotated = state["rotated"].lerp_(gradient, 1 - beta1)
                square = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
                update = self.project(rotated / square.sqrt().add_(group["eps"]), state, project_type="backward")
                p.add_(update, alpha=-rate).mul_(1 - group["lr"] * group["weight_decay"])
                _accumulate(state, p.grad)
                if count % group["precondition_frequency"] == 0:
                    average = self.project(rotated, state, project_type="backward")
                    state["Q"] = self.get_orthogonal_matrix_qr(state)
                    state["rotated"] = self.project(average, state)
        return loss


def _accumulate(state: dict[str, Any], gradient: torch.Tensor) -> None:
    """Takes a gradient into the running averages of its moments along each axis that has one."""
    for axis, moment in enumerate(state["GG"]):
        if len(moment):
            rows = gradient.movedim(axis, 0).flatten(1)  # (n, rest)
            moment.lerp_(symmetric_product(rows, rows.mT), 1 - state["shampoo_beta"])


class Sam(po.SAM):
    """SAM whose later groups have the keys that the optimizer it runs over expects."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds a group; while SAM itself is built, the optimizer that it runs over is not there yet."""
        below: Optimizer | None = getattr(self, "base_optimizer", None)
        if below is None:
            super().add_param_group(param_group)
        else:
            below.add_param_group({"rho": self.defaults["rho"], "adaptive": False} | param_group)


def soap(groups: Groups, lr: float, h: hp.SoapHyperparameters) -> Optimizer:
    """Builds SOAP with the authors' defaults."""
    return Soap(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        shampoo_beta=None,
        precondition_frequency=h.interval,
        max_precondition_dim=h.max_dim,
        merge_dims=False,
        precondition_1d=False,
        correct_bias=True,
        normalize_gradient=False,
        data_format="channels_first",
        eps=h.eps,
    )


def schedulefreesgd(groups: Groups, lr: float, h: hp.ScheduleFreeSgdHyperparameters) -> Optimizer:
    """Builds Schedule-free SGD; warm-up is the run's own."""
    return po.ScheduleFreeSGD(
        groups, lr=lr, momentum=h.momentum, r=0.0, weight_lr_power=2.0, warmup_steps=0, foreach=False
    )


def schedulefreeadamw(groups: Groups, lr: float, h: hp.ScheduleFreeAdamwHyperparameters) -> Optimizer:
    """Builds Schedule-free AdamW; warm-up is the run's own."""
    return po.ScheduleFreeAdamW(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        r=0.0,
        weight_lr_power=2.0,
        warmup_steps=0,
        decoupling_c=0,
        ams_bound=False,
        eps=h.eps,
        foreach=False,
    )


def ademamix(groups: Groups, lr: float, h: hp.AdemamixHyperparameters, total_steps: int | None) -> Optimizer:
    """Builds AdEMAMix with decoupled decay.

    Raises:
        InputError: A warm-up is given as a share of a run whose length is not known.
    """
    warmup = float(h.warmup_steps)
    if h.warmup_share:
        if total_steps is None:
            raise InputError("optimizer.hyperparameters.warmup_share: the length of the run is not known here")
        warmup = max(1.0, h.warmup_share * total_steps)
    return po.AdEMAMix(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2, h.beta3),
        weight_decouple=True,
        fixed_decay=False,
        alpha=h.alpha,
        t_alpha_beta3=warmup or None,
        eps=h.eps,
        foreach=False,
    )


def prodigy(groups: Groups, lr: float, h: hp.ProdigyHyperparameters) -> Optimizer:
    """Builds Prodigy with decoupled decay."""
    return po.Prodigy(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        beta3=None,
        d0=h.d0,
        d_coef=h.d_coef,
        weight_decouple=True,
        fixed_decay=False,
        bias_correction=False,
        safeguard_warmup=h.safeguard_warmup,
        eps=h.eps,
        foreach=False,
    )


def sam(groups: Groups, lr: float, h: hp.SamHyperparameters) -> Optimizer:
    """Builds SAM over SGD with momentum."""
    return Sam(
        groups,
        base_optimizer=torch.optim.SGD,
        rho=h.rho,
        adaptive=False,
        use_gc=False,
        perturb_eps=1e-12,
        lr=lr,
        momentum=h.momentum,
        fused=True,
    )


def samadamw(groups: Groups, lr: float, h: hp.SamAdamwHyperparameters) -> Optimizer:
    """Builds SAM over AdamW."""
    return Sam(
        groups,
        base_optimizer=torch.optim.AdamW,
        rho=h.rho,
        adaptive=False,
        use_gc=False,
        perturb_eps=1e-12,
        lr=lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
        fused=True,
    )


def signum(groups: Groups, lr: float, h: hp.SignumHyperparameters) -> Optimizer:
    """Builds Signum with decoupled decay."""
    return po.SignSGD(groups, lr=lr, momentum=h.momentum, weight_decouple=True, foreach=False, maximize=False)


def stableadamw(groups: Groups, lr: float, h: hp.StableAdamwHyperparameters) -> Optimizer:
    """Builds StableAdamW without the summation for low precision."""
    return po.StableAdamW(
        groups,
        lr=lr,
        betas=(h.beta1, h.beta2),
        kahan_sum=False,
        weight_decouple=True,
        eps=h.eps,
        foreach=False,
        maximize=False,
    )
