"""The loopback server: files, ranges, headers, and whom it answers."""

from __future__ import annotations

import gzip
import http.client
import os
import socket
import threading
from collections.abc import Iterator, Mapping

import pytest

from bocb_hf.errors import InputError
from bocb_hf.page.server import make_server

DETAILS = os.urandom(5000)
FILES = {"index.html": b"<!doctype html>" + b"x" * 3000, "page.js": b"'use strict';", "details.bin": DETAILS}


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = make_server(FILES, port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join(10)


def ask(
    port: int, path: str = "/details.bin", method: str = "GET", **headers: str
) -> tuple[int, Mapping[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=4990-", 4990, 5000),
        ("bytes=4990-99999", 4990, 5000),
        ("bytes=-10", 4990, 5000),
        ("bytes=-99999", 0, 5000),
    ],
)
def test_a_range_gives_its_bytes(port: int, wanted: str, start: int, stop: int) -> None:
    status, headers, body = ask(port, Range=wanted)
    assert (status, body) == (206, DETAILS[start:stop])
    assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/5000"
    assert headers["Content-Length"] == str(stop - start) and headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("wanted", ["bytes=5000-", "bytes=9000-9001", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused(port: int, wanted: str) -> None:
    status, headers, _ = ask(port, Range=wanted)
    assert status == 416 and headers["Content-Range"] == "bytes */5000"


@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "lines=1-2", "bytes=9-3", "bytes=-", "bytes=a-b"])
def test_what_is_no_single_range_gives_the_whole(port: int, wanted: str) -> None:
    assert ask(port, Range=wanted)[::2] == (200, DETAILS)


def test_a_range_of_an_older_version_gives_the_whole(port: int) -> None:
    tag = ask(port)[1]["ETag"]
    assert ask(port, Range="bytes=0-1", If_Range=tag)[0] == 206
    assert ask(port, Range="bytes=0-1", If_Range='"old"')[::2] == (200, DETAILS)
    status, _, body = ask(port, If_None_Match=tag)
    assert (status, body) == (304, b"")


def test_texts_are_compressed_for_whom_can_read_that(port: int) -> None:
    for path in ("/", "/index.html", "/index.html?a=1"):
        assert ask(port, path)[::2] == (200, FILES["index.html"])
    status, headers, body = ask(port, "/", Accept_Encoding="gzip, br")
    assert status == 200 and headers["Content-Encoding"] == "gzip" and len(body) < 200
    assert gzip.decompress(body) == FILES["index.html"] and headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Content-Encoding" not in ask(port, Accept_Encoding="gzip")[1], "data are compressed already"


def test_headers_say_what_a_browser_may_do(port: int) -> None:
    for path in ("/", "/details.bin", "/none"):
        headers = ask(port, path)[1]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors" in headers["Content-Security-Policy"]
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert ask(port, "/page.js")[1]["Content-Type"] == "text/javascript; charset=utf-8"


def test_nothing_but_its_files_is_there(port: int) -> None:
    for path in ("/../pyproject.toml", "/%2e%2e/x", "/etc/passwd", "/page.js/"):
        assert ask(port, path)[0] == 404
    status, headers, body = ask(port, "/index.html", "HEAD")
    assert (status, body) == (200, b"") and headers["Content-Length"] == str(len(FILES["index.html"]))
    assert ask(port, "/index.html", "POST")[0] == 501


def test_another_name_is_not_answered(port: int) -> None:
    """A page whose name was made to lead to this machine cannot read what it serves."""
    assert ask(port, Host=f"evil.example:{port}")[0] == 421
    assert ask(port, Host=f"localhost:{port}")[0] == 200


def test_an_answer_leaves_as_one_piece(port: int) -> None:
    """A head that is sent alone holds its body back for some 40 ms on a connection that is kept."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for path, length in (("page.js", 13), ("details.bin", 5000), ("nothing", 27)) * 3:
            connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            head, _, body = connection.recv(65_536).partition(b"\r\n\r\n")
            assert f"content-length: {length}" in head.decode().lower()
            assert len(body) == length


def test_an_address_that_is_taken_is_named(port: int) -> None:
    with pytest.raises(InputError, match=rf"--host 127.0.0.1 --port {port}: cannot listen there .*another port"):
        make_server(FILES, port=port)
