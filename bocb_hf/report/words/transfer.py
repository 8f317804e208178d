"""The three-way table of transfer in words: the answer in three sentences, what a reader must know, and the table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from bocb_hf.coupling.statistics import Interval
from bocb_hf.coupling.transfer import Transfer, TransferTable
from bocb_hf.report.words.tables import backbone_label, optimizer_label, span
from bocb_hf.schema import one_line

ALPHA = 0.05


def title_text(found: Transfer) -> str:
    """Says what a table is."""
    table = found.table
    epochs = f"{span(table.epochs)} epoch{'s' if max(table.epochs) > 1 else ''}"
    return one_line(
        f"Transfer to {table.dataset}, setting {table.setting}: {len(table.backbones)} backbone(s) × "
        f"{len(table.pretrainings)} pre-training × {len(table.optimizers)} fine-tuning optimizers, pre-trained on "
        f"{table.pretrained_on} (setting {table.pretraining_setting}, {epochs}), test {table.metric}, data "
        f"revision {table.revision[:20]}",
        1000,
    )


def answer_text(found: Transfer) -> list[str]:
    """Answers the three questions in a sentence each: interaction, matching, ranking."""
    if not found.complete:
        return [
            "Transfer is not analysed: no backbone has a score in every cell of pre-training × fine-tuning optimizer, "
            "from a checkpoint that every fine-tuning optimizer started from."
        ]
    return [_interaction(found), _matching(found), _ranking(found)]


def transfer_text(found: Transfer) -> list[str]:
    """Says what a reader must know beside the answer."""
    table, plots = found.table, found.complete
    said = [counts_text(found)]
    left_out = [b for b, plot in zip(table.backbones, found.plots, strict=True) if plot is None]
    if left_out and plots:
        names = _listed(map(backbone_label, left_out))
        said.append(f"Not in the answer, since a cell has no score from every checkpoint: {names}.")
    failed = [
        f"{backbone_label(table.backbones[b])}, {level_label(table, p)} then {optimizer_label(table.optimizers[f])} "
        f"({table.status[b, p, f]})"
        for b, p, f in np.argwhere(~np.isin(table.status, ("completed",))).tolist()
    ]
    if failed:
        more = f" and {len(failed) - 8} more" if len(failed) > 8 else ""
        said.append(f"Cells without a mean: {'; '.join(failed[:8])}{more}.")
    for b, plot in zip(table.backbones, found.plots, strict=True):
        if plot is None:
            continue
        p_value = plot.p_value(found.spread.even if found.spread is not None else 1.0)
        test = "" if p_value is None else f", F test p {_p(p_value)}"
        noise = (
            "" if plot.noise is None else f"; noise of a checkpoint's mean {math.sqrt(max(0.0, plot.noise)):.2f} points"
        )
        between = (
            ""
            if plot.between is None or plot.given
            else f", between pre-training seeds {math.sqrt(max(0.0, plot.between)):.2f}"
        )
        value = math.sqrt(max(0.0, plot.ms_interaction / plot.k - (plot.noise or 0.0) / plot.k))
        said.append(f"{backbone_label(b)}: spread of the interaction {value:.2f} points{test}{noise}{between}.")
    said += [*epoch_text(found), *table.notes]
    if plots and not table.single:
        said.append(
            f"Intervals and tests are {reading_text(found)}, conditional on these backbones, optimizers and rates of "
            "pre-training; the choice of test images is not in the intervals."
            + (
                " Given these checkpoints: each pre-training has one seed, so another one may answer otherwise."
                * found.given
            )
        )
    return said


def reading_text(found: Transfer) -> str:
    """Says whether intervals hold what tuning the fine-tuning adds."""
    if found.table.tuning is not None:
        return "of tuning and training"
    return "given the tuned rates of fine-tuning, since not every cell was tuned with two seeds"


def counts_text(found: Transfer) -> str:
    """Says how many scores, seeds and configurations a table rests on."""
    table = found.table
    runs = table.runs[table.status == "completed"]
    if table.single:
        return f"n = 1 a cell, from {one_line(table.source, 200)}."
    checkpoints = [len(seeds) for seeds in table.checkpoint_seeds.values()]
    seeds = sorted({seed for some in table.checkpoint_seeds.values() for seed in some})
    return (
        f"n = {span(int(n) for n in runs) if runs.size else 0} runs a cell: {span(checkpoints) if checkpoints else 0} "
        f"pre-training seed(s) ({_listed(map(str, seeds))}), nested in the pre-training, and fine-tuning seeds "
        f"{_listed(map(str, table.fine_tuning_seeds))}; configuration hashes of all cells are in transfer.csv."
    )


def epoch_text(found: Transfer) -> list[str]:
    """Says what epochs may explain, where pre-trainings differ in them."""
    table = found.table
    if len(set(table.epochs)) < 2:
        return []
    said: list[str] = []
    for b, plot in zip(table.backbones, found.plots, strict=True):
        if plot is None:
            continue
        means = plot.means.mean(axis=1)
        for optimizer in dict.fromkeys(table.pretraining_optimizers):
            levels = [p for p, name in enumerate(table.pretraining_optimizers) if name == optimizer]
            if len(levels) > 1:
                each = ", ".join(
                    f"{means[p]:.1f} after {table.epochs[p]}" for p in sorted(levels, key=lambda p: table.epochs[p])
                )
                said.append(
                    f"{backbone_label(b)}: pre-trained by {optimizer_label(optimizer)} alone, the mean over "
                    f"fine-tuning optimizers is {each} epochs, so epochs or recipe move it by "
                    f"{np.ptp(means[levels]):.1f} points."
                )
        for epochs in sorted(set(table.epochs)):
            levels = [p for p, number in enumerate(table.epochs) if number == epochs]
            if len(levels) > 1:
                each = ", ".join(f"{level_label(table, p)} {means[p]:.1f}" for p in levels)
                said.append(
                    f"{backbone_label(b)}: of equal epochs ({epochs}), mean over fine-tuning optimizers: {each}."
                )
    return said


def table_lines(found: Transfer) -> list[str]:
    """Renders the table: for each backbone pre-training optimizers × fine-tuning optimizers, with intervals."""
    table, lines = found.table, list[str]()
    for b, backbone in enumerate(table.backbones):
        rows = cells_of(found, b)
        head = [backbone_label(backbone), *(optimizer_label(o) for o in table.optimizers)]
        body = [[level_label(table, p), *rows[p]] for p in range(len(rows))]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines += [""] * bool(lines)
        for row in (head, *body):
            lines.append(
                "  ".join(
                    t.ljust(w) if i == 0 else t.rjust(w) for i, (t, w) in enumerate(zip(row, widths, strict=True))
                ).rstrip()
            )
    return lines


def cells_of(found: Transfer, b: int) -> list[list[str]]:
    """Returns the cells of a backbone as text, pre-training × fine-tuning: ``81.2 ± 0.9 (6)``, or why there is none."""
    table, plot = found.table, found.plots[b]
    halves = plot.half_widths() if plot is not None else None
    known = np.isfinite(table.values[b])
    counts = known.sum(axis=(2, 3))
    totals = np.where(known, table.values[b], 0.0).sum(axis=(2, 3))
    rows: list[list[str]] = []
    for p in range(len(table.pretrainings)):
        row: list[str] = []
        for f in range(len(table.optimizers)):
            status, n = str(table.status[b, p, f]), int(counts[p, f])
            if status != "completed" or not n:
                row.append({"partial": "partly diverged", "missing": "–"}.get(status, status))
                continue
            mean = float(plot.means[p, f]) if plot is not None and not plot.given else totals[p, f] / n
            half = "" if halves is None or not math.isfinite(halves[p, f]) else f" ± {halves[p, f]:.1f}"
            row.append(f"{mean:.1f}{half} ({n})")
        rows.append(row)
    return rows


def _interaction(found: Transfer) -> str:
    spread, shares = found.spread, found.shares
    assert spread is not None
    parts = ""
    if shares is not None:
        one, two, three = shares
        parts = (
            f"; of the variance within a backbone the pre-training optimizer is {one:.0f} %, the fine-tuning optimizer "
            f"{two:.0f} %, their interaction {three:.0f} %"
        )
    if spread.interval is None or spread.p_value is None:
        return (
            f"Whether the interaction of the two optimizers is more than noise cannot be said: its spread, noise "
            f"included, is {spread.value:.1f} points{parts} ({_n(found)})."
        )
    more = spread.p_value < ALPHA
    lead = (
        "The interaction of pre-training and fine-tuning optimizer is more than noise"
        if more
        else "An interaction of pre-training and fine-tuning optimizer beyond noise is not shown"
    )
    size = _with(spread.value, spread.interval)
    return f"{lead} (p {_p(spread.p_value)}): its spread is {size} points{parts} ({_n(found)})."


def _matching(found: Transfer) -> str:
    gain = found.matching
    if gain is None:
        return "Whether matching optimizers are better cannot be said: fewer than two optimizers are in both roles."
    if gain.interval is None:
        return (
            f"Fine-tuning with the optimizer of the pre-training gains {_plus(gain.value)} points over what both "
            f"main effects give ({gain.optimizers} optimizers in both roles; n = 1, so there is no interval and noise "
            "may be all of it)."
        )
    low, high = gain.interval.low, gain.interval.high
    verdict = (
        "which is shown"
        if low > 0
        else "so matching is worse"
        if high < 0
        else "which includes zero, so it is not shown"
    )
    return (
        f"Fine-tuning with the optimizer of the pre-training gains {_plus(gain.value)} points, 95 % [{_signed(low)}, "
        f"{_signed(high)}], over what both main effects give, {verdict} ({gain.optimizers} optimizers in both roles; "
        f"{_n(found)})."
    )


def _ranking(found: Transfer) -> str:
    ranking = found.ranking
    if ranking is None:
        return (
            "Whether the ranking of pre-training carries over cannot be said: it takes the scores of three "
            "pre-training optimizers, and fewer are at hand."
        )
    if ranking.interval is None:
        return (
            f"The rank correlation of pre-training and fine-tuning scores over {ranking.optimizers} pre-training "
            f"optimizers is {_signed(ranking.value, 2)}; each has one pre-training seed, so there is no interval."
        )
    low, high = ranking.interval.low, ranking.interval.high
    verdict = (
        "so the ranking carries over"
        if low > 0
        else "so it turns round"
        if high < 0
        else "which includes zero, so that the better pre-training is the better start is not shown"
    )
    return (
        f"The rank correlation of pre-training and fine-tuning scores over {ranking.optimizers} pre-training "
        f"optimizers is {_signed(ranking.value, 2)}, 95 % [{_signed(low, 2)}, {_signed(high, 2)}], the mean of "
        f"{len(ranking.backbones)} backbone(s), {verdict}."
    )


def _n(found: Transfer) -> str:
    table, plots = found.table, found.complete
    if table.single:
        return f"{len(plots)} backbone(s), n = 1 a cell"
    counts = [int(n) for b, plot in enumerate(found.plots) if plot is not None for n in table.runs[b].ravel()]
    given = ", given these checkpoints" if found.given else ""
    checkpoints = [len(seeds) for (b, _), seeds in table.checkpoint_seeds.items() if b in table.backbones]
    return (
        f"{len(plots)} backbone(s), n = {span(counts)} runs a cell from {span(checkpoints)} pre-training seed(s){given}"
    )


def _with(value: float, interval: Interval) -> str:
    return f"{value:.1f}, 95 % [{interval.low:.1f}, {interval.high:.1f}]"


def _signed(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


def _plus(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def level_label(table: TransferTable, p: int) -> str:
    """The name of a pre-training for people: that of its optimizer, or of its recipe in a published table."""
    name = table.pretrainings[p]
    return name if table.single else optimizer_label(name)


def _listed(names: Iterable[str]) -> str:
    found: Sequence[str] = list(names)
    return ", ".join(found[:12]) + (f" and {len(found) - 12} more" if len(found) > 12 else "")
