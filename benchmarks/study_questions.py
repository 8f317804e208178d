"""The questions of the laptop study (docs/study.md), each answered from one table, as lines of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats as _scipy_stats

from bocb_hf.backbones import CNN_FAMILIES
from bocb_hf.coupling.analysis import Analysis
from bocb_hf.coupling.combination import Combination, combine
from bocb_hf.coupling.pareto import Axis, pareto
from bocb_hf.coupling.published import published
from bocb_hf.coupling.robustness import robustness
from bocb_hf.coupling.scores import Floats, ScoreTable
from bocb_hf.recommend.evaluate import FIXED, RULES, SHIPPED, compare, held_out_regrets, single_regrets
from bocb_hf.report.tabulate import TableResults
from bocb_hf.report.words.tables import backbone_label, fixed, floor_text, interval_text, optimizer_label, signed

MUON = ("muon", "normuon")
BOUND = 1.0  # points of expected regret within which `bocb recommend` names the usual first
WORSE = 2.0  # points below the best of a backbone from which an optimizer counts as worse there
TAU_DRAWS = 2000
# the backbone of the published table that a tiny one stands for
STANDS_FOR = {
    "tiny_vgg": "vgg13_bn",
    "tiny_bottleneck": "resnet50",
    "tiny_densenet": "densenet121",
    "tiny_mobilenet": "mobilenetv2_100",
    "tiny_convnext": "convnext_tiny",
    "tiny_convnextv2": "convnextv2_tiny",
    "tiny_identityformer": "identityformer_s12",
    "tiny_poolformer": "poolformerv2_s12",
    "tiny_convformer": "convformer_s12",
    "tiny_attentionformer": "attentionformer_s12",
    "tiny_caformer": "caformer_s12",
}

_stats: Any = _scipy_stats


def bullet(sentence: str) -> str:
    """An item of a list."""
    return f"- {sentence}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def with_interval(found: Combination) -> str:
    """A sum with its interval."""
    return f"{signed(found.mean, 2)}, {interval_text(found.interval, 2)}"


def verdict(found: Combination) -> str:
    """What an interval allows to say of a sum."""
    if found.interval is None or found.interval.holds(0):
        return "cannot be told"
    return "above 0" if found.mean > 0 else "below 0"


class Judged(NamedTuple):
    """One backbone with its best optimizer beside both floors of the data.

    Attributes:
        backbone: Its id.
        best: The optimizer with the highest mean, and the score.
        low: Lower end of that mean's interval, in points.
        own: The floor from its own frozen features, in words.
        beyond: Whether the interval lies above both floors', as a whole; None where a floor was not measured.
    """

    backbone: str
    best: str
    low: float
    own: str
    beyond: bool | None


def judge(result: TableResults) -> list[Judged]:
    """Every backbone beside the floors."""
    scores, means, found = result.scores, result.scores.means, list[Judged]()
    general = [f for f in result.floors if f.backbone is None and f.interval is not None]
    for b, backbone in enumerate(scores.backbones):
        own = [f for f in result.floors if f.backbone == backbone and f.interval is not None]
        if not np.isfinite(means[b]).any():
            found.append(Judged(backbone, "no mean", float("nan"), "–", False))
            continue
        best = int(np.nanargmax(means[b]))
        low = float(means[b, best] - result.marks.ends(b, best)[0])
        highest = max((f.interval.high for f in (*general, *own) if f.interval is not None), default=0.0)
        shown = "; ".join(f"{f.top1:.1f}, {interval_text(f.interval)}" for f in own) or "not measured"
        name = f"{optimizer_label(scores.optimizers[best])} {means[b, best]:.1f}"
        # a low end that is not known is above nothing
        beyond = low > highest if own and general else None
        found.append(Judged(backbone, name, low, shown, beyond))
    return found


def floor_lines(result: TableResults, judged: Sequence[Judged]) -> list[str]:
    """The floors, and which backbones lie beyond them."""
    words = {True: "yes", False: "**no**: left out of all below", None: "not known"}
    rows = [
        [backbone_label(j.backbone), j.best, f"{j.low:.1f}" if np.isfinite(j.low) else "–", j.own, words[j.beyond]]
        for j in judged
    ]
    general = [f for f in result.floors if f.backbone is None and f.interval is not None]
    head = "; ".join(map(floor_text, general)) or "logistic regression on pixels: not measured"
    columns = ["backbone", "best optimizer", "from", "a linear head on its frozen features", "beyond both"]
    return [f"{head}.", "", *table(columns, rows)]


def family_means(scores: ScoreTable, plus: Sequence[str], minus: Sequence[str], rows: Sequence[bool]) -> Combination:
    """Mean over backbones of the means of some optimizers minus that of others."""
    weights = np.zeros(scores.means.shape)
    chosen = np.flatnonzero(rows)
    for names, sign in ((plus, 1.0), (minus, -1.0)):
        for name in names:
            weights[chosen, scores.optimizers.index(name)] += sign / len(names) / len(chosen)
    return combine(scores, weights)


def safe_lines(result: TableResults) -> list[str]:
    """Optimizers by what they lose: where each is best, not told apart from the best, worse, failed."""
    scores, analysis, marks = result.scores, result.findings.analysis, result.marks
    means = scores.means
    loss = np.nanmax(means, axis=1, keepdims=True) - means
    failed = analysis.failures.failed | analysis.failures.partial
    listed: list[tuple[bool, float, list[str]]] = []
    count = len(scores.backbones)
    for o, optimizer in enumerate(scores.optimizers):
        near = marks.signs[:, o] != ""
        known = np.isfinite(loss[:, o])
        worse = known & ~near & (loss[:, o] > WORSE)
        bad = int(failed[:, o].sum())
        worst = float(np.nanmax(loss[:, o])) if known.any() else float("nan")
        kind = "safe" if near.all() and not bad else ("specialist" if near.any() and (worse.any() or bad) else "")
        where = backbone_label(scores.backbones[int(np.nanargmax(loss[:, o]))]) if known.any() else "–"
        row = [
            optimizer_label(optimizer),
            f"{int((marks.signs[:, o] == '★').sum())}",
            f"{int(near.sum())} of {count}",
            f"{int(worse.sum())}",
            f"{bad}",
            f"{worst:.1f} ({where})",
            kind,
        ]
        listed.append((bad > 0, worst, row))
    head = ["optimizer", "best", "not told apart", f"> {WORSE:g} points worse", "failed", "largest loss", ""]
    return table(head, [row for _, _, row in sorted(listed, key=lambda item: item[:2])])


def design_lines(analysis: Analysis) -> list[str]:
    """Pairs that differ in one or two elements of design."""
    rows = [
        [
            ", ".join(pair.elements),
            f"{backbone_label(pair.one)} ({pair.designs[0]})",
            f"{backbone_label(pair.other)} ({pair.designs[1]})",
            with_interval(pair.difference),
            verdict(pair.difference),
        ]
        for pair in analysis.designs
    ]
    return table(["element", "one", "other", "d of one − d of other, points", ""], rows)


def muon_lines(scores: ScoreTable) -> list[str]:
    """Muon's kind against AdamW, by family."""
    cnn = [family in CNN_FAMILIES for family in scores.families]
    sides = {"CNNs": cnn, "modern": [not c for c in cnn], "all": [True] * len(cnn)}
    rows: list[list[str]] = []
    for name in (m for m in MUON if m in scores.optimizers and "adamw" in scores.optimizers):
        for side, members in sides.items():
            at = [scores.optimizers.index(name), scores.optimizers.index("adamw")]
            kept = [m and bool(scores.ranked[b, at].all()) for b, m in enumerate(members)]
            if any(kept):
                found = family_means(scores, [name], ["adamw"], kept)
                rows.append(
                    [f"{optimizer_label(name)} − AdamW", f"{side} ({sum(kept)})", with_interval(found), verdict(found)]
                )
    return table(["", "backbones", "points", ""], rows)


