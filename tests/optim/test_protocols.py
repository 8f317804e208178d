"""The sampled labels of a Hessian estimate: what the loss says, and a square with the right mean."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn import functional

from bocb_hf.data.sampling import hessian_uniforms
from bocb_hf.optim.protocols import sampled_label_loss

LOGITS = torch.tensor([[0.3, -1.2, 0.8]], dtype=torch.float64)


def gauss_newton(loss: str) -> torch.Tensor:
    """Diagonal of the Hessian of the training loss in the logits, which does not depend on the labels."""
    target = torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    entropy = functional.cross_entropy if loss == "ce" else functional.binary_cross_entropy_with_logits
    matrix = torch.autograd.functional.hessian(lambda logits: entropy(logits, target), LOGITS)
    return torch.as_tensor(matrix).reshape(3, 3).diagonal()


def square(uniforms: torch.Tensor, loss: str) -> torch.Tensor:
    logits = LOGITS.clone().requires_grad_()
    sampled_label_loss(logits, uniforms, loss).backward()  # type: ignore[arg-type] - of plain tensors
    assert logits.grad is not None
    return logits.grad[0].square()


def test_the_mean_square_under_bce_is_the_gauss_newton_diagonal() -> None:
    """Over all labels of the three classes, each with the probability that its class gives it."""
    shares = LOGITS.sigmoid()[0]
    mean = torch.zeros(3, dtype=torch.float64)
    for labels in itertools.product((0, 1), repeat=3):
        drawn = torch.tensor(labels, dtype=torch.float64)
        probability = (drawn * shares + (1 - drawn) * (1 - shares)).prod()
        mean += probability * square(torch.where(drawn.bool(), 0.0, 0.999999).double()[None], "bce")
    assert mean.tolist() == pytest.approx(gauss_newton("bce").tolist(), rel=1e-12)


def test_the_mean_square_under_ce_is_the_gauss_newton_diagonal() -> None:
    shares = LOGITS.softmax(dim=1)[0]
    edges = [0.0, *shares.cumsum(0).tolist()]
    mean = sum(shares[k] * square(torch.tensor([(edges[k] + edges[k + 1]) / 2]), "ce") for k in range(3))
    assert torch.as_tensor(mean).tolist() == pytest.approx(gauss_newton("ce").tolist(), rel=1e-12)


def test_each_class_has_a_draw_of_its_own_under_bce() -> None:
    assert hessian_uniforms(5, 1, 2).shape == (5,)
    draws = hessian_uniforms(20_000, 1, 2, 3)
    assert draws.shape == (20_000, 3)
    shares = (draws < LOGITS.sigmoid()).double().mean(dim=0)
    assert shares.tolist() == pytest.approx(LOGITS.sigmoid()[0].tolist(), abs=0.02)
