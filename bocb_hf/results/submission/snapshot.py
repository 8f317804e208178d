"""Sources of submissions: a results data set of the Hub at a revision, or a checkout of one."""

# pyright: basic
# huggingface_hub is only partly typed.

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol

from huggingface_hub import HfApi, RepoFile, hf_hub_download

from bocb_hf.errors import InputError
from bocb_hf.files import link_on_the_way
from bocb_hf.results.dataset import RECORDS, VERIFICATIONS, MergedFiles, dataset_name
from bocb_hf.results.submission.document import FOLDER
from bocb_hf.schema import HUB_SCHEME
from bocb_hf.store import hub_calls
from bocb_hf.store.hub import download
from bocb_hf.store.hub_calls import explained, make_api, with_back_off

MAX_FILES = 100_000
_PULL_REQUEST = "refs/pr/"


@dataclass(frozen=True)
class Changes:
    """The changes of a pull request to the data set: paths that it adds, replaces and removes."""

    added: list[str] = field(default_factory=list[str])
    replaced: list[str] = field(default_factory=list[str])
    removed: list[str] = field(default_factory=list[str])


class Snapshot(MergedFiles, Protocol):
    """All files of a results data set.

    Attributes:
        name: Name of the data set as the user gave it.
        changes: The changes that a pull request proposes; None where there is no pull request.
        author: The Hub's user who opened the pull request; None where there is none, or the Hub does not tell.
    """

    name: str
    changes: Changes | None
    author: str | None

    def published(self) -> Path | None:
        """The file ``records.parquet``; None when there is none."""
        ...

    def merged(self) -> Snapshot:
        """The merged state: for a pull request the data set as it is now, never the files of the pull request."""
        ...


def open_snapshot(where: str, revision: str | None) -> Snapshot:
    """Opens the results data set, or the checkout of it, that the user named.

    Raises:
        InputError: There is no such folder, data set or revision.
    """
    if where.startswith(HUB_SCHEME):
        return HubSnapshot(where, revision)
    if revision is not None:
        raise InputError("--revision: a folder has none; check out the revision there, or name hf://datasets/...")
    return FolderSnapshot(Path(where))


class FolderSnapshot:
    """The results data set as a checkout in a folder.

    Args:
        root: Folder of the checkout; symbolic links inside are not followed.

    Raises:
        InputError: The folder holds no ``submissions``.
    """

    changes: Changes | None = None
    author: str | None = None

    def __init__(self, root: Path) -> None:
        if not (root / FOLDER).is_dir():
            raise InputError(f"{root}: holds no folder {FOLDER}; name a checkout of a results data set")
        self.name, self.root = str(root), root

    def paths(self) -> list[str]:
        found = ((self.root / FOLDER).rglob("*"), (self.root / VERIFICATIONS).rglob("*"))
        return sorted(
            p.relative_to(self.root).as_posix() for each in found for p in each if p.is_symlink() or not p.is_dir()
        )

    def read(self, path: str, limit: int) -> bytes:
        full = self.root / path
        try:
            if link_on_the_way(self.root, path) is not None or not full.is_file():
                raise InputError(f"{path}: is not a plain file")
            with full.open("rb") as file:
                content = file.read(limit + 1)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from None
        if len(content) > limit:
            raise InputError(f"{path}: larger than {limit} bytes")
        return content

    def published(self) -> Path | None:
        path = self.root / RECORDS
        return path if path.is_file() else None

    def merged(self) -> Snapshot:
        return self


class HubSnapshot:
    """A results data set of the Hub. For a pull request, ``changes`` are against the commit that it started from.

    Args:
        uri: ``hf://datasets/<namespace>/<name>``.
        revision: A branch, a commit or ``refs/pr/<n>``; None is the head.

    Raises:
        InputError: There is no such data set or revision, or the Hub refused.
    """

    def __init__(self, uri: str, revision: str | None = None) -> None:
        self.name, self._id, self._api = uri, dataset_name(uri), make_api()
        self.changes: Changes | None = None
        self.author: str | None = None
        api = self._api
        with explained(uri if revision is None else f"{uri} at {revision}"):
            info = with_back_off(
                lambda: api.dataset_info(self._id, revision=revision, expand=["sha"], timeout=hub_calls.TIMEOUT)
            )
            self.sha = str(info.sha)
            files = self._tree(self.sha)
            if revision is not None and revision.startswith(_PULL_REQUEST):
                before = self._tree(_started_from(api, self._id, revision))
                replaced = sorted(path for path, oid in before.items() if files.get(path, oid) != oid)
                self.changes = Changes(
                    sorted(files.keys() - before.keys()), replaced, sorted(before.keys() - files.keys())
                )
                self.author = _opened_by(api, self._id, revision)
        self._paths = sorted(files)

    def _tree(self, revision: str) -> dict[str, str]:
        """Returns the git object id of each file, by path."""
        listing = self._api.list_repo_tree(self._id, recursive=True, revision=revision, repo_type="dataset")
        entries = list(islice(listing, MAX_FILES + 1))
        if len(entries) > MAX_FILES:
            raise InputError(f"{self.name}: holds more than {MAX_FILES} files; this is not a results data set")
        return {entry.path: entry.blob_id for entry in entries if isinstance(entry, RepoFile)}

    def paths(self) -> list[str]:
        return self._paths

    def read(self, path: str, limit: int) -> bytes:
        try:
            return download(self._id, path, self.sha, kind="dataset", limit=limit)
        except FileNotFoundError:
            raise InputError(f"{path}: is gone") from None

    def published(self) -> Path | None:
        if RECORDS not in self._paths:
            return None
        with explained(self.name):
            return Path(hf_hub_download(self._id, RECORDS, repo_type="dataset", revision=self.sha))

    def merged(self) -> Snapshot:
        return self if self.changes is None else HubSnapshot(self.name)


def _opened_by(api: HfApi, name: str, revision: str) -> str | None:
    """Returns who opened a pull request; None where the account is gone, or the Hub does not say."""
    number = revision.removeprefix(_PULL_REQUEST)
    if not number.isdecimal():
        return None
    try:
        opened = with_back_off(lambda: api.get_discussion_details(name, int(number), repo_type="dataset"))
    except (hub_calls.HTTPError, KeyError, TypeError, ValueError):
        return None  # without an author, the review says that nobody is named
    return None if opened.author == "deleted" else opened.author


def _started_from(api: HfApi, name: str, revision: str) -> str:
    """Returns the newest commit of a pull request that is also a commit of the data set's main branch."""
    merged = {commit.commit_id for commit in api.list_repo_commits(name, repo_type="dataset")}
    for commit in api.list_repo_commits(name, repo_type="dataset", revision=revision):
        if commit.commit_id in merged:
            return commit.commit_id
    raise InputError(f"{name}: {revision} shares no commit with the data set")
