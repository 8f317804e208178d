"""The additive fit, level + backbone + optimizer, on the observed cells, and what noise adds to its squares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.scores import Floats
from bocb_hf.errors import InputError

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Additive:
    """The fit level + backbone + optimizer; effects sum to 0. Leading axes are those of the scores.

    Attributes:
        level: Level of all cells, shape (...).
        backbone: Effects of backbones, shape (..., B); NaN for a backbone without a cell.
        optimizer: Effects of optimizers, shape (..., O); NaN for an optimizer without a cell.
        interaction: Residuals, shape (..., B, O); NaN where there is no cell.
    """

    level: Floats
    backbone: Floats
    optimizer: Floats
    interaction: Floats


def fit_additive(means: Floats, mask: Mask | None = None, weights: Floats | None = None) -> Additive:
    """Weighted least squares on the observed cells.

    Args:
        means: Cell means, shape (..., B, O); every leading entry is fitted with the same cells.
        mask: Observed cells, shape (B, O); all finite cells when None.
        weights: Weights of the cells, shape (B, O), for example scores per cell; equal when None.

    Raises:
        InputError: There is no cell, or cells lie in blocks that share neither backbone nor optimizer, so that the
            blocks' levels cannot be compared.
    """
    mask = np.asarray(np.isfinite(means).reshape(-1, *means.shape[-2:]).all(axis=0)) if mask is None else mask
    if mask.all() and (weights is None or np.ptp(weights) == 0):
        level = means.mean(axis=(-2, -1))
        backbone = means.mean(axis=-1) - level[..., None]
        optimizer = means.mean(axis=-2) - level[..., None]
        residual = means - level[..., None, None] - backbone[..., :, None] - optimizer[..., None, :]
        return Additive(level, backbone, optimizer, residual)
    inverse = _projection(mask, weights)  # (1 + B + O, cells)
    effects = means[..., mask] @ inverse.T
    level, backbone = effects[..., 0], effects[..., 1 : 1 + len(mask)].copy()
    optimizer = effects[..., 1 + len(mask) :].copy()
    fitted = level[..., None, None] + backbone[..., :, None] + optimizer[..., None, :]
    backbone[..., ~mask.any(axis=1)] = np.nan
    optimizer[..., ~mask.any(axis=0)] = np.nan
    return Additive(level, backbone, optimizer, np.where(mask, means - fitted, np.nan))


def noise_coefficients(kept: Mask, weights: Floats | None = None) -> Floats:
    """Computes what noise alone adds to each of ``mean_squares``, per unit of noise variance of each cell mean.

    An effect is a linear map of the cell means, so its square expects Σ coefficient²·σ²/n.

    Returns:
        Shape (3, cells), rows as in ``mean_squares``.
    """
    backbones, optimizers = kept.shape
    cells = int(kept.sum())
    if kept.all() and weights is None:
        each = ((1 - 1 / optimizers) / backbones, (1 - 1 / backbones) / optimizers)
        parts = np.array([*each, (1 - 1 / backbones) * (1 - 1 / optimizers)])
        return np.repeat(parts[:, None] / cells, cells, axis=1)
    inverse = _projection(kept, weights)
    design = _design(kept)
    # column sums of (I − H)², where H = design · inverse maps means to fitted means
    rest = 1 - 2 * leverages(kept, weights) + np.einsum("pi,pi->i", inverse, (design.T @ design) @ inverse)
    of_backbone = kept.sum(axis=1) @ np.square(inverse[1 : 1 + backbones])
    of_optimizer = kept.sum(axis=0) @ np.square(inverse[1 + backbones :])
    return np.stack([of_optimizer, of_backbone, rest]) / cells


def leverages(kept: Mask, weights: Floats | None = None) -> Floats:
    """Computes how much each observed mean moves its own fit, shape (cells,): the diagonal of the projection."""
    backbones, optimizers = kept.shape
    if kept.all() and weights is None:
        return np.full(kept.size, 1 - (1 - 1 / backbones) * (1 - 1 / optimizers))
    inverse, place = _projection(kept, weights), np.arange(int(kept.sum()))
    rows, columns = np.nonzero(kept)
    return inverse[0] + inverse[1 + rows, place] + inverse[1 + backbones + columns, place]


def level_weights(kept: Mask) -> Floats:
    """Computes the linear map from observed means to each row's level, level + backbone effect, shape (B, cells).

    It is the mean of a row where its cells are all there, and otherwise what the fit makes of those that are.
    """
    inverse = _projection(kept, None)
    return inverse[0] + inverse[1 : 1 + len(kept)]


def residual_noise(kept: Mask) -> tuple[Floats, Floats]:
    """Computes what noise adds to Σ r²/(cells − 1) of each backbone and optimizer, per unit of each cell mean's noise.

    The residuals are those of the fit with equal weights. In a complete table with one noise variance v of all means
    these are the (1 − 1/B)·v and (1 − 1/O)·v of the plain formulas.

    Returns:
        Shapes (B, cells) and (O, cells); NaN for those with fewer than two cells.
    """
    return _residual_noise(kept.shape, kept.tobytes())


@lru_cache(maxsize=4)  # thousands of draws of one table share the result
def _residual_noise(shape: tuple[int, ...], cells: bytes) -> tuple[Floats, Floats]:
    """Computes ``residual_noise`` for a mask given as bytes, which can be cached."""
    kept = np.frombuffer(cells, np.bool_).reshape(shape)
    rows, columns = np.nonzero(kept)
    inverse = _projection(kept, None)
    level, backbone, optimizer = inverse[0], inverse[1 : 1 + shape[0]], inverse[1 + shape[0] :]
    found: list[Floats] = []
    for side, size in ((rows, shape[0]), (columns, shape[1])):
        noise = np.full((size, len(rows)), np.nan)
        for i in range(size):
            own = np.flatnonzero(side == i)
            if len(own) < 2:
                continue
            # the residuals as a linear map of the cell means, (own, cells)
            response = -level - backbone[rows[own]] - optimizer[columns[own]]
            response[np.arange(len(own)), own] += 1
            noise[i] = np.square(response).sum(axis=0) / (len(own) - 1)
        found.append(noise)
    return found[0], found[1]


def _projection(mask: Mask, weights: Floats | None) -> Floats:
    """The linear map from observed cells to (level, backbones, optimizers), shape (1 + B + O, cells)."""
    return _solve(mask.shape, mask.tobytes(), None if weights is None else weights.tobytes())


@lru_cache(maxsize=8)  # thousands of draws of one table share the result
def _solve(shape: tuple[int, ...], cells: bytes, weight: bytes | None) -> Floats:
    """Computes ``_projection`` for arrays given as bytes, which can be cached."""
    mask = np.frombuffer(cells, np.bool_).reshape(shape)
    weights = None if weight is None else np.frombuffer(weight, np.float64).reshape(shape)
    if not mask.any():
        raise InputError("scores: no cell is completed, so there is nothing to decompose")
    _check_connected(mask)
    backbones, optimizers = mask.shape
    w = np.ones(int(mask.sum())) if weights is None else weights[mask]
    # normal equations with the two constraints Σ backbone = Σ optimizer = 0 over those that have a cell
    size = 1 + backbones + optimizers
    design = _design(mask)
    constraints = np.zeros((2, size))
    constraints[0, 1 : 1 + backbones][mask.any(axis=1)] = 1
    constraints[1, 1 + backbones :][mask.any(axis=0)] = 1
    normal = design.T @ (design * w[:, None]) + constraints.T @ constraints
    return np.linalg.pinv(normal, hermitian=True) @ (design * w[:, None]).T


def _design(mask: Mask) -> Floats:
    """Indicators of level, backbone and optimizer of each observed cell, shape (cells, 1 + B + O)."""
    rows, columns = np.nonzero(mask)
    design = np.zeros((len(rows), 1 + sum(mask.shape)))
    design[:, 0] = 1
    design[np.arange(len(rows)), 1 + rows] = 1
    design[np.arange(len(rows)), 1 + len(mask) + columns] = 1
    return design


def _check_connected(mask: Mask) -> None:
    """Raises InputError unless steps within backbones and optimizers lead from every cell to every other."""
    rows = joined(mask, int(mask.any(axis=1).argmax()))
    if (mask.any(axis=1) & ~rows).any():
        raise InputError(
            "scores: the completed cells fall into blocks that share neither backbone nor optimizer, so effects "
            "cannot be compared; run a cell that joins them"
        )


def joined(mask: Mask, row: int) -> Mask:
    """Finds the rows that steps within rows and columns of a mask lead to from one row, shape (rows,)."""
    rows = np.zeros(len(mask), np.bool_)
    rows[row] = True
    while True:
        grown = rows | mask[:, mask[rows].any(axis=0)].any(axis=1)
        if np.array_equal(grown, rows):
            return rows
        rows = grown


def largest_block(mask: Mask, names: Sequence[str], cells: bool = False) -> Mask:
    """Finds the rows of the largest block of cells that steps within rows and columns join, shape (rows,).

    Of blocks with as many rows, it is the one with more cells, and of those the one that holds the name that is first
    by the alphabet: the order of a table decides nothing.

    Args:
        mask: The cells, shape (rows, columns); without any, no row is found.
        names: A name for each row.
        cells: Whether cells count before rows.
    """
    best: Mask = np.zeros(len(mask), np.bool_)
    most = (0, 0)
    left: Mask = np.asarray(mask.any(axis=1), np.bool_)
    for row in sorted(range(len(mask)), key=lambda r: names[r]):
        if not left[row]:
            continue
        block = joined(mask, row)
        size = (int(block.sum()), int(mask[block].sum()))
        if (size := size[::-1] if cells else size) > most:
            best, most = block, size
        left = left & ~block
    return best
