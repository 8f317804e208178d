"""A chromium that shows the page, for tests with the marker ``browser``: it asks nobody but loopback."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from boards import DEMO

from bocb_hf.page.data import page_data
from bocb_hf.page.document import folder_files, one_file
from bocb_hf.page.read import LeaderboardFile
from bocb_hf.page.server import make_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
Serve = Callable[[Path], str]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    path = shutil.which("chromium")
    expect.set_options(timeout=30_000)  # of a machine that is busy with other tests
    assert path, "the browser tests need Debian's chromium: apt-get install chromium"
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=path, args=ARGUMENTS) as browser:
        yield browser


@pytest.fixture(scope="session")
def serve() -> Iterator[Serve]:
    """Serves the page of a leaderboard's file; returns its address."""
    with ExitStack() as stack:

        def start(file: Path) -> str:
            content = file.read_bytes()
            data = page_data(LeaderboardFile(file, content).boards, "outputs/store")
            server = make_server(folder_files(data, content), port=0)
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            stack.callback(thread.join, 20)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/"

        yield start


@pytest.fixture(scope="session")
def demo(serve: Serve) -> str:
    return serve(DEMO)


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the one-file form of the demonstration's page."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_bytes(one_file(page_data(LeaderboardFile(DEMO).boards, "outputs/store")))
    return path.as_uri()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page whose script makes no error and breaks no policy, and which asks loopback alone."""
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(30_000)
    problems: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("request", lambda request: asked.append(request.url))
    yield page
    page.close()
    assert not problems
    assert all(url.startswith(("http://127.0.0.1:", "data:", "blob:", "file:")) for url in asked), asked
