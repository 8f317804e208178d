"""The practitioner's answer: what to use, what it may cost to be wrong, how sure; then evidence, start and command.

It never takes more than ``LINES`` lines; ``words.py`` has the whole answer with every size, cell and caveat.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from bocb_hf.coupling.statistics import Interval
from bocb_hf.recommend.answer import Answer, UsualLoss
from bocb_hf.recommend.evaluate import HELD_OUT
from bocb_hf.recommend.preference import Difference
from bocb_hf.recommend.start import Start
from bocb_hf.recommend.tags import UNKNOWN, known_tags
from bocb_hf.report.words.labels import backbone_label, optimizer_label
from bocb_hf.resources import config_files

LINES = 25
WIDTH = 112
SHOWN = 6  # cells of an optimizer that fit a line


def lead_text(answer: Answer, starts: Sequence[Start | None], config: str | None) -> str:
    """Returns the short answer of one source.

    Args:
        answer: The answer.
        starts: Where to start tuning each member, in order.
        config: The setting that the command to try it names; None where no setting fits.
    """
    what, *why = lead(answer)
    lines = [_wrap(what), *map(_item, why)]
    lines += ["", f"Evidence ({answer.source.label}, {answer.source.scores.dataset}):", *map(_item, _cells(answer))]
    lines += ["", "Start with:", *(_item(t) for t in _start_lines(answer, starts))]
    lines += ["", "Try it:", *(f"  {c}" for c in commands(answer, config))]
    return "\n".join(lines)


def other_line(answer: Answer) -> str:
    """Returns what another source answers, in one sentence."""
    names = " + ".join(map(optimizer_label, answer.names(answer.chosen)))
    return _wrap(
        f"Another source, {answer.source.label}: {names}, expected {_points(_regret(answer))} below the best of "
        f"{len(answer.candidates)}{_beside(answer.interval)}."
    )


def answers_text(
    answers: Sequence[Answer], starts: Sequence[Start | None], config: str | None, before: Sequence[str] = ()
) -> str:
    """Returns the first answer in short and the others in a sentence each, in ``LINES`` lines at most.

    Args:
        answers: The answers of all sources, the one to trust most first; those that find no place are counted.
        starts: Where to start tuning each member of the first, in order.
        config: The setting that the command to try it names; None where no setting fits.
        before: Lines that come first.
    """
    first, *others = answers
    lines = [*before, *lead_text(first, starts, config).splitlines()]
    shown = 0
    for given in others:
        more = other_line(given).splitlines()
        if len(lines) + len(more) + (2 if not shown else 1) > LINES:
            break
        lines += more if shown else ["", *more]
        shown += 1
    left = len(others) - shown
    sources = "" if not left else f", and {left} further source{'s' if left > 1 else ''}"
    return "\n".join([*lines, f"More: --full (every size, cell and caveat{sources}), --json"])


def usual_setting(answer: Answer) -> str | None:
    """Returns the setting to try it under: that of the records, else the study's for this backbone on its data set."""
    scores = answer.source.scores
    name = scores.setting if answer.source.tried is not None else answer.target.setting
    found = f"{scores.dataset}/{name}"
    return found if found in config_files("recipes/configs") else None


def lead(answer: Answer) -> list[str]:
    """Returns the answer in sentences: what to use, what it may cost, whether the usual does as well, how sure."""
    found = [_what(answer), _cost(answer)]
    if answer.usual is not None:
        found.append(_usual(answer, answer.usual))
    found.append(_sure(answer))
    if answer.source.caution is not None and not answer.own:
        found.append(answer.source.caution)
    return found


def commands(answer: Answer, config: str | None) -> list[str]:
    """Returns the commands to train with the first optimizer, and to tune all members fairly."""
    where = config or "<setting of `bocb list settings`>"
    name, first = answer.target.name, answer.names(answer.chosen)[0]
    return [
        f"bocb train --config {where} backbone.name={name} optimizer.name={first}",
        f"bocb recommend {name} --plan next.yaml --config {where} && bocb sweep next.yaml",
    ]


def _what(answer: Answer) -> str:
    first, *rest = map(optimizer_label, answer.names(answer.chosen))
    text = f"{answer.target.name}: use {first}"
    if rest:
        text += f"; if you can tune another, also try {' and '.join(rest)}"
    return text + "."


def _cost(answer: Answer) -> str:
    chosen, count = answer.chosen, len(answer.candidates)
    names = " + ".join(map(optimizer_label, answer.names(chosen)))
    text = f"Cost of being wrong: {names} is expected to end {_points(_regret(answer))} below the best of {count}"
    text += f" optimizers{_beside(answer.interval)}"
    if answer.worst is not None and answer.worst[0] > 0.05:
        text += f", and lost {answer.worst[0]:.1f} on {backbone_label(answer.worst[1])}, the worst of these backbones"
    if not answer.bounded:
        text += f"; no set of up to {len(answer.choices)} keeps the bound of {answer.bound:g}, this comes closest"
    elif len(chosen.members) > 1:
        one = answer.choices[0]
        alone = one.regret if one.expected is None else one.expected
        text += f"; {optimizer_label(answer.names(one)[0])} alone {_points(alone)}, above the bound of {answer.bound:g}"
    else:
        text += f", within the bound of {answer.bound:g}" if _within(answer) else ""
    return text + "."


def _within(answer: Answer) -> bool:
    """Whether the whole interval keeps the bound; the sentence beside an interval that does not must not say so."""
    return answer.interval is not None and answer.interval.high <= answer.bound


