"""The leaderboard in a real browser: the distribution's chromium, driven by Playwright. It asks nobody but loopback."""

from __future__ import annotations

import csv
import io
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvicorn
from boards import HOSTILE, poison, write_board, write_large
from playwright.sync_api import Browser, Page, expect, sync_playwright

from bocb_hf.page import DEMO
from bocb_hf.page.app import build_app
from bocb_hf.page.watched import WatchedFile

pytestmark = pytest.mark.browser

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
Serve = Callable[[Path], str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path, "the browser tests need Debian's chromium: apt-get install chromium"
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=path, args=ARGUMENTS) as browser:
        yield browser


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Serves a file; returns its address."""
    with ExitStack() as stack:

        def start(file: Path) -> str:
            server = uvicorn.Server(uvicorn.Config(build_app(WatchedFile(str(file))), log_level="error"))
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()
            stack.callback(thread.join, 20)
            stack.callback(setattr, server, "should_exit", True)
            limit = time.monotonic() + 60
            while not server.started:
                assert time.monotonic() < limit and thread.is_alive()
                time.sleep(0.05)
            return f"http://127.0.0.1:{listener.getsockname()[1]}"

        yield start


@pytest.fixture(scope="module")
def demo(serve: Serve) -> str:
    return serve(DEMO)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(30_000)
    problems: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    yield page
    page.close()
    assert not problems
    assert all(url.startswith(("http://127.0.0.1:", "data:", "blob:")) for url in asked), asked


def view(page: Page, name: str = "table"):
    """The visible view."""
    return page.locator(f"section.bocb[data-view={name}]:visible")


def test_load_and_click_a_cell(page: Page, demo: str):
    page.goto(demo)
    expect(view(page).locator("table.heat td")).to_have_count(20)
    view(page).locator("table.heat tbody tr").nth(3).locator("td").nth(3).click()
    expect(page.locator("#cell h3")).to_have_text("ViT-tiny × LARS")
    expect(page.locator("#cell")).to_contain_text("n = 2 (seeds 1, 2)")
    expect(page.locator("#cell")).to_contain_text("bocb train --reproduce outputs/demo/store/")
    expect(page).to_have_url(re.compile("backbone=tiny_vit&optimizer=lars&cell=1"))
    image = page.locator("#cell img")
    image.scroll_into_view_if_needed()
    page.wait_for_function("image => image.complete && image.naturalWidth > 100", arg=image.element_handle())


def test_keyboard_walks_through_the_table(page: Page, demo: str):
    page.goto(demo)
    first = view(page).locator("table.heat td").first
    expect(first).to_have_attribute("tabindex", "0")
    expect(view(page).locator("table.heat td[tabindex='0']")).to_have_count(1)
    first.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "End", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#cell h3")).to_have_text("ConvNeXt-tiny × LAMB")
    expect(page.locator("#cell")).to_be_focused()


def test_filter_and_share_the_address(page: Page, browser: Browser, demo: str):
    page.goto(demo)
    page.get_by_label("modern", exact=True).check()
    expect(view(page).locator("table.heat td")).to_have_count(10)
    page.get_by_label("verified").check()
    expect(view(page).locator("td.hid")).to_have_count(10)
    page.get_by_label("self-reported").check()
    page.get_by_label("b", exact=True).check()
    expect(view(page).locator("table.heat td")).to_have_count(4)
    page.get_by_role("tab", name="Rankings").click()
    expect(view(page, "ranking").locator("table.grid tbody tr")).to_have_count(2)
    expect(page).to_have_url(re.compile("view=ranking&families=modern&categories=b"))
    other = browser.new_page()
    other.goto(page.url)
    expect(view(other, "ranking").locator("table.grid tbody tr")).to_have_count(2)
    expect(other.get_by_label("modern", exact=True)).to_be_checked()
    expect(other.get_by_role("tab", name="Rankings")).to_have_attribute("aria-selected", "true")
    other.close()


def test_a_filter_offers_what_the_table_has_and_says_what_it_hides(page: Page, demo: str):
    page.goto(demo)
    expect(page.locator("#families input")).to_have_count(2)
    page.get_by_label("verified").check()
    expect(view(page).locator(".filters")).to_contain_text("verified at least; 20 of 20 cells hidden")
    view(page).get_by_role("link", name="Clear filters").click()
    expect(view(page).locator(".filters")).to_have_count(0)
    expect(page.get_by_label("self-reported")).to_be_checked()
    expect(view(page).locator("td.hid")).to_have_count(0)


def test_links_open_in_place_and_the_way_back_works(page: Page, demo: str):
    page.goto(demo)
    page.evaluate("window.kept = true")
    view(page).locator("table.heat").get_by_role("link", name="ViT-tiny").click()
    optimizers = view(page, "backbone").locator("table.grid").first  # below it, weight patterns layer by layer
    expect(optimizers.locator("tbody tr")).to_have_count(5)
    expect(page.get_by_label("Backbone", exact=True)).to_have_value("ViT-tiny")
    optimizers.get_by_role("link", name="LARS").click()
    expect(page.locator("#cell h3")).to_have_text("ViT-tiny × LARS")
    expect(page.get_by_role("tab", name="Table", exact=True)).to_have_attribute("aria-selected", "true")
    page.locator("#cell").get_by_role("link", name="Close").click()
    expect(page.locator("#cell")).to_have_count(0)
    assert page.evaluate("window.kept")  # the page was never loaded anew
    page.go_back()
    expect(page.locator("#cell h3")).to_have_text("ViT-tiny × LARS")
    page.go_back()
    expect(optimizers.locator("tbody tr")).to_have_count(5)


def test_every_view_opens(page: Page, demo: str):
    page.goto(demo)
    expect(view(page)).to_be_visible()
    for label, name in (
        ("Rankings", "ranking"),
        ("Coupling", "coupling"),
        ("Against the study", "study"),
        ("Missing cells", "missing"),
        ("One backbone", "backbone"),
        ("One optimizer", "optimizer"),
        ("Cost", "cost"),
        ("Recommend", "recommend"),
    ):
        page.get_by_role("tab", name=label).click()
        expect(view(page, name)).to_be_visible()
    page.goto(f"{demo}/?view=cost&backbone=tiny_vit&axis=memory")
    expect(view(page, "cost")).to_contain_text("MiB")
    page.goto(f"{demo}/?view=recommend")
    view(page, "recommend").get_by_role("link", name="ViT-tiny").click()
    expect(view(page, "recommend")).to_contain_text("the best of its own 5 trial(s)")
    page.get_by_label("Recommend for").fill("resnet101")
    page.get_by_label("Recommend for").press("Enter")
    expect(view(page, "recommend").locator("p.big").first).to_contain_text(": use ")


def test_another_data_set(page: Page, demo: str):
    page.goto(demo)
    page.get_by_label("Data set").click()
    page.get_by_role("option", name="cifar100").click()
    expect(view(page).locator("table.heat td")).to_have_count(400)
    expect(page).to_have_url(re.compile("table=published-cifar100"))


def test_downloads(page: Page, demo: str):
    page.goto(f"{demo}/?view=backbone&backbone=tiny_resnet")
    for kind, starts in (("CSV", b"backbone,family"), ("TEX", b"% needs"), ("PNG", b"\x89PNG"), ("SVG", b"<?xml")):
        with page.expect_download() as waiting:
            view(page, "backbone").get_by_role("link", name=kind).first.click()
        path = Path(waiting.value.path())
        assert path.read_bytes().startswith(starts)
        if kind == "CSV":
            rows = list(csv.DictReader(io.StringIO(path.read_text())))
            assert len(rows) == 5 and rows[0]["rank"] == "1" and {row["n"] for row in rows} == {"2"}


def test_a_hostile_record_is_shown_as_text(page: Page, serve: Serve, tmp_path: Path):
    address = serve(poison(write_board(tmp_path / "good.parquet"), tmp_path / "bad.parquet"))
    page.goto(address)
    expect(view(page).locator("h2")).to_contain_text(HOSTILE)
    view(page).locator("table.heat tbody tr").first.locator("td").last.click()
    expect(page.locator("#cell h3")).to_be_visible()
    expect(page.locator("#cell h3")).to_contain_text(HOSTILE)  # the name holds a "|", and is still this cell's
    page.locator("#cell summary").last.click()
    expect(page.locator("#cell")).to_contain_text("${window.pwned=2}")
    for tab in ("Rankings", "One backbone", "Coupling", "Missing cells"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(500)
    assert page.evaluate("window.pwned") is None


def test_no_own_results(page: Page, serve: Serve, tmp_path: Path):
    page.goto(serve(write_board(tmp_path / "empty.parquet", [])))
    expect(view(page).locator("table.heat td")).to_have_count(400)
    expect(page.get_by_label("Data set")).to_have_value("cifar100")
    page.get_by_role("tab", name="Cost").click()
    expect(view(page, "cost")).to_contain_text("published no cost")


@pytest.mark.parametrize("size", [(20, 20), (100, 60)])
def test_large_tables(page: Page, serve: Serve, tmp_path: Path, size: tuple[int, int]):
    page.goto(serve(write_large(tmp_path / "large.parquet", *size)))
    expect(view(page).locator("table.heat td")).to_have_count(size[0] * size[1])
    page.get_by_label("modern", exact=True).check()
    expect(view(page).locator("table.heat td")).to_have_count(size[0] * size[1] // 2)
    view(page).locator("table.heat tbody tr").first.locator("td").first.click()
    expect(page.locator("#cell h3")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone_and_dark_mode(browser: Browser, demo: str, scheme: str):
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)  # pyright: ignore
    page.goto(demo)
    expect(view(page)).to_be_visible()
    # the page itself does not scroll sideways; the table does, inside
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(view(page).locator(".scroll.heat")).to_be_in_viewport()
    for selector in ("section.bocb h2", "section.bocb p.soft", "section.bocb td.g0", "section.bocb td.g11", "#filters"):
        colour, ground = page.locator(selector).first.evaluate(_COLOURS)
        assert contrast(colour, ground) >= 4.5, (selector, colour, ground)
    page.close()


_COLOURS = """element => {
  const paint = (colour) => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return Array.from(canvas.getImageData(0, 0, 1, 1).data).slice(0, 3);
  };
  let ground = element;
  const clear = (node) => /rgba\\(0, 0, 0, 0\\)|transparent/.test(getComputedStyle(node).backgroundColor);
  while (ground && clear(ground)) ground = ground.parentElement;
  return [paint(getComputedStyle(element).color), paint(ground ? getComputedStyle(ground).backgroundColor : 'white')];
}"""


def contrast(one: list[int], other: list[int]) -> float:
    """Contrast ratio of two sRGB colours (WCAG 2.2)."""

    def luminance(colour: list[int]) -> float:
        parts = [v / 255 for v in colour]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
