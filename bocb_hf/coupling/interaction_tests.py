"""Is there any interaction, and is it a product of the two effects?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats as _scipy_stats  # pyright: ignore[reportMissingTypeStubs] - scipy has none

from bocb_hf.coupling.additive import Additive, Mask, fit_additive, joined
from bocb_hf.coupling.noise import cell_noise, tuning_part
from bocb_hf.coupling.scores import Scale, ScoreTable
from bocb_hf.coupling.spread import cell_spread, chunks

_stats: Any = _scipy_stats
DRAWS = 999  # simulated tables of the test of no interaction


@dataclass(frozen=True)
class Test:
    """F test of no interaction at all, against the noise between seeds.

    Attributes:
        f: MS_int / MSE, where MSE also holds n·τ² of tuning if that is known (``tuning_noise.py``).
        df1: Degrees of freedom of MS_int: cells − backbones − optimizers + 1, which is (B−1)(O−1) in a complete table.
        df2: Degrees of freedom of MSE, B(O−1)(S−1) in a complete table.
        p: p-value by simulation with spreads as unequal as they are, not by the F distribution (``interaction_test``).
        draws: Number of simulated tables; p is never below 1/(draws + 1).
        cells: Cells that the test rests on.
        backbones: Number of backbones with a cell.
        optimizers: Number of optimizers with a cell.
    """

    __test__ = False  # pytest must not take this class for one of its tests

    f: float
    df1: int
    df2: int
    p: float
    draws: int
    cells: int
    backbones: int
    optimizers: int


def interaction_test(scores: ScoreTable, scale: Scale = "points", seed: int = 0) -> Test | None:
    """Runs ``try_interaction_test``; None where it gives a reason instead of a test."""
    found = try_interaction_test(scores, scale, seed)
    return found if isinstance(found, Test) else None


def try_interaction_test(scores: ScoreTable, scale: Scale = "points", seed: int = 0) -> Test | str:
    """Tests for interaction by F = MS_int/MSE on the ranked cells, with a p that holds when spreads differ.

    With spreads that differ by a factor of 50, a few loud cells rule both mean squares, and the F distribution calls
    13 to 19 % of tables without interaction significant; Box's (1954) smaller degrees of freedom still 8 % with two
    seeds. So p is the share of simulations without interaction, every cell's σ drawn from its posterior given the
    scores (``spread.py``), whose MS_int is as large.

    Cells or seeds may be missing: MS_int is then Σ n·r²/df1 of the least squares fit that weighs cells by their number
    of scores n, and a simulated table lacks the same cells and seeds. So the level holds whatever decided which cells
    are there, other than their own luck with seeds.

    Args:
        scores: The table.
        scale: Points or logit.
        seed: Seed of the simulation.

    Returns:
        The test, or the reason why there is none and what would allow it.

    Raises:
        InputError: The cells lie in blocks that share neither backbone nor optimizer.
    """
    kept = scores.ranked
    values = np.where(kept[:, :, None], scores.on(scale), np.nan)
    n = np.where(kept, scores.n, 0)
    cells, backbones, optimizers = (int(x.sum()) for x in (kept, kept.any(axis=1), kept.any(axis=0)))
    df1 = cells - backbones - optimizers + 1
    if min(backbones, optimizers) < 2 or df1 < 1:
        return (
            f"{cells} cell(s) of {backbones} backbone(s) and {optimizers} optimizer(s) are explained by as many "
            "effects; run more cells of the same backbones and optimizers"
        )
    if n.max() < 2:
        return "n = 1 everywhere, so noise cannot be separated; run further seeds"
    spread, noise = cell_spread(scores, scale), cell_noise(values)
    if spread is None or noise is None or not float(noise[kept].mean()) > 0:
        return "too few cells have two scores that differ; run further seeds"
    tuning = tuning_part(scores, scale)
    mse = float((noise if tuning is None else noise + n * tuning.variance)[kept].mean())
    weights = None if np.ptp(n[kept]) == 0 else n.astype(np.float64)
    # with as many scores in each cell, n stands before the sum
    each, many = (1, int(n.max())) if weights is None else (n, 1)
    interaction = fit_additive(np.where(kept, scores.cell_means(scale), np.nan), kept, weights).interaction
    squares = float(np.nansum(each * np.square(interaction)))
    f = many * squares / df1 / mse
    generator = np.random.default_rng(seed)
    root = np.sqrt(np.maximum(n, 1))
    larger = 0
    for chunk in chunks(DRAWS, kept.size):
        e = generator.standard_normal((chunk, *kept.shape)) * spread.draw_table(generator, chunk) / root
        if tuning is not None:
            e += tuning.draw(generator, chunk)[0]
        drawn = fit_additive(np.where(kept, e, np.nan), kept, weights).interaction
        larger += int((np.nansum(each * np.square(drawn), axis=(-2, -1)) >= squares).sum())
    p = (1 + larger) / (1 + DRAWS)
    return Test(f, df1, _noise_freedom(np.isfinite(values)), p, DRAWS, cells, backbones, optimizers)


def _noise_freedom(found: Mask) -> int:
    """Counts the degrees of freedom that seeds leave beside cells and what a backbone's cells share in a seed.

    In each backbone, scores − cells − seeds + blocks of cells that are joined by common seeds; (O−1)(S−1) if complete.

    Args:
        found: Where there is a score, shape (B, O, S).
    """
    total = 0
    for cells in found:
        there = cells[cells.any(axis=1)][:, cells.any(axis=0)]
        total += int(there.sum()) - sum(there.shape)
        left = np.ones(len(there), np.bool_)
        while left.any():
            block = joined(there, int(left.argmax()))
            left &= ~block
            total += 1
    return total


@dataclass(frozen=True)
class Tukey:
    """Tukey's (1949) one-degree-of-freedom test: is the interaction a product of the two effects?

    Attributes:
        slope: Slope of the interaction on backbone effect × optimizer effect.
        share: Percent of the interaction's sum of squares that it explains.
        f: F with 1 and ``df`` degrees of freedom.
        df: Degrees of freedom of the remaining interaction, (B−1)(O−1) − 1 in a complete table.
        p: p-value of the F; what is left of the interaction plays the part of noise, so n = 1 is enough.
    """

    slope: float
    share: float
    f: float
    df: int
    p: float


def tukey_one_df(fit: Additive) -> Tukey | None:
    """Runs Tukey's test; None with fewer than 3 free cells, or without any interaction.

    Where cells are missing, the product of the effects is no longer orthogonal to them, so what they explain of it is
    taken off first: the F of one added variable, exact for normal noise as in a complete table.
    """
    kept = np.isfinite(fit.interaction)
    df = int(kept.sum()) - int(kept.any(axis=1).sum()) - int(kept.any(axis=0).sum())
    if df < 1:
        return None
    r, product = fit.interaction, np.outer(fit.backbone, fit.optimizer)
    if not kept.all():
        r, product = (fit_additive(np.where(kept, x, np.nan), kept).interaction[kept] for x in (r, product))
    scale, total = float(np.square(product).sum()), float(np.square(r).sum())
    if total <= 1e-18 * max(1.0, float(fit.level) ** 2) * r.size or scale <= 1e-18 * r.size:
        return None
    explained = float((r * product).sum()) ** 2 / scale
    rest = max(total - explained, 0.0)
    f = float("inf") if rest == 0 else explained / (rest / df)
    return Tukey(float((r * product).sum()) / scale, 100 * explained / total, f, df, float(_stats.f.sf(f, 1, df)))
