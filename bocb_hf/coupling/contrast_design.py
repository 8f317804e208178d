"""Which cells the family contrast rests on, and with which weights, where some cells are missing.

The model is y_bo = α_b,g + θ_f,o: a backbone b has a level of its own with each group g of optimizers (SGD, adaptive),
and an optimizer o is as much better than its group in each backbone of one family f. It holds under the additive model
with an interaction of family and optimizer, and also where backbones of a family differ in how they live with SGD,
which is what the tests compare them by. Least squares within family × group give d_b = α_b,SGD − α_b,adaptive without
bias for every backbone that has one cell of each group, whichever others are missing, and no d is drawn towards those
of other backbones. In a complete table d_b is the plain difference of the means.

A cell that is missing is no cell that diverged: what diverged has no score that a model may stand in for, so a backbone
with a diverged or partly diverged cell is left out and named. An optimizer counts in both families or in none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bocb_hf.backbones import CNN_FAMILIES
from bocb_hf.coupling.additive import Mask, fit_additive, largest_block, level_weights, noise_coefficients
from bocb_hf.coupling.combination import Unseen
from bocb_hf.coupling.noise import cell_noise, tuning_part
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable

SGD = ("sgdm", "sgdp")
ADAPTIVE = "b"
LOST = ("diverged", "partial")  # states of cells that no model may stand in for


@dataclass(frozen=True, eq=False)
class Design:
    """The cells of one family contrast.

    Attributes:
        cnn: CNNs that have a d, shape (B,).
        modern: Modern backbones that have a d, shape (B,).
        sgd: Optimizers of the SGD group that count, shape (O,).
        adaptive: Optimizers of the adaptive group that count, shape (O,).
        known: Cells that have a mean, shape (B, O).
        left_out: Backbones without a d, with the reason.
        dropped: Optimizers that do not count, with the reason.
    """

    cnn: Mask
    modern: Mask
    sgd: Mask
    adaptive: Mask
    known: Mask
    left_out: Mapping[str, str]
    dropped: Mapping[str, str]

    @property
    def needed(self) -> Mask:
        """Cells that a complete table would give the contrast, shape (B, O)."""
        return (self.cnn | self.modern)[:, None] & (self.sgd | self.adaptive)

    @property
    def holes(self) -> Mask:
        """Needed cells that are missing, shape (B, O)."""
        return self.needed & ~self.known

    @property
    def full(self) -> Floats:
        """Weights of the cells if none were missing, shape (B, O)."""
        rows: Floats = self.cnn / self.cnn.sum() - self.modern / self.modern.sum()
        columns: Floats = self.sgd / self.sgd.sum() - self.adaptive / self.adaptive.sum()
        return rows[:, None] * columns

    @property
    def weights(self) -> Floats:
        """Weights of the cells that are there, shape (B, O); their sum with cell means is the contrast."""
        if not self.holes.any():
            return self.full
        found = np.zeros(self.needed.shape)
        for rows, columns, sign in self._blocks():
            block = np.ix_(rows, columns)
            mask = self.known[block]
            part = np.zeros(mask.shape)
            part[mask] = sign[0] * sign[1] * level_weights(mask).mean(axis=0)
            found[block] = part
        return found

    def differences(self, matrix: Floats) -> Floats:
        """Computes d of each backbone from cell means, shape (B, O) to (B,); NaN for a backbone without one."""
        if not self.holes.any():
            d = matrix[:, self.sgd].mean(axis=1) - matrix[:, self.adaptive].mean(axis=1)
            return np.where(self.cnn | self.modern, d, np.nan)
        d = np.where(self.cnn | self.modern, 0.0, np.nan)
        for rows, columns, sign in self._blocks():
            block = np.ix_(rows, columns)
            mask = self.known[block]
            d[rows] += sign[1] * (level_weights(mask) @ matrix[block][mask])
        return d

    def _blocks(self) -> Iterator[tuple[Mask, Mask, tuple[int, int]]]:
        """Yields family × group: their backbones and optimizers, and the sign of each in the contrast."""
        for rows, of_rows in ((self.cnn, 1), (self.modern, -1)):
            for columns, of_columns in ((self.sgd, 1), (self.adaptive, -1)):
                yield rows, columns, (of_rows, of_columns)


@dataclass(frozen=True)
class NoDesign:
    """Why there is no contrast and what would allow it, and which backbones were left out for which reason."""

    reason: str
    left_out: Mapping[str, str]


def design(scores: ScoreTable, known: Mask | None = None, extra: tuple[str, ...] = ()) -> Design | NoDesign:
    """Finds the cells of the family contrast.

    Args:
        scores: The table.
        known: Cells that have a value, shape (B, O); the ranked ones when None.
        extra: Optimizers that count as SGD beside ``SGD``.

    Returns:
        The design, or why a side has no backbone or optimizer.
    """
    known = scores.ranked if known is None else known
    sgd = np.array([o in (*SGD, *extra) for o in scores.optimizers])
    adaptive = np.array([category == ADAPTIVE for category in scores.categories])
    if not sgd.any() or not adaptive.any():
        lacking = f"no optimizer of {', '.join(SGD)}" if not sgd.any() else f"no optimizer of category ({ADAPTIVE})"
        return NoDesign(f"the table has {lacking}", {})
    left_out: dict[str, str] = {}
    dropped: dict[str, str] = {}
    sides = [np.array([f in CNN_FAMILIES for f in scores.families]), np.array([f == "modern" for f in scores.families])]
    for side, name in zip(sides, ("CNN", "modern backbone"), strict=True):
        if not (side & (known & sgd).any(axis=1) & (known & adaptive).any(axis=1)).any():
            why = f"no {name} has scores of both SGD and category ({ADAPTIVE}); run these"
            return NoDesign(why, left_out)
    dropped |= _drop_alone(scores, known, sides, sgd, adaptive)
    lost: Mask = np.isin(scores.status, LOST)
    for b, name in enumerate(scores.backbones):
        if not (sides[0] | sides[1])[b]:
            left_out[name] = f"its family is {scores.families[b]}"
        elif (lost[b] & (sgd | adaptive)).any():
            found = np.flatnonzero(~known[b] & (sgd | adaptive))
            left_out[name] = ", ".join(f"{scores.optimizers[o]} {scores.status[b, o]}" for o in found)
            sides = [side & (np.arange(len(side)) != b) for side in sides]
    while True:
        before = int(sides[0].sum() + sides[1].sum() + sgd.sum() + adaptive.sum())
        dropped |= _drop_alone(scores, known, sides, sgd, adaptive)
        for place, side in enumerate(sides):
            for columns, what in ((sgd, "SGD"), (adaptive, "adaptive")):
                for b in np.flatnonzero(side & ~largest_block(known & side[:, None] & columns, scores.backbones)):
                    there = (known[b] & columns).any()
                    why = "no cell that joins it to the others" if there else "no score"
                    left_out[scores.backbones[b]] = f"{why} of the {what} group"
                    sides[place][b] = False
        if int(sides[0].sum() + sides[1].sum() + sgd.sum() + adaptive.sum()) == before:
            break
    for side, name in zip(sides, ("CNN", "modern backbone"), strict=True):
        if not side.any() or not sgd.any() or not adaptive.any():
            return NoDesign(
                f"no {name} has scores of both SGD and category ({ADAPTIVE}) with optimizers that the other family has "
                "too; run these",
                left_out,
            )
    return Design(sides[0], sides[1], sgd, adaptive, known, left_out, dropped)


def _drop_alone(scores: ScoreTable, known: Mask, sides: Sequence[Mask], sgd: Mask, adaptive: Mask) -> dict[str, str]:
    """Takes the optimizers that one family has no score of out of both groups, and returns them with the reason."""
    dropped: dict[str, str] = {}
    for o in np.flatnonzero(sgd | adaptive).tolist():
        lacking = [
            name for side, name in zip(sides, ("CNN", "modern backbone"), strict=True) if not known[side, o].any()
        ]
        if lacking:
            dropped[scores.optimizers[o]] = f"no {' and no '.join(lacking)} has a score of it"
            sgd[o] = adaptive[o] = False
    return dropped


def unseen(scores: ScoreTable, found: Design, scale: Scale, draws: int = 4000, seed: int = 0) -> Unseen | None:
    """Estimates how far the contrast of the cells that are there may lie from that of all needed cells.

    With interactions γ_bo of variance τ² beside the model, they differ by Σ (w − c)·γ over all needed cells, where w
    are the weights of a table with holes and c those without, so by a variance of τ²·Σ (w − c)². τ² is the mean square
    of what an additive fit of all optimizers leaves in each family, noise removed; it is not too small, since it holds
    how a family's backbones differ in d. Its draws follow τ² + noise = MS·df/χ²_df.

    Returns:
        The variance; None where no needed cell is missing, or no family has more cells than effects.
    """
    if not found.holes.any():
        return None
    squares, noise, freedom = _left(scores, found, scale)
    if freedom == 0:
        return None
    size = float(np.square(found.weights - found.full).sum())
    chi2 = np.random.default_rng((seed, 7)).chisquare(freedom, draws)
    tau = np.maximum(squares / chi2 - noise / freedom, 0.0)
    return Unseen(size * max(0.0, (squares - noise) / freedom), size * tau)


def _left(scores: ScoreTable, found: Design, scale: Scale) -> tuple[float, float, int]:
    """Squares that additive fits within each family leave, what noise adds to them, and their degrees of freedom."""
    squares, noise, freedom = 0.0, 0.0, 0
    means = scores.cell_means(scale)
    variance = cell_noise(np.where(scores.ranked[:, :, None], scores.on(scale), np.nan))
    tuning = tuning_part(scores, scale)
    part = 0.0 if tuning is None else tuning.variance
    for side in (found.cnn, found.modern):
        mask = scores.ranked & side[:, None]
        mask &= largest_block(mask, scores.backbones)[:, None]
        places = np.ix_(mask.any(axis=1), mask.any(axis=0))
        kept = mask[places]
        df = int(kept.sum()) - sum(kept.shape) + 1
        if df < 1:
            continue
        fit = fit_additive(np.where(kept, means[places], np.nan), kept)
        squares += float(np.nansum(np.square(fit.interaction)))
        freedom += df
        if variance is not None:
            of_means = (variance / np.maximum(scores.n, 1) + part)[places][kept]
            noise += float(noise_coefficients(kept)[2] @ of_means) * int(kept.sum())
    return squares, noise, freedom
