"""The coupling table in words and plain text: what the terminal prints and the report repeats.

A number never stands alone: its n, interval, seeds and data revision are beside it, or the sentence says why not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isinf
from statistics import median

from bocb_hf.coupling.contrast import Contrast, NotAvailable
from bocb_hf.coupling.family_test import ENOUGH_BACKBONES, FamilyTest
from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.reading import GIVEN
from bocb_hf.coupling.row import GRID, Row
from bocb_hf.coupling.statistics import Interval
from bocb_hf.coupling.table import Floor, Table
from bocb_hf.report.words.labels import backbone_label, optimizer_label
from bocb_hf.runs.diagnosis import has_not_trained

FEW_EPOCHS = 10
NAMED = 8  # most cells, backbones or pairs that are named one by one
COLUMNS = 6  # number of backbones in a block of text on the terminal


def cell_names(cells: Sequence[tuple[str, str]]) -> str:
    """Returns (backbone, optimizer) pairs as ``ResNet-50 with Adam, …``, at most eight of them and how many more."""
    return some([f"{backbone_label(b)} with {optimizer_label(o)}" for b, o in cells])


def some(names: Sequence[str]) -> str:
    """Returns at most eight names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def span(values: Iterable[int]) -> str:
    """Returns a range of numbers as text: ``4``, ``4 to 12`` or, when there are none, ``–``."""
    found = sorted(set(values))
    return " to ".join(f"{value:,}" for value in dict.fromkeys([found[0], found[-1]])) if found else "–"


def cell_text(row: Row) -> str:
    """Returns a cell: ``84.4 ± 1.2 (2)``, survivors ``71.2 (1/2)``, ``diverged 2/2``, ``interrupted``, or ``–``."""
    if row.mean is not None:
        reach = f" {reach_text(*row.reach)}" if row.reach is not None else ""
        return f"{row.mean:.1f}{reach} ({row.n})"
    ended = row.n + row.diverged
    if row.survivor_mean is not None:
        return f"{row.survivor_mean:.1f} ({row.n}/{ended})"
    return {"diverged": f"diverged {row.diverged}/{ended}", "interrupted": "interrupted"}.get(row.status, "–")


def reach_text(down: float, up: float, digits: int = 1) -> str:
    """Returns how far an interval reaches from its mean: ``± 1.2``, or ``−2.4/+1.2`` where the sides differ."""
    if f"{down:.{digits}f}" == f"{up:.{digits}f}":
        return f"± {up:.{digits}f}"
    return f"−{down:.{digits}f}/+{up:.{digits}f}"


def interval_words(marks: Marks, over: str = "") -> str:
    """Returns what stands in a cell: what its interval is over, and, with rare losses, that its sides may differ.

    Args:
        marks: The marks of the table.
        over: What else the interval is over, before the reading, with what parts the two.
    """
    sides = "" if marks.below is None else ", or −/+ its two sides where they differ"
    return f"mean ± half of the 95 % interval {over}{marks.reading}{sides}"


def sign_of(table: Table, marks: Marks, row: Row) -> str:
    """Returns the sign of a row's cell, ``★`` or ``☆``, or nothing; also nothing where the table shows another row."""
    if not row.shown:
        return ""
    return str(marks.signs[table.backbones.index(row.cell.backbone), table.optimizers.index(row.cell.optimizer)])


def signed(value: float, digits: int = 1) -> str:
    """Returns ``+1.2`` or ``−1.2``, with a minus sign as wide as the plus; a number that rounds to zero is ``+0.0``."""
    return f"{_rounded(value, digits):+.{digits}f}".replace("-", "−")


def fixed(value: float, digits: int) -> str:
    """Returns ``1.2`` or ``−1.2``; a number that rounds to zero has no sign."""
    return f"{_rounded(value, digits):.{digits}f}".replace("-", "−")


def _rounded(value: float, digits: int) -> float:
    return round(value, digits) + 0.0  # adding 0.0 turns −0.0 into 0.0


def interval_text(interval: Interval | None, digits: int = 1) -> str:
    """Returns an interval as ``95 % [80.3, 83.6]``, or the words that there is none."""
    if interval is None:
        return "no interval (noise cannot be separated)"
    return f"95 % [{fixed(interval.low, digits)}, {fixed(interval.high, digits)}]"


