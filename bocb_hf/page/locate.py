"""Opens a leaderboard's file where it lies: here, or in a public data set of the Hub."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from bocb_hf.backbones import BACKBONES
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.errors import InputError
from bocb_hf.page import EMBEDDED
from bocb_hf.page.data import PageData, page_data
from bocb_hf.page.read import Board, LeaderboardFile
from bocb_hf.recommend.evidence import Evidence
from bocb_hf.results.dataset import LEADERBOARD, dataset_name
from bocb_hf.schema import HUB_SCHEME


class Located(NamedTuple):
    """A leaderboard's file that was opened.

    Attributes:
        file: The tables in it.
        content: Its bytes.
        source: Where it lies, for people.
    """

    file: LeaderboardFile
    content: bytes
    source: str

    def data(self) -> PageData:
        """Returns the data of its page; published tables of an earlier layout are shown as the package has them now."""
        return page_data(_renewed(self.file.boards), self.source)


def locate(location: str, source: str | None = None) -> Located:
    """Opens a file.

    Args:
        location: A path, or ``hf://datasets/<namespace>/<name>``; no token is used.
        source: Where it lies, for people; None takes ``location``, of a path only the name.

    Raises:
        InputError: There is no such file, it is no leaderboard's, or the Hub does not answer.
    """
    on_hub = location.startswith(HUB_SCHEME)
    path = _download(location) if on_hub else Path(location)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; make one with `bocb leaderboard --write`") from None
    return Located(LeaderboardFile(location, content), content, source or (location if on_hub else path.name))


def _renewed(boards: Mapping[str, Board]) -> dict[str, Board]:
    """Replaces published tables of an earlier layout, which hold no answers, by the same tables of the package."""
    old = [name for name, board in boards.items() if board.info.source == "published" and board.info.told is None]
    ours = published_boards() if old else {}
    return {
        name: ours[name] if name in old and name in ours and _same_scores(board.scores, ours[name].scores) else board
        for name, board in boards.items()
    }


def _same_scores(one: ScoreTable, other: ScoreTable) -> bool:
    names = (one.backbones, one.optimizers) == (other.backbones, other.optimizers)
    return names and np.array_equal(one.values, other.values, equal_nan=True)


def _download(location: str) -> Path:
    try:
        return Path(hf_hub_download(dataset_name(location), LEADERBOARD, repo_type="dataset", token=False))
    except (RepositoryNotFoundError, EntryNotFoundError):
        raise InputError(f"{location}: no public data set with {LEADERBOARD}; `bocb publish` makes it") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(f"{location}: the Hub does not answer ({type(error).__name__})") from None


def study_evidence() -> Evidence | None:
    """Returns the laptop study as the recommender takes it; None where the package holds none of its cells."""
    found = [board for board in LeaderboardFile(EMBEDDED).boards.values() if board.info.source == "records"]
    if not found:
        return None
    (board,) = found
    sizes = [BACKBONES.get(name).parameters for name in board.info.backbones]
    low, high = min(sizes) / 1e6, max(sizes) / 1e6
    caution = (
        f"The laptop study is of networks of {low:.1f} to {high:.1f} M parameters after one pass over small images: a "
        "hint for a larger one at most."
    )
    return replace(board.source, label="the laptop study", caution=caution)


@cache
def published_boards() -> dict[str, Board]:
    """Returns the published tables, as the package has them."""
    boards = LeaderboardFile(EMBEDDED).boards
    return {name: board for name, board in boards.items() if board.info.source == "published"}
