"""Processes that start warm: each is forked from one that has imported the training stack.

A cold start imports torch, timm and accelerate, which takes eight seconds of a core. A test of what a process does when
it is killed, stopped or told wrong words needs a process of its own and not that import. These are real processes: they
have a pid, take signals, and end as the interpreter ends them. ``test_recipes`` and ``test_sweep`` start some cold as
well, as a user does.
"""

from __future__ import annotations

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
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent
BOCB = "from bocb_hf.cli import main; raise SystemExit(main())"

# What every process has imported when it begins. Nothing of it starts a thread or computes anything.
_PRELOAD = (
    *("torch", "timm", "transformers", "accelerate.commands.launch", "datasets", "sklearn.pipeline"),
    *("sklearn.linear_model", "matplotlib.figure", "matplotlib.backends.backend_agg", "bocb_hf.engine.run"),
    *("bocb_hf.commands.train", "bocb_hf.sweep.run", "bocb_hf.sweep.floors"),
)

_SERVER = """
import gc, importlib, json, os, runpy, select, signal, sys

for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
gc.collect()
gc.freeze()


def serve():
    \"\"\"Forks a process for each request and reports those that ended; returns the request in each new process.\"\"\"
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pending = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            while True:
                try:
                    pid, status = os.waitpid(-1, os.WNOHANG)
                except ChildProcessError:
                    break
                if pid == 0:
                    break
                print(json.dumps({"ended": pid, "code": os.waitstatus_to_exitcode(status)}), file=answers, flush=True)
        if 0 not in ready:
            continue
        read = os.read(0, 1 << 20)
        if not read:
            sys.exit()
        *lines, pending = (pending + read).split(b"\\n")
        for line in lines:
            request = json.loads(line)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for end in (woken, wake, answers.fileno()):
                    os.close(end)
                return request
            print(json.dumps({"started": pid}), file=answers, flush=True)


request = serve()
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where whoever started the tests ignores it
if request["session"]:
    os.setsid()
for number, path in ((0, os.devnull), (1, request["stdout"]), (2, request["stderr"])):
    file = os.open(path, os.O_RDWR | os.O_APPEND)
    os.dup2(file, number)
    os.close(file)
os.environ.clear()
os.environ.update(request["environment"])
for stream in (sys.stdout, sys.stderr):  # a new interpreter would read the variable
    stream.reconfigure(encoding=os.environ.get("PYTHONIOENCODING", "utf-8"))
os.chdir(request["folder"])
paths = [p for p in request["environment"].get("PYTHONPATH", "").split(os.pathsep) if p]
sys.path[:] = ["", *paths, *(p for p in sys.path if p and p not in paths)]
kind, *sys.argv = request["command"]
if kind == "-c":
    code = compile(sys.argv[0], "<string>", "exec")
    sys.argv[0] = "-c"
    for name in [name for name in globals() if not name.startswith("__") and name != "code"]:
        del globals()[name]
    exec(code)
elif kind == "-m":
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    sys.argv.insert(0, kind)
    sys.path[0] = os.path.dirname(kind)
    runpy.run_path(kind, run_name="__main__")
"""


class _Server:
    """The process that has imported the stack. It is started when it is first needed, and ends with the tests."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._codes: dict[int, int] = {}
        self._started: list[int] = []
        self._changed = threading.Condition()

    def _start(self) -> subprocess.Popen[str]:
        # the offline switches of conftest.py hold here as well; threads are started by nothing that is imported
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, json.dumps(_PRELOAD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        return process

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            answer = json.loads(line)
            with self._changed:
                if "started" in answer:
                    self._started.append(answer["started"])
                else:
                    self._codes[answer["ended"]] = answer["code"]
                self._changed.notify_all()

    def start(self, request: Mapping[str, Any]) -> int:
        """Forks a process; returns its pid."""
        with self._lock:
            if self._process is None:
                self._process = self._start()
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            with self._changed:
                assert self._changed.wait_for(lambda: self._started, 120), "the process of warm starts does not answer"
                return self._started.pop()

    def code(self, pid: int, timeout: float) -> int | None:
        """The exit status of a process, or minus the signal that ended it; None when it runs after ``timeout`` s."""
        with self._changed:
            self._changed.wait_for(lambda: pid in self._codes, timeout)
            return self._codes.get(pid)


_SERVING = _Server()


class WarmProcess:
    """A process as ``subprocess.Popen`` has it.

    Args:
        command: What follows ``python`` on a command line: a script, ``-m`` and a module, or ``-c`` and code.
        environment: All of it; this process's by default.
        folder: Where it runs.
        session: Whether it leads a session of its own.
        merged: Whether standard error goes where standard output goes.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        session: bool = False,
        merged: bool = False,
    ) -> None:
        self.args = [str(word) for word in command]
        self._folder = tempfile.TemporaryDirectory(prefix="bocb-warm-")
        self._out, self._err = (Path(self._folder.name) / name for name in ("out", "err"))
        for path in (self._out, self._err):
            path.touch()
        self.returncode: int | None = None
        self.pid = _SERVING.start(
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
            self.returncode = _SERVING.code(self.pid, 0)
        return self.returncode

    def wait(self, timeout: float = 300) -> int:
        """Waits for the end; returns the exit status.

        Raises:
            subprocess.TimeoutExpired: It still runs; it is killed then.
        """
        if self.returncode is None:
            self.returncode = _SERVING.code(self.pid, timeout)
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
    command: Sequence[str | Path], folder: Path | None = None, timeout: float = 300, **changes: str
) -> subprocess.CompletedProcess[str]:
    """Runs a process to its end, as ``subprocess.run`` with captured text.

    Args:
        command: As for ``WarmProcess``.
        folder: Where it runs.
        timeout: Seconds until it is killed.
        changes: Of the environment.
    """
    process = WarmProcess(command, folder=folder, environment={**os.environ, **changes})
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
