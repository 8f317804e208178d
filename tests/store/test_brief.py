"""One small file of the Hub, at once or not at all: offline, refused, silent, unresolvable, found and cached."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from huggingface_hub import constants

from bocb_hf.store import brief
from bocb_hf.store.brief import read_briefly
from bocb_hf.store.hub_calls import HubError


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A host that accepts every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
        yield


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # the other tests may ask nobody


class _Answer(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        found = self.path == "/somebody/net/resolve/main/config.json"
        content = b'{"architecture": "resnet26d"}' if found else b"x" * (brief.LARGEST + 1)
        self.send_response(404 if "absent" in self.path else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """The test reads ``asked`` instead."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with HTTPServer(("127.0.0.1", 0), _Answer) as server:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        _Answer.asked = []
        yield _Answer.asked
        server.shutdown()


def test_a_file_is_read_with_one_request(hub: list[str]) -> None:
    assert read_briefly("somebody/net", "config.json") == b'{"architecture": "resnet26d"}'
    assert hub == ["/somebody/net/resolve/main/config.json"]


def test_a_refusal_is_told_without_a_second_request(hub: list[str]) -> None:
    with pytest.raises(HubError, match=r"it refused: .*HTTP 404"):
        read_briefly("somebody/absent", "config.json")
    assert len(hub) == 1


def test_a_file_that_is_too_large_is_not_kept(hub: list[str]) -> None:
    with pytest.raises(HubError, match="more than 1 MB"):
        read_briefly("somebody/huge", "config.json")


def test_a_silent_host_costs_no_more_than_the_limit(silent: None, caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    with pytest.raises(HubError, match=r"did not answer within 0\.2 s|could not be reached"):
        read_briefly("somebody/net", "config.json", seconds=0.2)
    assert time.monotonic() - began < 1.5
    assert not caplog.records  # the client's lines about retries


def test_a_name_server_that_hangs_costs_no_more_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(brief, "_read", lambda *arguments: ended.wait(20))
    began = time.monotonic()
    with pytest.raises(HubError, match=r"did not answer within 0\.1 s"):
        read_briefly("somebody/net", "config.json", seconds=0.1)
    assert time.monotonic() - began < 1.5
    ended.set()


def test_no_route_is_told_at_once(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(HubError, match="could not be reached"):
        read_briefly("somebody/net", "config.json")
    assert not caplog.records


def test_offline_nothing_is_sent(hub: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        read_briefly("somebody/net", "config.json")
    assert hub == []


def test_the_cache_is_read_first(hub: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "models--somebody--net"
    snapshot = folder / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes(b"{}")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("a" * 40)
    assert read_briefly("somebody/net", "config.json") == b"{}"
    assert hub == []
