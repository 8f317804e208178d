"""Serves the files of a page to browsers of this machine, or of a network that the user names.

It serves some bytes from memory and runs nothing. Ranges are answered, so that a click fetches what it shows and not
the rest. A request that names another host than the server's is refused: a page of somebody else, whose name was made
to lead here, must not read what is private to this machine.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import socket
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from bocb_hf.errors import InputError

_TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
}
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_LOCAL = ("127.0.0.1", "localhost", "[::1]", "::1")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'self'",  # the rest of the policy stands in the document
    "Cache-Control": "no-cache",
    "Accept-Ranges": "bytes",
}


class _File(NamedTuple):
    content: bytes
    packed: bytes | None
    kind: str
    tag: str


def make_server(files: Mapping[str, bytes], host: str = "127.0.0.1", port: int = 7860) -> ThreadingHTTPServer:
    """Makes a server of some files; ``serve_forever`` of it serves them.

    Args:
        files: Content by name; ``index.html`` is also at ``/``.
        host: Address to listen on; ``0.0.0.0`` for everybody.
        port: The port; 0 takes a free one.

    Raises:
        InputError: The address cannot be listened on.
    """
    held = {name: _prepared(name, content) for name, content in files.items()}
    names = {*_LOCAL, host.lower()} if host not in ("0.0.0.0", "::", "") else None

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "bocb", ""
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave together: a head sent alone holds the body back until the browser has
        disable_nagle_algorithm = True  # confirmed it, which browsers delay by 40 ms

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def _answer(self, body: bool) -> None:
            asked = (self.headers.get("Host") or "").lower()
            if names is not None and re.sub(r":\d+$", "", asked) not in names:
                self._say(HTTPStatus.MISDIRECTED_REQUEST, "this server answers under its own name only", body)
                return
            file = held.get(self.path.partition("?")[0].removeprefix("/") or "index.html")
            if file is None:
                self._say(HTTPStatus.NOT_FOUND, "there is no such file here", body)
                return
            if self.headers.get("If-None-Match") == file.tag:
                self._send(HTTPStatus.NOT_MODIFIED, file, None, {}, body=False)
                return
            wanted = self.headers.get("Range")
            if wanted is not None and self.headers.get("If-Range") in (None, file.tag):
                part = _part(wanted, len(file.content))
                if part is None:
                    self._say(
                        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                        "there are no such bytes",
                        body,
                        {"Content-Range": f"bytes */{len(file.content)}"},
                    )
                    return
                if isinstance(part, range):
                    content = file.content[part.start : part.stop]
                    where = f"bytes {part.start}-{part.stop - 1}/{len(file.content)}"
                    self._send(HTTPStatus.PARTIAL_CONTENT, file, content, {"Content-Range": where}, body)
                    return
            if file.packed is not None and "gzip" in (self.headers.get("Accept-Encoding") or ""):
                extra = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
                self._send(HTTPStatus.OK, file, file.packed, extra, body)
                return
            self._send(HTTPStatus.OK, file, file.content, {}, body)

        def _send(
            self, status: HTTPStatus, file: _File, content: bytes | None, extra: Mapping[str, str], body: bool
        ) -> None:
            self.send_response(status)
            for name, value in {**_HEADERS, "Content-Type": file.kind, "ETag": file.tag, **extra}.items():
                self.send_header(name, value)
            if content is not None:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body and content is not None:
                self.wfile.write(content)

        def _say(self, status: HTTPStatus, text: str, body: bool, extra: Mapping[str, str] | None = None) -> None:
            content = f"{text}\n".encode()
            self.send_response(status)
            for name, value in {**_HEADERS, "Content-Type": "text/plain; charset=utf-8", **(extra or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Prints no line a request."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    try:
        return Server((host, port), Handler)
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(f"--host {host} --port {port}: cannot listen there ({why}); choose another port") from None


def serve(files: Mapping[str, bytes], what: str, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serves some files until it is stopped with Ctrl-C.

    Args:
        files: Content by name.
        what: What they show, for the line that is printed.
        host: Address to listen on.
        port: The port; 0 takes a free one.

    Raises:
        InputError: The address cannot be listened on.
    """
    server = make_server(files, host, port)
    shown = f"[{host}]" if ":" in host else host
    print(f"leaderboard of {what}: http://{shown}:{server.server_address[1]} (Ctrl-C ends it)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()


def _prepared(name: str, content: bytes) -> _File:
    kind = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
    packed = gzip.compress(content, 6, mtime=0) if kind.startswith("text/") else None
    return _File(content, packed, kind, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _part(wanted: str, size: int) -> range | str | None:
    """Returns the bytes of a ``Range`` header; None where there are none, a text for a header that is not understood.

    What is not understood is answered with the whole file (RFC 9110, 14.2); so are several ranges at once.
    """
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or match.groups() == ("", ""):
        return "whole"
    first, last = match.groups()
    if first == "":
        length = min(int(last), size)
        return range(size - length, size) if length else None
    start, stop = int(first), min(int(last) + 1 if last else size, size)
    if last and int(last) < int(first):
        return "whole"
    return range(start, stop) if start < size else None
