"""Muon: momentum whose matrices are orthogonalised, for hidden matrices; AdamW for everything else.

Jordan et al., *Muon: An optimizer for hidden layers in neural networks*, kellerjordan.github.io/posts/muon, with the
scale of Liu et al., *Muon is Scalable for LLM Training*, arXiv 2502.16982, which makes a step as large as one of AdamW.
For a matrix, or a convolution flattened to (out, rest):

    m ← μm + (1 − μ)g;   u = (1 − μ)g + μm  (Nesterov)
    θ ← θ − lr·λθ − lr·s·NS(u),   s = 0.2·√max(out, rest)

NS is the Newton-Schulz iteration of ``newton_schulz.py``, which takes singular values to about 1.
"""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import MuonHyperparameters
from bocb_hf.optim.matrix_split import MatrixSplitOptimizer
from bocb_hf.optim.newton_schulz import orthogonalise


class Muon(MatrixSplitOptimizer):
    """Muon.

    Args:
        params: Groups, each with ``matrix``: whether its parameters are hidden matrices.
        lr: Learning rate of both parts.
        momentum: μ, the share that m keeps in a step.
        nesterov: Whether u looks ahead as Nesterov's momentum does; otherwise u is m.
        ns_steps: Steps of Newton-Schulz.
        coefficients: Name of the coefficients of Newton-Schulz.
        adjust_lr: ``match_rms_adamw`` for s as above, ``original`` for √max(1, out/rest).
        betas: β₁ and β₂ of the AdamW part.
        eps: ε of the AdamW part.
        weight_decay: Decoupled weight decay.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float,
        nesterov: bool,
        ns_steps: int,
        coefficients: str,
        adjust_lr: str,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "nesterov": nesterov,
            "ns_steps": ns_steps,
            "coefficients": coefficients,
            "adjust_lr": adjust_lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    def _matrix(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        flat = self._momentum(parameter, gradient, group)
        rows, columns = flat.shape
        if group["adjust_lr"] == "match_rms_adamw":
            scale = 0.2 * math.sqrt(max(rows, columns))
        else:
            scale = math.sqrt(max(1.0, rows / columns))
        update = orthogonalise(flat, group["ns_steps"], coefficients=group["coefficients"])
        return update.mul_(scale).to(parameter.dtype).view_as(parameter)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("coefficients", "muon")  # this state was saved before there was a choice of coefficients


def build(groups: list[dict[str, Any]], lr: float, h: MuonHyperparameters) -> Optimizer:
    """Builds Muon over parameter groups that say whether they hold hidden matrices."""
    return Muon(
        groups,
        lr=lr,
        momentum=h.momentum,
        nesterov=h.nesterov,
        ns_steps=h.ns_steps,
        coefficients=h.coefficients,
        adjust_lr=h.adjust_lr,
        betas=(h.beta1, h.beta2),
        eps=h.eps,
    )
