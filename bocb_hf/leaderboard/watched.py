"""Where the leaderboard's file lies, and when it is read anew."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from bocb_hf.errors import InputError
from bocb_hf.leaderboard.read import Board, LeaderboardFile
from bocb_hf.results.dataset import LEADERBOARD, dataset_name

HUB = "hf://"
EVERY = 300.0  # seconds between two looks for a newer file


class WatchedFile:
    """A Parquet file here, or that of a public data set on the Hub; no token is ever used.

    A file that became unreadable, or a Hub that does not answer, leaves what was read before and is said on the page.

    Args:
        location: A path, or ``hf://datasets/<namespace>/<name>``.

    Raises:
        InputError: The file cannot be had or read at the start.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._lock = threading.Lock()
        self._notice = ""
        self._version, path = self._look()
        self._file = LeaderboardFile(path)
        self._looked = time.monotonic()

    def boards(self) -> dict[str, Board]:
        """All tables by id, own ones first."""
        if time.monotonic() - self._looked > (EVERY if self.location.startswith(HUB) else 1.0):
            self._refresh()
        return self._file.boards

    @property
    def version(self) -> str:
        """Tells one version of the file from the next."""
        return self._version

    def notices(self) -> list[str]:
        """What a visitor must know of the file."""
        return [self._notice] if self._notice else []

    def _refresh(self) -> None:
        if not self._lock.acquire(blocking=False):  # somebody is at it; what we have will do
            return
        try:
            self._looked = time.monotonic()
            version, path = self._look()
            if version != self._version:
                self._file = LeaderboardFile(path)
                self._version = version  # last: who asks for the version first gets its tables or newer ones
            self._notice = ""
        except InputError as error:
            self._notice = f"These tables may be out of date: {error}"
        finally:
            self._lock.release()

    def _look(self) -> tuple[str, Path]:
        """What tells one version of the file from the next, and where it lies."""
        if not self.location.startswith(HUB):
            path = Path(self.location)
            try:
                stat = path.stat()
            except OSError as error:
                raise InputError(f"{path}: {error.strerror}; make one with `bocb leaderboard --write`") from None
            return f"{stat.st_mtime_ns}-{stat.st_size}-{stat.st_ino}", path
        name = dataset_name(self.location)
        try:
            sha = str(HfApi(token=False).dataset_info(name, timeout=30).sha)
            path = Path(hf_hub_download(name, LEADERBOARD, repo_type="dataset", revision=sha, token=False))
        except (RepositoryNotFoundError, EntryNotFoundError) as error:
            raise InputError(
                f"{self.location}: no public data set with {LEADERBOARD}; `bocb publish` makes it"
            ) from error
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            raise InputError(f"{self.location}: the Hub does not answer ({type(error).__name__})") from None
        return sha, path
