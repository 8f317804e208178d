"""One repository of the Hub as it was at one commit, so that a submission can be judged."""

from __future__ import annotations

from itertools import islice
from typing import Any

from huggingface_hub import RepoFile

from bocb_hf.errors import InputError
from bocb_hf.store import hub_calls
from bocb_hf.store.hub import download
from bocb_hf.store.hub_calls import explained, make_api, with_back_off
from bocb_hf.store.protocol import check_path, check_repository, is_path

MAX_ENTRIES = 10_000


class PinnedStore:
    """A store of one model repository at one commit, which is only read; each file is fetched once.

    Args:
        repository: ``namespace/name``.
        revision: SHA of the commit; None takes the head.

    Attributes:
        revision_sha: SHA of the commit.
        is_public: Whether everybody may read it.
        name_now: Name of the repository on the Hub, which is not the one asked for when it was moved.
        tree: Every file by its path, as the Hub lists them, odd and hidden names included.

    Raises:
        HubError: There is no such repository or commit, or the token may not see it.
        InputError: The repository holds more than ``MAX_ENTRIES`` files and folders.
    """

    def __init__(self, repository: str, revision: str | None = None) -> None:
        self.repository, api = check_repository(repository), make_api()
        with explained(repository if revision is None else f"{repository} at {revision}"):
            # the card's metadata is never asked for, because the client would pass it on as arguments
            facts: list[Any] = ["sha", "private", "gated"]
            info = with_back_off(
                lambda: api.model_info(repository, revision=revision, expand=facts, timeout=hub_calls.TIMEOUT)
            )
            self.revision_sha = str(info.sha)
            self.is_public = not info.private and not info.gated
            self.name_now = info.id
            listing = api.list_repo_tree(repository, recursive=True, revision=self.revision_sha)
            entries = list(islice(listing, MAX_ENTRIES + 1))
        if len(entries) > MAX_ENTRIES:
            raise InputError(f"{repository}: holds more than {MAX_ENTRIES} files; this is not a repository of ours")
        self.tree = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
        self._read: dict[str, bytes] = {}

    @property
    def uri(self) -> str:
        return f"hf://{self.repository}@{self.revision_sha}"

    def repositories(self) -> list[str]:
        return [self.repository]

    def revision(self, repository: str) -> str | None:
        return self.revision_sha if repository == self.repository else None

    def files(self, repository: str) -> list[str]:
        return sorted(filter(is_path, self.tree)) if repository == self.repository else []

    def read(self, repository: str, path: str) -> bytes:
        """Content of one file of at most 20 MB.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: The file is larger.
        """
        if repository != self.repository or path not in self.tree:
            raise FileNotFoundError(f"{repository}/{path}")
        if path not in self._read:
            self._read[path] = download(repository, check_path(path), self.revision_sha)
        return self._read[path]
