"""Processes that start warm: each is forked from one that has imported the training stack.

A cold start imports torch, timm and accelerate, which takes eight seconds of a core. A test of what a process does when
it is killed, stopped or told wrong words needs a process of its own and not that import. These are real processes: they
have a pid, take signals, and end as the interpreter ends them. ``test_recipes`` and ``test_sweep`` start some cold as
well, as a user does.

There are two such processes (``warm_server.py``), which all workers of a test session share. The second is forked from
the first:

- ``others`` has imported packages of others that any network of timm needs, and nothing of this project: for tests of
  what an import of this project brings in;
- ``all`` has imported the whole stack and what trains a run.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

TESTS = Path(__file__).resolve().parent
BOCB = "from bocb_hf.cli import main; raise SystemExit(main())"
Imported = Literal["others", "all"]

# What a process has imported when it begins. Nothing of it starts a thread or computes anything.
_PRELOAD: Mapping[Imported, Sequence[str]] = {
    "others": ("torch", "torchvision", "timm", "accelerate", "safetensors.torch"),
    "all": (
        *("transformers", "accelerate.commands.launch", "datasets", "sklearn.pipeline", "sklearn.linear_model"),
        "scipy.io",
        *("matplotlib.figure", "matplotlib.backends.backend_agg", "bocb_hf.engine.run", "bocb_hf.commands.train"),
        *("bocb_hf.engine.evaluate_metrics", "bocb_hf.sweep.run", "bocb_hf.sweep.floors"),
    ),
}


class _Connection:
    """A connection to one of the two processes."""

    def __init__(self, address: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(address))
        self._lock, self._changed = threading.Lock(), threading.Condition()
        self._ready = self._closed = False
        self._codes: dict[int, int] = {}
        self._started: list[int] = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with self._socket.makefile("r") as lines:
            for line in lines:
                answer = json.loads(line)
                with self._changed:
                    if "started" in answer:
                        self._started.append(answer["started"])
                    elif "ended" in answer:
                        self._codes[answer["ended"]] = answer["code"]
                    self._ready = True
                    self._changed.notify_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def is_ready(self) -> bool:
        """Waits until the process has imported everything; False where it has ended instead."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._ready or self._closed, 600), "warm starts do not answer"
            return self._ready and not self._closed

    def start(self, request: Mapping[str, Any]) -> int:
        """Forks a process; returns its pid."""
        with self._lock:
            self._socket.sendall((json.dumps(request) + "\n").encode())
            with self._changed:
                assert self._changed.wait_for(lambda: self._started, 600), "the process of warm starts does not answer"
                return self._started.pop()

    def code(self, pid: int, timeout: float) -> int | None:
        """The exit status of a process, or minus the signal that ended it; None when it runs after ``timeout`` s."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._codes, timeout)
            return self._codes.get(pid)


class _Servers:
    """Connections to the two processes, which are started when one is first needed, and end with the tests.

    Workers of one session share them: the first to need them starts them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: dict[Imported, _Connection] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def connection(self, imported: Imported) -> _Connection:
        """The connection to a process that has imported what it is to."""
        with self._lock:
            for _ in range(2):  # the other worker may have been the last, and have ended them
                if not self._connections:
                    self._connections = self._connect()
                if self._connections[imported].is_ready():
                    return self._connections[imported]
                self._connections = {}
        raise AssertionError("the processes of warm starts end at once")

    def _connect(self) -> dict[Imported, _Connection]:
        session = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
        place = Path(tempfile.gettempdir()) / f"bocb-warm-{session}"
        addresses: dict[Imported, Path] = {name: place.with_suffix(f".{name}") for name in _PRELOAD}
        with place.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with suppress(OSError):
                return {name: _Connection(address) for name, address in addresses.items()}
            for address in addresses.values():
                address.unlink(missing_ok=True)
            stages = [(str(addresses[name]), modules) for name, modules in _PRELOAD.items()]
            # the offline switches of conftest.py hold here as well; threads are started by nothing that is imported
            command = [sys.executable, str(TESTS / "warm_server.py"), json.dumps(stages)]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
            deadline = time.monotonic() + 60
            while True:
                with suppress(OSError):
                    return {name: _Connection(address) for name, address in addresses.items()}
                assert time.monotonic() < deadline, "the process of warm starts does not start"
                time.sleep(0.01)


