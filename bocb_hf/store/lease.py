"""Locks that also work between machines that share a folder, such as one on NFS.

``flock`` may reach only the processes of one machine. A lease needs less: that creating a file exclusively is atomic
(``O_EXCL``, on NFS since version 3) and that the server sets the times of files. The holder renews its file's time. A
file that was not renewed for ``LIFETIME`` seconds belongs to somebody who died, and the next one takes it over. Ages
are differences of two times of the server, so clocks of machines do not matter. A holder that was dead long enough to
be replaced, such as a suspended machine, finds that out by ``Lease.check`` before it changes anything.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from bocb_hf.errors import InputError

LIFETIME = 120.0  # seconds; NFS clients may keep the times of files for 60 of them
_RENEWAL = 10.0  # seconds between two renewals
_POLL = 0.02  # seconds between two attempts, at first


class LeaseHeldError(InputError):
    """Somebody else holds the lease."""


class LeaseLostError(InputError):
    """Somebody else took the lease over, because it was not renewed in time."""


def this_process() -> str:
    """Names the system, the process and its start, so that another process of the same system can tell its death.

    Empty where the system does not tell. It names neither host nor user.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').stat().st_ino} {os.getpid()} {_started(os.getpid())}"
    except (OSError, IndexError):
        return ""


def _started(pid: int) -> str:
    """Time at which a process of this system started, in ticks since boot; raises OSError when there is none."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    if fields[0] == "Z":
        raise ProcessLookupError(pid)
    return fields[19]


def _is_dead(process: str) -> bool:
    """Returns whether a process, as ``this_process`` names it, is one of this system and is gone."""
    own, named = this_process().split(), process.split()
    if len(own) != 4 or len(named) != 4 or own[:2] != named[:2]:
        return False
    try:
        return _started(int(named[2])) != named[3]
    except (OSError, ValueError, IndexError):
        return True


class Lease:
    """The right to work on something, held by one process at a time over all machines that share the folder.

    Args:
        path: The file of the lease. Its folder is made.
        what: What the lease is for, to begin a message with.
        lifetime: Seconds after which a lease that is not renewed belongs to nobody.
    """

    def __init__(self, path: Path, what: str, lifetime: float = LIFETIME) -> None:
        self.path, self._what, self._lifetime = path, what, lifetime
        self._token = ""
        self._released = threading.Event()
        self._renewing: threading.Thread | None = None

    def acquire(self, timeout: float = 0) -> None:
        """Takes the lease, from a dead holder if need be.

        Args:
            timeout: Seconds to wait for a living holder.

        Raises:
            LeaseHeldError: Somebody else holds it.
            OSError: The folder cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline, pause = time.monotonic() + timeout, _POLL
        while not self._create():
            if self._break_if_dead():
                continue
            if time.monotonic() >= deadline:
                raise LeaseHeldError(f"{self._what} is in progress in another process; wait for it to end")
            time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
            pause = min(1.0, 1.5 * pause)

    def _create(self) -> bool:
        """Creates the file with a new token; returns whether it was not there."""
        token = f"{uuid.uuid4().hex} {this_process()}"
        try:
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        try:
            os.write(handle, token.encode())
        except OSError:
            self.path.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)
        self._token = token
        self._released.clear()
        self._renewing = threading.Thread(target=self._renew, args=(self._released,), daemon=True)
        self._renewing.start()
        return True

    def _renew(self, released: threading.Event) -> None:
        while not released.wait(min(_RENEWAL, self._lifetime / 6)):
            with suppress(OSError):  # a server that is away for a moment; ``check`` finds out what became of the lease
                os.utime(self.path)

    def _break_if_dead(self) -> bool:
        """Removes the lease of a dead holder; returns whether it is worth trying again at once."""
        try:
            token, age = _look(self.path)
        except FileNotFoundError:
            return True
        if age < self._lifetime and not _is_dead(token.partition(" ")[2]):
            return False
        aside = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:12]}.broken")
        try:
            self.path.rename(aside)  # only one of those who see the dead lease succeeds
        except FileNotFoundError:
            return True
        if aside.read_text() != token:  # somebody was quicker, and this is the new and living lease: it is put back
            with suppress(OSError):
                os.link(aside, self.path)
        aside.unlink(missing_ok=True)
        return True

    def check(self) -> None:
        """Makes sure that this process still holds the lease.

        Raises:
            LeaseLostError: It does not.
        """
        try:
            held = self._token != "" and self.path.read_text() == self._token
        except OSError:
            held = False
        if not held:
            raise LeaseLostError(
                f"{self._what}: this process stood still so long that another one took over; nothing was changed, run "
                "the same command again"
            )

    def release(self) -> None:
        """Gives the lease back, unless somebody else has it meanwhile."""
        self._released.set()
        with suppress(OSError):
            if self._token and self.path.read_text() == self._token:
                self.path.unlink()
        self._token = ""

    def __enter__(self) -> Lease:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _look(path: Path) -> tuple[str, float]:
    """The token of a lease, and the seconds since it was renewed; both as the server of the file system tells.

    Raises:
        FileNotFoundError: There is no lease.
    """
    with path.open(encoding="utf-8") as file:  # opening asks the server, where a plain stat may be answered from memory
        token, renewed = file.read(), os.fstat(file.fileno()).st_mtime
    probe = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.clock")
    try:
        probe.touch()
        now = probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)
    return token, now - renewed


def run_lease(root: Path, repository: str, run_id: str, role: str) -> Lease:
    """The lease of a run in a local store: who holds it trains the run.

    Args:
        root: Folder of the store.
        repository: ``namespace/name`` of the cell.
        run_id: Id of the run.
        role: ``trial`` or ``final``.
    """
    name = "+".join((repository.replace("/", "__", 1), run_id, role))
    return Lease(root / ".locks" / "runs" / f"{name}.lease", f"run {run_id}")


def running(root: Path) -> list[tuple[str, str, str]]:
    """The runs that are trained into a local store now: (repository, run id, role), sorted."""
    found = list[tuple[str, str, str]]()
    for path in sorted((root / ".locks" / "runs").glob("*.lease")):
        parts = path.name.removesuffix(".lease").split("+")
        with suppress(OSError):
            token, age = _look(path)
            if len(parts) == 3 and age < LIFETIME and not _is_dead(token.partition(" ")[2]):
                found.append((parts[0].replace("__", "/", 1), parts[1], parts[2]))
    return found