def beside_zero(interval: Interval | None) -> str:
    """Returns the words to add to an interval of a difference that includes zero; nothing for other intervals."""
    return ", which includes zero" if interval is not None and interval.holds(0) else ""


def floor_text(floor: Floor) -> str:
    """Returns a floor row as a sentence."""
    if floor.interval is None:
        return f"{floor.name}: {floor.top1:.1f}"
    return f"{floor.name}: {floor.top1:.1f}, {interval_text(floor.interval)} over {floor.n} test images"


def seeds_text(rows: Iterable[Row]) -> str:
    """Returns the seeds of the shown rows, and whether all rows have the same seeds."""
    sets = {row.seeds for row in rows if row.n}
    listed = ", ".join(str(seed) for seed in sorted({seed for seeds in sets for seed in seeds}))
    if not listed:
        return "no completed run"
    return f"seeds {listed}" + (" (not in every cell; coupling.csv has them)" if len(sets) > 1 else "")


def terminal_text(table: Table, floor_rows: Sequence[Floor], marks: Marks) -> str:
    """Returns the table as aligned text, in blocks of at most six backbones, with its floors, seeds and revision."""
    lines = [
        f"{table.dataset}, setting {table.setting}" + (f", from {table.start}" if table.start else ""),
        f"{table.split_label} {table.metric} in points: {interval_words(marks)} (n)",
        marks.sign_rule,
        *grid_lines(table, marks),
    ]
    lines += ["", *map(floor_text, floor_rows)]
    lines.append(f"{seeds_text(r for r in table.rows if r.shown)}; data revision {table.revision}")
    return "\n".join(lines)


def grid_lines(table: Table, marks: Marks) -> list[str]:
    """Returns optimizers × backbones as aligned lines, in blocks of at most six backbones, each after an empty line."""
    lines: list[str] = []
    for start in range(0, len(table.backbones), COLUMNS):
        backbones = table.backbones[start : start + COLUMNS]
        grid = [["", *map(backbone_label, backbones)]]
        for optimizer in table.optimizers:
            rows = [table.shown(backbone, optimizer) for backbone in backbones]
            grid.append([optimizer_label(optimizer), *(f"{sign_of(table, marks, r):1} {cell_text(r)}" for r in rows)])
        widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
        grid[0][1:] = [f"  {label}" for label in grid[0][1:]]
        widths = [max(width, len(label)) for width, label in zip(widths, grid[0], strict=True)]
        lines += ["", *("  ".join(map(str.ljust, line, widths)).rstrip() for line in grid)]
    return lines


def notes(table: Table, floor_rows: Sequence[Floor]) -> list[str]:
    """Says what a reader must know before believing the table, most important first."""
    shown = [row for row in table.rows if row.shown]
    found = [*_speed(table, shown, floor_rows), *_noise(table, shown)]
    for row in shown:
        where = f"{backbone_label(row.cell.backbone)} with {optimizer_label(row.cell.optimizer)}"
        if row.status == "partial" and row.failure is not None:
            low, high = row.failure
            found.append(
                f"{where}: {row.diverged} of {row.n + row.diverged} runs diverged (probability of failure 95 % "
                f"[{low:.0f}, {high:.0f}] %); the mean over the survivors is not ranked."
            )
        if untrained := sum(map(has_not_trained, row.completed)):
            found.append(
                f"{where}: {untrained} of {row.n} completed run(s) have not trained: their last epoch was no better "
                "than knowing only the class frequencies."
            )
        if row.interrupted:
            found.append(f"{where}: {row.interrupted} interrupted run(s) are not counted; start them again to finish.")
        if row.selection == "not_best":
            found.append(f"{where}: another configuration scored higher on validation, but has no final run.")
    by_status = {s: sum(row.status == s for row in shown) for s in ("missing", "diverged")}
    found += [f"{count} cell(s) {status}: no number stands for them." for status, count in by_status.items() if count]
    untuned = sum(row.selection == "untuned" for row in shown)
    if untuned:
        found.append(f"{untuned} cell(s) show a configuration without a tuning trial (untuned).")
    others = sum(not row.shown for row in table.rows)
    if others:
        found.append(f"{others} other configuration(s) of these cells stand beside them in coupling.csv, not pooled.")
    return [*found, *_fairness(shown)]


