"""The page in a real browser: what it shows, where its addresses lead, and what it hands out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from boards import write_board, write_large
from playwright.sync_api import Browser, Page, Route, expect

pytestmark = pytest.mark.browser
Serve = Callable[[Path], str]
DEMO = "table=fashion_mnist_subset-demo-2337f0b"
VIEWS = (
    *("table", "backbone", "optimizer", "coupling", "contrast", "ranking"),
    *("cost", "study", "transfer", "tuning", "missing", "data"),
)


def cells(page: Page):
    """The cells of the heat map that are shown."""
    return page.locator("table.heat td:visible")


def cell(page: Page, row: str, column: int):
    """A cell of the heat map, by its optimizer and the place of its backbone among those that are shown."""
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=row, exact=True)).locator(
        "td:visible"
    ).nth(column)  # fmt: skip


def test_it_opens_on_the_most_informative_table_with_the_whole_map_in_sight(page: Page, demo: str):
    page.goto(demo)
    expect(cells(page)).to_have_count(400)
    expect(page.get_by_label("Table", exact=True)).to_have_value("published-cifar100")
    for corner in (cells(page).first, cells(page).last):
        expect(corner).to_be_in_viewport(ratio=1)
    box = page.locator(".heatmap").evaluate("e => [e.scrollHeight - e.clientHeight, e.scrollWidth - e.clientWidth]")
    assert box == [0, 0]
    assert page.locator("main").inner_text().count("n = 1 a cell") >= 1
    assert not re.search(r"n1|\(1\)", page.locator("table.heat").inner_text())  # n is said once


def test_a_click_opens_the_cell_beside_the_map(page: Page, demo: str):
    page.goto(f"{demo}#{DEMO}")
    expect(cells(page)).to_have_count(20)
    cell(page, "LARS", 3).click()
    panel = page.get_by_role("complementary", name="ViT-tiny × LARS")
    expect(panel).to_be_focused()
    expect(panel).to_contain_text("n = 2 (seeds 1, 2)")
    expect(panel).to_contain_text("bocb train --reproduce outputs/demo/store/")
    expect(panel.locator("figure svg").first).to_be_visible()
    expect(page).to_have_url(re.compile("backbone=tiny_vit&optimizer=lars&cell=1"))
    map_box, panel_box = page.locator(".heatmap").bounding_box(), panel.bounding_box()
    assert map_box and panel_box and panel_box["x"] >= map_box["x"] + map_box["width"]  # both are in sight
    expect(cell(page, "LARS", 3)).to_have_attribute("aria-selected", "true")


def test_only_the_cell_that_is_asked_for_is_fetched(page: Page, demo: str):
    ranges: list[str | None] = []
    page.on("request", lambda r: ranges.append(r.headers.get("range")) if r.url.endswith("details.bin") else None)
    page.goto(f"{demo}#{DEMO}")
    expect(cells(page)).to_have_count(20)
    assert ranges == []
    entries = page.evaluate("performance.getEntriesByType('resource').map(e => [e.name, e.initiatorType])")
    (started,) = [kind for name, kind in entries if name.endswith("/summary.json.gz")]
    assert started == "link"  # by the document, beside the script, and not a second time by the script
    cell(page, "LARS", 3).click()
    expect(page.locator("#cell figure").first).to_be_visible()
    assert len(ranges) == 1 and ranges[0] and ranges[0].startswith("bytes=")


def test_a_host_without_ranges_serves_it_too(page: Page, demo: str):
    def whole(route: Route) -> None:
        route.continue_(headers={k: v for k, v in route.request.headers.items() if k.lower() != "range"})

    page.route("**/details.bin", whole)
    page.goto(f"{demo}#{DEMO}&backbone=tiny_vit&optimizer=lars&cell=1")
    expect(page.locator("#cell")).to_contain_text("n = 2 (seeds 1, 2)")
    page.goto(f"{demo}#{DEMO}&view=tuning")
    expect(page.get_by_role("heading", name="What few trials cost")).to_be_visible()


def test_filters_hide_and_say_what_still_refers_to_the_whole_table(page: Page, browser: Browser, demo: str):
    page.goto(f"{demo}#{DEMO}")
    expect(cells(page)).to_have_count(20)
    shades = cell(page, "AdamW", 2).get_attribute("class")
    page.locator("summary", has_text="Families").click()
    page.get_by_label("modern").check()
    expect(cells(page)).to_have_count(10)
    page.keyboard.press("Escape")
    page.locator("summary", has_text="Optimizers").click()
    page.get_by_label("b: adaptive learning rate, momentum").check()
    expect(cells(page)).to_have_count(4)
    expect(page.locator(".filtered")).to_contain_text("whole table of 4 × 5")
    assert cell(page, "AdamW", 0).get_attribute("class") == shades  # the scale does not move
    expect(page).to_have_url(re.compile("families=modern&categories=b"))
    page.keyboard.press("Escape")  # the open menu lies over the names of the views
    page.get_by_role("link", name="Ranks").click()
    expect(page.locator("table.rows").first.locator("tbody tr")).to_have_count(2)
    other = browser.new_page()
    other.goto(page.url)
    expect(other.locator("table.rows").first.locator("tbody tr")).to_have_count(2)
    other.close()
    page.get_by_role("link", name="Clear filters").click()
    expect(page.locator("table.rows").first.locator("tbody tr")).to_have_count(5)


def test_empty_filters_show_no_headline(page: Page, demo: str):
    page.goto(f"{demo}#{DEMO}&find=nothing-of-that-name")
    expect(page.locator(".filtered")).to_contain_text("Nothing passes these filters")
    expect(page.locator("table.heat")).to_have_count(0)
    expect(page.locator(".headline")).to_have_count(0)


def test_size_and_text_filter_backbones(page: Page, demo: str):
    page.goto(demo)
    page.get_by_label("Largest number of parameters in millions").first.fill("6")
    expect(cells(page)).to_have_count(40)  # MobileNetV2 and EfficientNet-B0
    page.get_by_role("link", name="Clear filters").click()
    page.get_by_placeholder("backbone, optimizer").fill("deit")
    expect(cells(page)).to_have_count(20)


def test_back_and_forward_walk_through_views_and_cells(page: Page, demo: str):
    page.goto(f"{demo}#{DEMO}")
    expect(cells(page)).to_have_count(20)
    page.evaluate("window.kept = true")
    page.locator("table.heat").get_by_role("link", name="ViT-tiny").click()
    rows = page.locator("table.rows").first.locator("tbody tr")
    expect(rows).to_have_count(5)
    rows.get_by_role("link", name="LARS").click()
    expect(page.locator("#cell h2")).to_contain_text("ViT-tiny × LARS")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#cell")).to_have_count(0)
    expect(cell(page, "LARS", 3)).to_be_focused()
    page.go_back()
    expect(page.locator("#cell h2")).to_contain_text("ViT-tiny × LARS")
    page.go_back()
    expect(rows).to_have_count(5)
    page.go_forward()
    expect(page.locator("#cell")).to_be_visible()
    assert page.evaluate("window.kept")  # the page was never loaded anew


def test_every_view_opens_on_every_table(page: Page, demo: str):
    page.goto(demo)
    options = page.get_by_label("Table", exact=True).locator("option")
    expect(options).to_have_count(5)
    tables = options.evaluate_all("all => all.map(o => o.value)")
    for table in tables:
        for view in VIEWS:
            page.goto(f"{demo}#table={table}&view={view}")
            expect(page.locator(f"main[data-table='{table}'][data-view={view}]")).to_be_visible()
            expect(page.locator("main h2, main table.heat").first).to_be_visible()
            expect(page.get_by_text("Reading", exact=False)).to_have_count(0)
            expect(page.locator("[role=alert]")).to_have_count(0)


def test_the_contrast_has_a_row_and_an_interval_for_each_backbone(page: Page, demo: str):
    page.goto(f"{demo}#{DEMO}&view=contrast")
    figure = page.get_by_role("img", name=re.compile("SGD minus adaptive on each backbone"))
    expect(figure).to_be_visible()
    for name in ("ResNet-tiny", "MobileNet-tiny", "ConvNeXt-tiny", "ViT-tiny"):
        expect(figure).to_contain_text(name)


def test_addresses_of_the_page_before_still_lead_there(page: Page, demo: str):
    page.goto(f"{demo}?{DEMO}&view=cost&backbone=tiny_vit&axis=memory")
    expect(page.locator("main[data-view=cost]")).to_contain_text("MiB")
    expect(page.get_by_label("Backbone", exact=True)).to_have_value("tiny_vit")


def test_a_backbone_is_answered_first(page: Page, demo: str):
    page.goto(demo)
    field = page.get_by_label("Your backbone:")
    field.fill("resnet101")
    field.press("Enter")
    answer = page.get_by_role("region", name="Answer for resnet101")
    expect(answer.locator("p.big").first).to_contain_text("resnet101: use ")
    expect(answer).to_contain_text("is not measured here; it is judged by its design")
    expect(answer).not_to_contain_text("classical_cnn")
    expect(page).to_have_url(re.compile("ask=resnet101"))
    field.fill("ViT-tiny")
    field.press("Enter")
    answer = page.get_by_role("region", name="Answer for ViT-tiny")
    expect(answer.get_by_text("demo, not for your model").first).to_be_visible()
    field.fill("no-such-net")
    field.press("Enter")
    expect(page.get_by_role("region", name="Answer for no-such-net")).to_contain_text("is known here")


def test_the_hub_is_asked_only_when_a_person_asks(browser: Browser, demo: str):
    page = browser.new_page()
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(json={"model_type": "convnext"}, headers={"access-control-allow-origin": "*"})

    page.route("https://huggingface.co/**", answer)
    page.goto(f"{demo}#ask=lab/some-net")
    ask = page.get_by_role("button", name="Ask huggingface.co for its config.json")
    expect(ask).to_be_visible()
    assert asked == []  # a link that somebody sent asks nobody
    ask.click()
    found = page.get_by_role("region", name="Answer for lab/some-net")
    expect(found).to_contain_text("Its config.json says convnext.")
    expect(found.locator("p.big").first).to_contain_text("lab/some-net: use ")
    assert asked == ["https://huggingface.co/lab/some-net/resolve/main/config.json"]
    page.close()


def test_tables_sort_and_choose_columns(page: Page, demo: str):
    page.goto(f"{demo}#view=ranking")
    rows = page.locator("table.rows").first.locator("tbody tr")
    page.get_by_role("button", name="failed on").click()
    expect(rows.first).to_contain_text("AdaGrad")
    expect(page.get_by_role("columnheader", name="failed on")).to_have_attribute("aria-sort", "descending")
    expect(page).to_have_url(re.compile("sort.ranking=-failed_on"))
    page.locator("summary", has_text="Columns").first.click()
    page.get_by_label("category", exact=True).check()
    expect(rows.first).to_contain_text("d: adaptive learning rate, current gradient")
    page.keyboard.press("Escape")
    page.get_by_label("Find", exact=False).nth(1).fill("adam")
    expect(rows).to_have_count(6)
    page.reload()
    expect(rows).to_have_count(6)


def test_no_own_results(page: Page, serve: Serve, tmp_path: Path):
    page.goto(serve(write_board(tmp_path / "empty.parquet", [])))
    expect(cells(page)).to_have_count(400)
    page.get_by_role("link", name="Cost", exact=True).click()
    expect(page.locator("main")).to_contain_text("published no cost")


@pytest.mark.parametrize("size", [(20, 20), (100, 60)])
def test_large_tables(page: Page, serve: Serve, tmp_path: Path, size: tuple[int, int]):
    page.goto(serve(write_large(tmp_path / "large.parquet", *size)))
    expect(cells(page)).to_have_count(size[0] * size[1])
    page.locator("summary", has_text="Families").click()
    page.get_by_label("modern").check()
    expect(cells(page)).to_have_count(size[0] * size[1] // 2)
    page.keyboard.press("Escape")
    cells(page).first.click()
    expect(page.locator("#cell h2")).to_be_visible()


def test_a_backbone_of_a_table_that_is_too_large_for_answers(page: Page, serve: Serve, tmp_path: Path):
    page.goto(f"{serve(write_large(tmp_path / 'large.parquet', 51, 20))}#ask=b7")
    answer = page.get_by_role("region", name="Answer for b7")
    expect(answer.locator("p.big")).to_have_text(re.compile(r"^b7: o\d+ has the highest mean: \d\d\.\d\d, n = 2"))
    expect(answer).to_contain_text("With 1,020 cells this table has no answers here")
    answer.get_by_role("link", name="A large table").click()
    expect(page.locator("main[data-view=backbone] h2")).to_have_text("b7")
    page.goto(f"{page.url.partition('#')[0]}#ask=resnet101")
    expect(page.get_by_role("region", name="Answer for resnet101")).to_contain_text("No table here can answer")
