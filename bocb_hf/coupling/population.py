"""Intervals for further backbones of the families at hand, where ``bootstrap.py`` speaks of these backbones only.

Backbones are drawn again, CNNs and modern ones apart, each with all its scores. What seeds add is then already among
the differences between backbones, and drawing seeds as well would count it twice (Davison and Hinkley 1997, 3.8). So is
what each backbone owes to the choice of test images: with images drawn as well, intervals of the contrast held the
truth in 99.5 % of tables. What a whole family owes to the images is not in these intervals.

Intervals are widened by t_{B−2}/z · √(m/(m−1)) with m the smaller family (Hesterberg 2015, "expanded percentile
interval"): 7 CNNs drawn from 7 spread less than 7 drawn from all CNNs.

Only the share of the interaction and the family contrast have one (benchmarks/coverage.txt). How much further backbones
lose with one optimizer for all, or how coupled an optimizer is, hangs on collapses that few backbones show: with every
tenth cell collapsed, such intervals of the cost of coupling and of the optimizers' indices hold the truth in 53 and
74 % of tables of 20 backbones and three seeds, and those of the optimizers' own share, close to 0 then, in 99 %.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bocb_hf.backbones import CNN_FAMILIES
from bocb_hf.coupling.additive import Mask
from bocb_hf.coupling.bootstrap import Bootstrap, make_interval, standard_statistics, within_bounds
from bocb_hf.coupling.family_test import ENOUGH_BACKBONES
from bocb_hf.coupling.holes import HoleDraws, complete_part, fill, fillable
from bocb_hf.coupling.noise import cell_noise, tuning_part
from bocb_hf.coupling.scores import Floats, Scale, ScoreTable
from bocb_hf.coupling.spread import chunks
from bocb_hf.coupling.statistics import t_quantile
from bocb_hf.errors import InputError

STATISTICS = ("variances", "shares", "contrast")
INTERACTION = 2  # place of the interaction among the parts of variances and shares


def population_bootstrap(
    scores: ScoreTable,
    scale: Scale = "points",
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Bootstrap:
    """Computes intervals by drawing backbones, on the largest part of the table that is complete but for missing cells.

    A backbone is drawn with all its cells, so each draw first puts into those that were not run what they could be
    (``holes.HoleDraws``), with noise as the others have it. The intervals are ``interaction``, its share of the
    variance in percent, and, where both families are there, ``contrast``.

    Args:
        scores: The table.
        scale: Points or logit.
        draws: Tables to draw.
        seed: Seed of the draws.

    Raises:
        InputError: There are fewer than five CNNs or modern backbones, no complete part, or nothing to decompose.
    """
    if not scores.ranked.all():
        scores = _known(scores)
    holes = fillable(scores)
    is_cnn = np.array([family in CNN_FAMILIES for family in scores.families])
    modern = np.array([family == "modern" for family in scores.families])
    smaller = int(min(is_cnn.sum(), modern.sum()))
    if smaller < ENOUGH_BACKBONES:
        raise InputError(
            f"backbones: {int(is_cnn.sum())} CNN(s) and {int(modern.sum())} modern one(s); with fewer than "
            f"{ENOUGH_BACKBONES} of each, resampling them says nothing: draw seeds and images only"
        )
    means, noise = scores.cell_means(scale), cell_noise(scores.on(scale))
    tuning = tuning_part(scores, scale)
    part = 0.0 if tuning is None else tuning.variance
    noise = None if noise is None else noise / np.maximum(scores.n, 1) + part
    wanted = {name: f for name, f in standard_statistics(scores, scale).items() if name in STATISTICS}
    plain = {name: f(means[None], None if noise is None else noise[None])[0] for name, f in wanted.items()}
    centre, missing, typical = plain, HoleDraws.of(scores, scale, noise), 0.0
    if missing is not None:
        whole = standard_statistics(_filled(scores, holes), scale)
        wanted = {name: whole[name] for name in wanted if name in whole}
        typical = 0.0 if noise is None else max(0.0, float(noise[scores.ranked].mean()))
        noise = None if noise is None else np.where(holes, typical, noise)
    undrawn: dict[str, list[Floats]] = {name: [] for name in wanted}
    generator = np.random.default_rng(seed)
    drawn: dict[str, list[Floats]] = {name: [] for name in wanted}
    for chunk in chunks(draws, means.size * 4):
        rows = resample((is_cnn, modern), generator, chunk)
        tables, of_means = means[rows], None if noise is None else noise[rows]
        if missing is not None:
            complete = missing.draw(generator, chunk, means)
            complete += holes * typical**0.5 * generator.standard_normal(complete.shape)
            tables = np.take_along_axis(complete, rows[:, :, None], axis=1)
            for name, f in wanted.items():
                undrawn[name].append(f(complete, None if noise is None else np.broadcast_to(noise, complete.shape)))
        for name, f in wanted.items():
            drawn[name].append(f(tables, of_means))
    if missing is not None:
        centre = {name: np.concatenate(parts).mean(axis=0) for name, parts in undrawn.items()}
    wider = t_quantile(0.975, int(is_cnn.sum() + modern.sum()) - 2) / t_quantile(0.975, np.inf)
    wider *= (smaller / (smaller - 1)) ** 0.5
    found = {n: make_interval(np.concatenate(parts) - centre[n], plain[n], wider) for n, parts in drawn.items()}
    found = within_bounds(found)
    intervals = {"interaction": found["shares"].at(INTERACTION)}
    if "contrast" in found:
        intervals["contrast"] = found["contrast"]
    sources = ("backbones",) if noise is None else ("seeds", "backbones")
    sources = sources if missing is None else (*sources, "missing cells")
    return Bootstrap(scale, draws, sources, False, intervals)


def _known(scores: ScoreTable) -> ScoreTable:
    """Returns the largest part of a table in which every cell is ranked or something can stand in for it."""
    part = complete_part(scores.ranked | fillable(scores))
    if part is not None:
        rows, columns = part
        scores = scores.select([scores.backbones[int(i)] for i in rows], [scores.optimizers[int(i)] for i in columns])
    if part is None or not (scores.ranked | fillable(scores)).all():
        raise InputError(
            "backbones: no two optimizers have all their cells, or cells that others tell of, so backbones cannot be "
            "resampled; run more cells"
        )
    return scores


def _filled(scores: ScoreTable, holes: Mask) -> ScoreTable:
    """Returns the table with what the additive fit expects in the holes, so that all cells count alike."""
    expected = np.clip(fill(scores.means, scores.ranked, holes), 0, 100)[:, :, None]
    values = np.where(holes[:, :, None], expected, scores.values)
    return replace(scores, values=values, status=np.where(holes, "completed", scores.status), packed=None)


def resample(groups: tuple[NDArray[np.bool_], ...], generator: np.random.Generator, draws: int) -> NDArray[np.int64]:
    """Draws the backbones of each group again with replacement, the others kept; shape (draws, B)."""
    rows = np.tile(np.arange(len(groups[0])), (draws, 1))
    for group in groups:
        rows[:, group] = generator.choice(np.nonzero(group)[0], (draws, int(group.sum())))
    return rows
