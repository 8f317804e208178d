"""The page of an answer: what stands above the table, in the words and numbers of the terminal, and as text only."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from boards import HOSTILE, contents_of, summary_inside
from compared import FLOORS, OPTIMIZERS, answer_of, compared, compared_records, known_of

from bocb_hf.compare.answer import find_answer
from bocb_hf.compare.page import answer_page, make_lead, own_boards
from bocb_hf.compare.words import floor_lines, legend, sentence, table
from bocb_hf.page.lead import Step
from bocb_hf.report.words.labels import optimizer_label


class Parsed(HTMLParser):
    """Elements of a document with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


def test_the_page_leads_with_what_the_terminal_says() -> None:
    contents = contents_of(compared_records())
    answer = answer_of(contents)
    shown = summary_inside(compared().decode())
    lead = shown["lead"]
    assert lead["title"] == "tiny_vit on my photos", "a path is shortened to its name"
    assert lead["sentence"] == sentence(answer, 600) and lead["sentence"].startswith("AdamW at 0.003: ")
    assert lead["notes"] == [*legend(answer), *floor_lines(answer, FLOORS)]
    assert lead["decided"] == known_of().reasons and lead["cuts"] == known_of().cuts
    assert [row["optimizer"] for row in lead["rows"]] == list(OPTIMIZERS)
    assert [row["mark"] for row in lead["rows"]] == ["★", "", ""]
    for row, line in zip(lead["rows"], table(answer)[1:], strict=True):
        assert f"{row['mark']} {row['label']}".strip() in line
        assert f"{row['top1']:.2f}" in line and f"{row['lr']:.3g}" in line and (row["n"], row["diverged"]) == (2, 0)
        if row["loses"] is not None:
            ends = f"[{row['low']:.1f}, {row['high']:.1f}]"
            assert f"{row['loses']:.2f}" in line and ends in line
        assert row["tried"] == [1e-3, 3e-3, 1e-2] and not row["edge"]
    # below it stands the table of its own runs, and the page opens there
    own = next(t for t in shown["tables"] if t["id"] == lead["table"])
    assert shown["open"] == own["id"] == shown["tables"][0]["id"] and lead["backbone"] == own["backbones"][0]["id"]
    means = dict(zip([o["id"] for o in own["optimizers"]], own["cells"]["mean"], strict=True))
    assert means == {row["optimizer"]: pytest.approx(row["top1"], abs=1e-4) for row in lead["rows"]}
    assert {t["kind"] for t in shown["tables"][1:]} == {"published"}


def test_the_page_is_one_file_that_asks_nobody_and_allows_no_inline_script() -> None:
    found = Parsed(compared().decode())
    assert not any(name in attributes for _, attributes in found.elements for name in ("src", "srcset"))
    (policy,) = [a["content"] for _, a in found.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None and "unsafe" not in policy and "default-src 'none'" in policy
    sources = re.findall(r"(?:script|style)-src ([^;]*)", policy)
    assert len(sources) == 2 and all(re.fullmatch(r"'sha256-[A-Za-z0-9+/=]+'", source) for source in sources)


def test_hostile_names_and_paths_stay_text() -> None:
    plain, html = compared().decode(), compared(HOSTILE, f"/data/{HOSTILE}", HOSTILE).decode()
    assert HOSTILE not in html and "<img" not in html
    assert [tag for tag, _ in Parsed(html).elements] == [tag for tag, _ in Parsed(plain).elements]
    lead = summary_inside(html)["lead"]
    assert lead["title"].startswith(HOSTILE) and lead["decided"][0] == HOSTILE and HOSTILE in json.dumps(
        lead["next"], ensure_ascii=False
    ).replace('\\"', '"')  # fmt: skip


def test_an_optimizer_without_a_place_says_why_and_has_no_number() -> None:
    records = [r for r in compared_records() if r.identity.optimizer.name != "lamb" or r.role == "trial"]
    contents = contents_of(records)
    board = next(iter(own_boards(contents).values()))
    lead = make_lead("It is so.", answer_of(contents), FLOORS, known_of(), board, [])
    row = next(row for row in lead.rows if row.optimizer == "lamb")
    assert (row.top1, row.loses, row.n, row.seconds, row.lr) == (None, None, 0, None, None)
    assert row.why == "has no final run" and f"{optimizer_label('lamb')} has no final run." in lead.notes
    assert row.tried == (1e-3, 3e-3, 1e-2)


@pytest.mark.parametrize("trials", [False, True])
def test_a_page_before_any_final_run(trials: bool) -> None:
    contents = contents_of([r for r in compared_records() if r.role == "trial"] if trials else [])
    answer = answer_of(contents) if trials else find_answer([])
    page = answer_page("There is no answer.", answer, [], known_of(), contents, [Step("Go on:", ("bocb compare",))])
    shown = summary_inside(page.decode())
    assert shown["lead"]["sentence"] == "There is no answer." and shown["lead"]["next"][0]["commands"] == [
        "bocb compare"
    ]
    assert (shown["lead"]["table"] is not None) == trials
    assert shown["open"] == (shown["tables"][0]["id"] if trials else "published-cifar100")


def test_other_pages_lead_with_nothing() -> None:
    from bocb_hf.page.data import page_data
    from bocb_hf.page.document import one_file

    boards = own_boards(contents_of(compared_records()))
    assert summary_inside(one_file(page_data(boards, "outputs/store")).decode())["lead"] is None
