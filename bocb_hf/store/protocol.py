"""The protocol of every store, and the names of repositories and files that a store takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bocb_hf.errors import InputError

# The one hidden file that is allowed: a score for the Hub's benchmark pages (bocb_hf/store/cards/eval_results.py).
EVAL_RESULTS = ".eval_results/bocb.yaml"
# Visible parts have one slash between them, so that no file has two names, and a path holds a letter or a digit.
_PATH = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class ConflictError(Exception):
    """Somebody else has committed since the revision that this commit was based on, so it must be made anew."""


@dataclass(frozen=True)
class CopyOf:
    """Content to commit that is a copy of another file of the repository, and is not sent again."""

    path: str


class ReadStore(Protocol):
    """Repositories of small files and weights."""

    @property
    def uri(self) -> str:
        """The address of the store as a user would pass it to ``--store``."""
        ...

    def repositories(self) -> list[str]:
        """Ids ``namespace/name`` of all model repositories, sorted."""
        ...

    def revision(self, repository: str) -> str | None:
        """Current revision, or None when the repository does not exist."""
        ...

    def files(self, repository: str) -> list[str]:
        """Paths of all files, sorted; empty when the repository does not exist."""
        ...

    def read(self, repository: str, path: str) -> bytes:
        """Content of one file.

        Raises:
            FileNotFoundError: There is no such file.
        """
        ...


class Store(ReadStore, Protocol):
    """Repositories that are changed by commits, which name what they were based on."""

    def digest(self, repository: str, path: str) -> str | None:
        """SHA-256 of a file's content, also of one that is too large to be read; None when there is no such file."""
        ...

    def commit(
        self,
        repository: str,
        add: Mapping[str, bytes | Path | CopyOf],
        *,
        delete: Iterable[str] = (),
        parent: str | None,
        message: str,
    ) -> str:
        """Changes files together; creates the repository when ``parent`` is None.

        Args:
            repository: ``namespace/name``.
            add: Files to write, by path and in this order: content, a local file, or a file of the repository to copy.
            delete: Paths to remove.
            parent: The revision that the change was computed from.
            message: One line for the history, where the store keeps one.

        Returns:
            The new revision.

        Raises:
            ConflictError: ``parent`` is not the current revision; nothing was changed.
        """
        ...


def check_path(path: str) -> str:
    """Returns a path inside a repository unchanged.

    Raises:
        InputError: The path is absolute, leaves the repository, is hidden (but for ``EVAL_RESULTS``), or holds a
            character other than ``A-Za-z0-9._-/``.
    """
    if not is_path(path):
        raise InputError(f"not a path inside a repository: {path!r}")
    return path


def is_path(path: str) -> bool:
    """Returns whether a file may have this path in a repository; see ``check_path``."""
    return path == EVAL_RESULTS or _PATH.fullmatch(path) is not None


def check_plain(add: Mapping[str, bytes | Path | CopyOf]) -> None:
    """Refuses to commit a symbolic link, which could lead to any file of this machine.

    Raises:
        InputError: The content of a path is a link.
    """
    for path, content in add.items():
        if isinstance(content, Path) and content.is_symlink():
            raise InputError(f"{path}: {content} is a symbolic link, which is not followed; put the file in its place")


def check_repository(repository: str) -> str:
    """Returns ``namespace/name`` unchanged.

    Raises:
        InputError: The name is not of that form.
    """
    if repository.count("/") != 1:
        raise InputError(f"not a repository id: {repository!r}; it must read namespace/name")
    return check_path(repository)
