"""A folder with the Hub's layout: ``<root>/models/<namespace>/<name>/...``, byte for byte.

Every file is replaced atomically and commits to one repository are serialised by a lock file outside it, so that
neither a crash nor a second process leaves half a file. A crash between two files can leave a card or weights without
their record, which ``write_run`` writes last: the run counts as not published, and publishing it again mends all.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from filelock import FileLock

from bocb_hf.errors import InputError
from bocb_hf.runs.record import MAX_BYTES
from bocb_hf.store import EVAL_RESULTS, ConflictError, CopyOf, check_path, check_repository


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
        """A hash of names, sizes and times of change: any change, also one by hand, gives a new one."""
        if not self.path(repository).is_dir():
            return None
        digest = hashlib.sha256()
        for path in self.files(repository):
            try:
                status = (self.path(repository) / path).stat()
            except FileNotFoundError:  # another process is committing; this revision will not be current
                continue
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}\n".encode())
        return digest.hexdigest()[:40]

    def files(self, repository: str) -> list[str]:
        root = self.path(repository)
        found = (p.relative_to(root) for p in root.rglob("*") if p.is_file() and not p.is_symlink())
        visible = (p.as_posix() for p in found if not any(part.startswith(".") for part in p.parts))
        return sorted([*visible, *([EVAL_RESULTS] if (root / EVAL_RESULTS).is_file() else [])])

    def read(self, repository: str, path: str) -> bytes:
        """Content of one file of at most 20 MB. What is a link, or lies behind one, is not there.

        Raises:
            FileNotFoundError: There is no such file.
            InputError: It is larger.
        """
        root = self.path(repository)
        full = root / check_path(path)
        if full.resolve() != root.resolve() / path or not full.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(full))
        with full.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise InputError(f"{repository}/{path}: larger than {MAX_BYTES} bytes")
        return content

    def commit(
        self,
        repository: str,
        add: Mapping[str, bytes | Path | CopyOf],
        *,
        delete: Iterable[str] = (),
        parent: str | None,
        message: str,
    ) -> str:
        root = self.path(repository)
        targets = [root / check_path(path) for path in add]
        removed = [root / check_path(path) for path in delete]
        # both on the file system of the target, so that os.replace is atomic
        locks, staging = self.root / ".locks", self.root / ".staging"
        try:
            locks.mkdir(parents=True, exist_ok=True)
            staging.mkdir(exist_ok=True)
            with (
                tempfile.TemporaryDirectory(dir=staging) as folder,
                FileLock(locks / f"{repository.replace('/', '__')}.lock"),
            ):
                if self.revision(repository) != parent:
                    raise ConflictError(f"{repository} changed since {parent}")
                # stage everything first: a full disk is found before the repository is touched
                contents = (root / check_path(c.path) if isinstance(c, CopyOf) else c for c in add.values())
                staged = [_stage(content, Path(folder) / str(i)) for i, content in enumerate(contents)]
                # added last, so that the last file of ``add`` marks a commit as whole
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


def _folders(parent: Path) -> list[Path]:
    """Visible folders inside ``parent``, without symbolic links; empty when it does not exist."""
    if not parent.is_dir():
        return []
    return [p for p in sorted(parent.iterdir()) if p.is_dir() and not p.is_symlink() and not p.name.startswith(".")]


def _stage(content: bytes | Path, target: Path) -> Path:
    """Writes or copies to ``target`` and waits until it is on the disk."""
    with target.open("wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            with content.open("rb") as source:
                shutil.copyfileobj(source, file)
        file.flush()
        os.fsync(file.fileno())
    return target
