"""Files written in one step, so that nobody ever reads half of one, and files read without following a link."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from bocb_hf.errors import InputError


class CannotWrite(InputError):
    """A file could not be written. A command puts the name of the option that named the folder before the message."""

    def __init__(self, path: Path, error: OSError) -> None:
        reason = error.strerror or type(error).__name__
        super().__init__(f"cannot write {path}: {reason}; choose another folder or free some space")


@contextmanager
def replacing(path: Path, temporary: Path | None = None) -> Generator[Path]:
    """Gives a file to write to, and moves it to ``path`` when the block ends without an error.

    Whatever goes wrong, ``path`` holds its old content or all of the new one. Missing folders are made.

    Args:
        path: The file to make or replace.
        temporary: The file to write to meanwhile, in the same folder. By default it has a hidden name that no other
            writer has. Under a lock a fixed name is better: what a killed process left there is then written over.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if temporary is None:
        # the name may be as long as the file system allows, so the temporary one does not contain all of it
        temporary = path.with_name(f".{path.name[:150]}.{uuid.uuid4().hex[:12]}.partial")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # otherwise a machine that loses power can be left with an empty file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: bytes) -> Path:
    """Makes or replaces a file in one step; returns its path.

    Raises:
        CannotWrite: The folder is no folder, or may not be written, or the disk is full.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise CannotWrite(path, error) from error
    return path


def check_folder(path: Path) -> None:
    """Checks that files can be written into a folder, which need not be there yet; makes nothing.

    Raises:
        CannotWrite: It, or the folder that it would be made in, is no folder or may not be written.
    """
    try:
        nearest = next(each for each in (path, *path.absolute().parents) if each.exists())
        if not nearest.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise CannotWrite(path, error) from error


def link_on_the_way(root: Path, path: str | Path) -> Path | None:
    """The first symbolic link among the parts of ``path`` below ``root``, or None.

    Args:
        root: A folder that the user named; it may be reached through links.
        path: A path relative to ``root``.
    """
    current = root
    for part in Path(path).parts:
        current = current / part
        if current.is_symlink():
            return current
    return None


def refuse_links(root: Path, path: str | Path) -> Path:
    """The file ``root / path``, when no part of ``path`` is a symbolic link: a link could lead to anything here.

    Raises:
        InputError: A part of ``path`` is a symbolic link.
    """
    link = link_on_the_way(root, path)
    if link is not None:
        raise InputError(f"{link}: is a symbolic link, which is not followed; put what it leads to in its place")
    return root / path


def read_plain(root: Path, path: str, limit: int) -> bytes:
    """Content of a file below ``root``, of which at most ``limit`` + 1 bytes are read.

    A file that is a link, or lies behind one, counts as missing. A loop of links is a link like any other.

    Raises:
        FileNotFoundError: There is no such plain file.
        OSError: The file cannot be read.
    """
    place, mode = os.fspath(root), 0
    try:
        # strings, since a store of thousands of records is read through here
        for part in Path(path).parts:
            place = f"{place}{os.sep}{part}"
            mode = os.lstat(place).st_mode
            if stat.S_ISLNK(mode):
                break
    except (FileNotFoundError, NotADirectoryError):
        mode = 0
    if not stat.S_ISREG(mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(root / path))
    with open(place, "rb") as file:  # noqa: PTH123 - as above
        size = os.fstat(file.fileno()).st_size
        content = file.read(min(size, limit) + 1)  # to ask for all of the limit would set that much memory aside
        return content if len(content) <= size else content + file.read(max(0, limit + 1 - len(content)))
