"""What ``warm.py`` starts: imports packages in stages, and after each stage leaves a process that forks others.

The argument is JSON: for each stage, the address of a Unix socket and the modules to import. Who connects is told
``ready`` when the stage has imported everything, and then sends requests, a JSON object a line; the answers say which
process was ``started`` for each and, later, that it ``ended``.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
import types
from contextlib import suppress
from typing import Any


def import_in_stages(stages: list[tuple[str, list[str]]]) -> socket.socket:
    """Returns the listening socket of a stage, in a process that has imported what that stage and earlier ones name."""
    listeners: list[socket.socket] = []
    for address, _ in stages:
        listeners.append(socket.socket(socket.AF_UNIX))
        listeners[-1].bind(address)
        listeners[-1].listen()
    gc.disable()  # nothing that is imported is garbage
    for number, (_, modules) in enumerate(stages):
        for name in modules:
            importlib.import_module(name)
        gc.collect()
        gc.freeze()
        if number + 1 == len(stages) or os.fork():
            break
        listeners.pop(0).close()
    gc.enable()
    for later in listeners[1:]:
        later.close()
    return listeners[0]


def serve(listener: socket.socket) -> dict[str, Any]:
    """Forks a process for each request; returns the request in each new process, and ends when nobody is connected."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    clients: dict[socket.socket, bytes] = {}
    asked_by: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([listener, woken, *clients], [], [])
        if woken in ready:
            os.read(woken, 4096)
            for pid, code in ended():
                client = asked_by.pop(pid, None)
                if client in clients:
                    answer(client, ended=pid, code=code)
        if listener in ready:
            client, _ = listener.accept()
            clients[client] = b""
            answer(client, ready=True)
        for client in [each for each in ready if each in clients]:
            read = receive(client)
            if not read:
                del clients[client]
                client.close()
                if not clients:
                    os.unlink(listener.getsockname())  # noqa: PTH108 - pathlib is not needed for one call
                    os._exit(0)
                continue
            *lines, clients[client] = (clients[client] + read).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    for end in (woken, wake):
                        os.close(end)
                    for each in (listener, *clients):
                        each.close()
                    return json.loads(line)
                asked_by[pid] = client
                answer(client, started=pid)


def ended() -> list[tuple[int, int]]:
    """Processes that have ended: pid and exit status, or minus the signal that ended it."""
    found: list[tuple[int, int]] = []
    with suppress(ChildProcessError):  # there are no processes
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            found.append((pid, os.waitstatus_to_exitcode(status)))
    return found


def answer(client: socket.socket, **said: Any) -> None:
    """Tells a client something; one that has gone is noticed when it is read."""
    with suppress(OSError):
        client.sendall((json.dumps(said) + "\n").encode())


def receive(client: socket.socket) -> bytes:
    """What a client has sent; nothing when it has gone."""
    try:
        return client.recv(1 << 20)
    except OSError:
        return b""


def become(request: dict[str, Any]) -> None:
    """Turns this process into the one that was asked for, and runs its command."""
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
        stream.reconfigure(encoding=os.environ.get("PYTHONIOENCODING", "utf-8"))  # type: ignore[union-attr] - files
    os.chdir(request["folder"])
    paths = [p for p in request["environment"].get("PYTHONPATH", "").split(os.pathsep) if p]
    sys.path[:] = ["", *paths, *(p for p in sys.path if p and p not in paths)]
    kind, *sys.argv = request["command"]
    if kind == "-c":
        code = compile(sys.argv[0], "<string>", "exec")
        sys.argv[0] = "-c"
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(code, main.__dict__)
    elif kind == "-m":
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv.insert(0, kind)
        sys.path[0] = os.path.dirname(kind)  # noqa: PTH120 - as the interpreter does it
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    sys.path[0] = ""  # as with -c: the folder of this file is for tests
    become(serve(import_in_stages(json.loads(sys.argv[1]))))
