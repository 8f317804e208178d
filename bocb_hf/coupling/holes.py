"""Cells that were not run: what stands in for them where optimizers must be compared over equal backbones.

The cost of coupling needs the mean of an optimizer over all backbones, and the best optimizer of each. A cell that was
not run stands at level + backbone + optimizer of the least squares fit to the others, which makes an optimizer's mean
the adjusted mean of that fit: it does not gain from missing the backbones that are hard. What the cell truly is differs
from that by its interaction; an interval draws it. A diverged cell is no hole: it is known, and ranks last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.additive import Mask, fit_additive, joined, largest_block, noise_coefficients
from bocb_hf.coupling.decomposition import median_polish
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable

NOT_RUN = ("missing", "interrupted")
MIN_FREEDOM = 3  # fewest cells beyond the effects that tell what a missing cell could be


def holes_of(scores: ScoreTable) -> Mask:
    """Finds the cells without a final run that has ended, shape (B, O)."""
    return np.isin(scores.status, NOT_RUN)


def fillable(scores: ScoreTable) -> Mask:
    """Finds the holes whose backbone and optimizer have a ranked cell, so that a fit says what to expect; shape (B, O).

    There are none where the ranked cells are not joined, or hardly more than the effects.
    """
    kept = scores.ranked
    rows, columns = (np.asarray(kept.any(axis=axis), np.bool_) for axis in (1, 0))
    freedom = int(kept.sum()) - int(rows.sum()) - int(columns.sum()) + 1
    if freedom < MIN_FREEDOM or not np.array_equal(joined(kept, int(rows.argmax())) & rows, rows):
        return np.zeros(kept.shape, np.bool_)
    return holes_of(scores) & rows[:, None] & columns


def fill(means: Floats, kept: Mask, holes: Mask) -> Floats:
    """Puts level + backbone + optimizer of the additive fit into the holes.

    Args:
        means: Cell means, shape (..., B, O).
        kept: Cells with a mean, shape (B, O).
        holes: Cells to fill, shape (B, O); ``fillable``.
    """
    if not holes.any():
        return means
    return np.where(holes, _fitted(np.where(kept, means, np.nan), kept), means)


@dataclass(frozen=True, eq=False)
class HoleDraws:
    """What the holes of a table could truly be.

    Attributes:
        kept: Cells with a mean, shape (B, O).
        holes: The holes, shape (B, O).
        freedom: Degrees of freedom of the interaction, cells − effects.
        mean_square: Mean square of the interaction by these.
        noise: What noise adds to ``mean_square``.
        residuals: Residuals of the cells by median polish, scaled to a variance of 1; shape (cells,).
    """

    kept: Mask
    holes: Mask
    freedom: int
    mean_square: float
    noise: float
    residuals: Floats

    @classmethod
    def of(cls, scores: ScoreTable, scale: Scale, noise: Floats | None) -> HoleDraws | None:
        """Takes what the cells that are there tell of the interaction.

        Args:
            scores: The table.
            scale: Points or logit.
            noise: Noise variance of each mean, shape (B, O); None where it is unknown and stays inside.

        Returns:
            The draws; None where there is no hole that can be filled.
        """
        kept, holes = scores.ranked, fillable(scores)
        if not holes.any():
            return None
        r = fit_additive(scores.cell_means(scale), kept).interaction[kept]
        freedom = int(kept.sum()) - int(kept.any(axis=1).sum()) - int(kept.any(axis=0).sum()) + 1
        total = float(np.square(r).sum())
        removed = 0.0 if noise is None else float(noise_coefficients(kept)[2] @ noise[kept]) * len(r)
        polished = median_polish(scores, scale).fit.interaction[kept]
        unit = (polished - polished.mean()) / (float(polished.std()) or 1.0)
        return cls(kept, holes, freedom, total / freedom, removed / freedom, unit)

    def draw(self, generator: np.random.Generator, draws: int, truth: Floats) -> Floats:
        """Draws whole tables of true means around those of the cells that are there, shape (draws, B, O).

        A hole misses what the fit expects by its own interaction and by what the interaction of the other cells does
        to the fit. Interactions are drawn from the residuals of the table, so that collapse stays as likely as it is
        there: those of median polish, since least squares spread a collapse over cells that gain by it. Their variance
        τ² follows τ² + noise = MS·df/χ²_df.

        Args:
            generator: Source of the random draws.
            draws: Number of tables.
            truth: True means of the cells that are there, shape (B, O).
        """
        tau = self.mean_square * self.freedom / generator.chisquare(self.freedom, draws) - self.noise
        place = generator.integers(0, len(self.residuals), (draws, *self.kept.shape))
        interaction = self.residuals[place] * np.sqrt(np.maximum(tau, 0.0))[:, None, None]
        error = interaction - _fitted(np.where(self.kept, interaction, np.nan), self.kept)
        expected = _fitted(np.where(self.kept, truth, np.nan), self.kept)
        return np.where(self.holes, expected + error, truth)


def _fitted(means: Floats, kept: Mask) -> Floats:
    """Returns level + backbone + optimizer of each cell, shape (..., B, O); NaN without a cell of either."""
    fit = fit_additive(means, kept)
    return fit.level[..., None, None] + fit.backbone[..., :, None] + fit.optimizer[..., None, :]


def keep_largest_block(scores: ScoreTable) -> tuple[ScoreTable, tuple[tuple[str, str], ...]]:
    """Keeps the largest block of ranked cells that shared backbones and optimizers join.

    Returns:
        The table with ranked cells outside the block as if they were not run, and these, (backbone, optimizer); the
        same table where every cell is joined to every other.
    """
    kept = scores.ranked
    outside = kept & ~largest_block(kept, scores.backbones, cells=True)[:, None]
    if not outside.any():
        return scores, ()
    packed = scores.packed
    part = replace(
        scores,
        values=np.where(outside[:, :, None], np.nan, scores.values),
        status=np.where(outside, "missing", scores.status),
        packed=None if packed is None else np.where(outside[:, :, None, None], np.uint8(0), packed),
    )
    return part, tuple((scores.backbones[b], scores.optimizers[o]) for b, o in np.argwhere(outside).tolist())


def cost_part(scores: ScoreTable) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Finds the places of the backbones and optimizers that the cost rests on, as ``complete_part`` does."""
    return complete_part(scores.ranked | fillable(scores), scores.status == "diverged")


