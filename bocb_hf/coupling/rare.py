"""Rare losses: runs that complete, but far below the others of their cell, and what cells without one must fear.

Two to five runs cannot show what happens in one run of ten. Where some cells of a table do show such runs, the mean of
any other cell *over all runs, rare losses included*, may lie lower than its own runs let believe; its interval then
reaches further down. Nothing changes where spreads are what the others of the table lead to expect.

- *Finding them.* Variances s² of cells follow s₀²·F(n−1, d₀) (Smyth 2004). Here s₀² and d₀ are fitted without the
  largest s², of which is only used that they are larger (as Phipson, Lee, Majewski, Alexander and Smyth 2016, "Robust
  hyperparameter estimation protects against hypervariable genes", Annals of Applied Statistics 10:946, winsorise them),
  and averaged over what the variances leave possible. A cell has lost runs if s² is so large that the whole table
  should hold less than ``EXPECTED`` such cells, and the runs below the widest gap are not the most. Where cells spread
  unequally, a lost run hides behind the loudest cells, but not among the runs of its own: with three or more of them,
  the lowest is also compared with the others of its cell (t of a deleted residual, its variance moderated by the same
  s₀² and d₀), and a cell has lost it if a whole table should hold less than ``ERRORS`` runs so far below.
- *How often.* The number of lost runs in a cell is beta-binomial; its mean rate and how far rates differ between cells
  are averaged over what all cells leave possible.
- *Failures are no losses.* A lost run that collapsed, more than half of the way from the best of its backbone down to
  chance, is a failure like a diverged one: it tells others a probability, and no interval reaches down for it.
- *How much.* The lower end of a cell whose n runs lost nothing is ȳ − t·s̃/√n − p·L, with p the upper end of what its
  n runs and the rates of the table leave possible, and L the mean loss of lost runs. A quantile of the sum would hold
  the truth as often over all cells, but less often in just those cells that do lose runs.

A limit: two runs cannot tell a lost run from a loud cell where the spreads of cells themselves differ by a factor of 5.
One table in five then shows no rare losses, and of the cells that lose 10 points in one run of ten about 89 % have an
interval that holds the mean over all runs; with three and five runs about 94 % have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special as _scipy_special  # pyright: ignore[reportMissingTypeStubs] - scipy has none
from numpy.typing import NDArray

from bocb_hf.coupling.depth import Floats
from bocb_hf.coupling.statistics import LEVEL

EXPECTED = 1.0  # largest number of cells as loud as a flagged one that the whole table should hold by chance
ERRORS = 0.25  # largest number of runs as far below the others of their cell that the whole table should hold by chance
CENSORED = 0.75  # quantile above which a variance only counts as large
MIN_CELLS = 10  # fewest cells whose variances tell what is usual
PRIOR_DFS = np.array([0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 20, 40, 100, 1000])
LOCATIONS = np.linspace(-2, 2, 17)  # of log s₀² about its guess from the median
RATES = np.geomspace(0.002, 0.5, 16)  # mean rate of lost runs
CONCENTRATIONS = np.array([2.0, 4, 8, 16, 32, 64])  # a + b of the beta distribution of rates over cells
GRID = np.concatenate([[0.0], np.geomspace(1e-6, 1, 400)])  # of the probability that a run is lost
_special: Any = _scipy_special


@dataclass(frozen=True, eq=False)
class RareLosses:
    """The runs of a table that lost far more than its noise.

    Attributes:
        lost: Number of lost runs in each cell, shape (cells,).
        runs: Number of runs in each cell that could show a loss, shape (cells,); 0 where n < 2.
        loss: Mean points by which lost runs that did not collapse lie below the others of their cell; 0 without any.
        collapsed: Number of the lost runs of each cell that collapsed, shape (cells,).
    """

    lost: NDArray[np.int64]
    runs: NDArray[np.int64]
    loss: float
    collapsed: NDArray[np.int64]

    def most(self, runs: int, collapsed: bool = False) -> float:
        """Returns the upper end of the 95 % interval of the probability that a run is lost, in a cell that lost none.

        Args:
            runs: Number of runs of that cell.
            collapsed: Whether runs that collapsed are meant, or those that did not.
        """
        lost = self.collapsed if collapsed else self.lost - self.collapsed
        mean, total = (x.ravel() for x in np.meshgrid(RATES, CONCENTRATIONS, indexing="ij"))
        a, b = mean * total, (1 - mean) * total
        pairs, counts = np.unique(np.stack([lost, self.runs])[:, self.runs > 0], axis=1, return_counts=True)
        k, n = pairs[0][:, None], pairs[1][:, None]
        evidence = counts @ (_special.betaln(a + k, b + n - k) - _special.betaln(a, b))
        weights = np.exp(evidence - evidence.max())
        # the hyper-parameters' evidence holds this cell's own runs already
        cumulative = (weights / weights.sum()) @ _special.betainc(a[:, None], b[:, None] + runs, GRID)
        return float(np.interp(0.5 + LEVEL / 2, cumulative, GRID))

    def below(self, cells: NDArray[np.bool_]) -> Floats:
        """Computes how much further down the intervals of cells reach, in points, shape (cells,): L·p.

        Args:
            cells: Cells with an interval, shape (cells,); those that lost a run get 0, since their own spread says so.
        """
        found = np.zeros(cells.shape)
        wanted = cells & (self.lost == 0) & (self.loss > 0)
        for runs in np.unique(self.runs[wanted]).tolist():
            found[wanted & (self.runs == runs)] = self.loss * self.most(runs)
        return found


def find_losses(values: Floats, variances: Floats, scaled: Floats, line: Floats | float = -np.inf) -> RareLosses | None:
    """Finds lost runs.

    Args:
        values: Scores, shape (cells, S), NaN where there is none.
        variances: s² of each cell, shape (cells,), raised to what rounding explains.
        scaled: The same over what the cell's depth leads to expect, up to a common factor, shape (cells,).
        line: Score below which a run collapsed, shape (cells,) or for all.

    Returns:
        The lost runs; None when there are none, or fewer than ``MIN_CELLS`` cells have two scores.
    """
    n = np.isfinite(values).sum(axis=1)
    several = n > 1
    if several.sum() < MIN_CELLS or not (variances[several] > 0).any():
        return None
    spreads = _Spreads.fit(scaled[several], n[several] - 1.0)
    loud = np.zeros(len(n), np.bool_)
    loud[several] = spreads.tails(scaled[several], n[several] - 1.0) * several.sum() < EXPECTED
    loud |= _apart(values, n, scaled / np.where(variances > 0, variances, 1.0), spreads) * several.sum() < ERRORS
    lines = np.broadcast_to(line, n.shape)
    lost, collapsed, losses = np.zeros(len(n), np.int64), np.zeros(len(n), np.int64), [0.0] * 0
    for cell in np.nonzero(loud)[0].tolist():
        runs = np.sort(values[cell][np.isfinite(values[cell])])
        below = int(np.diff(runs).argmax()) + 1
        if 2 * below <= len(runs):  # otherwise single runs lie above the others
            lost[cell] = below
            collapsed[cell] = int((runs[:below] < lines[cell]).sum())
            losses += (runs[below:].mean() - runs[collapsed[cell] : below]).tolist()
    if not lost.any():
        return None
    return RareLosses(lost, np.where(several, n, 0), float(np.mean(losses)) if losses else 0.0, collapsed)


def _apart(values: Floats, n: NDArray[np.int64], scale: Floats, spreads: _Spreads) -> Floats:
    """Returns the probability that the lowest runs of a cell lie so far below its others by chance, shape (cells,).

    The least over the numbers of lowest runs that leave more than half of them, times what was compared (Bonferroni).

    Args:
        values: Scores, shape (cells, S), NaN where there is none.
        n: Number of scores of each cell, shape (cells,); with fewer than three the probability is 1.
        scale: What squared points of each cell are multiplied by before spreads are compared, shape (cells,).
        spreads: How the variances of the table are distributed.
    """
    found, most = np.ones(len(n)), (n - 1) // 2
    runs = np.sort(values, axis=1)  # NaN come last
    for low in range(1, int(most.max(initial=0)) + 1):
        cells = np.nonzero(most >= low)[0]
        others = n[cells] - low
        mean = np.nansum(runs[cells, low:], axis=1) / others
        rest = np.nansum(np.square(runs[cells, low:] - mean[:, None]), axis=1)
        gap = (mean - runs[cells, low - 1]) * np.sqrt(scale[cells] / (1 + 1 / others))
        df: Floats = (others - 1).astype(np.float64)
        compared = most[cells] * _special.comb(n[cells], low)
        found[cells] = np.minimum(found[cells], compared * spreads.gaps(gap, rest * scale[cells], df))
    return found


@dataclass(frozen=True, eq=False)
class _Spreads:
    """The hyper-parameters of s² ~ s₀²·F(n−1, d₀) that the variances of a table leave possible.

    Attributes:
        d0: Values of d₀, shape (points, 1).
        location: Values of s₀², shape (points, 1).
        weights: Their posterior probabilities, shape (points,).
    """

    d0: Floats
    location: Floats
    weights: Floats

    @classmethod
    def fit(cls, variances: Floats, df: Floats) -> _Spreads:
        """Learns from the s² of cells and their n − 1, both of shape (cells,); the largest only count as large."""
        positive = variances > 0
        variances = np.where(positive, variances, variances[positive].min())
        limit = float(np.quantile(variances, CENSORED))
        d0, shift = (x.ravel()[:, None] for x in np.meshgrid(PRIOR_DFS, LOCATIONS, indexing="ij"))
        usual = float(np.median(df))
        location = np.exp(shift) * float(np.median(variances)) / _special.fdtri(usual, d0, 0.5)
        u = variances / location
        density = _special.gammaln((df + d0) / 2) - _special.gammaln(df / 2) - _special.gammaln(d0 / 2)
        density = density + df / 2 * np.log(df / d0) + (df / 2 - 1) * np.log(u) - np.log(location)
        density = np.asarray(density - (df + d0) / 2 * np.log1p(df * u / d0), np.float64)
        beyond: Floats = np.log(np.maximum(np.asarray(_special.fdtrc(df, d0, limit / location), np.float64), 1e-300))
        evidence: Floats = np.asarray(np.where(variances > limit, beyond, density).sum(axis=1), np.float64)
        weights = np.exp(evidence - evidence.max())
        return cls(d0, location, weights / weights.sum())

    def tails(self, variances: Floats, df: Floats) -> Floats:
        """Returns the probability of an s² at least as large without rare losses; all of shape (cells,)."""
        return self.weights @ _special.fdtrc(df, self.d0, variances / self.location)

    def gaps(self, gap: Floats, rest: Floats, df: Floats) -> Floats:
        """Returns the probability that a run lies so far below the others of its cell; all of shape (cells,).

        Args:
            gap: How far the run lies below the mean of the others, over √(1 + 1/(n−1)).
            rest: Sum of the squared deviations of the others from their mean.
            df: Number of the others less one.
        """
        variance = (self.d0 * self.location + rest) / (self.d0 + df)
        return self.weights @ _special.stdtr(self.d0 + df, -gap / np.sqrt(variance))