def _speed(table: Table, shown: Sequence[Row], floor_rows: Sequence[Floor]) -> list[str]:
    """Returns sentences that few epochs measure speed, and that count the cells below the floors."""
    epochs = sorted({record.identity.training.epochs for record in table.records})
    found: list[str] = []
    if epochs and epochs[0] < FEW_EPOCHS:
        found.append(
            f"After {span(epochs)} epochs, such runs measure the speed of optimisation, not the quality that these "
            "networks reach in the end."
        )
    means = [(row.cell.backbone, row.mean) for row in shown if row.mean is not None]
    for floor in floor_rows:
        if floor.interval is not None and floor.backbone is None and means:
            below = sum(mean < floor.top1 for _, mean in means)
            found.append(f"{below} of {len(means)} cells lie below {floor.name} ({floor.top1:.1f}).")
    frozen = {floor.backbone: floor.top1 for floor in floor_rows if floor.backbone is not None}
    compared = [(mean, frozen[backbone]) for backbone, mean in means if backbone in frozen]
    if compared:
        below = sum(mean < floor for mean, floor in compared)
        found.append(
            f"{below} of {len(compared)} cells lie below a linear head on their own backbone, frozen untrained."
        )
    return found


def _noise(table: Table, shown: Sequence[Row]) -> list[str]:
    """Returns sentences about what the intervals of a table rest on."""
    counts = [row.n for row in shown if row.ranked]
    if counts and max(counts) == 1:
        return ["n = 1 everywhere: noise cannot be separated from differences; only further seeds can show it."]
    prior = table.prior
    if prior is None:
        return ["The spread over seeds cannot be estimated: too few cells have two completed runs that differ."]
    agreement = "d₀ = ∞, the cells differ no more than chance makes them" if isinf(prior.df) else f"d₀ = {prior.df:.1f}"
    if prior.slope > 0:
        agreement += ", s₀ larger the deeper a cell lies below its backbone's median"
    found = [
        f"Intervals of cells: moderated variances (Smyth 2004) of {prior.cells} cells, s₀ = "
        f"{prior.variance**0.5:.2f} points, {agreement}; that of the contrast takes the spread of each cell from its "
        "posterior. Over seeds only: the choice of test images is not included.",
        table.reading.sentence + _tuning(shown),
    ]
    if 1 in counts:
        found.append(
            f"{counts.count(1)} cell(s) have n = 1: their own noise cannot be separated; an interval there is borrowed "
            "from the other cells."
        )
    return found


def _tuning(shown: Sequence[Row]) -> str:
    """Returns what tuning adds to the intervals of the cells, as a further sentence; nothing where it is not known."""
    known = [(row, row.estimate.tuning[0]) for row in shown if row.estimate is not None and row.estimate.tuning]
    halves = [(row.interval, row.given_interval) for row, _ in known]
    both = [i.half_width for i, given in halves if i is not None and given is not None]
    if not both:
        return ""
    given = [given.half_width for i, given in halves if i is not None and given is not None]
    moved = [variance**0.5 for _, variance in known]
    return (
        f" Tuning moves a cell's mean by a standard deviation of {min(moved):.2f} to {max(moved):.2f} points; half of "
        f"an interval is {median(both):.2f} points in the median, and {median(given):.2f} {GIVEN}."
    )


def _fairness(shown: Sequence[Row]) -> list[str]:
    """Returns sentences about whether every cell was tuned alike, and whether a grid was too small."""
    trials = sorted({len(row.trials) for row in shown if row.finals})
    found: list[str] = []
    if len(trials) > 1:
        found.append(f"Trials per cell differ: {span(trials)}; the ledger lists them.")
    extended = sum(row.extensions > 0 for row in shown)
    if extended:
        found.append(f"{extended} cell(s) tried more than {GRID} learning rates: a larger grid, or an extended one.")
    edges = sum(row.edge is True for row in shown)
    if edges:
        found.append(f"{edges} cell(s) use a learning rate at the edge of what was tried: a better one may lie beyond.")
    return found


def family_test_text(test: FamilyTest) -> str:
    """Returns the two-sided p of a difference between families, its tests, and the smallest p there could be."""
    permutation, welch = test.permutation, test.welch
    how = {"mean": "", "median": " of medians", "t": " of C over its error"}[permutation.statistic]
    labelings = (
        f"{'all' if permutation.exact else 'a random'} {permutation.labelings:,} labelings, smallest possible "
        f"{permutation.smallest:.2g}"
    )
    if welch is None:
        return (
            f"two-sided p of a permutation{how} = {permutation.p:.2g} ({labelings}), for 'the families differ in "
            "nothing, spread included'"
        )
    return (
        f"two-sided p = {test.p:.2g}, the larger of Welch's t ({welch.p:.2g}, df {welch.df:.1f}) and a "
        f"permutation{how} ({permutation.p:.2g}; {labelings})"
    )


