"""How the loopback Hub answers a request: routes, errors with the Hub's headers, and faults on demand."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from hub_server import HubServer


@dataclass
class Fault:
    """What goes wrong with the next ``times`` requests that match."""

    method: str
    pattern: str
    status: int = 0
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut_after: int | None = None
    answer_lost: bool = False
    times: int = 1


class Listener(ThreadingHTTPServer):
    daemon_threads = True
    hub: HubServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests."""


class Refused(Exception):
    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    server: Listener
    routes: tuple[tuple[str, str, str], ...] = ()

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""

    def _answer(self) -> None:
        hub, split = self.server.hub, urlsplit(self.path)
        self.query = parse_qs(split.query)
        self.body: bytes | None = None
        self._status = 0
        self._lost = False
        # of this test, also when the answer comes after the next one has begun
        requests, authorised = hub.requests, hub.authorised
        fault = self._take_fault(hub, split.path)
        try:
            if fault is not None and self._break(fault):
                return
            self._lost = fault is not None and fault.answer_lost
            for method, pattern, name in self.routes:
                match = re.fullmatch(pattern, unquote(split.path))
                if match and self.command in (method, "HEAD" if method == "GET" else method):
                    self.read_body()
                    getattr(self, name)(*match.groups())
                    return
            raise Refused(404, f"no such address: {self.command} {split.path}")
        except Refused as error:
            self.send(
                error.status, {"error": error.message}, {"X-Error-Message": error.message, "X-Error-Code": error.code}
            )
        finally:
            with hub.lock:
                requests.append((self.command, self.path, self._status))
                authorised.append((self.path, self.headers.get("Authorization")))
            self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer

    def _take_fault(self, hub: HubServer, path: str) -> Fault | None:
        with hub.lock:
            for fault in hub.faults:
                if fault.times and fault.method == self.command and re.search(fault.pattern, path):
                    fault.times -= 1
                    return fault
        return None

    def _break(self, fault: Fault) -> bool:
        """Does what a fault says; True when nothing is left to answer."""
        time.sleep(fault.delay)
        if fault.cut_after is not None:
            self.rfile.read(fault.cut_after)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return True
        if fault.status:
            self.read_body()
            said = {"X-Error-Message": "injected"} if fault.body is None else {}
            self.send(
                fault.status, {"error": "injected"} if fault.body is None else fault.body, said | dict(fault.headers)
            )
            return True
        return False

    def read_body(self) -> bytes:
        if self.body is None:
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                parts: list[bytes] = []
                while size := int(self.rfile.readline().strip() or b"0", 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                self.body = b"".join(parts)
            else:
                self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return self.body

    def send(self, status: int, content: Any = b"", headers: Mapping[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._status = status
        if self._lost:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(status)
        given = {"Content-Length": str(len(data)), "Content-Type": "application/json"} | dict(headers or {})
        for name, value in given.items():
            if value:
                self.send_header(name, value.replace("\n", " "))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
