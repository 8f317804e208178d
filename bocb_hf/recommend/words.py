"""An answer as text. Measured scores stand with their n and source; an expected figure is called expected."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np

from bocb_hf.recommend.answer import Answer
from bocb_hf.recommend.evaluate import HELD_OUT
from bocb_hf.recommend.lead import lead
from bocb_hf.recommend.start import Start
from bocb_hf.recommend.tags import ENOUGH_OF_KIND, UNKNOWN, Tags, known_tags
from bocb_hf.report.words.labels import backbone_label, optimizer_label

WIDTH = 112
SHOWN_CELLS = 30
NEXT = 4  # further cells of the target that are shown after those of the answer


def target_text(target: Tags) -> str:
    """Returns a sentence with the backbone and its design tags."""
    if target.design == (UNKNOWN,) * 4:
        return _wrap(
            f"{target.name}: design tags unknown ({target.source}), so every backbone of a source counts alike. If you "
            "know what it is like, ask for a backbone of that design."
        )
    names = ("family", "stage-wise", "block-wise", "mixer")
    tags = "; ".join(f"{name} {tag}" for name, tag in zip(names, target.design, strict=True))
    return _wrap(f"{target.name}: {tags} (tags from {target.source})")


def answer_text(answer: Answer, starts: Sequence[Start | None]) -> str:
    """Returns all that one source answers, as text."""
    blocks = [
        _wrap(f"== {heading(answer)}"),
        "\n".join(map(_item, [*verdict(answer), *caveats(answer)])),
        _sizes(answer),
        _starts(answer, starts),
        "evidence (measured, from this source only):\n" + "\n".join(map(_item, evidence(answer))),
        "what to run next:\n" + "\n".join(map(_item, next_runs(answer))),
    ]
    return "\n\n".join(blocks)


def next_runs(answer: Answer) -> list[str]:
    """Returns the design of the next runs, most useful first."""
    names = answer.names(answer.chosen)
    found: list[str] = []
    new = [o for o in names if not _measured(answer, o)]
    if new:
        found.append(
            f"tune {_labels(new)} on it over its learning rates (validation split), an equal number of trials "
            "each; extend a grid whose edge wins; then three fresh seeds of the winner"
        )
    if answer.own and not answer.noise_known:
        near = _nearest(answer, 3)
        found.append(
            f"run {_labels(near)} with the same fresh seeds, at least three each: the noise of this backbone's cells "
            "is unknown, so nobody can tell which of them is best"
        )
    elif answer.own:
        found.append(f"run {_labels(_nearest(answer, 2))} with further seeds, until their intervals part")
    probes = [(name, gain) for name, gain in answer.probes if not _measured(answer, name)]
    if probes:
        gains = " or ".join(f"{optimizer_label(name)} ({gain:.2f} points)" for name, gain in probes)
        found.append(
            f"to learn more, also {gains}: of all others these may add most to the best score, in "
            "expectation; a guess that chooses a run, not a result"
        )
    return found


def heading(answer: Answer) -> str:
    """Returns a sentence about the source and its table."""
    s = answer.source.scores
    place = f"{s.dataset}, setting {s.setting}, {len(s.backbones)} backbones × {len(s.optimizers)} optimizers"
    return f"{answer.source.label}: {place}, revision {s.revision[:20]}"


def verdict(answer: Answer) -> list[str]:
    """Returns the answer itself in the first sentence, then what it rests on."""
    lines = lead(answer)
    if not answer.own or answer.reference:
        return [*lines, _reference(answer)]
    if answer.without_own is not None:
        others, regret = answer.without_own
        lines.append(
            f"Check: without its column the answer would have been {_labels(others)}, {regret:.2f} points below its "
            "best."
        )
    return lines


def _reference(answer: Answer) -> str:
    kind = answer.target.kind
    count = len(answer.reference)
    kinds = {known_tags(b).kind for b in answer.reference}
    if answer.own:
        one_kind = f"{kind} " if kind != "unknown" and kinds == {kind} else ""
        return (
            f"Its own column lacks {answer.guessed} of the {len(answer.candidates)} candidates: these are guessed from "
            f"{count} {one_kind}backbone(s), moved to its level, and the expected regret is over those guesses."
        )
    if kind != "unknown" and kinds == {kind}:
        return (
            f"It has no results here: its design tags stand for it. Reference: the {count} {kind} backbones, one that "
            "shares all four tags counting twice as much as one that shares none."
        )
    if kind == "unknown":
        return f"Nothing is known of its design, so all {count} backbones count alike; expect more regret than that."
    return (
        f"Fewer than {ENOUGH_OF_KIND} {kind} backbones are here, so all {count} backbones count, and the expected "
        f"regret is theirs. {HELD_OUT} Run a few cells first."
    )


def caveats(answer: Answer) -> list[str]:
    """Returns sentences about what weakens the answer."""
    found = [f"Note: {note}" for note in answer.source.scores.notes]
    if answer.source.tried is not None:
        differences = "; ".join(answer.source.unequal)
        fair = f"not equal between cells ({differences})" if differences else "equal in every cell"
        found.append(f"Tuning and budget behind these scores: {fair}; `bocb aggregate` prints the ledger.")
    if answer.failed:
        lowest = "chance" if answer.source.scores.chance is not None else f"{answer.source.scores.metric} 0"
        found.append(
            f"{answer.failed} cell(s) diverged in some run; they count as {lowest}, so that no set rests on them."
        )
    if answer.guessed and not answer.own:
        found.append(f"{answer.guessed} missing cell(s) were guessed (backbone + optimizer effects, by medians).")
    found += [f"{backbone_label(b)} is no reference: {reason}." for b, reason in answer.left_out.items()]
    return found


def _sizes(answer: Answer) -> str:
    head = "expected regret" if answer.chosen.expected is not None else "regret on it   "
    lines = [f"size  {head}  set"]
    for choice in answer.choices:
        value = choice.regret if choice.expected is None else choice.expected
        sign = "<" if choice is answer.chosen else " "
        lines.append(f"{len(choice.members):4}{sign} {value:15.2f}  {_labels(answer.names(choice))}")
    return "\n".join(lines)


def _starts(answer: Answer, starts: Sequence[Start | None]) -> str:
    lines = ["start with (lr, weight decay; grids; where from):"]
    for name, start in zip(answer.names(answer.chosen), starts, strict=True):
        if start is None:
            lines.append(_item(f"{name} has no row here (its plug-in is not loaded), so no centre"))
            continue
        rates, decays = (", ".join(f"{v:g}" for v in values) for values in (start.rates, start.decays))
        lines.append(
            _item(f"{optimizer_label(name)}: lr {start.lr:g}, decay {start.weight_decay:g}; {start.source}")
            + f"\n    learning rates {rates}\n    weight decays  {decays}"
        )
    if answer.source.scores.trials_per_value > 1:
        lines.append(_item("The study published no hyper-parameters: these are the registry's centres."))
    return "\n".join(lines)


def evidence(answer: Answer) -> list[str]:
    """Returns the measured cells of each member, best first, with n and points below the best of the backbone.

    For a backbone with scores of its own, its next best cells follow.
    """
    s = answer.source.scores
    own = answer.target.row or answer.target.name
    backbones = [b for b in s.backbones if b in answer.reference or (answer.own and b == own)]
    members = answer.names(answer.chosen)
    lines: list[str] = []
    for name in members:
        cells = sorted((_cell(answer, b, name) for b in backbones), key=lambda cell: cell[0])
        shown = ", ".join(f"{backbone_label(b)} {text}" for _, b, _, text in cells[:SHOWN_CELLS])
        more = f" and {len(cells) - SHOWN_CELLS} more" if len(cells) > SHOWN_CELLS else ""
        lines.append(f"{optimizer_label(name)}: {shown}{more}")
    if answer.own:
        after = [_cell(answer, own, o) for o in _nearest(answer, len(s.optimizers)) if o not in members][:NEXT]
        if after:
            listed = ", ".join(f"{optimizer_label(o)} {text}" for _, _, o, text in after)
            lines.append(f"next best on {backbone_label(own)}: {listed}")
    lines.append(
        f"{s.metric} in points (n), −points below the best optimizer of the same backbone"
        + (f"; each value averages {s.trials_per_value} trials whose spread is unknown" * (s.trials_per_value > 1))
    )
    return lines


def _cell(answer: Answer, backbone: str, optimizer: str) -> tuple[float, str, str, str]:
    """Returns points below the best of the backbone (infinite without a mean), both names, and the cell as text."""
    s = answer.source.scores
    b, o = s.backbones.index(backbone), s.optimizers.index(optimizer)
    if s.status[b, o] != "completed":
        return float("inf"), backbone, optimizer, str(s.status[b, o])
    gap = float(np.nanmax(s.means[b]) - s.means[b, o])
    text = f"{s.means[b, o]:.1f} ({s.n[b, o]})" + (f" −{gap:.1f}" if gap > 0.05 else "")
    return gap, backbone, optimizer, text


def _measured(answer: Answer, optimizer: str) -> bool:
    """Returns whether the target itself has a completed cell with this optimizer."""
    s = answer.source.scores
    name = answer.target.row or answer.target.name
    return answer.own and s.status[s.backbones.index(name), s.optimizers.index(optimizer)] == "completed"


def _nearest(answer: Answer, count: int) -> list[str]:
    """Returns the best measured optimizers of the target's own column."""
    s = answer.source.scores
    column = s.means[s.backbones.index(answer.target.row or answer.target.name)]
    order = [int(o) for o in np.argsort(-column, kind="stable") if np.isfinite(column[o])]
    return [s.optimizers[o] for o in order[:count]]


def _labels(names: Sequence[str]) -> str:
    return " + ".join(map(optimizer_label, names))


def _wrap(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="   ", break_long_words=False, break_on_hyphens=False)


def _item(text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
