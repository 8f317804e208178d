"""The page of `bocb compare` in a browser, and the figures that compare optimizers on every table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from boards import HOSTILE, write_board
from compared import compared, compared_records
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("compared") / "answer.html"
    path.write_bytes(compared())
    return path.as_uri()


def test_the_answer_stands_above_the_comparisons_own_table(page: Page, answer: str):
    page.goto(answer)
    lead = page.get_by_role("region", name="Answer of the comparison")
    expect(lead.get_by_role("heading", name="tiny_vit on my photos")).to_be_visible()
    expect(lead.locator("p.big")).to_contain_text("AdamW at 0.003: ")
    rows = lead.locator("table.rows tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("★ AdamW")
    expect(rows.first).to_contain_text("0.001, 0.003, 0.01")
    expect(lead).to_contain_text("chance, 10 classes: 10.0")
    expect(lead.get_by_label("Push everything:")).to_contain_text("bocb push --store")
    expect(lead).to_contain_text("epochs: 2 instead of 8")
    expect(lead).to_contain_text("Classes: cat, dog, b>o.")
    expect(page.locator("table.heat td")).to_have_count(3)
    page.locator("table.heat td").first.click()
    expect(page.locator("#cell")).to_contain_text("n = 2 (seeds 1, 2)")


def test_its_curves_are_figures_of_the_page(page: Page, answer: str):
    page.goto(answer)
    lead = page.get_by_role("region", name="Answer of the comparison")
    for name in (
        "by learning rate under each",
        "Validation top-1 of ViT-tiny over epochs",
        "Training loss of ViT-tiny",
    ):
        figure = lead.get_by_role("img", name=re.compile(name))
        expect(figure).to_be_visible()
        for optimizer in ("AdamW", "SGD-M", "LAMB"):
            expect(figure).to_contain_text(optimizer)
    rates = lead.get_by_role("img", name=re.compile("by learning rate"))
    expect(rates.locator("circle[r='6']")).to_have_count(3)  # the chosen rate of each
    expect(rates.locator("circle[r='3']")).to_have_count(3)  # one more rate each
    expect(rates.locator("path").filter(has_text="diverged at 0.001")).to_have_count(3)
    with page.expect_download() as waiting:
        lead.locator("figure").first.get_by_role("button", name="SVG").click()
    assert waiting.value.suggested_filename.endswith("-rates-tiny_vit.svg")
    assert Path(waiting.value.path()).read_bytes().startswith(b"<?xml")


def test_hostile_names_of_a_comparison_are_shown_as_text(page: Page, tmp_path: Path):
    path = tmp_path / "answer.html"
    path.write_bytes(compared(HOSTILE, f"/data/{HOSTILE}", HOSTILE))
    page.goto(path.as_uri())
    lead = page.get_by_role("region", name="Answer of the comparison")
    expect(lead.get_by_role("heading", name=re.compile("pwned")).first).to_be_visible()
    expect(lead).to_contain_text("Classes: cat, dog, b>o.")
    expect(lead.locator("figure svg").first).to_be_visible()
    assert page.evaluate("window.pwned") is None
    assert page.locator("img:not([role])").count() == 0


def test_every_table_compares_the_optimizers_of_a_backbone(page: Page, serve: object, tmp_path: Path):
    assert callable(serve)
    page.goto(f"{serve(write_board(tmp_path / 'board.parquet', compared_records()))}")
    name = page.get_by_label("Table", exact=True).locator("option").first
    expect(name).to_be_attached()
    page.goto(f"{page.url.partition('#')[0]}#table={name.get_attribute('value')}&view=backbone")
    ridges = page.get_by_role("img", name=re.compile("of ViT-tiny by layer under each optimizer"))
    expect(ridges).to_contain_text("entropy, nats")
    text = ridges.locator("text").all_text_contents()
    order = [next(i for i, each in enumerate(text) if each.startswith(label)) for label in ("AdamW", "SGD-M", "LAMB")]
    assert order == sorted(order), "the best first"
    page.get_by_label("Pattern", exact=True).select_option("alpha")
    expect(page).to_have_url(re.compile("axis=alpha"))
    expect(ridges.locator("circle")).to_have_count(3)  # one layer of three has a good fit


def test_a_cell_shows_alpha_with_its_fit_and_the_inspections(page: Page, serve: object, tmp_path: Path):
    assert callable(serve)
    page.goto(f"{serve(write_board(tmp_path / 'board.parquet', compared_records()))}")
    name = page.get_by_label("Table", exact=True).locator("option").first
    expect(name).to_be_attached()
    table = name.get_attribute("value")
    page.goto(f"{page.url.partition('#')[0]}#table={table}&backbone=tiny_vit&optimizer=lamb&cell=1")
    page.locator("#cell summary", has_text="Weights, layer by layer").click()
    rows = page.locator("#cell table.rows").filter(has_text="fit of α").locator("tbody tr")
    expect(rows).to_have_count(9)  # three layers at two steps and at the end
    expect(rows.nth(6)).to_contain_text("3.55")
    expect(rows.nth(7)).to_contain_text("poor fit")
    expect(rows.nth(7)).not_to_contain_text("7.77")
    sharp = page.locator("#cell table.rows").filter(has_text="sharpness").locator("tbody tr")
    expect(sharp).to_have_count(4)
    expect(sharp.first).to_contain_text("12.5 (did not converge)")
    expect(sharp.nth(1)).to_contain_text("no second derivative here")
