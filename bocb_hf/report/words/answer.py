"""The answer of a table in a few sentences, for somebody who wants to train a network and not to read statistics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.analysis import Analysis, ScaleAnalysis
from bocb_hf.coupling.contrast import Contrast, NotAvailable
from bocb_hf.coupling.decomposition import Decomposition
from bocb_hf.coupling.marks import BEST, NEAR, Marks
from bocb_hf.coupling.primary import Primary
from bocb_hf.coupling.reading import GIVEN
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.statistics import LEVEL
from bocb_hf.report.words.analysis import cost_sentence, observed_sentence, variant_text, without_failures
from bocb_hf.report.words.tables import backbone_label, contrast_text, few_backbones, fixed, optimizer_label, span

SAFE = 3  # number of optimizers that are called safe, and of those that are named for failures


def answer_text(analysis: Analysis, marks: Marks) -> list[str]:
    """Returns at most three sentences: is there coupling, what does one optimizer for all cost, which are safe."""
    scores, points = analysis.scores, analysis.points
    if isinstance(points, str):
        return [f"No answer yet: {points.removeprefix('scores: ')}."]
    backbones, optimizers = (int(scores.ranked.any(axis=axis).sum()) for axis in (1, 0))
    if min(backbones, optimizers) < 2:
        return [
            "No answer yet: coupling takes two backbones and two optimizers with scores, and here are "
            f"{backbones} and {optimizers}."
        ]
    return [_coupling(scores, points), _one_for_all(scores, points), _safe(analysis, points, marks)]


def reading_text(analysis: Analysis) -> list[str]:
    """Returns what intervals and tests are over in one sentence, with the other reading where both are known."""
    scores, given = analysis.scores, analysis.given
    if scores.single or isinstance(analysis.points, str) or min(scores.ranked.shape) < 2:
        return []
    if given is None:
        return [f"Intervals and tests are {scores.reading.text}: {scores.reading.reason}."]
    found: list[str] = []
    if given.test is not None:
        found.append(f"p = {given.test.p:.2g}")
    for name, what, place in (("shares", "interaction", 2), ("cost", "one optimizer for all", None)):
        if given.bootstrap is not None and name in given.bootstrap.intervals:
            i = given.bootstrap.intervals[name]
            i = i if place is None else i.at(place)
            unit, digits = ("points", 1) if place is None else ("%", 0)
            ends = f"[{fixed(float(i.low), digits)}, {fixed(float(i.high), digits)}]"
            found.append(f"{what} 95 % {ends} {unit}")
    return [f"Intervals and tests are {scores.reading.text}; {GIVEN}, these are {', '.join(found)}."]


def primary_text(primary: Primary, analysis: Analysis, contrast: Contrast | NotAvailable | None) -> str:
    """Returns the primary statistic as a sentence that says who named it.

    Args:
        primary: The statistic.
        analysis: The analysis of the table.
        contrast: The family contrast of records; None for a table that was published as scores.
    """
    points = analysis.points
    head = f"Primary statistic ({primary.named}): "
    if primary.statistic == "contrast":
        if contrast is not None:
            result, *more = contrast_text(contrast, "Family contrast")
            said = [result, more[0], *few_backbones(contrast)] if isinstance(contrast, Contrast) else [result]
            return head + " ".join(said)
        return head + (variant_text(analysis.variants[0]) if analysis.variants else "Family contrast: not available.")
    if isinstance(points, str):
        return f"{head}not available; {points.removeprefix('scores: ')}."
    sentence = cost_sentence if primary.statistic == "cost" else observed_sentence
    return head + sentence(analysis.scores, points)


def _n(scores: ScoreTable) -> str:
    return f"n = {span(int(n) for n in scores.n[scores.ranked])} a cell"


def _coupling(scores: ScoreTable, found: ScaleAnalysis) -> str:
    """Says whether the best optimizer depends on the backbone, as strongly as the test and the interval allow."""
    observed = found.decompositions["observed"]
    if not isinstance(observed, Decomposition) or observed.shares is None:
        return f"Coupling: nothing in this table differs by more than the noise ({_n(scores)})."
    share = f"interaction holds {fixed(float(observed.shares[2]), 0)} % of the variance"
    interval = found.bootstrap.intervals["shares"].at(2) if found.bootstrap is not None else None
    if interval is not None:
        share += f", 95 % [{fixed(float(interval.low), 0)}, {fixed(float(interval.high), 0)}]"
    rest = found.decompositions.get("without collapse")
    share += f" ({without_failures(found)}; {_n(scores)})"
    if isinstance(rest, Decomposition) and rest.shares is not None and rest.shares[2] < observed.shares[2] / 2:
        share += ": most of it is cells that failed"
    if found.test is None:
        why = "n = 1 everywhere" if scores.single else "there are cells without a score, or no spread between seeds"
        return f"Coupling: noise cannot be separated ({why}), so the means alone speak: {share}."
    p = f"p = {found.test.p:.2g}"
    if found.test.p > 1 - LEVEL:
        return f"Coupling is not shown: that the best optimizer depends on the backbone may be noise ({p}); {share}."
    careful = interval is not None and float(interval.low) <= 0
    but = ", but how much is open, since the interval begins at 0" if careful else ""
    return f"Coupling is shown on these backbones ({p}){but}: {share}."


def _one_for_all(scores: ScoreTable, found: ScaleAnalysis) -> str:
    if found.cost is None:
        return "What one optimizer for all costs cannot be said: no two optimizers can be compared on two backbones."
    cost = found.cost
    head = f"One optimizer for all: {optimizer_label(cost.optimizer)} has the highest mean and loses "
    what = f"points on average against the best of each of {len(cost.backbones)} backbones"
    if found.bootstrap is None or "cost" not in found.bootstrap.intervals:
        return f"{head}{cost.naive:.1f} {what} (too high by luck; no interval, {_n(scores)})."
    i = found.bootstrap.intervals["cost"]
    ends = f"95 % [{fixed(float(i.low), 1)}, {fixed(float(i.high), 1)}]"
    return f"{head}{fixed(float(i.estimate), 1)} {what}, {ends}, {_n(scores)}."


def _safe(analysis: Analysis, found: ScaleAnalysis, marks: Marks) -> str:
    """Names the optimizers that lose least where they lose most, and those that failed somewhere."""
    scores, failures = analysis.scores, analysis.failures
    bad = failures.failed | failures.partial
    means = scores.means
    loss = np.nanmax(np.where(np.isfinite(means), means, -np.inf), axis=1)[:, None] - means
    if found.best is not None:
        loss = np.where(np.isfinite(found.best.low), -found.best.low, np.nan)
    known = scores.ranked & np.isfinite(loss)
    fully = [o for o in range(len(scores.optimizers)) if known[:, o].any() and not bad[:, o].any()]
    # first those that are known on most backbones: nothing is safe where it was not tried
    order = sorted(fully, key=lambda o: (-int(known[:, o].sum()), float(np.nanmax(loss[:, o]))))
    listed: list[str] = []
    for o in order[:SAFE]:
        worst = int(np.nanargmax(np.where(known[:, o], loss[:, o], -1.0)))
        # the only optimizer of a backbone has a mark, but nothing that it was compared with
        near = int((np.isin(marks.signs[:, o], (BEST, NEAR)) & known[:, o]).sum())
        count = f"{near} of {int(known[:, o].sum())}"
        where = f"{fixed(float(loss[worst, o]), 1)} points below it, on {backbone_label(scores.backbones[worst])}"
        name = optimizer_label(scores.optimizers[o])
        listed.append(f"{name} {count} ({'at most' if found.best is not None else 'at worst'} {where})")
    how = (
        "with the backbones where it is not told apart from the best (Hsu, 95 % for each backbone)"
        if found.best is not None
        else f"with the backbones where its mean is highest ({_n(scores)}, by the means alone)"
    )
    text = f"Safest optimizers, {how}: {', '.join(listed)}" if listed else "No optimizer is without a failed cell"
    lost = sorted((o for o in range(len(scores.optimizers)) if bad[:, o].any()), key=lambda o: -int(bad[:, o].sum()))
    if lost:
        text += f". Failed or diverged somewhere: {_lost(scores, bad, lost)}"
    return f"{text}."


def _lost(scores: ScoreTable, bad: NDArray[np.bool_], lost: Sequence[int]) -> str:
    tried = scores.ranked | (scores.status == "diverged") | (scores.status == "partial")
    names = [
        f"{optimizer_label(scores.optimizers[o])} on {int(bad[:, o].sum())} of {int(tried[:, o].sum())}"
        for o in lost[:SAFE]
    ]
    return ", ".join(names) + (f" and {len(lost) - SAFE} more" if len(lost) > SAFE else "")
