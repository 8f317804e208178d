"""The recommender on the page: the same code as ``bocb recommend``, asked by strangers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from bocb_hf.errors import InputError
from bocb_hf.leaderboard.columns import Column, Grid, plain
from bocb_hf.leaderboard.markup import grid_table, items, join
from bocb_hf.leaderboard.read import Board
from bocb_hf.leaderboard.state import State
from bocb_hf.recommend.answer import Answer
from bocb_hf.recommend.answers import recommend, starts_of
from bocb_hf.recommend.tags import Tags, find_tags
from bocb_hf.recommend.words import caveats, evidence, heading, next_runs, target_text, verdict
from bocb_hf.report.words.labels import optimizer_label

# A name, or an id on the Hub: no path, so that nobody asks for files of the machine that serves the page.
_NAME = re.compile(r"(transformers:|hf-hub:|timm/)?[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
BOUND = 1.0  # points of expected regret


def asked(board: Board, study: Board | None) -> list[Board]:
    """The tables that answer: the chosen one and the study's."""
    return [board, *([study] if study is not None and study is not board else [])]


def advise(state: State, boards: Sequence[Board]) -> Markup:
    """Answers of each table to the state's question; a refusal is an answer too."""
    try:
        target, answers, refused = _ask(state.ask, boards)
    except InputError as error:
        return Markup("<p class=notice>{}</p>").format(error)
    parts = [Markup("<p class=soft>{}</p>").format(_one_line(target_text(target)))]
    for given in answers:
        first, *more = verdict(given)
        parts.append(
            Markup(
                "<h3>{}</h3><p class=big>{}</p>{}<h4>What to run next</h4>{}"
                "<details open><summary>Evidence, measured, from this source only</summary>{}</details>"
                "<details><summary>What weakens it</summary>{}</details>"
            ).format(
                heading(given),
                first,
                items(more),
                items(next_runs(given)),
                items(evidence(given)),
                items(caveats(given)),
            )
        )
    parts += [Markup("<p class=notice>No answer from {}</p>").format(line) for line in refused]
    if answers:
        parts.append(Markup("<h3>Where to start</h3>{}").format(grid_table(_starts(answers), state)))
    return join(parts)


def starts_grid(state: State, boards: Sequence[Board]) -> Grid | None:
    """Learning rate and weight decay to start from, for each optimizer of each answer; None without a question.

    Raises:
        InputError: The question names no backbone.
    """
    return _starts(_ask(state.ask, boards)[1]) if state.ask else None


def _ask(ask: str, boards: Sequence[Board]) -> tuple[Tags, list[Answer], list[str]]:
    if not _NAME.fullmatch(ask) or ".." in ask:
        raise InputError(
            f"{ask[:100]!r} is no name of a backbone: give one of the table, a timm name, or an id on the Hub."
        )
    target = find_tags(ask)
    sources = [board.source for board in boards if min(board.scores.values.shape[:2]) > 1]
    return target, *recommend(target, sources, BOUND)


def _starts(answers: Sequence[Answer]) -> Grid:
    rows: list[dict[str, Any]] = []
    for given in answers:
        for name, start in zip(given.names(given.chosen), starts_of(given, None), strict=True):
            rows.append(
                {
                    "optimizer": optimizer_label(name),
                    "lr": start.lr if start else None,
                    "weight_decay": start.weight_decay if start else None,
                    "rates": " ".join(f"{v:g}" for v in start.rates) if start else None,
                    "decays": " ".join(f"{v:g}" for v in start.decays) if start else None,
                    "from": start.source if start else "no row here, so no centre",
                    "source": given.source.label,
                }
            )
    columns = (
        Column("optimizer", plain("optimizer")),
        Column("LR", plain("lr"), True),
        Column("WD", plain("weight_decay"), True),
        Column("LR and WD from", plain("from"), wrap=True),
        Column("learning rates to try", plain("rates"), wrap=True),
        Column("weight decays to try", plain("decays"), wrap=True),
        Column("for the answer of", plain("source"), wrap=True),
    )
    return Grid("starts", "Tune around these values on the validation split, each optimizer equally.", columns, rows)


def _one_line(text: str) -> str:
    return " ".join(text.split())
