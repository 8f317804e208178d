"""Is there any interaction, and is it a product of the two effects?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats as _scipy_stats  # pyright: ignore[reportMissingTypeStubs]

from bocb_hf.coupling.additive import Additive, fit_additive
from bocb_hf.coupling.noise import cell_noise, tuning_part
from bocb_hf.coupling.scores import Scale, ScoreTable
from bocb_hf.coupling.spread import cell_spread, chunks

_stats: Any = _scipy_stats
DRAWS = 999  # simulated tables of the test of no interaction


@dataclass(frozen=True)
class Test:
    """F test of no interaction at all, against the noise between seeds.

    Attributes:
        f: MS_int / MSE, where MSE also holds S·τ² of tuning if that is known (``tuning_noise.py``).
        df1: Degrees of freedom of MS_int: (B−1)(O−1).
        df2: Degrees of freedom of MSE, B(O−1)(S−1).
        p: p-value by simulation with spreads as unequal as they are, not by the F distribution (``interaction_test``).
        draws: Number of simulated tables; p is never below 1/(draws + 1).
    """

    __test__ = False  # pytest must not take this class for one of its tests

    f: float
    df1: int
    df2: int
    p: float
    draws: int


def interaction_test(scores: ScoreTable, scale: Scale = "points", seed: int = 0) -> Test | None:
    """Tests for interaction by F = MS_int/MSE, with a p that holds when spreads differ.

    With spreads that differ by a factor of 50, a few loud cells rule both mean squares, and the F distribution calls
    13 to 19 % of tables without interaction significant; Box's (1954) smaller degrees of freedom still 8 % with two
    seeds. So p is the share of simulations without interaction, every cell's σ drawn from its posterior given the
    scores (``spread.py``), whose MS_int is as large.

    Args:
        scores: The table.
        scale: Points or logit.
        seed: Seed of the simulation.

    Returns:
        The test; None when a cell lacks a seed, with one backbone, optimizer or seed, or when the scores of too few
        cells differ.
    """
    values = np.where(scores.ranked[:, :, None], scores.on(scale), np.nan)
    backbones, optimizers, seeds = values.shape
    if min(values.shape) < 2 or not np.isfinite(values).all():
        return None
    spread, noise = cell_spread(scores, scale), cell_noise(values)
    if spread is None or noise is None or not float(noise.mean()) > 0:
        return None
    interaction = fit_additive(values.mean(axis=2)).interaction
    df1, df2 = (backbones - 1) * (optimizers - 1), backbones * (optimizers - 1) * (seeds - 1)
    tuning = tuning_part(scores, scale)
    mse = float(noise.mean()) + (0.0 if tuning is None else seeds * float(tuning.variance.mean()))
    f = seeds * float(np.square(interaction).sum()) / df1 / mse
    generator = np.random.default_rng(seed)
    larger = 0
    for chunk in chunks(DRAWS, backbones * optimizers):
        e = generator.standard_normal((chunk, backbones, optimizers)) * spread.draw_table(generator, chunk) / seeds**0.5
        if tuning is not None:
            e += tuning.draw(generator, chunk)[0]
        squares = np.square(fit_additive(e).interaction).sum(axis=(-2, -1))
        larger += int((squares >= float(np.square(interaction).sum())).sum())
    return Test(f, df1, df2, (1 + larger) / (1 + DRAWS), DRAWS)


@dataclass(frozen=True)
class Tukey:
    """Tukey's (1949) one-degree-of-freedom test: is the interaction a product of the two effects?

    Attributes:
        slope: Slope of the interaction on backbone effect × optimizer effect.
        share: Percent of the interaction's sum of squares that it explains.
        f: F with 1 and ``df`` degrees of freedom.
        df: Degrees of freedom of the remaining interaction, (B−1)(O−1) − 1.
        p: p-value of the F; what is left of the interaction plays the part of noise, so n = 1 is enough.
    """

    slope: float
    share: float
    f: float
    df: int
    p: float


def tukey_one_df(fit: Additive) -> Tukey | None:
    """Runs Tukey's test; None on incomplete tables, with fewer than 3 free cells, or without any interaction."""
    r = fit.interaction
    df = (r.shape[0] - 1) * (r.shape[1] - 1) - 1
    if not np.isfinite(r).all() or df < 1:
        return None
    product = np.outer(fit.backbone, fit.optimizer)
    scale, total = float(np.square(product).sum()), float(np.square(r).sum())
    if total <= 1e-18 * max(1.0, float(fit.level) ** 2) * r.size or scale == 0:
        return None
    explained = float((r * product).sum()) ** 2 / scale
    rest = max(total - explained, 0.0)
    f = float("inf") if rest == 0 else explained / (rest / df)
    return Tukey(float((r * product).sum()) / scale, 100 * explained / total, f, df, float(_stats.f.sf(f, 1, df)))
