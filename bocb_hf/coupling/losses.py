"""How far the tried configurations of a cell truly lie below its best one, given two or three noisy trials of each.

What tuning adds to the noise depends on these losses: with none, or with large ones, it does not matter what is chosen.
The observed losses of a cell are no more precise than the choice itself, and a simulation that takes them for the truth
finds noise where all configurations are equal, and too little where they differ by about one standard error. So what
all cells of a table show is gathered first: the distribution of the loss in points, a mixture on a grid that supposes
no shape, is fitted by maximum likelihood (Kiefer and Wolfowitz 1956; by EM, with a weak uniform prior); and each cell's
losses are then drawn from what this distribution and the cell's own trials leave possible (empirical Bayes, as in
Stephens, "False discovery rates: a new deal", 2017). The fit is repeated with cells weighted at random (the Bayesian
bootstrap, Rubin 1981), because a table of 20 cells does not know that distribution well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LOSSES = 24  # losses of the grid, 0 among them
NODES = 8  # points of the quadrature over the best configuration's mean
FIT_PAIRS = 4000  # about how many pairs of candidates the distribution is fitted to, of at most 200 cells
ROUNDS, AGAIN = 100, 30  # rounds of EM, from an even start and from the fit
NUMBERS = 4_000_000  # most numbers of one array
EVEN = 0.3  # weight of the uniform prior of the distribution, in losses
_T, _W = np.polynomial.hermite_e.hermegauss(NODES)


@dataclass(frozen=True, eq=False)
class Observed:
    """What the trials show: C candidates in each of some cells, in any order that is the same in every cell.

    Attributes:
        means: Mean validation score of each candidate in points, shape (cells, C); NaN where there is none.
        error: Standard error of these means beside what a cell's candidates share, shape (cells, C); of any positive
            value where there is no candidate.
    """

    means: Floats
    error: Floats


@dataclass(frozen=True, eq=False)
class Losses:
    """Fits of the distribution of a candidate's loss against the best one of its cell, one row for each fit.

    Attributes:
        grid: The losses in points, shape (LOSSES,), from 0 up.
        weights: Probability of each loss, shape (fits, LOSSES).
        places: Probability that the candidate in each place is the best one, shape (fits, C).
    """

    grid: Floats
    weights: Floats
    places: Floats

    @classmethod
    def fit(cls, observed: Observed, fits: int, generator: np.random.Generator) -> Losses:
        """Fits the distribution, each time with other weights of the cells."""
        most = int(np.clip(FIT_PAIRS / observed.means.shape[1] ** 2, 40, 200))
        step = -(-len(observed.means) // most)
        some = Observed(observed.means[::step], observed.error[::step])
        grid = _grid(some)
        density, there = _density(some, grid)
        even = np.full((1, LOSSES), 1 / LOSSES)
        places = there.mean(axis=0)[None] / there.sum(axis=1).mean()
        one = np.ones((len(density), 1))
        weights, places = _maximise(density, there, one, even, places, ROUNDS)
        drawn = generator.exponential(size=(len(density), fits))
        drawn *= len(drawn) / drawn.sum(axis=0)
        each = np.repeat(weights, fits, axis=0), np.repeat(places, fits, axis=0)
        return cls(grid, *_maximise(density, there, drawn, *each, AGAIN))

    def draw(self, observed: Observed, draws: int, generator: np.random.Generator) -> Floats:
        """Draws the true means that the candidates may have, less the best one's of their cell.

        Returns:
            Shape (fits, draws, cells, C), at most 0; 0 for the best one, −∞ where there is no candidate.
        """
        cells, candidates = observed.means.shape
        found = np.empty((len(self.weights), draws, cells, candidates))
        part = max(1, NUMBERS // (candidates**2 * NODES * LOSSES))
        for start in range(0, cells, part):
            piece = slice(start, start + part)
            density, there = _density(Observed(observed.means[piece], observed.error[piece]), self.grid)
            for i, (weights, places) in enumerate(zip(self.weights, self.places, strict=True)):
                found[i, :, piece] = self._draw(density, there, weights, places, draws, generator)
        return found

    def _draw(
        self,
        density: Floats,
        there: NDArray[np.bool_],
        weights: Floats,
        places: Floats,
        draws: int,
        generator: np.random.Generator,
    ) -> Floats:
        cells, candidates = there.shape
        joint = _joint(density, there, weights[None], places[None])[0].reshape(cells, -1)
        picked = _pick(joint[None], generator.random((draws, cells)))
        best, node = np.divmod(picked, NODES)
        loss = np.cumsum(density * weights, axis=-1)
        drawn = np.empty((draws, cells, candidates))
        row: NDArray[np.int64] = np.arange(cells, dtype=np.int64)
        for c in range(candidates):
            of_best = loss[row, best, c, node]  # (draws, cells, LOSSES)
            place = (generator.random((draws, cells, 1)) * of_best[..., -1:] > of_best).sum(axis=-1)
            drawn[..., c] = -self.grid[np.minimum(place, LOSSES - 1)]
        drawn[best[..., None] == np.arange(candidates)] = 0.0
        return np.where(there, drawn, -np.inf)


def _grid(observed: Observed) -> Floats:
    """Losses from 0 to the largest that is observed, mostly in equal ratios."""
    error = observed.error
    widest = float((np.nanmax(observed.means, axis=1) - np.nanmin(observed.means, axis=1)).max())
    low = 0.08 * float(np.median(error))
    return np.concatenate([[0.0], np.geomspace(low, max(widest + 2 * float(error.max()), 20 * low), LOSSES - 1)])


def _density(observed: Observed, grid: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Density of each candidate's mean if another is the best one and the loss is of the grid.

    Returns:
        Shape (cells, C as best, C, NODES, LOSSES), 1 for the best one itself and for candidates that are not there; and
        which candidates are there, shape (cells, C).
    """
    there: NDArray[np.bool_] = np.isfinite(observed.means)
    means = np.where(there, observed.means, 0.0)
    apart = (means[:, None, :] - means[:, :, None])[..., None, None]  # (cells, C as best, C, 1, 1)
    best, own = (observed.error[:, :, None], observed.error[:, None, :])
    z = (apart - best[..., None, None] * _T[:, None] + grid) / own[..., None, None]
    typical = np.median(observed.error, axis=1)[:, None, None]
    density = np.exp(-np.square(z) / 2) * (typical / own)[..., None, None]
    density[:, np.eye(means.shape[1], dtype=np.bool_)] = 1.0
    density.swapaxes(1, 2)[~there] = 1.0
    return density, there


