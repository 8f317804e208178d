"""timm's Kron (PSGD) with contractions of ours.

Li, *Preconditioned Stochastic Gradient Descent*, arXiv 1512.04202, with Kronecker factors Q = Q₁ ⊗ … ⊗ Qₙ and P = QᵀQ.
timm writes the products of all factors as one einsum each. Without opt_einsum that einsum forms the outer product of
the factors first (2048² × 512² numbers for one convolution of ResNet-50), and timm compiles it for every shape. One
factor after the other, axis by axis, is the same sum in the order that costs least.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from timm.optim import kron as timm_kron
from torch import Tensor
from torch.optim import Optimizer

from bocb_hf.optim.hyperparameters import KronHyperparameters


def _along(tensor: Tensor, axis: int) -> tuple[int, ...]:
    """Returns the shape that broadcasts a vector along one axis; () for a scalar."""
    return (-1,) + (1,) * (tensor.ndim - 1 - axis) if tensor.ndim else ()


def _multiply(factor: Tensor, tensor: Tensor, axis: int) -> Tensor:
    """Multiplies one axis by a factor, diagonal of shape (n,) or triangular of shape (n, n)."""
    if factor.ndim < 2:
        return tensor * factor.view(_along(tensor, axis))
    # torch's stubs know only one of the forms of dims
    return torch.tensordot(factor, tensor, dims=([1], [axis])).movedim(0, axis)  # type: ignore[arg-type]


def _solve(factor: Tensor, tensor: Tensor, axis: int) -> Tensor:
    """Multiplies one axis by the inverse transpose of a factor."""
    if factor.ndim < 2:
        return tensor / factor.view(_along(tensor, axis))
    rows = tensor.movedim(axis, -1)
    wide = torch.promote_types(tensor.dtype, torch.float32)  # LAPACK has no half precision
    flat = rows.reshape(-1, rows.shape[-1]).to(wide)
    solved = torch.linalg.solve_triangular(factor.to(wide), flat, upper=True, left=False)
    return solved.reshape(rows.shape).to(tensor.dtype).movedim(-1, axis)


def _precondition(factors: Sequence[Tensor], _: Any, gradient: Tensor) -> Tensor:
    """Computes the preconditioned gradient QᵀQ·g."""
    for axis, factor in enumerate(factors):
        gradient = _multiply(factor, gradient, axis)
        gradient = _multiply(factor.mT if factor.ndim == 2 else factor, gradient, axis)
    return gradient


def _whiten(_: Any, gradient: Tensor, factors: Sequence[Tensor], probe: Tensor) -> tuple[Tensor, Tensor]:
    """Computes Q·g and Q⁻ᵀ·v, the two sides that the update of Q compares."""
    for axis, factor in enumerate(factors):
        gradient, probe = _multiply(factor, gradient, axis), _solve(factor, probe, axis)
    return gradient, probe


class Kron(timm_kron.Kron):
    """timm's Kron, whose contractions are replaced by those of this module and are not compiled."""

    def _init_fns(self) -> None:
        self._tiny = torch.finfo(torch.bfloat16).tiny
        self._calc_A_and_conjB = _whiten
        self._q_terms = timm_kron._q_terms
        self._precond_grad = _precondition
        self._balance_Q = timm_kron._balance_Q


def build(groups: list[dict[str, Any]], lr: float, h: KronHyperparameters) -> Optimizer:
    """Builds Kron over parameter groups."""
    with warnings.catch_warnings():
        # timm asks for opt_einsum because of the einsums that are replaced here
        warnings.filterwarnings("ignore", message=".*opt_einsum")
        return Kron(
            groups,
            lr=lr,
            momentum=h.momentum,
            preconditioner_update_probability=None,
            max_size_triangular=h.max_size,
            min_ndim_triangular=2,
            memory_save_mode=None,
            momentum_into_precond_update=True,
            precond_lr=h.precond_lr,
            precond_init_scale=1.0,
            decoupled_decay=True,
            flatten=True,
            flatten_start_dim=2,
            flatten_end_dim=-1,
            stochastic_weight_decay=False,
            # probes are drawn from the generator that is in the state_dict, not from that of the run
            deterministic=True,
        )
