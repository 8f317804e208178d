"""Opens a leaderboard's file where it lies: here, or in a public data set of the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from bocb_hf.errors import InputError
from bocb_hf.page.data import PageData, page_data
from bocb_hf.page.read import LeaderboardFile
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
        """Returns the data of its page."""
        return page_data(self.file.boards, self.source)


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


def _download(location: str) -> Path:
    try:
        return Path(hf_hub_download(dataset_name(location), LEADERBOARD, repo_type="dataset", token=False))
    except (RepositoryNotFoundError, EntryNotFoundError):
        raise InputError(f"{location}: no public data set with {LEADERBOARD}; `bocb publish` makes it") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise InputError(f"{location}: the Hub does not answer ({type(error).__name__})") from None
