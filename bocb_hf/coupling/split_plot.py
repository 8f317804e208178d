"""One backbone's scores of pre-training × fine-tuning optimizer as a split plot, whose whole plots are checkpoints.

The score of a run is y_pfks = μ + α_p + β_f + γ_pf + a_pk + c_pfk + e_pfks for pre-training optimizer p, fine-tuning
optimizer f, pre-training seed k and fine-tuning seed s. A checkpoint (p, k) is fine-tuned by every f, so its own merit
a_pk is shared by them and cancels in comparisons of f; what remains of a pre-training seed there is c_pfk. Both are
random and nested in p. All statements rest on the means z_pfk over s, whose noise holds c and e together: the error of
the interaction is MS(f × k within p), with (F−1)·Σ(K_p−1) degrees of freedom (Montgomery 2017, Section 14.4).

Where cells were tuned with several seeds, what tuning adds to a cell mean is an error of the interaction as well, since
each pair of optimizers was tuned by itself (``tuning_noise.py``).

With one checkpoint a pre-training optimizer, fine-tuning seeds take the place of checkpoints, and every statement is
*given these checkpoints*.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats as _scipy_stats  # pyright: ignore[reportMissingTypeStubs] - scipy has none
from numpy.typing import NDArray

from bocb_hf.coupling.depth import Floats
from bocb_hf.coupling.statistics import LEVEL, Interval, t_quantile

_stats: Any = _scipy_stats


@dataclass(frozen=True, eq=False)
class SplitPlot:
    """The parts of one backbone's table.

    Attributes:
        replicates: z of each pre-training optimizer, each of shape (F, K_p): one column a checkpoint, or a fine-tuning
            seed where ``given``.
        given: Whether there is one checkpoint a pre-training optimizer, so that all is given these checkpoints.
        means: Cell means, shape (P, F).
        pretraining: Effects α of the pre-training optimizers, shape (P,).
        fine_tuning: Effects β of the fine-tuning optimizers, shape (F,).
        interaction: γ, shape (P, F); its rows and columns sum to 0.
        k: Harmonic mean of the K_p.
        ms_interaction: Mean square of the interaction of z.
        noise: MS(f × k within p), the variance of z without what a checkpoint's runs share; None with K_p = 1
            throughout.
        noise_df: Its degrees of freedom.
        between: Variance over the checkpoints of one p of their means over f; None as ``noise``.
        cell: Variance of z_pfk over k, averaged over the cells; None as ``noise``.
        cell_df: Degrees of freedom that it is worth at least: Σ(K_p−1), for a checkpoint's cells err together.
        tuning: τ² of each cell mean from tuning (``tuning_noise.py``), shape (P, F); None where all is given the tuned
            rates.
        tuning_df: Its degrees of freedom, over the whole table.
    """

    replicates: tuple[Floats, ...]
    given: bool
    means: Floats
    pretraining: Floats
    fine_tuning: Floats
    interaction: Floats
    k: float
    ms_interaction: float
    noise: float | None
    noise_df: int
    between: float | None
    cell: float | None
    cell_df: int
    tuning: Floats | None = None
    tuning_df: float = math.inf

    @property
    def tau(self) -> float:
        """Mean τ² of the cells; 0 where all is given the tuned rates."""
        return 0.0 if self.tuning is None else float(self.tuning.mean())

    @property
    def error(self) -> tuple[float, float] | None:
        """What MS_interaction is without interaction, noise + K·τ², and its degrees of freedom; None without noise."""
        if self.noise is None:
            return None
        parts = np.array([self.noise, self.k * self.tau])
        return float(parts.sum()), _freedom(parts, [self.noise_df, self.tuning_df])

    @property
    def interaction_df(self) -> int:
        """(P−1)·(F−1)."""
        return (self.means.shape[0] - 1) * (self.means.shape[1] - 1)

    def p_value(self, even: float = 1.0) -> float | None:
        """Probability of an interaction as large by noise alone, by the F test; None without noise to compare with.

        Args:
            even: How even noise is over cells (``evenness``), by which both degrees of freedom are multiplied.
        """
        if self.error is None or self.interaction_df < 1:
            return None
        error, df = self.error
        if error <= 0:
            return 1.0 if self.ms_interaction <= 0 else 0.0
        return float(_stats.f.sf(self.ms_interaction / error, even * self.interaction_df, even * df))

    def half_widths(self) -> Floats:
        """Half of the 95 % interval of each cell mean, shape (P, F), NaN where there is none.

        One spread counts for all cells of the backbone.
        """
        counts = np.array([z.shape[1] for z in self.replicates], np.float64)
        if self.cell is None:
            return np.full(self.means.shape, np.nan)
        own = np.repeat((self.cell / counts)[:, None], self.means.shape[1], axis=1)
        both = own + (0.0 if self.tuning is None else self.tuning)
        return t_quantile(0.5 + LEVEL / 2, self.cell_df) * np.sqrt(both)

    def variances(self) -> tuple[float, float, float]:
        """Mean squares of α, β and γ over the cells with the noise removed, each at least 0."""
        p, f = self.means.shape
        found = [
            float(np.square(part).sum()) / (len(part) - 1) if len(part) > 1 else 0.0
            for part in (self.pretraining, self.fine_tuning)
        ]
        interaction = self.ms_interaction / self.k
        if self.noise is not None and self.between is not None:
            found[0] -= self.between / self.k + self.tau / f
            found[1] -= self.noise / (self.k * p) + self.tau / p
            interaction -= self.noise / self.k + self.tau
        shares = ((p - 1) / p, (f - 1) / f, self.interaction_df / (p * f))
        one, two, three = (max(0.0, v) * share for v, share in zip((*found, interaction), shares, strict=True))
        return one, two, three


def split_plot(values: Floats) -> SplitPlot | None:
    """Takes the scores of one backbone apart.

    Args:
        values: Scores, shape (P, F, K, S), NaN where there is no score: K checkpoints of a pre-training optimizer, S
            fine-tuning seeds of a checkpoint.

    Returns:
        The parts, from the checkpoints that every fine-tuning optimizer has scores of; None where a pre-training
        optimizer has no such checkpoint, or there are fewer than two optimizers in either role.
    """
    known = np.isfinite(values)
    counts = known.sum(axis=3)
    z = np.where(known, values, 0.0).sum(axis=3) / np.where(counts > 0, counts, np.nan)  # (P, F, K)
    whole = np.isfinite(z).all(axis=1)  # (P, K)
    if min(z.shape[:2]) < 2 or not whole.any(axis=1).all():
        return None
    replicates = [z[p][:, whole[p]] for p in range(len(z))]
    given = all(part.shape[1] == 1 for part in replicates)
    if given:
        single = [values[p][:, whole[p]][:, 0] for p in range(len(z))]  # (F, S) each
        replicates = [part[:, np.isfinite(part).all(axis=0)] for part in single]
        if min(part.shape[1] for part in replicates) == 0:
            return None
    means = np.stack([part.mean(axis=1) for part in replicates])
    level = means.mean()
    pretraining, fine_tuning = means.mean(axis=1) - level, means.mean(axis=0) - level
    interaction = means - level - pretraining[:, None] - fine_tuning[None, :]
    sizes = np.array([part.shape[1] for part in replicates])
    k = len(sizes) / float((1 / sizes).sum())
    df, fines = int((sizes - 1).sum()), means.shape[1]
    noise = between = cell = None
    if df > 0:
        deviations = [part - part.mean(axis=1, keepdims=True) for part in replicates]
        rests = [part - part.mean(axis=0, keepdims=True) for part in deviations]
        noise = sum(float(np.square(part).sum()) for part in rests) / (df * (fines - 1))
        between = sum(float(np.square(part.mean(axis=0)).sum()) for part in deviations) / df
        cell = sum(float(np.square(part).sum()) for part in deviations) / (df * fines)
    freedom = (means.shape[0] - 1) * (fines - 1)
    square = k * float(np.square(interaction).sum()) / freedom
    return SplitPlot(
        *(tuple(replicates), given, means, pretraining, fine_tuning, interaction, k, square, noise, df * (fines - 1)),
        between=between,
        cell=cell,
        cell_df=df,
    )


@dataclass(frozen=True)
class Spread:
    """The spread σ of the interaction over pairs of optimizers, in points, with the noise removed.

    Attributes:
        value: max(0, (MS_interaction − MS_noise)/K)^½.
        interval: 95 % interval (Ting et al. 1990); its lower end is above 0 only where the F test sees an interaction.
            None without noise to remove.
        p_value: Fisher's combination of the F tests of the backbones; None as the interval.
        even: How even noise is over cells, from ``evenness``.
    """

    value: float
    interval: Interval | None
    p_value: float | None
    even: float = 1.0


def evenness(plots: Sequence[SplitPlot]) -> float:
    """Estimates how even noise is over the cells of a backbone: ε from (mean σ²)²/mean σ⁴, at most 1 (Box 1954).

    Where a few pairs of optimizers are far noisier than others, mean squares are of fewer cells than they seem, so both
    degrees of freedom of the F test are multiplied by ε. A cell's σ² is known with few degrees of freedom ν, which
    would make equal cells look uneven, so its square is multiplied by ν/(ν + 2). All backbones are pooled. The ratio is
    squared at last, since the residuals of a checkpoint mix the variances of its cells and show only a part of how
    uneven these are (``benchmarks/transfer.txt``).

    Args:
        plots: The backbones.
    """
    squares, weights = 0.0, 0
    for plot in plots:
        found: list[Floats] = []
        freedoms: list[int] = []
        for z in plot.replicates:
            if z.shape[1] < 2:
                continue
            rest = z - z.mean(axis=1, keepdims=True)
            rest = rest - rest.mean(axis=0, keepdims=True)
            found.append(np.square(rest).sum(axis=1) / (z.shape[1] - 1))
            freedoms += [z.shape[1] - 1] * len(z)
        if not found or float(np.concatenate(found).mean()) <= 0:
            continue
        u, nu = np.concatenate(found), np.array(freedoms, np.float64)
        u = u / u.mean()
        squares += float((np.square(u) * nu / (nu + 2)).sum()) * (1 + 2 / float(nu.sum()))
        weights += len(u)
    return min(1.0, weights / squares) ** 2 if squares > 0 else 1.0


def interaction_spread(plots: Sequence[SplitPlot]) -> Spread:
    """Estimates the spread of the interaction over some backbones together.

    Mean squares are averaged over the backbones, with the degrees of freedom of Satterthwaite (1946), since noise
    differs between backbones.

    Args:
        plots: The backbones, at least one.
    """
    one = np.array([plot.ms_interaction for plot in plots])
    k = len(plots) / sum(1 / plot.k for plot in plots)
    known = [plot.noise for plot in plots if plot.noise is not None]
    if len(known) < len(plots):
        return Spread(math.sqrt(float(one.mean()) / k), None, None)
    # what tuning adds is learned from the whole table, and so is one part of all backbones
    two = np.array([*known, sum(plot.k * plot.tau for plot in plots)]) / len(plots)
    first, second, even = float(one.mean()), float(two.sum()), evenness(plots)
    interval = variance_interval(
        (first, even * _freedom(one, [plot.interaction_df for plot in plots])),
        (second, even * _freedom(two, [*(plot.noise_df for plot in plots), plots[0].tuning_df])),
    )
    ends = [math.sqrt(max(0.0, end) / k) for end in interval]
    found = [p for plot in plots if (p := plot.p_value(even)) is not None]
    logs = -2 * sum(math.log(max(p, 1e-300)) for p in found)
    p_value = float(_stats.chi2.sf(logs, 2 * len(found))) if found else None
    return Spread(math.sqrt(max(0.0, first - second) / k), Interval(ends[0], ends[1]), p_value, even)


def variance_interval(one: tuple[float, float], two: tuple[float, float]) -> tuple[float, float]:
    """95 % interval of the difference of two expected mean squares (Ting et al. 1990, J. Stat. Comput. Simul. 35).

    Args:
        one: Mean square and degrees of freedom of what is larger in expectation.
        two: Those of what is subtracted.
    """
    (s1, n1), (s2, n2) = one, two
    tail = (1 - LEVEL) / 2

    def chi(probability: float, n: float) -> float:
        return float(_stats.chi2.ppf(probability, n)) / n

    upper, lower = float(_stats.f.ppf(1 - tail, n1, n2)), float(_stats.f.ppf(tail, n1, n2))
    g1, g2 = 1 - 1 / chi(1 - tail, n1), 1 - 1 / chi(1 - tail, n2)
    h1, h2 = 1 / chi(tail, n1) - 1, 1 / chi(tail, n2) - 1
    cross_low = ((upper - 1) ** 2 - g1**2 * upper**2 - h2**2) / upper
    cross_high = ((1 - lower) ** 2 - h1**2 * lower**2 - g2**2) / lower
    down = g1**2 * s1**2 + h2**2 * s2**2 + cross_low * s1 * s2
    up = h1**2 * s1**2 + g2**2 * s2**2 + cross_high * s1 * s2
    return s1 - s2 - math.sqrt(max(0.0, down)), s1 - s2 + math.sqrt(max(0.0, up))


@dataclass(frozen=True)
class Matching:
    """What the same optimizer in both roles gains over what its two main effects give, in points.

    Attributes:
        value: Mean of the interaction γ where the optimizers match, minus its mean where they do not, over the
            optimizers that are in both roles; averaged over backbones.
        interval: 95 % interval; None without noise.
        df: Degrees of freedom of the interval.
        optimizers: Number of optimizers in both roles.
        backbones: The value of each backbone.
    """

    value: float
    interval: Interval | None
    df: float | None
    optimizers: int
    backbones: tuple[float, ...]


def matching_gain(plots: Sequence[SplitPlot], matches: NDArray[np.bool_]) -> Matching | None:
    """Contrasts matching with other pairs, after both main effects.

    The contrast is formed within each checkpoint, w_pk = Σ_f c_pf·z_pfk, so its error holds whatever the noise of
    single fine-tuning optimizers is, and what a checkpoint's runs share cancels.

    Args:
        plots: The backbones.
        matches: Whether the optimizers of a pair are the same, shape (P, F).

    Returns:
        The contrast; None where fewer than two optimizers are in both roles, or every pair of theirs matches.
    """
    rows, columns = np.nonzero(matches.any(axis=1))[0], np.nonzero(matches.any(axis=0))[0]
    if len(columns) < 2 or not plots:
        return None
    inner = matches[np.ix_(rows, columns)]
    weights = np.zeros(matches.shape)
    raw = inner / inner.sum() - ~inner / (~inner).sum()
    weights[np.ix_(rows, columns)] = (
        raw - raw.mean(axis=1, keepdims=True) - raw.mean(axis=0, keepdims=True) + raw.mean()
    )
    values, variances, freedoms = list[float](), list[float](), list[float]()
    tuning = 0.0
    for plot in plots:
        values.append(float((weights * plot.means).sum()))
        squares, df, factor = 0.0, 0, 0.0
        for c, z in zip(weights, plot.replicates, strict=True):
            norm = float(c @ c)
            if norm > 0:
                w = c @ z  # (K_p,)
                squares += float(np.square(w - w.mean()).sum()) / norm
                df += len(w) - 1
                factor += norm / len(w)
        tuning += 0.0 if plot.tuning is None else float((np.square(weights) * plot.tuning).sum())
        if df > 0:
            variances.append(squares / df * factor)
            freedoms.append(df)
    value = float(np.mean(values))
    if len(variances) < len(plots):
        return Matching(value, None, None, len(columns), tuple(values))
    parts = np.array([*variances, tuning]) / len(plots) ** 2
    df = _freedom(parts, [*freedoms, plots[0].tuning_df])
    half = t_quantile(0.5 + LEVEL / 2, df) * math.sqrt(float(parts.sum()))
    return Matching(value, Interval(value - half, value + half), df, len(columns), tuple(values))


def _freedom(squares: Floats, freedoms: Sequence[float]) -> float:
    """Degrees of freedom of the sum of independent mean squares (Satterthwaite 1946)."""
    parts = float((np.square(squares) / np.array(freedoms)).sum())
    if parts > 0:
        return float(np.square(squares.sum())) / parts
    return float(sum(df for df in freedoms if math.isfinite(df)))