def tau_lines(result: TableResults) -> list[str]:
    """Kendall's tau with the published table, for each backbone that has a counterpart there, and of mean ranks."""
    ours, theirs = result.scores, published("cifar100")
    shared = [o for o in ours.optimizers if o in theirs.optimizers]
    pairs = [(b, STANDS_FOR[b]) for b in ours.backbones if b in STANDS_FOR]
    if len(shared) < 3 or not pairs:
        return ["Nothing to compare: fewer than three optimizers, or no backbone, are in both tables."]
    generator = np.random.default_rng(0)
    columns = [ours.optimizers.index(o) for o in shared]
    others = [theirs.optimizers.index(o) for o in shared]
    halves = np.nan_to_num(result.marks.halves / 1.96)
    drawn = ours.means + generator.standard_normal((TAU_DRAWS, *ours.means.shape)) * halves

    def tau(one: Floats, other: Floats) -> float:
        known = np.isfinite(one) & np.isfinite(other)
        return float(_stats.kendalltau(one[known], other[known]).statistic)

    rows: list[list[str]] = []
    both: list[Floats] = []  # of each pair, our means and the published ones, shape (2, optimizers)
    for name, other in pairs:
        b, p = ours.backbones.index(name), theirs.backbones.index(other)
        pair = np.stack([ours.means[b, columns], theirs.means[p, others]])
        known = np.isfinite(pair).all(axis=0)
        if known.sum() < 3:
            continue
        found = _stats.kendalltau(*pair[:, known])
        low, high = np.quantile([tau(draw[b, columns], pair[1]) for draw in drawn], [0.025, 0.975])
        spread = f"{fixed(found.statistic, 2)} [{fixed(low, 2)}, {fixed(high, 2)}]"
        label = f"{backbone_label(name)} – {backbone_label(other)}"
        rows.append([label, spread, f"{found.pvalue:.2g}", str(int(known.sum()))])
        both.append(pair)
    everywhere = np.isfinite(np.array(both)).all(axis=(0, 1)) if both else np.zeros(len(shared), np.bool_)
    if everywhere.sum() >= 3:  # ranks go by the optimizers that have a mean on all of these backbones
        ranks = np.array([[_stats.rankdata(-side[everywhere]) for side in pair] for pair in both]).mean(axis=0)
        found = _stats.kendalltau(*ranks)
        label = f"mean ranks over these {len(both)}"
        rows.append([label, fixed(found.statistic, 2), f"{found.pvalue:.2g}", str(int(everywhere.sum()))])
    head = ["ours – published (CIFAR-100, n = 1)", "Kendall's tau, 95 % over our seeds and tuning", "p", "optimizers"]
    return table(head, rows)


