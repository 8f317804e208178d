"""The page as a document: its policy, its data inside or beside it, and texts that cannot leave their place."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from boards import HOSTILE, poison, write_board

from bocb_hf.errors import InputError
from bocb_hf.page import document as module
from bocb_hf.page.data import PageData, page_data
from bocb_hf.page.document import (
    DETAILS,
    INDEX,
    PARQUET,
    SCRIPT,
    STYLE,
    SUMMARY,
    Addresses,
    folder_files,
    one_file,
    page_files,
)
from bocb_hf.page.read import LeaderboardFile


class Parsed(HTMLParser):
    """Elements of a document with their attributes, and the text of each script and style by its place."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.append("")
        self.open = True
        assert not any(name.startswith("on") for name, _ in attrs), "no handler"
        assert "style" not in dict(attrs), "no style that the policy would refuse"

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self.open = False

    def inner(self, wanted: str) -> str:
        """The text of the element of an id."""
        (place,) = [i for i, (_, attributes) in enumerate(self.elements) if attributes.get("id") == wanted]
        return self.texts[place]

    @property
    def policy(self) -> dict[str, list[str]]:
        """The content security policy by directive."""
        (text,) = [a["content"] for _, a in self.elements if a.get("http-equiv") == "Content-Security-Policy"]
        assert text is not None
        return {name: sources for name, *sources in (part.split() for part in text.split(";"))}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_board(tmp_path_factory.mktemp("board") / "leaderboard.parquet")


@pytest.fixture(scope="module")
def hostile(board: Path, tmp_path_factory: pytest.TempPathFactory) -> PageData:
    path = poison(board, tmp_path_factory.mktemp("hostile") / "leaderboard.parquet")
    own = dict(list(LeaderboardFile(path).boards.items())[:1])
    return page_data(own, HOSTILE, [(HOSTILE, HOSTILE, HOSTILE)])


def test_one_file_holds_everything_and_asks_nobody(hostile: PageData) -> None:
    content = one_file(hostile, "coupling.parquet").decode()
    found = Parsed(content)
    assert not any(name in attributes for _, attributes in found.elements for name in ("src", "srcset", "data"))
    assert [a["href"] for _, a in found.elements if "href" in a] == ["data:,"]
    assert json.loads(found.inner("bocb-config"))["parquet"] == "coupling.parquet"
    assert json.loads(found.inner("bocb-config"))["summary"] is None
    assert base64.b64decode(found.inner("bocb-summary")) == hostile.summary
    assert base64.b64decode(found.inner("bocb-details")) == hostile.details


def test_the_policy_allows_the_scripts_of_the_page_and_no_other(hostile: PageData) -> None:
    found = Parsed(one_file(hostile).decode())
    for tag, directive in (("script", "script-src"), ("style", "style-src")):
        inside = [
            text
            for (name, attributes), text in zip(found.elements, found.texts, strict=True)
            if name == tag and "type" not in attributes
        ]
        hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in inside]
        assert found.policy[directive] == hashes and len(hashes) == 1
    folder = Parsed(page_files(Addresses())[INDEX].decode())
    for policy in (found.policy, folder.policy):
        assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == ["'none'"]
        assert not {"'unsafe-inline'", "'unsafe-eval'", "*"} & {source for each in policy.values() for source in each}
    assert folder.policy["script-src"] == folder.policy["style-src"] == ["'self'"]
    assert [a["src"] for _, a in folder.elements if "src" in a] == [SCRIPT]


def test_hostile_text_cannot_leave_its_block(hostile: PageData) -> None:
    content = one_file(hostile, HOSTILE).decode()
    assert HOSTILE not in content and content.count("<script") == 4 == content.count("</script")
    assert json.loads(Parsed(content).inner("bocb-config"))["parquet"] == HOSTILE, "and is text all the same"
    shown = json.loads(gzip.decompress(hostile.summary))
    assert shown["quarantined"] == [{"repository": HOSTILE, "path": HOSTILE, "reason": HOSTILE}]
    assert shown["source"] == HOSTILE
    # nor leaves BibTeX: its braces stay balanced
    assert shown["citation"].count("{") == shown["citation"].count("}")
    assert html.escape(HOSTILE) not in content, "no text of a record stands in the document at all"


def test_an_end_tag_in_the_front_end_does_not_end_it(hostile: PageData, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {SCRIPT: 'const a = "</script><!--";', STYLE: "/* </style> */"}
    monkeypatch.setattr(module, "_bundle", texts.__getitem__)
    content = one_file(hostile).decode()
    assert content.count("</script") == 4 and content.count("</style") == 1
    assert r'const a = "<\/script><\!--";' in content


def test_a_folder_holds_page_and_data(hostile: PageData) -> None:
    files = folder_files(hostile, b"PAR1")
    assert set(files) == {INDEX, SCRIPT, STYLE, SUMMARY, DETAILS, PARQUET}
    assert (files[SUMMARY], files[DETAILS], files[PARQUET]) == (hostile.summary, hostile.details, b"PAR1")
    config = json.loads(Parsed(files[INDEX].decode()).inner("bocb-config"))
    assert config == {
        **{"format": 1, "summary": SUMMARY, "details": DETAILS, "parquet": PARQUET, "space": None},
        "hub": config["hub"],
    }
    assert re.fullmatch(r"https?://[\w.:-]+", config["hub"])


def test_an_installation_without_its_front_end_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_BUNDLE", tmp_path)
    with pytest.raises(InputError, match=r"page\.js of the page is missing from this installation"):
        page_files(Addresses())
