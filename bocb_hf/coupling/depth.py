"""How deep a cell lies below its backbone's median, which its spread over seeds follows: collapsed cells vary most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_TREND = 20  # fewest cells that a slope is estimated from
Floats = NDArray[np.float64]


def depths(means: Floats, of: Floats | None = None) -> Floats:
    """Returns log(1 + points below the backbone's median, in typical distances from it); 0 above the median.

    Args:
        means: Cell means in points or logits, shape (B, O), NaN where there is none; medians and the typical distance,
            the median |mean − median|, are theirs.
        of: Means of which the depth is asked, shape (B, ...); ``means`` when None.

    Returns:
        Depths of the shape of ``of``, NaN where that is NaN; 0 everywhere when the typical distance is 0.
    """
    wanted = means if of is None else of
    empty: NDArray[np.bool_] = np.asarray(~np.isfinite(means).any(axis=1), np.bool_)
    median = np.nanmedian(np.where(empty[:, None], 0.0, means), axis=1)[:, None]
    below = np.maximum(median - wanted, 0.0)
    distances = np.abs(means - median)
    typical = float(np.nanmedian(distances)) if np.isfinite(distances).any() else 0.0
    return np.log1p(below / typical) if typical > 0 else np.zeros_like(wanted)


def slope(depth: Floats, log_variance: Floats) -> tuple[float, float]:
    """Returns the slope of log variances over depths, both of shape (cells,), and its standard error.

    Both are 0 with fewer than ``MIN_TREND`` cells, too few to tell.
    """
    centred = depth - depth.mean()
    square = float(np.square(centred).sum())
    if len(depth) < MIN_TREND or square <= 0:
        return 0.0, 0.0
    found = float(centred @ log_variance) / square
    rest = log_variance - log_variance.mean() - found * centred
    return found, float(np.square(rest).sum() / (len(depth) - 2) / square) ** 0.5
