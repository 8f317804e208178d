"""What the page hands out, and that it shows what its file says, as text, in a folder and as one file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from boards import DEMO as DEMO_FILE
from boards import HOSTILE, poison, write_board
from playwright.sync_api import Page, expect

from bocb_hf.page.data import page_data
from bocb_hf.page.document import one_file
from bocb_hf.page.read import LeaderboardFile
from bocb_hf.report.words.labels import backbone_label, optimizer_label

pytestmark = pytest.mark.browser
Serve = Callable[[Path], str]
DEMO = "table=fashion_mnist_subset-demo-2337f0b"


def cells(page: Page):
    """The cells of the heat map that are shown."""
    return page.locator("table.heat td:visible")


def download(page: Page, press: Callable[[], None]) -> tuple[str, bytes]:
    with page.expect_download() as waiting:
        press()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def test_tables_and_figures_as_files(page: Page, demo: str):
    page.goto(f"{demo}#{DEMO}&view=backbone&backbone=tiny_resnet")
    grid, figure = page.locator(".grid").first, page.locator("figure").filter(has_text="Training loss by epoch")
    name, content = download(page, grid.get_by_role("button", name="CSV").click)
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert name == "fashion_mnist_subset-demo-2337f0b-backbone.csv"
    assert len(rows) == 5 and rows[0]["rank"] == "1" and {row["n"] for row in rows} == {"2"}
    name, content = download(page, grid.get_by_role("button", name="LaTeX").click)
    assert name.endswith("-backbone.tex") and b"\\caption{" in content and b"\\toprule" in content
    name, content = download(page, figure.get_by_role("button", name="SVG").click)
    assert name.endswith("-curves-tiny_resnet.svg") and content.startswith(b"<?xml") and b"xmlns=" in content
    name, content = download(page, figure.get_by_role("button", name="PNG").click)
    assert name.endswith(".png") and content.startswith(b"\x89PNG") and len(content) > 10_000


def test_the_heat_map_as_files(page: Page, demo: str):
    page.goto(demo)
    map_ = page.locator(".map")
    _, content = download(page, map_.get_by_role("button", name="CSV").click)
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert len(rows) == 400 and sum(row["mark"] == "★" for row in rows) == 20
    _, content = download(page, map_.get_by_role("button", name="LaTeX").click)
    text = content.decode()
    assert text.count("\\textbf{") == 20 and text.count("\\begin{tabular}{l" + "r" * 20 + "}") == 1
    assert text.count("{") == text.count("}")
    for kind, start in (("SVG", b"<?xml"), ("PNG", b"\x89PNG")):
        _, content = download(page, map_.get_by_role("button", name=kind).click)
        assert content.startswith(start)


@pytest.mark.parametrize("which", ["demo", "with holes and diverged cells"])
def test_each_mark_and_each_failure_is_that_of_the_file(page: Page, serve: Serve, tmp_path: Path, which: str):
    file = DEMO_FILE if which == "demo" else write_board(tmp_path / "holes.parquet")
    boards = LeaderboardFile(file).boards
    page.goto(serve(file))
    for name, board in boards.items():
        page.get_by_label("Table", exact=True).select_option(name)
        expect(page.locator(f"main[data-table='{name}']")).to_be_visible()
        expect(cells(page)).to_have_count(len(board.cells))
        shown = page.locator("table.heat tbody").evaluate_all(_CELLS)
        expected = {}
        for (backbone, optimizer), found in board.cells.items():
            where = (backbone_label(backbone), optimizer_label(optimizer))
            text = f"{found.sign}{found.mean:.1f}" if found.mean is not None else found.status
            expected[where] = [text, bool(found.failed and found.mean is not None)]
        assert {(b, o): [STATUS.get(text, text), failed] for b, o, text, failed in shown} == expected


STATUS = {"–": "missing", "…": "interrupted", "div.": "diverged", "1/2": "partial"}
_CELLS = """bodies => {
  const heads = [...document.querySelectorAll('table.heat thead th[scope=col] a')];
  const names = heads.map(a => a.ariaLabel ?? a.textContent);
  return bodies.flatMap(body => [...body.rows].filter(row => !row.classList.contains('group')).flatMap(row =>
    [...row.querySelectorAll('td')].map((td, i) => [names[i], row.querySelector('th').textContent,
      td.firstChild.data.split('\\n')[0], td.classList.contains('x')])));
}"""


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_hostile_record_is_shown_as_text(page: Page, serve: Serve, tmp_path: Path, form: str):
    bad = poison(write_board(tmp_path / "good.parquet"), tmp_path / "bad.parquet")
    if form == "folder":
        address = serve(bad)
    else:
        path = tmp_path / "report.html"
        path.write_bytes(one_file(page_data(LeaderboardFile(bad).boards, HOSTILE, [(HOSTILE, HOSTILE, HOSTILE)])))
        address = path.as_uri()
    page.goto(address)
    expect(cells(page)).not_to_have_count(0)
    first = page.get_by_label("Table", exact=True).locator("option").first.get_attribute("value")
    page.get_by_label("Table", exact=True).select_option(first)
    expect(page.locator("main")).to_have_attribute("data-table", str(first))
    expect(page.get_by_label("Table", exact=True).locator("option").first).to_contain_text(HOSTILE)
    cells(page).last.click()
    expect(page.locator("#cell h2")).to_contain_text(HOSTILE)
    expect(page.locator("#cell summary", has_text="Hyper-parameters")).to_be_visible()
    for summary in page.locator("#cell summary").all():
        summary.click()
    expect(page.locator("#cell")).to_contain_text("${window.pwned=2}")
    page.keyboard.press("Escape")
    for link in page.get_by_role("navigation", name="Views").get_by_role("link").all():
        link.click()
        expect(link).to_have_attribute("aria-current", "page")
        expect(page.locator("main h2, main table.heat").first).to_be_visible()
        expect(page.get_by_text("Reading", exact=False)).to_have_count(0)
    assert page.evaluate("window.pwned") is None
    assert page.locator("img").count() == 0


def test_one_file_opens_by_double_click(page: Page, report: str):
    page.goto(report)
    expect(cells(page)).to_have_count(400)
    page.goto(f"{report}#{DEMO}&backbone=tiny_vit&optimizer=lars&cell=1")
    expect(page.locator("#cell")).to_contain_text("n = 2 (seeds 1, 2)")
    page.goto(f"{report}#{DEMO}&view=tuning")
    expect(page.get_by_role("heading", name="What few trials cost")).to_be_visible()
