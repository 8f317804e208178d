"""The static Space: what is put there, left alone and refused, and how one that ran Gradio is converted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from boards import contents_of
from builders import make_grid
from hub_client import HubClient
from hub_server import HubServer

from bocb_hf.page.document import DETAILS, INDEX, PARQUET, SCRIPT, STYLE, SUMMARY, folder_files
from bocb_hf.page.locate import locate
from bocb_hf.page.write import leaderboard_parquet
from bocb_hf.results.dataset import LEADERBOARD, PAGE_DETAILS, PAGE_SUMMARY
from bocb_hf.runs import strict_yaml

SPACE, RESULTS = "lab/coupling", "hf://datasets/lab/results"
PAGE, DATA = {"README.md", INDEX, SCRIPT, STYLE}, {SUMMARY, DETAILS, PARQUET}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A leaderboard of four cells."""
    cells = {(b, o): [1500, 1510] for b in ("tiny_resnet", "tiny_vit") for o in ("sgdm", "adamw")}
    path = tmp_path_factory.mktemp("board") / "board.parquet"
    path.write_bytes(leaderboard_parquet(contents_of(make_grid(cells), "x"), 100))
    return path


@pytest.fixture
def deploy(hub: HubServer, hub_client: HubClient, board: Path) -> Any:
    """Deploys in the client's process; the results data set is published and public."""
    files = {LEADERBOARD: board.read_bytes(), PAGE_SUMMARY: b"summary", PAGE_DETAILS: b"details"}
    hub.put("lab/results", files, kind="datasets")
    code = """
from bocb_hf.page.deploy import deploy
result = deploy(space, source)
"""

    def call(source: str = RESULTS, space: str = SPACE, token: str | None = "hf_writer") -> Any:
        return hub_client(code, token, source=source, space=space)

    # functions take attributes
    call.refused = lambda source=RESULTS, space=SPACE, token="hf_writer": hub_client.refused(  # type: ignore[attr-defined]
        code, token, source=source, space=space
    )
    return call


def held(hub: HubServer) -> dict[str, bytes]:
    files = hub.repository(SPACE, "spaces").files
    return {path: file.content for path, file in files.items() if not path.startswith(".")}


def front_matter(card: bytes) -> dict[str, Any]:
    return strict_yaml.parse(card.decode().split("---\n")[1], "README.md")


def config(index: bytes) -> dict[str, Any]:
    match = re.search(r'id="bocb-config">(.*?)</script>', index.decode())
    assert match is not None
    return json.loads(match[1])


def test_a_space_reads_the_published_data_set(hub: HubServer, deploy: Any) -> None:
    url, revision, written, deleted, follows = deploy()
    assert url == f"{hub.url}/spaces/{SPACE}" and revision == hub.repository(SPACE, "spaces").head
    found = held(hub)
    assert set(found) == set(written) == PAGE and deleted == [] and follows == RESULTS
    base = f"{hub.url}/datasets/lab/results/resolve/main"
    assert config(found[INDEX]) == {
        **{"format": 1, "hub": hub.url, "space": SPACE, "parquet": f"{base}/{LEADERBOARD}"},
        **{"summary": f"{base}/{PAGE_SUMMARY}", "details": f"{base}/{PAGE_DETAILS}"},
    }
    assert f"connect-src &#x27;self&#x27; {hub.url} " in found[INDEX].decode() or f"'self' {hub.url} " in (
        found[INDEX].decode()
    )
    card = front_matter(found["README.md"])
    assert (card["sdk"], card["app_file"]) == ("static", INDEX) and "sdk_version" not in card
    assert card["datasets"] == ["lab/results"] and card["license"] == "apache-2.0" and "bocb" in card["tags"]
    assert len(card["short_description"]) <= 60
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {card["colorFrom"], card["colorTo"]} <= colours, "others are refused by the Hub"
    assert not any(b"hf_writer" in content for content in found.values())
    # again: nothing is sent
    before = hub.count("/(commit|preupload)/")
    assert deploy() == [url, revision, [], [], RESULTS]
    assert hub.count("/(commit|preupload)/") == before


def test_a_local_file_lies_in_the_space(hub: HubServer, deploy: Any, board: Path) -> None:
    assert deploy(str(board))[4] is None
    found = held(hub)
    located = locate(str(board))
    assert set(found) == PAGE | DATA and found[PARQUET] == board.read_bytes()
    files = folder_files(located.data(), located.content)
    assert (found[SUMMARY], found[DETAILS]) == (files[SUMMARY], files[DETAILS])
    assert config(found[INDEX])["summary"] == SUMMARY and config(found[INDEX])["space"] == SPACE
    assert "datasets" not in front_matter(found["README.md"])
    assert str(board.parent) not in found[INDEX].decode() + found["README.md"].decode()
    # from now on it follows the data set: the copies go
    _, _, _, deleted, _ = deploy()
    assert set(deleted) == DATA and set(held(hub)) == PAGE