def _contrast_basis(contrast: Contrast) -> list[str]:
    """Returns sentences on the cells that the family contrast lacks; none where it has all."""
    found: list[str] = []
    if contrast.holes:
        needed = (len(contrast.cnn) + len(contrast.modern)) * (len(contrast.sgd) + len(contrast.adaptive))
        found.append(
            f"It rests on {contrast.cells} of {needed} cells; not run: {cell_names(contrast.holes)}. A backbone's mean "
            "over optimizers that lack a cell is adjusted by how these do on the others of its family, and the "
            "interval holds what the missing cells could be."
        )
    if contrast.dropped:
        listed = "; ".join(f"{optimizer_label(o)} ({reason})" for o, reason in contrast.dropped.items())
        found.append(f"Optimizers that do not count: {listed}.")
    return found


def few_backbones(contrast: Contrast) -> list[str]:
    """Returns the sentence that says that there are too few backbones to speak of families, where there are."""
    if not contrast.conditional:
        return []
    return [
        f"Conditional on these backbones: {len(contrast.cnn)} CNN(s) and {len(contrast.modern)} modern one(s) are "
        f"fewer than {ENOUGH_BACKBONES} a family, too few to speak of families."
    ]


def contrast_text(contrast: Contrast | NotAvailable, name: str = "Primary contrast") -> list[str]:
    """Returns the family contrast in sentences, of which the first is the result, under the name it has there."""
    left_out = [
        "Left out: " + "; ".join(f"{backbone_label(b)} ({reason})" for b, reason in contrast.left_out.items()) + "."
    ] * bool(contrast.left_out)
    if isinstance(contrast, NotAvailable):
        return [f"{name}: not available; {contrast.reason}.", *left_out]
    sgd, adaptive = (", ".join(map(optimizer_label, names)) for names in (contrast.sgd, contrast.adaptive))
    interval = contrast.interval
    sentences = [
        f"{name}, SGD ({sgd}) minus adaptive ({adaptive}), CNNs minus modern backbones: "
        f"{signed(contrast.points.mean)} points, {interval_text(interval)}"
        + (f" over seeds, {contrast.reading}" if interval else "")
        + f", n = {span(contrast.runs)} per cell.",
    ]
    if interval is None:
        sentences.append("No statement follows from it: further seeds are needed.")
    elif interval.holds(0):
        sentences.append(
            "The interval includes zero: these runs do not show that one family lives better with SGD than the other."
        )
    elif contrast.wide_interval is not None and contrast.wide_interval.holds(0):
        sentences.append(
            "The interval over seeds excludes zero, that over seeds and test images does not: with other images there "
            "may be no difference."
        )
    else:
        better, other = ("CNNs", "modern backbones") if contrast.points.mean > 0 else ("modern backbones", "CNNs")
        sentences.append(f"The interval excludes zero: here {better} live better with SGD than {other} do.")
    if contrast.given is not None and contrast.given.interval is not None:
        sentences.append(f"{GIVEN.capitalize()}: {interval_text(contrast.given.interval)}.")
    if contrast.logit is not None:
        sentences.append(
            f"On the logit scale: {signed(contrast.logit.mean, 2)}, {interval_text(contrast.logit.interval, 2)}"
            f"{beside_zero(contrast.logit.interval)}."
        )
    if contrast.image_error is not None:
        sentences.append(
            f"The choice of test images adds a standard error of {contrast.image_error:.1f} points; seeds and images "
            f"together: {interval_text(contrast.wide_interval)}{beside_zero(contrast.wide_interval)}."
        )
    each = [f"{backbone_label(b)} {signed(d)}" for side in (contrast.cnn, contrast.modern) for b, d in side.items()]
    sentences.append(f"SGD minus adaptive for each backbone: {', '.join(each)}.")
    sentences += few_backbones(contrast)
    sentences.append(f"Difference between the families, backbone by backbone: {family_test_text(contrast.test)}.")
    return [*sentences, *_contrast_basis(contrast), *left_out]
