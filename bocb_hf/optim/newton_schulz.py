"""Newton-Schulz iteration: takes a matrix to the nearest one whose singular values are about 1.

With A = XXᵀ of the shorter side, one iteration is X ← (aI + bA + cA²)X. Every iterate is a polynomial of the first A
times the first X, so that the iteration can run on the small side alone:

    Z = aI + bA + cA²;   P ← ZP;   A ← ZAZ;   at the end X ← PX

For (m, n) that is 17·2m³ + 4m²n operations in five iterations instead of 10·m³ + 20m²n. All of these small matrices are
symmetric, which saves a third of each product.

A small singular value σ stands as σ² in A, which float32 holds less well: after five iterations the result deviates
from the plain iteration by some 1e-3 where singular values span six decades, and by 1e-5 on noise. After these five
iterations A is computed anew from X, because with more of them its rounding errors would grow without bound. In
bfloat16 they grow without bound at once, so there the iteration is plain.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Triple = tuple[float, float, float]

# Each entry has the factor on the norm before the first iteration. Further iterations repeat the last triple.
# muon: Jordan et al., kellerjordan.github.io/posts/muon. polar_express: Amsel et al., arXiv 2505.16932, whose safety
# factor of 1.01 is applied below to all but the last triple, as in the authors' code.
_POLAR_EXPRESS: Sequence[Triple] = (
    (8.28721201814563, -23.595886519098837, 17.300387312530933),
    (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
    (3.9486908534822946, -2.908902115962949, 0.5518191394370137),
    (3.3184196573706015, -2.488488024314874, 0.51004894012372),
    (2.300652019954817, -1.6689039845747493, 0.4188073119525673),
    (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
    (1.8750014808534479, -1.2500016453999487, 0.3750001645474248),
)
COEFFICIENTS: Mapping[str, tuple[Sequence[Triple], float]] = {
    "muon": (((3.4445, -4.7750, 2.0315),), 1.0),
    "polar_express": (
        (*((a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in _POLAR_EXPRESS), (1.875, -1.25, 0.375)),
        1.01,
    ),
}
SMALLEST_NORM = 1e-7
RESTART = 5  # iterations before A is computed anew from X
ELONGATED = 1.5  # ratio of the longer to the shorter side from which iterating on the small side alone is cheaper
STRIPS = 3  # number of strips in which a symmetric product is computed
STRIPPED = 256  # shortest side for which strips are faster than the whole product


def orthogonalise(
    matrix: Tensor, steps: int, dtype: torch.dtype | None = None, coefficients: str = "muon", plain: bool = False
) -> Tensor:
    """Runs the Newton-Schulz iteration on a matrix.

    Args:
        matrix: The matrix, shape (m, n).
        steps: Number of iterations.
        dtype: Type to compute in. None is bfloat16 on a GPU, as the authors do, and at least float32 on a CPU: without
            bfloat16 instructions its products are a hundred times slower there.
        coefficients: A key of ``COEFFICIENTS``.
        plain: Multiply the whole matrix in every iteration, as the papers write it.

    Returns:
        (m, n) in that type, with singular values of about 1.
    """
    if dtype is None:
        dtype = torch.bfloat16 if matrix.is_cuda else torch.promote_types(matrix.dtype, torch.float32)
    x = matrix.to(dtype)
    x = x.mT if x.shape[0] > x.shape[1] else x  # the product XXᵀ is that of the shorter side
    known, margin = COEFFICIENTS[coefficients]
    x = x / (x.norm() * margin).clamp(min=SMALLEST_NORM)
    triples = list(itertools.islice(itertools.chain(known, itertools.repeat(known[-1])), steps))
    if plain or dtype in (torch.bfloat16, torch.float16) or x.shape[1] < ELONGATED * x.shape[0]:
        for a, b, c in triples:
            gram = x @ x.mT
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    else:
        for first in range(0, steps, RESTART):
            x = _small_side(x, triples[first : first + RESTART])
    return (x.mT if matrix.shape[0] > matrix.shape[1] else x).contiguous()


def _small_side(x: Tensor, triples: Sequence[Triple]) -> Tensor:
    """Runs several iterations on the small side, and multiplies the matrix of shape (m, n) once at the end."""
    gram = symmetric_product(x, x.mT)
    product: Tensor | None = None
    for left, (a, b, c) in zip(reversed(range(len(triples))), triples, strict=True):
        factor = symmetric_product(gram, gram).mul_(c).add_(gram, alpha=b)
        factor.diagonal().add_(a)
        product = factor if product is None else symmetric_product(factor, product)
        if left:
            gram = symmetric_product(symmetric_product(gram, factor), factor)
    assert product is not None
    return product @ x


def symmetric_product(a: Tensor, b: Tensor) -> Tensor:
    """Returns the product of (m, k) and (k, m), known to be symmetric, by multiplying its upper strips only."""
    m = a.shape[0]
    if m < STRIPPED:
        return a @ b
    product = a.new_empty(m, m)
    edges = [m * i // STRIPS for i in range(STRIPS + 1)]
    for start, stop in itertools.pairwise(edges):
        product[start:stop, start:] = a[start:stop] @ b[:, start:]
        product[stop:, start:stop] = product[start:stop, stop:].mT
    return product