def test_a_gradio_space_of_this_project_is_converted(hub: HubServer, deploy: Any) -> None:
    card = b"---\nsdk: gradio\nsdk_version: 6.31.0\napp_file: app.py\ntags:\n- bocb\n---\n"
    old = {
        "README.md": card,
        "app.py": b"serve()",
        "requirements.txt": b"numpy",
        "bocb_hf-0.1.0-py3-none-any.whl": b"PK",
    }
    hub.put(SPACE, {**old, PARQUET: b"PAR1", "notes.md": b"of the owner"}, kind="spaces")
    _, _, written, deleted, _ = deploy()
    assert set(written) == PAGE
    assert set(deleted) == {"app.py", "requirements.txt", "bocb_hf-0.1.0-py3-none-any.whl", PARQUET}
    assert set(held(hub)) == {*PAGE, "notes.md"}, "what is not ours stays"
    assert front_matter(held(hub)["README.md"])["sdk"] == "static"


def test_a_data_set_of_0_1_is_copied(hub: HubServer, deploy: Any) -> None:
    """It holds no files for a page, so that the Space shows it as it is today."""
    old = Path(__file__).resolve().parents[1] / "golden" / "leaderboard_of_0_1.parquet"
    hub.put("lab/old", {LEADERBOARD: old.read_bytes()}, kind="datasets")
    assert deploy("hf://datasets/lab/old")[4] is None
    found = held(hub)
    assert set(found) == PAGE | DATA and found[PARQUET] == old.read_bytes()
    assert front_matter(found["README.md"])["datasets"] == ["lab/old"]
    assert "as it was when the" in found["README.md"].decode()


def test_the_command_says_what_it_did(hub: HubServer, deploy: Any, hub_client: HubClient) -> None:
    words = ["leaderboard", "--deploy", SPACE, "--data", RESULTS]
    code = "from bocb_hf.cli import main\nresult = main(words)"
    assert hub_client(code, words=words) == 0
    out = hub_client.last["out"]
    assert f"{hub.url}/spaces/{SPACE} at " in out and f"; it reads {RESULTS}\n" in out
    assert ": wrote index.html, page.js, page.css, README.md;" in out
    assert hub_client(code, words=words) == 0 and ": nothing has changed;" in hub_client.last["out"]
    assert hub_client(code, "hf_reader", words=words) == 2 and "may only read" in hub_client.last["out"]


def test_somebody_commits_in_between(hub: HubServer, deploy: Any) -> None:
    hub.fail("POST", "/spaces/.*/commit/", status=412)
    deploy()
    assert set(held(hub)) == PAGE


def test_what_is_refused(hub: HubServer, deploy: Any, tmp_path: Path) -> None:
    hub.put("lab/other", {"app.py": b"theirs", "README.md": b"---\nsdk: gradio\n---\n"}, kind="spaces")
    hub.put("lab/closed", {LEADERBOARD: b"x"}, kind="datasets")
    hub.repository("lab/closed", "datasets").private = True
    hub.put("lab/empty", {"README.md": b"x"}, kind="datasets")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    for given, said in (
        ({"space": "coupling"}, "is no Space; write <user or organisation>/<name>"),
        ({"space": "lab/other"}, "shows something else already"),
        ({"space": "eve/coupling"}, "not a member of eve"),
        ({"token": "hf_reader"}, "may only read"),
        ({"source": "hf://datasets/lab/closed"}, "no such public data set, and a page holds no token"),
        ({"source": "hf://datasets/lab/none"}, "no such public data set"),
        ({"source": "hf://datasets/lab/empty"}, "holds no data/leaderboard.parquet; `bocb publish"),
        ({"source": "hf://lab"}, "is no data set of the Hub"),
        ({"source": str(tmp_path / "bad.parquet")}, "cannot be read as a leaderboard"),
        ({"source": str(tmp_path / "none.parquet")}, "none.parquet"),
    ):
        kind, text = deploy.refused(**given)
        assert kind in ("InputError", "HubError") and said in text, (given, kind, text)
    assert ("spaces", SPACE) not in hub.repositories, "nothing was made"


def test_a_token_in_the_data_is_not_deployed(hub: HubServer, deploy: Any, board: Path, tmp_path: Path) -> None:
    table = pq.read_table(board)
    leaking = tmp_path / "leak.parquet"
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"note": b"hf_writer"}), leaking)
    kind, text = deploy.refused(str(leaking))
    assert kind == "InputError" and f"{PARQUET} would carry your token into the Space" in text
    assert ("spaces", SPACE) not in hub.repositories
