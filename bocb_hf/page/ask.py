"""Answers of the recommender, computed once: for each measured backbone and each combination of design tags.

The page looks them up. They are those of ``bocb recommend``, from one table at a time.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from bocb_hf.errors import InputError
from bocb_hf.page.layout import AnswerInfo, Start
from bocb_hf.page.names import designs
from bocb_hf.recommend.answer import Answer, answer
from bocb_hf.recommend.answers import starts_of
from bocb_hf.recommend.evidence import Evidence
from bocb_hf.recommend.lead import commands, lead, usual_setting
from bocb_hf.recommend.tags import known_tags, similarity
from bocb_hf.recommend.words import caveats, evidence, next_runs

BOUND = 1.0  # points of expected regret
ANSWERED = 1000  # cells of the largest table that is answered from unless everything is wanted: more take minutes
MEASURED, DESIGN = "=", "~"  # first letter of an answer's key; the backbone, or the study's of that design, follows


def answers_of(source: Evidence, limit: int | None, store: str | None) -> tuple[Mapping[str, AnswerInfo], str | None]:
    """Computes all answers of a table, by key: ``=`` and a measured backbone, ``~`` and the backbone of a design.

    Args:
        source: The table.
        limit: Largest number of cells of a table that answers are computed of; None computes them for every table.
        store: The store of the table, for the command that answers otherwise; None for a published table.

    Returns:
        The answers, and why there are none.
    """
    count, optimizers = source.scores.means.shape
    if limit is not None and count * optimizers > limit:
        where = f" --store {shlex.quote(store)}" if store is not None else ""
        return {}, (
            f"With {count * optimizers:,} cells this table has no answers here: they take minutes to compute. "
            f"`bocb recommend <backbone>{where}` gives one."
        )
    if min(count, optimizers) < 2:
        return {}, "An answer takes two backbones and two optimizers at least."
    targets = {MEASURED + name: known_tags(name) for name in source.scores.backbones}
    targets |= {DESIGN + (like or ""): tags for like, tags in designs()}
    found: dict[str, AnswerInfo] = {}
    reasons: list[str] = []
    alike: dict[tuple[str, bytes], AnswerInfo] = {}
    others = [known_tags(name) for name in source.scores.backbones]
    for key, target in targets.items():
        # designs that make the same backbones count alike have one answer
        basis = (target.kind, similarity(target, others).tobytes())
        if key.startswith(DESIGN) and basis in alike:
            found[key] = alike[basis]
            continue
        try:
            found[key] = _plain(answer(source, target, BOUND))
        except InputError as error:
            reasons.append(str(error).removeprefix("recommend: "))
            continue
        if key.startswith(DESIGN):
            alike[basis] = found[key]
    return found, None if found else f"No answer: {reasons[0]}."


def _plain(given: Answer) -> AnswerInfo:
    starts = zip(given.names(given.chosen), starts_of(given, None), strict=True)
    return AnswerInfo(
        own=given.own,
        bounded=given.bounded,
        use=list(given.names(given.chosen)),
        regret=given.chosen.regret if given.chosen.expected is None else given.chosen.expected,
        interval=None if given.interval is None else (float(given.interval.low), float(given.interval.high)),
        sentences=lead(given),
        evidence=evidence(given),
        caveats=caveats(given),
        next=next_runs(given),
        start=[
            Start(
                optimizer=name,
                lr=start.lr if start else None,
                weight_decay=start.weight_decay if start else None,
                rates=list(start.rates) if start else [],
                decays=list(start.decays) if start else [],
                source=start.source if start else "no row here, so no centre",
            )
            for name, start in starts
        ],
        commands=commands(given, usual_setting(given)),
    )
