"""A folder with the Hub's layout: ``<root>/models/<namespace>/<name>/...``, byte for byte.

Every file is replaced atomically and commits to one repository are serialised by a lease outside it, so that neither a
crash nor a second process, here or on another machine that shares the folder, leaves half a file. A crash between two
files can leave a card or weights without their record, which ``write_run`` writes last: the run counts as not
published, and publishing it again mends all.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bocb_hf.errors import InputError
from bocb_hf.files import link_on_the_way, read_plain, refuse_links
from bocb_hf.runs.record import MAX_BYTES
from bocb_hf.store.lease import Lease
from bocb_hf.store.protocol import EVAL_RESULTS, ConflictError, CopyOf, check_path, check_plain, check_repository

_PATIENCE = 600.0  # seconds that a commit waits for those before it


class LocalStore:
    """A store in a folder.

    Args:
        root: The folder; created by the first commit.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def uri(self) -> str:
        return str(self.root)

    def repositories(self) -> list[str]:
        models = self.root / "models"
        return sorted(
            f"{namespace.name}/{repository.name}"
            for namespace in _folders(models)
            for repository in _folders(namespace)
        )

    def path(self, repository: str) -> Path:
        """The folder of a repository, which timm, transformers and ``ModelCard.load`` read directly."""
        return self.root / "models" / check_repository(repository)

    def revision(self, repository: str) -> str | None:
        """A hash of names, sizes and times of change; any change, even one by hand, gives a new hash."""
        if not self.path(repository).is_dir():
            return None
        digest = hashlib.sha256()
        for path in self.files(repository):
            try:
                status = (self.path(repository) / path).stat(follow_symlinks=False)
            except FileNotFoundError:  # another process is committing, so this revision will not be current
                continue
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}\n".encode())
        return digest.hexdigest()[:40]

    def files(self, repository: str) -> list[str]:
        """Paths of all visible files, sorted, without links and what lies behind them; see ``links``."""
        found, _ = self._walk(check_repository(repository))
        score = link_on_the_way(self.root / "models", f"{repository}/{EVAL_RESULTS}") is None
        hidden = [EVAL_RESULTS] if score and (self.path(repository) / EVAL_RESULTS).is_file() else []
        return sorted([*(path.removeprefix(f"{repository}/") for path in found), *hidden])

    def statuses(self, repository: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yields path and status of every file of a repository, sorted, links among them, which are not followed.

        A file that vanishes meanwhile is left out.
        """
        files, links = self._walk(check_repository(repository))
        hidden = f"{repository}/{EVAL_RESULTS}"
        for path in sorted([*files, *links, hidden]):
            try:
                yield path, os.lstat(self.root / "models" / path)
            except (FileNotFoundError, NotADirectoryError):
                continue

    def links(self) -> list[str]:
        """Every visible symbolic link, as ``namespace/name/path``; also one in the place of a repository or namespace.

        No link is followed: it could lead to any file of this machine, and what a store holds may be sent to the Hub.
        """
        return sorted(self._walk("")[1])

    def _walk(self, below: str) -> tuple[list[str], list[str]]:
        """Visible files and visible links below a folder of ``models``, without following any link."""
        models, found, links = self.root / "models", list[str](), list[str]()
        if link_on_the_way(models, below) is not None:
            return [], [below]
        pending = [below]
        while pending:
            place = pending.pop()
            try:
                entries = list(os.scandir(models / place))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in entries:
                path = f"{place}/{entry.name}" if place else entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_symlink():
                    links.append(path)
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif entry.is_file(follow_symlinks=False):
                    found.append(path)
        return found, links

    def read(self, repository: str, path: str) -> bytes:
        """Content of one file of at most 20 MB. A file that is a link, or lies behind one, counts as missing.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: The file is larger.
        """
        inside = f"{check_repository(repository)}/{check_path(path)}"
        content = read_plain(self.root / "models", inside, MAX_BYTES)
        if len(content) > MAX_BYTES:
            raise InputError(f"{repository}/{path}: larger than {MAX_BYTES} bytes")
        return content

    def plain(self, repository: str, path: str) -> Path:
        """Returns where a file of a repository lies on this machine, whether or not it exists.

        Raises:
            InputError: The file is a symbolic link, or lies behind one.
        """
        return refuse_links(self.root / "models", f"{check_repository(repository)}/{check_path(path)}")

    def _target(self, repository: str, path: str) -> Path:
        """Returns where a commit puts a file: never behind a link, but a link in its own place is replaced."""
        inside = Path(check_repository(repository), check_path(path))
        return refuse_links(self.root / "models", inside.parent) / inside.name

    def digest(self, repository: str, path: str) -> str | None:
        full = self.plain(repository, path)
        if not full.is_file():
            return None
        with full.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def commit(
        self,
        repository: str,
        add: Mapping[str, bytes | Path | CopyOf],
        *,
        delete: Iterable[str] = (),
        parent: str | None,
        message: str,
    ) -> str:
        check_plain(add)
        # a folder that is a link would put the files elsewhere; a link in a file's place is replaced by the file
        targets = [self._target(repository, path) for path in add]
        removed = [self._target(repository, path) for path in delete]
        # Both lie on the file system of the target, since only there a file can be moved in one step.
        locks, staging = self.root / ".locks", self.root / ".staging"
        try:
            locks.mkdir(parents=True, exist_ok=True)
            staging.mkdir(exist_ok=True)
            lease = Lease(locks / f"{repository.replace('/', '__')}.lease", f"a commit to {repository}")
            with tempfile.TemporaryDirectory(dir=staging) as folder, _held(lease):
                if self.revision(repository) != parent:
                    raise ConflictError(f"{repository} changed since {parent}")
                # Everything is staged first, so that a full disk is found before the repository is touched.
                contents = (self.plain(repository, c.path) if isinstance(c, CopyOf) else c for c in add.values())
                staged = [_stage(content, Path(folder) / str(i)) for i, content in enumerate(contents)]
                _sync(staged)
                lease.check()
                # Files are added last and in order, so that the last file of ``add`` marks a commit as whole.
                for target in removed:
                    target.unlink(missing_ok=True)
                for target, source in zip(targets, staged, strict=True):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    source.replace(target)
                revision = self.revision(repository)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise InputError(
                    f"store: cannot write {repository} below {self.root}: {error.strerror}; free some space and run "
                    "the same command again, nothing finished is lost"
                ) from error
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
                raise InputError(
                    f"store: cannot write below {self.root}: {error.strerror}; choose another folder with --store"
                ) from error
            raise
        assert revision is not None
        return revision


@contextmanager
def _held(lease: Lease) -> Generator[None]:
    """Waits for a lease, holds it inside, and gives it back."""
    lease.acquire(timeout=_PATIENCE)
    try:
        yield
    finally:
        lease.release()


def _folders(parent: Path) -> list[Path]:
    """Returns visible folders inside ``parent``, without symbolic links; none when it does not exist."""
    if not parent.is_dir():
        return []
    return [p for p in sorted(parent.iterdir()) if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")]


def _stage(content: bytes | Path, target: Path) -> Path:
    """Writes or copies to ``target``."""
    if isinstance(content, bytes):
        target.write_bytes(content)
    else:
        with content.open("rb") as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
    return target


def _sync(files: Iterable[Path]) -> None:
    """Waits until files are on the disk; all are written before, so that the disk's journal is written once for all."""
    for path in files:
        with path.open("rb+") as file:
            os.fsync(file.fileno())