def tuning_lines(result: TableResults) -> list[str]:
    """Which rate won, by optimizer."""
    found = robustness(result.table)
    rows: list[list[str]] = []
    for group in found.by_optimizer:
        moved = [value for value in group.values.values() if value > 0]
        rows.append(
            [
                optimizer_label(group.name),
                str(len(group.values)),
                f"{group.mode[0]:+d}".replace("+0", "0"),
                str(len(moved)),
                str(len(group.edges)),
            ]
        )
    return table(["optimizer", "backbones", "usual step from the centre", "other than usual", "at the edge"], rows)


def cost_lines(result: TableResults) -> list[str]:
    """On how many backbones each optimizer is on the front of score and cost."""
    optimizers = result.table.optimizers
    axes: tuple[Axis, ...] = ("seconds", "memory")
    counts: dict[Axis, dict[str, int]] = {axis: dict.fromkeys(optimizers, 0) for axis in axes}
    for axis, found in counts.items():
        for backbone in result.table.backbones:
            for point in pareto(result.table, backbone, axis).points:
                found[point.optimizer] += point.on_front
    ratios: dict[str, list[float]] = {o: [] for o in optimizers}
    for backbone in result.table.backbones:
        seconds = {row.cell.optimizer: row.wall_seconds for row in result.table.column(backbone) if row.wall_seconds}
        for optimizer, value in seconds.items():
            ratios[optimizer].append(value / float(np.median(list(seconds.values()))))
    total = len(result.table.backbones)
    rows = [
        [
            optimizer_label(o),
            f"{counts['seconds'][o]} of {total}",
            f"{counts['memory'][o]} of {total}",
            f"{np.median(ratios[o]):.2f}" if ratios[o] else "–",
        ]
        for o in sorted(optimizers, key=lambda o: -counts["seconds"][o])
    ]
    return table(
        ["optimizer", "on the front of time", "on the front of memory", "time, × that of the backbone's median"], rows
    )


def recommender_lines(scores: ScoreTable) -> list[str]:
    """The recommender, leaving one backbone out, beside always AdamW and the best fixed set."""
    complete = [o for o, column in zip(scores.optimizers, scores.ranked.T, strict=True) if column.all()]
    kept = scores.select(optimizers=complete)
    sizes = (1, 2, 3)
    values = {
        "`bocb recommend` (the usual first)": held_out_regrets(kept, RULES[SHIPPED], sizes, "backbone", BOUND),
        "the same by the data alone": held_out_regrets(kept, RULES[SHIPPED], sizes),
        "best fixed set": held_out_regrets(kept, RULES[FIXED], sizes),
    }
    rows = [[name, *(f"{v:.2f}" for v in found.mean(axis=1))] for name, found in values.items()]
    text: list[str] = []
    ours = values["`bocb recommend` (the usual first)"]
    rivals = [("the best fixed set", values["best fixed set"][0])]
    if "adamw" in complete:
        always = single_regrets(kept, "adamw")
        rows.append(["always AdamW", f"{always.mean():.2f}", "–", "–"])
        rivals.append(("always AdamW", always))
    for name, rival in rivals:
        found = compare(rival, ours[0], kept.clusters)
        text.append(
            bullet(
                f"With one optimizer, {name} minus `bocb recommend`: {signed(found.gain, 2)} points of regret, over "
                f"backbones {interval_text(found.interval, 2)} (positive: the recommender is better; better on "
                f"{found.better}, worse on {found.worse})."
            )
        )
    left = [o for o in scores.optimizers if o not in complete]
    if left:
        text.append(bullet(f"Left out, since a cell has no mean: {', '.join(map(optimizer_label, left))}."))
    return [*table(["mean regret in points", "1 optimizer", "2", "3"], rows), "", *text]
