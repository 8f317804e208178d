"""What other systems than Linux lack: nothing of it is used at import, or without a way around it.

No machine of this project has Windows or Apple's `mps`, so that this is what can be checked here: ``docs/limits.md``.
"""

from __future__ import annotations

import ast
import sys
from types import SimpleNamespace

import house
import psutil
import pytest
import torch

from bocb_hf.engine.environment import peak_memory

# modules of the standard library that Windows has not
POSIX = {"curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
# attributes that Windows has not, by module
ABSENT = {
    "os": {
        *(
            "fork",
            "forkpty",
            "getegid",
            "geteuid",
            "getgid",
            "getloadavg",
            "getpgid",
            "getuid",
            "killpg",
            "mkfifo",
            "nice",
        ),
        *("O_NOFOLLOW", "register_at_fork", "sched_getaffinity", "sched_setaffinity", "setsid", "statvfs", "sysconf"),
        *("uname", "wait3", "wait4"),
    },
    "signal": {
        "SIGALRM",
        "SIGCHLD",
        "SIGHUP",
        "SIGKILL",
        "SIGQUIT",
        "SIGSTOP",
        "SIGUSR1",
        "SIGUSR2",
        "alarm",
        "setitimer",
    },
    "socket": {"AF_UNIX"},
    "select": {"epoll", "kqueue", "poll"},
}


def uses(tree: ast.AST) -> set[tuple[str, str]]:
    """Attributes of ``ABSENT`` that a module names as ``module.attribute``."""
    return {
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.attr in ABSENT.get(node.value.id, ())
    }


@pytest.mark.parametrize(("text", "found"), [("import os\nos.fork()", {("os", "fork")}), ("x.fork; os.name", set())])
def test_uses_are_found(text: str, found: set[tuple[str, str]]) -> None:
    assert uses(ast.parse(text)) == found


def test_no_module_imports_what_windows_lacks() -> None:
    """Inside a function such an import is the case of another system, as in ``peak_memory``."""
    found = {
        name: lacking
        for name, path in house.modules().items()
        if (lacking := house.names_imported(path, lazy=False) & POSIX)
    }
    assert found == {}


def test_what_windows_lacks_is_asked_for_before_it_is_used() -> None:
    seen = 0
    for name, path in house.modules().items():
        text = path.read_text(encoding="utf-8")
        for module, attribute in uses(house.tree(path)):
            seen += 1
            assert f'hasattr({module}, "{attribute}")' in text, f"{name} uses {module}.{attribute}"
    assert seen >= 4


def test_peak_memory_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)  # importing it fails, as on Windows
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(peak_wset=42)))
    assert peak_memory(torch.device("cpu")) == 42


def test_peak_memory_in_bytes() -> None:
    """Of this process, which has torch, it is more than what it has now and less than 100 GB."""
    assert 1e8 < psutil.Process().memory_info().rss * 0.9 < peak_memory(torch.device("cpu")) < 1e11
