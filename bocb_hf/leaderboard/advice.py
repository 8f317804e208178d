"""The recommender on the page: the same code as ``bocb recommend``, asked by strangers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bocb_hf.errors import InputError
from bocb_hf.leaderboard.read import Board
from bocb_hf.recommend.answer import Source
from bocb_hf.recommend.command import recommend, starts_of
from bocb_hf.recommend.tags import find_tags
from bocb_hf.recommend.words import answer_text, target_text

# A name, or an id on the Hub: no path, so that nobody asks for files of the machine that serves the page.
_NAME = re.compile(r"(transformers:|hf-hub:|timm/)?[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
BOUND = 1.0  # points of expected regret


def advise(ask: str, boards: Sequence[Board]) -> str:
    """Answers of each table, as text; a refusal is an answer too."""
    if not _NAME.fullmatch(ask) or ".." in ask:
        return f"{ask[:100]!r} is no name of a backbone: give one of the table, a timm name, or an id on the Hub."
    try:
        target = find_tags(ask)
    except InputError as error:
        return str(error)
    sources = [Source(board.info.title, board.scores) for board in boards if min(board.scores.values.shape[:2]) > 1]
    answers, refused = recommend(target, sources, BOUND)
    blocks = [target_text(target), *(answer_text(a, starts_of(a, None)) for a in answers)]
    blocks += [f"no answer from {line}" for line in refused]
    return "\n\n".join(blocks)