def _joint(density: Floats, there: NDArray[np.bool_], weights: Floats, places: Floats) -> tuple[Floats, Floats]:
    """Probability of (best candidate, node), shape (cells, C, NODES, fits), and the density of each candidate then."""
    each = np.maximum(density @ weights.T, 1e-300)  # (cells, C as best, C, NODES, fits)
    found = each[:, :, 0].copy()
    for c in range(1, each.shape[2]):
        found *= each[:, :, c]
    found *= (there[:, :, None] * places.T)[:, :, None, :] * _W[:, None]
    return found / np.maximum(found.sum(axis=(1, 2), keepdims=True), 1e-300), each


def _maximise(
    density: Floats, there: NDArray[np.bool_], cells: Floats, weights: Floats, places: Floats, rounds: int
) -> tuple[Floats, Floats]:
    """Rounds of EM, several fits at once.

    Args:
        density: As ``_density`` gives it.
        there: As ``_density`` gives it.
        cells: Weight of each cell, shape (cells, fits).
        weights: The distribution of losses to begin with, shape (fits, LOSSES).
        places: Where the best one is, to begin with, shape (fits, C).
        rounds: Number of rounds.

    Returns:
        ``weights`` and ``places``.
    """
    candidates = there.shape[1]
    flat = density.reshape(-1, LOSSES)
    other = ~np.eye(candidates, dtype=np.bool_) & there[:, None, :]  # (cells, C as best, C)
    for _ in range(rounds):
        joint, each = _joint(density, there, weights, places)
        joint *= cells[:, None, None, :]
        share = (other[..., None, None] * joint[:, :, None] / each).reshape(len(flat), -1)
        counts = (share.T @ flat) * weights + EVEN / LOSSES
        weights = counts / counts.sum(axis=1, keepdims=True)
        places = joint.sum(axis=(0, 2)).T + 0.5
        places = places / places.sum(axis=1, keepdims=True)
    return weights, places


def _pick(mass: Floats, uniform: Floats) -> NDArray[np.intp]:
    """Draws an index along the last axis of ``mass`` for each uniform number."""
    cumulative = np.cumsum(mass, axis=-1)
    place = (uniform[..., None] * cumulative[..., -1:] > cumulative).sum(axis=-1)
    return np.minimum(place, mass.shape[-1] - 1)