def _usual(answer: Answer, usual: UsualLoss) -> str:
    """Says how usual the first optimizer is, what the usual one is expected to lose, and whether that can be told."""
    name, recipes = optimizer_label(usual.optimizer), usual.recipes
    whom = {"CNN": "CNNs", "modern": "modern backbones", "unknown": "backbones of all kinds"}[recipes.kind]
    often = f"{recipes.counts[usual.optimizer]} of {recipes.total} published recipes for {whom}"
    is_first = usual.optimizer == answer.names(answer.chosen)[0]
    text = f"{name} is the usual choice ({often})" if is_first else f"The usual choice is {name} ({often})"
    over = "" if usual.backbones is None else f" over {usual.backbones} backbones like this"
    text += f"; it is expected to lose {_points(usual.loss.mean)}{over}{_beside(_above(usual.loss))}"
    if usual.rival is None:
        return text + ", and is the best single choice of the data as well."
    beyond, rival = usual.excess.mean, optimizer_label(usual.rival)
    text += f". That is {_points(abs(beyond))} {'more' if beyond >= 0 else 'less'} than the best single choice of the"
    text += f" data, {rival}{_beside(usual.excess.interval)}: "
    return text + ("the data tell them apart." if usual.excess.above_zero else "the data cannot tell them apart.")


def _sure(answer: Answer) -> str:
    """Says how sure the answer is, in one sentence."""
    n = answer.source.scores.n
    if answer.own and not answer.reference:
        row = n[answer.source.scores.backbones.index(answer.target.row or answer.target.name)]
        seeds = f"{row[row > 0].min()} to {row.max()}" if row[row > 0].min() < row.max() else f"{row.max()}"
        if answer.noise_known:
            return f"How sure: it was measured on this backbone itself, with {seeds} seeds a cell."
        return (
            f"How sure: little. This backbone was measured, but with n = {seeds} a cell: any part of a difference may "
            "be noise, and the interval allows for that."
        )
    count, kind = len(answer.reference), answer.target.kind
    kinds = {known_tags(b).kind for b in answer.reference}
    which = f"{count} {kind} backbones" if kind != "unknown" and kinds == {kind} else f"{count} backbones of any kind"
    seeds = "once each" if n.max() < 2 else f"with up to {n.max()} seeds"
    if answer.own:
        return (
            f"How sure: {len(answer.candidates) - answer.guessed} of {len(answer.candidates)} optimizers were measured "
            f"on this backbone; the others are guessed from {which}."
        )
    text = f"How sure: {'little' if n.max() < 2 else 'fairly'}. Measured on {which}, {seeds}, not on this one"
    if answer.target.design == (UNKNOWN,) * 4:
        return text + "; nothing is known of its design, so expect more regret than that."
    return text + "." + (f" {HELD_OUT}" if kinds != {kind} else "")


def _cells(answer: Answer) -> list[str]:
    """Returns one line a member: its measured cells, the worst first, with n and points below the backbone's best."""
    s = answer.source.scores
    own = answer.target.row or answer.target.name
    rows = [b for b, name in enumerate(s.backbones) if name in answer.reference or (answer.own and name == own)]
    found: list[str] = []
    for name in answer.names(answer.chosen):
        o = s.optimizers.index(name)
        gaps = [(float(np.nanmax(s.means[b]) - s.means[b, o]), b) for b in rows if s.status[b, o] == "completed"]
        gaps.sort(reverse=True)
        shown = ", ".join(
            f"{backbone_label(s.backbones[b])} {s.means[b, o]:.1f}" + (f" (−{gap:.1f})" if gap > 0.05 else " (best)")
            for gap, b in gaps[:SHOWN]
        )
        more = f", and {len(gaps) - SHOWN} that lose less" if len(gaps) > SHOWN else ""
        failed = len(rows) - len(gaps)
        found.append(
            f"{optimizer_label(name)}: {shown or 'not measured'}{more}" + (f"; {failed} without" if failed else "")
        )
    found.append(f"{s.metric} (points below the best optimizer of the backbone); {_of_noise(answer)}")
    return found


def _of_noise(answer: Answer) -> str:
    s = answer.source.scores
    if s.trials_per_value > 1:
        return f"n = 1, each the mean of {s.trials_per_value} trials"
    low, high = int(s.n[s.n > 0].min()), int(s.n.max())
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def _start_lines(answer: Answer, starts: Sequence[Start | None]) -> list[str]:
    found: list[str] = []
    for name, start in zip(answer.names(answer.chosen), starts, strict=True):
        if start is None:
            found.append(f"{name} has no row here (its plug-in is not loaded), so no centre")
            continue
        low, high = start.rates[0], start.rates[-1]
        found.append(
            f"{optimizer_label(name)}: lr {start.lr:g} (tune {low:.2g} to {high:.2g}), weight decay "
            f"{start.weight_decay:g}; from {start.source}"
        )
    return found


def _regret(answer: Answer) -> float:
    return answer.chosen.regret if answer.chosen.expected is None else answer.chosen.expected


def _points(value: float) -> str:
    return f"{value:.1f} point" + ("" if f"{value:.1f}" == "1.0" else "s") if value >= 0.05 else "less than 0.1 points"


def _above(found: Difference) -> Interval | None:
    """The interval of a regret, which is never negative."""
    return None if found.interval is None else Interval(max(0.0, found.interval.low), found.interval.high)


def _beside(interval: Interval | None) -> str:
    if interval is None or max(abs(interval.low), abs(interval.high)) < 0.05:  # nothing that one digit shows
        return ""
    low, high = (f"{v:.1f}".replace("-0.0", "0.0").replace("-", "−") for v in (interval.low, interval.high))
    return f" (95 % [{low}, {high}])"


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _item(text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
