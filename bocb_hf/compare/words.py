"""The answer of a comparison in words: one sentence first, then a table, floors and what to do next."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

from bocb_hf.compare.answer import Answer, Entry, Loss, More
from bocb_hf.compare.decide import duration
from bocb_hf.coupling.statistics import Interval
from bocb_hf.coupling.table import Floor
from bocb_hf.report.words.labels import optimizer_label
from bocb_hf.report.words.tables import fixed, floor_text

WIDTH = 110


def sentence(answer: Answer, seconds: float, probe: bool = False) -> str:
    """The answer in one sentence with its uncertainty.

    Args:
        answer: The answer.
        seconds: Time that the comparison has had, over all sessions.
        probe: Whether only a linear head was trained.
    """
    limited = " (a linear head on frozen features; this says little about fine-tuning)" if probe else ""
    if answer.best is None:
        return f"No optimizer has a final run yet after {duration(seconds)}, so that there is no answer{limited}."
    if all(len(entry.tried) == 1 for entry in answer.entries):
        limited += " (no rate was tuned: each optimizer has the centre of its grid, and others may turn this around)"
    best = answer.entry(answer.best)
    named = f"{optimizer_label(answer.best)} at {_rate(best.lr)}: {_scored(answer.score, answer.interval)}{limited}"
    told = [loss for loss in answer.losses if loss.told]
    near = [loss for loss in answer.losses if not loss.told]
    lost = "; ".join(f"{optimizer_label(loss.optimizer)} loses {_lost(loss)}" for loss in told)
    if not answer.losses:
        return f"{named}; nothing else has final runs to compare it with."
    if answer.better_by is None:
        others = ", ".join(f"{optimizer_label(loss.optimizer)} −{loss.points:.1f}" for loss in near)
        return f"{named}; after one final run each, noise cannot be told from differences ({others})."
    if answer.none_told:
        names = [optimizer_label(answer.best), *(optimizer_label(loss.optimizer) for loss in near)]
        text = f"{_listed(names)} cannot be told apart with {duration(seconds)}"
        text += f" (highest: {named}; none is better by more than {answer.better_by:.1f} points)"
        return text + (f"; {more_text(answer.more)}." if answer.more is not None else ".")
    if answer.apart:
        return f"{named}; it is the best of all tried: {lost}."
    text = f"{named}; nothing tried is better by more than {answer.better_by:.1f} points; {lost}"
    names = [optimizer_label(loss.optimizer) for loss in near]
    text += f"; {_listed(names)} cannot be told apart from it"
    return text + (f"; {more_text(answer.more)}." if answer.more is not None else ".")


def more_text(more: More) -> str:
    """What more time would tell."""
    points = f"{more.points:g} point" + ("" if more.points == 1 else "s")
    if more.seconds is not None:
        return f"{duration(more.seconds)} more would tell differences of {points}"
    if more.images is not None:
        return f"no time would tell differences of {points} on so few test images; about {more.images:,} images would"
    return f"{_MANY} final seeds each would not tell differences of {points}"


_MANY = 20


def table(answer: Answer) -> list[str]:
    """The optimizers as aligned lines: rate, mean, runs, what each loses, rates tried, time of a run."""
    head = ("optimizer", "rate", "top-1", "n", "loses", "95 % of the loss", "rates tried", "s a run")
    rows: list[tuple[str, ...]] = [head]
    losses = {loss.optimizer: loss for loss in answer.losses}
    for entry in answer.entries:
        rows.append(_row(entry, losses.get(entry.optimizer), answer))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]


def _row(entry: Entry, loss: Loss | None, answer: Answer) -> tuple[str, ...]:
    mark = "★ " if entry.optimizer == answer.best else "☆ " if loss is not None and not loss.told else "  "
    name = mark + optimizer_label(entry.optimizer)
    tried = f"{_rate(entry.tried[0])} to {_rate(entry.tried[-1])}" if entry.tried else "none"
    tried += " (at the edge)" if entry.edge else ""
    if not entry.top1:
        return (name, "–", answer.unranked.get(entry.optimizer, "–"), "0", "", "", tried, "")
    n = f"{len(entry.top1)}/{len(entry.top1) + entry.diverged}" if entry.diverged else str(len(entry.top1))
    points = "" if loss is None else f"{loss.points:.2f}"
    interval = "" if loss is None else "unknown" if loss.interval is None else _ends(loss.interval)
    return (name, _rate(entry.lr), f"{entry.mean:.2f}", n, points, interval, tried, f"{entry.seconds:.0f}")


def legend(answer: Answer) -> list[str]:
    """What the table and the sentence rest on."""
    seeds = sorted({seed for entry in answer.entries for seed in entry.seeds})
    lines = [
        f"★ highest mean, ☆ not told apart from it. Test top-1 in points over {answer.images:,} images; final seeds "
        f"{', '.join(map(str, seeds)) or 'none'}; intervals are of 95 %, over seeds and test images, all pairs "
        "together, given the tuned rates."
    ]
    if answer.corrected:
        lines.append("The score of the best is corrected for having been the highest; the table has plain means.")
    lines += [f"{optimizer_label(name)} {why}." for name, why in answer.unranked.items()]
    if edges := [optimizer_label(e.optimizer) for e in answer.entries if e.edge and e.top1]:
        lines.append(f"At the edge of the rates tried, so that a better one may lie beyond: {', '.join(edges)}.")
    return lines


def floor_lines(answer: Answer, floors: Sequence[Floor]) -> list[str]:
    """The floors, and whether the best optimizer is below one."""
    lines = [floor_text(floor) for floor in floors]
    if answer.best is not None:
        above = [floor.name for floor in floors if floor.top1 > answer.score]
        lines += [f"The best optimizer is below {name}: this training is not worth its time yet." for name in above]
    return lines


def wrap(text: str, indent: str = "") -> str:
    """A text as lines of a terminal."""
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _rate(lr: float) -> str:
    return "–" if math.isnan(lr) else f"{lr:.3g}"


def _scored(score: float, interval: Interval | None) -> str:
    return f"{score:.1f} %" + (f", {_ends(interval)}" if interval is not None else ", interval unknown")


def _lost(loss: Loss) -> str:
    assert loss.interval is not None
    return f"{loss.points:.1f} {_ends(loss.interval)}"


def _ends(interval: Interval) -> str:
    return f"[{fixed(interval.low, 1)}, {fixed(interval.high, 1)}]"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