def why_no_cost(scores: ScoreTable) -> str:
    """Says why a table has no cost of coupling, and what would allow it."""
    known = scores.ranked | fillable(scores)
    if min(int(known.any(axis=axis).sum()) for axis in (0, 1)) < 2:
        return "no two optimizers can be compared on two backbones; run more cells"
    if not known[known.any(axis=1)].all(axis=0).any():
        return (
            "no optimizer has a score that counts on every backbone (each diverged somewhere, or lacks cells that "
            "nothing stands in for), so none can be used for all; run more cells of one optimizer"
        )
    return "no two optimizers are known on two backbones; run more cells of the same backbones and optimizers"


def complete_part(
    ranked: NDArray[np.bool_], diverged: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Finds the places of backbones and optimizers of the largest part of a table in which every cell is known.

    Parts keep every backbone and drop optimizers, or keep every optimizer and drop backbones. A backbone on which
    nothing completed is in none of them: there is nothing to choose for it.

    Args:
        ranked: Cells with a mean, shape (B, O).
        diverged: Cells that are known as well, shape (B, O); no cell when None. A part then needs an optimizer without
            one, since otherwise none can be used for all.

    Returns:
        The places, or None when no part has two backbones and two optimizers.
    """
    known = ranked if diverged is None else ranked | diverged
    alive = np.asarray(ranked.any(axis=1))
    every = np.ones(ranked.shape[1], np.bool_)
    best: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
    for rows, columns in (
        (alive, np.asarray(known[alive].all(axis=0))),
        (alive & known.all(axis=1), every),
        (np.asarray(ranked.all(axis=1)), every),
    ):
        inside = ranked[rows][:, columns]
        usable = min(inside.shape) > 1 and inside.any(axis=1).all() and inside.all(axis=0).any()
        if usable and (best is None or inside.size > len(best[0]) * len(best[1])):
            best = np.nonzero(rows)[0], np.nonzero(columns)[0]
    return best
