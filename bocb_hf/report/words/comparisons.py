"""Optimizers compared over backbones, in sentences: pairs, profiles, and time to target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bocb_hf.coupling.comparisons import LOSS, Comparisons, Pair
from bocb_hf.coupling.profiles import CLOSE, Profiles
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.statistics import LEVEL
from bocb_hf.coupling.targets import Times
from bocb_hf.report.words.tables import backbone_label, fixed, optimizer_label, signed, span

SHOWN = 6  # number of entries that are printed of a list that is ordered by importance
SURE = 0.95  # posterior probability from which a verdict is given


def comparison_text(comparisons: Comparisons, scores: ScoreTable, profiles: Profiles, times: Times | None) -> list[str]:
    """Returns sentences about pairs, profiles and time to target.

    Args:
        comparisons: All pairs of the table.
        scores: The table; its optimizers are in the order of ``profiles``.
        profiles: Performance profiles of the table.
        times: Time to target; None without validation curves.
    """
    reached = _times(times, scores.metric) if times is not None else []
    return [*_pairs(comparisons), *_profiles(scores.optimizers, profiles), *reached]


def pair_text(pair: Pair) -> str:
    """Returns a pair and its difference: ``Adan − LION +2.07, 95 % [1.47, 2.69], p = 0.00036, n = 20``."""
    test = pair.test
    ends = "no interval from so few"
    if test.interval is not None:
        low = "no bound" if test.interval.low < -100 else fixed(test.interval.low, 2)
        high = "no bound" if test.interval.high > 100 else fixed(test.interval.high, 2)
        ends = f"95 % [{low}, {high}]"
    centre = "mostly diverged" if abs(test.estimate) > LOSS / 10 else signed(test.estimate, 2)
    names = f"{optimizer_label(pair.first)} − {optimizer_label(pair.second)}"
    return f"{names} {centre}, {ends}, p = {pair.holm:.2g}, n = {test.n}"


def _pairs(found: Comparisons) -> list[str]:
    if not found.pairs:
        return []
    count = len(found.pairs)
    n = span(pair.test.n for pair in found.pairs)
    apart = [pair for pair in found.pairs if pair.holm <= 1 - LEVEL]
    head = f"Pairs of optimizers over {n} backbones (exact Wilcoxon signed-rank in points, Holm over {count} pairs): "
    if apart:
        more = f"; {len(apart) - SHOWN} more are in analysis.json" if len(apart) > SHOWN else ""
        text = f"{len(apart)} differ at 95 %: {'; '.join(map(pair_text, apart[:SHOWN]))}{more}"
    else:
        least = min(pair.test.smallest for pair in found.pairs)
        text = f"none differs at 95 %; before Holm, so few backbones reach p = {least:.2g} at the smallest"
    clusters = min(pair.clusters for pair in found.pairs)
    if any(pair.clusters < pair.test.n for pair in found.pairs):
        text += f". Siblings count as independent here, {n} backbones in {clusters} clusters, so p is too small"
    verdicts = [
        *((f"{optimizer_label(p.first)} over {optimizer_label(p.second)}", p.equivalence.better) for p in found.pairs),
        *((f"{optimizer_label(p.second)} over {optimizer_label(p.first)}", p.equivalence.worse) for p in found.pairs),
    ]
    better = sorted((v for v in verdicts if v[1] >= SURE), key=lambda v: -v[1])
    equal = [
        (f"{optimizer_label(p.first)} and {optimizer_label(p.second)}", p.equivalence.equal)
        for p in found.pairs
        if p.equivalence.equal >= SURE
    ]
    equal.sort(key=lambda v: -v[1])
    bayes = (
        f"Bayesian signed-rank, up to {found.rope:g} point(s) apart being practically equal, each pair by itself: of "
        f"{count} pairs {len(better)} differ by more with probability {SURE:g} or above{_some(better)}, {len(equal)} "
        f"are practically equal{_some(equal)}, {count - len(better) - len(equal)} are undecided"
    )
    return [f"{head}{text}.", f"{bayes}."]


def _some(verdicts: Sequence[tuple[str, float]]) -> str:
    if not verdicts:
        return ""
    more = ", …" if len(verdicts) > SHOWN else ""
    return f" ({', '.join(f'{name} {probability:.2f}' for name, probability in verdicts[:SHOWN])}{more})"


def _profiles(optimizers: Sequence[str], profiles: Profiles) -> list[str]:
    place = profiles.at(CLOSE)
    known = [o for o in range(len(optimizers)) if profiles.n[o]]
    order = sorted(known, key=lambda o: -profiles.share[o, place])
    if not order:
        return []
    listed = ", ".join(
        f"{optimizer_label(optimizers[o])} {round(profiles.share[o, place] * profiles.n[o])} of {profiles.n[o]}"
        + (
            f" (95 % [{100 * profiles.low[o, place]:.0f}, {100 * profiles.high[o, place]:.0f}] %)"
            if np.isfinite(profiles.low[o, place])
            else ""
        )
        for o in order[:SHOWN]
    )
    rest = f" and {len(order) - SHOWN} others on fewer or as many" if len(order) > SHOWN else ""
    varied = {
        "backbones": "for further backbones of these families",
        "seeds": "over seeds, on these backbones",
        "": "no interval: neither seeds nor backbones can be drawn again",
    }[profiles.varied]
    return [f"Performance profile, within {CLOSE:g} point of the best of the backbone: {listed}{rest} ({varied})."]


def _times(times: Times, metric: str) -> list[str]:
    how = (
        "as stated"
        if times.stated
        else "for each backbone the score that the median optimizer ends with; --target states another"
    )
    ends = [fixed(v, 1) for v in sorted(times.targets.values())]
    target = " to ".join(dict.fromkeys([ends[0], ends[-1]]))
    order = sorted(times.optimizers, key=lambda o: (-o.reached / o.runs, -float(o.share[0])))
    listed: list[str] = []
    for o in order[:SHOWN]:
        own = [c for c in times.cells if c.optimizer == o.optimizer and c.steps is not None and c.seconds is not None]
        fastest = min(own, key=lambda c: (c.steps or 0, c.seconds or 0), default=None)
        first = (
            f", soonest {backbone_label(fastest.backbone)} after {fastest.steps:.0f} steps, {fastest.seconds:.1f} s"
            f" (n = {fastest.runs})"
            if fastest is not None
            else ""
        )
        share = f"95 % [{o.reaching.low:.0f}, {o.reaching.high:.0f}] %"
        listed.append(f"{optimizer_label(o.optimizer)} {o.reached} of {o.runs} runs ({share}{first})")
    more = f"; {len(order) - SHOWN} more are in analysis.json" if len(order) > SHOWN else ""
    return [
        f"Time to a validation {metric} of {target} % ({how}), validated every {times.every} steps or sooner; runs "
        f"that never reach it are censored: {'; '.join(listed)}{more}."
    ]
