"""Newton-Schulz: the iteration on the small side against the plain one, and both against what they are to approach."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bocb_hf.optim.newton_schulz import COEFFICIENTS, STRIPPED, orthogonalise, symmetric_product


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def steep(rows: int, columns: int, decades: float = 6.0) -> Tensor:
    """Singular values from 1 down by so many decades."""
    left, right = (torch.linalg.qr(gaussian(n, rows, seed=n))[0] for n in (rows, columns))
    return left * torch.logspace(0, -decades, rows, dtype=torch.float64) @ right.mT


MATRICES = {
    "wide": gaussian(16, 40),
    "tall": gaussian(40, 16),
    "one row": gaussian(1, 30),
    "one column": gaussian(30, 1),
    "steep": steep(20, 60),
    "of rank 2": gaussian(20, 2) @ gaussian(2, 60, seed=1),
    "in strips": gaussian(STRIPPED + 5, 2 * STRIPPED),
    "square": gaussian(24, 24),
    "zero": torch.zeros(6, 20, dtype=torch.float64),
}


@pytest.mark.parametrize("coefficients", COEFFICIENTS)
@pytest.mark.parametrize("name", MATRICES)
def test_the_small_side_gives_the_plain_iteration_in_float64(name: str, coefficients: str) -> None:
    matrix = MATRICES[name]
    for steps in (1, 5, 8):
        plain = orthogonalise(matrix, steps, coefficients=coefficients, plain=True)
        small = orthogonalise(matrix, steps, coefficients=coefficients)
        assert small.dtype == torch.float64 and small.shape == matrix.shape
        assert (small - plain).abs().max() <= 1e-9 * max(float(plain.abs().max()), 1e-300)


@pytest.mark.parametrize(("name", "bound"), [("wide", 1e-4), ("tall", 1e-4), ("of rank 2", 1e-3), ("steep", 1e-2)])
def test_in_float32_the_small_side_stays_near_float64(name: str, bound: float) -> None:
    """Also beyond the iterations that one Gram matrix can serve, where it would otherwise grow without bound."""
    matrix = MATRICES[name]
    for coefficients, steps in (("muon", 5), ("polar_express", 5), ("polar_express", 8)):
        exact = orthogonalise(matrix, steps, coefficients=coefficients, plain=True)
        found = orthogonalise(matrix.float(), steps, coefficients=coefficients)
        assert found.dtype == torch.float32
        assert torch.linalg.matrix_norm(found.double() - exact, 2) <= bound


def test_the_plain_iteration_is_that_of_the_authors() -> None:
    x = MATRICES["wide"] / MATRICES["wide"].norm()
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    torch.testing.assert_close(orthogonalise(MATRICES["wide"], 5), x, rtol=0, atol=1e-12)


def test_polar_express_is_that_of_its_authors() -> None:
    """Algorithm 1 of arXiv 2505.16932, where a safety factor of 1.01 acts on all steps but those of the last triple."""
    triples = [
        (8.28721201814563, -23.595886519098837, 17.300387312530933),
        (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
        (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
        (3.3184196573706015, -2.488488024314874, 0.51004894012372),
        (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
        (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
        (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
    ]
    triples = [(a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in triples] + [(1.875, -1.25, 0.375)] * 3
    for steps in (1, 5, 10):
        x = MATRICES["wide"] / (1.01 * MATRICES["wide"].norm())
        for a, b, c in triples[:steps]:
            gram = x @ x.mT
            x = a * x + (b * gram + c * gram @ gram) @ x
        found = orthogonalise(MATRICES["wide"], steps, coefficients="polar_express")
        torch.testing.assert_close(found, x, rtol=0, atol=1e-11)


def test_polar_express_comes_nearer_to_the_polar_factor() -> None:
    """Its changing steps leave singular values of two decades within 2e-3 of 1, where Muon's swing by a third."""
    matrix = steep(20, 60, decades=2.0)
    muon, polar = (torch.linalg.svdvals(orthogonalise(matrix, 8, coefficients=name)) for name in COEFFICIENTS)
    assert (polar - 1).abs().max() < 2e-3
    assert (muon - 1).abs().max() > 0.1


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (24, 24)])
def test_bfloat16_and_float32(shape: tuple[int, int]) -> None:
    """The path of a GPU and that of a CPU agree to 5 % of the largest entry, and singular values come near 1."""
    matrix = gaussian(*shape).float()
    full, half = orthogonalise(matrix, 5), orthogonalise(matrix, 5, torch.bfloat16)
    assert full.dtype == torch.float32 and half.dtype == torch.bfloat16
    assert (full - half.float()).abs().max() < 0.05 * full.abs().max()
    values = torch.linalg.svdvals(full)
    assert values.max() < 1.3
    if shape[0] != shape[1]:  # a square random matrix has singular values near 0, which stay small
        assert values.min() > 0.5


@pytest.mark.parametrize("size", [5, STRIPPED, STRIPPED + 1, 2 * STRIPPED + 7])
def test_a_symmetric_product_in_strips_is_the_product(size: int) -> None:
    a = gaussian(size, 12)
    product = symmetric_product(a, a.mT)
    torch.testing.assert_close(product, a @ a.mT, rtol=0, atol=1e-12 * float(product.abs().max()))
    torch.testing.assert_close(symmetric_product(product, product), product @ product)