_SERVERS = _Servers()


class WarmProcess:
    """A process as ``subprocess.Popen`` has it.

    Args:
        command: What follows ``python`` on a command line: a script, ``-m`` and a module, or ``-c`` and code.
        environment: All of it; this process's by default.
        folder: Where it runs.
        session: Whether it leads a session of its own.
        merged: Whether standard error goes where standard output goes.
        imported: What it has imported when it begins.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        session: bool = False,
        merged: bool = False,
        imported: Imported = "all",
    ) -> None:
        self.args = [str(word) for word in command]
        self._folder = tempfile.TemporaryDirectory(prefix="bocb-warm-")
        self._out, self._err = (Path(self._folder.name) / name for name in ("out", "err"))
        for path in (self._out, self._err):
            path.touch()
        self.returncode: int | None = None
        self._connection = _SERVERS.connection(imported)
        self.pid = self._connection.start(
            {
                "command": self.args,
                "environment": dict(os.environ if environment is None else environment),
                "folder": str(folder or Path.cwd()),
                "session": session,
                "stdout": str(self._out),
                "stderr": str(self._out if merged else self._err),
            }
        )

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        if self.returncode is None:
            self.returncode = self._connection.code(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float = 300) -> int:
        """Waits for the end; returns the exit status.

        Raises:
            subprocess.TimeoutExpired: It still runs; it is killed then.
        """
        if self.returncode is None:
            self.returncode = self._connection.code(self.pid, timeout)
        if self.returncode is None:
            self.kill()
            raise subprocess.TimeoutExpired(self.args, timeout, self._out.read_bytes(), self._err.read_bytes())
        return self.returncode

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Waits for the end; returns what was written to standard output and standard error."""
        self.wait(timeout)
        return self._out.read_text(), self._err.read_text()

    def send_signal(self, number: int) -> None:
        """Sends a signal to the process, not to its children."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_warm(
    command: Sequence[str | Path],
    folder: Path | None = None,
    timeout: float = 300,
    imported: Imported = "all",
    **changes: str,
) -> subprocess.CompletedProcess[str]:
    """Runs a process to its end, as ``subprocess.run`` with captured text.

    Args:
        command: As for ``WarmProcess``.
        folder: Where it runs.
        timeout: Seconds until it is killed.
        imported: As for ``WarmProcess``.
        changes: Of the environment.
    """
    process = WarmProcess(command, folder=folder, environment={**os.environ, **changes}, imported=imported)
    out, err = process.communicate(timeout)
    assert process.returncode is not None
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_group(script: Path | str, arguments: Sequence[str], processes: int, **changes: str) -> list[WarmProcess]:
    """Starts the processes that ``accelerate launch --multi_gpu`` starts on a CPU, with the variables that it sets.

    Args:
        script: What each of them runs.
        arguments: Of the script.
        processes: How many.
        changes: Of the environment.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {**os.environ, **changes, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    common |= {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        WarmProcess([script, *arguments], environment=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(processes)
    ]


def variables_of_launch(options: Sequence[str]) -> dict[str, str]:
    """What ``accelerate launch`` with these options sets in the environment of each process that it starts."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args([*options, "script.py"]))
    found = prepare_multi_gpu_env(arguments)
    return {name: value for name, value in found.items() if os.environ.get(name) != value}


def wait_until(what: Any, process: WarmProcess | subprocess.Popen[Any], seconds: float = 120) -> None:
    """Waits until a function is true of a process that runs."""
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, "the process ended before that"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def wait_for(what: Any, seconds: float = 120) -> None:
    """Waits until a function is true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)
