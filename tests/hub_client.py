"""Runs code with the real client in another process, because it reads HF_ENDPOINT when it is imported.

One process serves a whole test session: what it imports, it imports once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parent

_LOOP = """
import contextlib, io, json, logging, os, sys, time, traceback
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
stream = io.StringIO()
logging.basicConfig(level=logging.INFO, stream=stream, force=True)
slept = []
time.sleep = lambda seconds: slept.append(seconds)  # back-off is looked at, not waited for
for line in sys.stdin:
    task = json.loads(line)
    for name, value in task["environment"].items():
        os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
    stream.seek(0), stream.truncate()
    slept.clear()
    out, space, answer = io.StringIO(), dict(task["variables"]), {"error": None, "type": None, "trace": ""}
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            exec(compile(task["code"], "<client>", "exec"), space)
        except BaseException as error:
            answer = {"error": str(error), "type": type(error).__name__, "trace": traceback.format_exc()}
    answer |= {"result": space.get("result"), "out": out.getvalue(), "log": stream.getvalue(), "slept": list(slept)}
    answers.write(json.dumps(answer) + "\\n")
    answers.flush()
"""


class ClientError(AssertionError):
    """The code raised; ``answer`` holds what and everything that was printed and logged."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer["trace"] + answer["out"])
        self.answer = answer


class HubClient:
    """A process with the client.

    Args:
        endpoint: Of the server.
        home: Its ``HF_HOME``.
    """

    def __init__(self, endpoint: str, home: Path) -> None:
        left_out = ("HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
        self._environment = {k: v for k, v in os.environ.items() if k not in left_out} | {
            "HF_ENDPOINT": endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
            "HF_HOME": str(home),
            "PYTHONPATH": os.pathsep.join(map(str, (TESTS, TESTS.parent))),
        }
        self._process: subprocess.Popen[str] | None = None
        self.last: dict[str, Any] = {}

    def __call__(self, code: str, token: str | None = "hf_writer", **variables: Any) -> Any:
        """Runs code and returns its variable ``result``.

        Raises:
            ClientError: The code raised.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _LOOP],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self._environment,
                text=True,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        task = {"code": code, "variables": variables, "environment": {"HF_TOKEN": token}}
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        watchdog = threading.Timer(120, self._process.kill)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        assert line, "the client process ended"
        self.last = json.loads(line)
        if self.last["type"] is not None:
            raise ClientError(self.last)
        return self.last["result"]

    def refused(self, code: str, token: str | None = "hf_writer", **variables: Any) -> tuple[str, str]:
        """Runs code that must raise; returns the type and the text of the exception."""
        try:
            self(code, token, **variables)
        except ClientError as error:
            return error.answer["type"], error.answer["error"]
        raise AssertionError("nothing was raised")

    def close(self) -> None:
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(10)
