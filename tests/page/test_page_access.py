"""The page for everybody: keyboard only, screen readers (axe-core), phones, light and dark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page, expect

pytestmark = pytest.mark.browser
AXE = Path(__file__).resolve().parents[2] / "bocb_hf" / "page" / "source" / "node_modules" / "axe-core" / "axe.min.js"
DEMO = "table=fashion_mnist_subset-demo-2337f0b"
VIEWS = (
    *("table", "backbone", "optimizer", "coupling", "contrast", "ranking"),
    *("cost", "study", "transfer", "tuning", "missing", "data"),
)


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed here: `make page` installs it")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1300, 390])
def test_axe_finds_nothing(browser: Browser, demo: str, scheme: Literal["light", "dark"], width: int):
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.goto(demo)
    expect(page.locator("main")).to_be_visible()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    states = [f"{DEMO}&view={view}" for view in VIEWS]
    states += [f"{DEMO}&backbone=tiny_vit&optimizer=lars&cell=1", "ask=resnet101", "find=nothing-of-that-name"]
    if width == 1300:
        states += ["view=table", "view=coupling", "view=ranking"]
    found: dict[str, list[Any]] = {}
    for state in states:
        page.goto(f"{demo}#{state}")
        asked = dict(part.split("=") for part in state.split("&"))
        table, view = asked.get("table", "published-cifar100"), asked.get("view", "table")
        expect(page.locator(f"main[data-table='{table}'][data-view={view}]")).to_be_visible()
        if "ask" in asked:
            expect(page.get_by_role("region", name=f"Answer for {asked['ask']}")).to_be_visible()
        if "find" in asked:
            expect(page.locator(".filtered")).to_contain_text("Nothing passes these filters")
        if "cell" in asked:
            expect(page.locator("#cell summary").first).to_be_visible()
        expect(page.get_by_text("Reading", exact=False)).to_have_count(0)
        page.evaluate("document.querySelectorAll('details:not(.menu)').forEach(d => { d.open = true })")
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        bad = [(v["id"], [node["html"][:120] for node in v["nodes"]][:3]) for v in result["violations"]]
        if bad:
            found[state] = bad
        assert result["passes"], "axe looked at nothing"
    page.close()
    assert not found


def test_keyboard_alone_asks_filters_and_opens_a_cell(page: Page, demo: str):
    page.goto(f"{demo}#{DEMO}")
    expect(page.locator("table.heat")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the table")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Your backbone:")).to_be_focused()
    page.keyboard.type("resnet101")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Answer for resnet101")).to_be_visible()
    menu = page.locator("summary", has_text="Families")
    for _ in range(30):
        if menu.evaluate("e => e === document.activeElement"):
            break
        page.keyboard.press("Tab")
    expect(menu).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("table.heat td:visible")).to_have_count(10)
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    expect(page.locator("details.menu[open]")).to_have_count(0)


def test_arrows_walk_through_the_map_and_focus_returns(page: Page, demo: str):
    page.goto(f"{demo}#{DEMO}")
    cells = page.locator("table.heat td")
    expect(page.locator("table.heat td[tabindex='0']")).to_have_count(1)
    cells.first.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "End", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    panel = page.get_by_role("complementary", name="ConvNeXt-tiny × LAMB")
    expect(panel).to_be_focused()
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    focused = page.locator("table.heat td:focus")
    expect(focused).to_have_count(1)
    assert focused.evaluate("td => [td.cellIndex - 1, td.parentElement.querySelector('th').textContent]") == [2, "LAMB"]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="ResNet-tiny × LAMB")).to_be_focused()
    page.go_back()
    page.go_back()
    expect(page.get_by_role("complementary", name="ConvNeXt-tiny × LAMB")).to_be_visible()


def test_headers_stay_while_a_large_map_scrolls(browser: Browser, demo: str):
    page = browser.new_page(viewport={"width": 390, "height": 500})
    page.goto(demo)
    expect(page.locator("table.heat")).to_be_visible()
    head = page.locator("table.heat thead th[scope=col]").nth(1)
    row = page.locator("table.heat th[scope=row]").nth(19)
    page.locator(".heatmap").evaluate("e => e.scrollTo(400, 300)")
    place, head_box, row_box = page.locator(".heatmap").bounding_box(), head.bounding_box(), row.bounding_box()
    assert place and head_box and row_box
    assert 0 <= head_box["y"] - place["y"] < 40 and abs(row_box["x"] - place["x"]) < 2
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_reaches_every_view_and_never_scrolls_sideways(
    browser: Browser, demo: str, scheme: Literal["light", "dark"]
):
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    for state in ("", DEMO):
        for view in VIEWS:
            page.goto(f"{demo}#{state}&view={view}")
            table = DEMO.removeprefix("table=") if state else "published-cifar100"
            expect(page.locator(f"main[data-table='{table}'][data-view={view}]")).to_be_visible()
            expect(page.get_by_text("Reading", exact=False)).to_have_count(0)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, (state, view)
    for link in page.get_by_role("navigation", name="Views").get_by_role("link").all():
        expect(link).to_be_visible()
    page.goto(f"{demo}#{DEMO}&backbone=tiny_vit&optimizer=lars&cell=1")
    panel = page.locator("#cell").bounding_box()
    assert panel and panel["x"] == 0 and panel["width"] == 390 and panel["height"] == 844
    page.get_by_role("button", name="Close").click()
    expect(page.locator("table.heat td").first).to_be_visible()
    page.close()


def test_figures_follow_the_colours_of_the_page(browser: Browser, demo: str):
    page = browser.new_page(color_scheme="light")
    page.goto(f"{demo}#view=ranking")
    ground = page.locator("figure svg > rect").first
    expect(ground).to_have_attribute("fill", "#ffffff")
    page.emulate_media(color_scheme="dark")
    expect(ground).to_have_attribute("fill", "#15181c")
    with page.expect_download() as waiting:
        page.locator("figure").first.get_by_role("button", name="SVG").click()
    saved = Path(waiting.value.path()).read_text(encoding="utf-8")
    assert re.search(r'<rect[^>]* fill="#ffffff"', saved)  # paper is white
    page.close()
