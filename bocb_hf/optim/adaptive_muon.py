"""Muon with a second moment of the orthogonalised momentum: of each number (AdaMuon), or of each row (NorMuon).

Si, Zhang and Shen, *AdaMuon: Adaptive Muon Optimizer*, arXiv 2507.11005, Algorithm 1; and Li et al., *NorMuon: Making
Muon more efficient and scalable*, arXiv 2510.05491, Algorithm 1. For a matrix of shape (m, n), or a convolution
flattened to (out, rest), with the momentum u as in ``muon.py``:

    O = NS(sign(u));   v ← βv + (1 − β)·O²                        (AdaMuon; the paper's first version had no sign)
    O = NS(u);         v ← βv + (1 − β)·mean(O²) over each row    (NorMuon)
    Ô = O/(√v + ε);    θ ← θ − lr·λθ − lr·0.2·√(mn)·Ô/‖Ô‖

The last factor makes the root mean square of a step 0.2·lr, about that of AdamW, which all other parameters get.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import AdaMuonHyperparameters, NadaMuonHyperparameters, NorMuonHyperparameters
from bocb_hf.optim.matrix_split import MatrixSplitOptimizer
from bocb_hf.optim.newton_schulz import orthogonalise

RMS = 0.2  # root mean square of a step, in learning rates


class _AdaptiveMuon(MatrixSplitOptimizer):
    """The part that AdaMuon and NorMuon have in common.

    Args:
        params: Groups, each with ``matrix``: whether its parameters are hidden matrices.
        lr: Learning rate of both parts.
        momentum: Share that the running average of the gradient keeps in a step.
        second_momentum: β, the share that v keeps in a step.
        nesterov: Whether the momentum looks ahead.
        sign: Whether only the signs of the momentum are orthogonalised.
        ns_steps: Steps of Newton-Schulz.
        betas: β₁ and β₂ of the AdamW part.
        eps: ε, of v and of the AdamW part.
        weight_decay: Decoupled weight decay.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float,
        second_momentum: float,
        nesterov: bool,
        sign: bool,
        ns_steps: int,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "second_momentum": second_momentum,
            "nesterov": nesterov,
            "sign": sign,
            "ns_steps": ns_steps,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    def _matrix(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state = self.state[parameter]
        flat = self._momentum(parameter, gradient, group)
        update = orthogonalise(flat.sign() if group["sign"] else flat, group["ns_steps"]).to(parameter.dtype)
        squares = self._squares(update)
        if "second_moment" not in state:
            state["second_moment"] = torch.zeros_like(squares)
        moment = state["second_moment"].lerp_(squares, 1 - group["second_momentum"])
        update = update.div_(moment.sqrt().add_(group["eps"]))
        scale = RMS * math.sqrt(update.numel()) / (update.norm() + group["eps"])
        return update.mul_(scale).view_as(parameter)

    @staticmethod
    @abstractmethod
    def _squares(update: Tensor) -> Tensor:
        """Returns what v averages, from an orthogonalised matrix of shape (m, n)."""


class AdaMuon(_AdaptiveMuon):
    """AdaMuon."""

    @staticmethod
    def _squares(update: Tensor) -> Tensor:
        return update.square()


class NorMuon(_AdaptiveMuon):
    """NorMuon."""

    @staticmethod
    def _squares(update: Tensor) -> Tensor:
        return update.square().mean(dim=1, keepdim=True)


def adamuon(groups: list[dict[str, Any]], lr: float, h: AdaMuonHyperparameters | NadaMuonHyperparameters) -> Optimizer:
    """Builds AdaMuon over parameter groups that say whether they hold hidden matrices."""
    return AdaMuon(
        groups,
        lr=lr,
        momentum=h.momentum,
        second_momentum=h.second_momentum,
        nesterov=h.nesterov,
        sign=h.sign,
        ns_steps=h.ns_steps,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
    )


def normuon(groups: list[dict[str, Any]], lr: float, h: NorMuonHyperparameters) -> Optimizer:
    """Builds NorMuon over parameter groups that say whether they hold hidden matrices."""
    return NorMuon(
        groups,
        lr=lr,
        momentum=h.momentum,
        second_momentum=h.second_momentum,
        nesterov=h.nesterov,
        sign=False,
        ns_steps=h.ns_steps,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
    )
