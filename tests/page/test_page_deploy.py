"""The Space: what is put there, what is left alone, what is refused; and its folder starts as a Space starts it."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from builders import make_grid
from hub_client import HubClient
from hub_server import HubServer

import bocb_hf
from bocb_hf.errors import InputError
from bocb_hf.page import deploy as module
from bocb_hf.page.deploy import build_wheel, check_source, space_files
from bocb_hf.page.write import leaderboard_parquet
from bocb_hf.results.dataset import LEADERBOARD
from bocb_hf.runs import strict_yaml
from bocb_hf.store.contents import StoreContents

SPACE, RESULTS = "lab/coupling", "hf://datasets/lab/results"
APP = """
import bocb_hf
def serve(location, host="127.0.0.1", port=7860):
    print(bocb_hf.__file__, location, host, port, sep="\\n")
"""
REQUIRES = ("numpy>=1.26", 'torch>=2.7; extra == "train"', 'gradio>=6.0; extra == "leaderboard"')


def make_wheel(
    folder: Path, release: str = "9.9", *, requires: tuple[str, ...] = REQUIRES, name: str = "bocb-hf"
) -> Path:
    """A wheel like ours, with an app that says how it was called."""
    path = folder / f"bocb_hf-{release}-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.4\nName: {name}\nVersion: {release}\n"
    metadata += "".join(f"Requires-Dist: {text}\n" for text in requires)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"bocb_hf-{release}.dist-info/METADATA", metadata)
        archive.writestr("bocb_hf/__init__.py", f"__version__ = {release!r}\n")
        archive.writestr("bocb_hf/leaderboard/__init__.py", "")
        archive.writestr("bocb_hf/leaderboard/app.py", APP)
    return path


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A leaderboard of four cells."""
    cells = {(b, o): [1500, 1510] for b in ("tiny_resnet", "tiny_vit") for o in ("sgdm", "adamw")}
    records = make_grid(cells)
    places = {(r.role, r.run_id): f"lab/{r.repository()}/{r.path()}" for r in records}
    path = tmp_path_factory.mktemp("board") / "board.parquet"
    path.write_bytes(leaderboard_parquet(StoreContents("x", records, places=places), 100))
    return path


@pytest.fixture
def deploy(hub: HubServer, hub_client: HubClient, board: Path) -> Any:
    """Deploys in the client's process; the results data set is published and public."""
    hub.put("lab/results", {LEADERBOARD: board.read_bytes()}, kind="datasets")
    code = """
from pathlib import Path
from bocb_hf.page.deploy import deploy
result = deploy(space, source, Path(wheel) if wheel else None)
"""

    def call(wheel: Path | None, source: str = RESULTS, space: str = SPACE, token: str | None = "hf_writer") -> Any:
        return hub_client(code, token, wheel=wheel and str(wheel), source=source, space=space)

    call.refused = lambda wheel, source=RESULTS, space=SPACE, token="hf_writer": hub_client.refused(  # type: ignore[attr-defined]
        code, token, wheel=wheel and str(wheel), source=source, space=space
    )
    return call


def held(hub: HubServer) -> dict[str, bytes]:
    files = hub.repository(SPACE, "spaces").files
    return {path: file.content for path, file in files.items() if not path.startswith(".")}


def front_matter(card: bytes) -> dict[str, Any]:
    return strict_yaml.parse(card.decode().split("---\n")[1], "README.md")


def test_a_space_is_made_and_then_only_changed(hub: HubServer, deploy: Any, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    url, revision, written, deleted = deploy(wheel)
    assert url == f"{hub.url}/spaces/{SPACE}" and revision == hub.repository(SPACE, "spaces").head
    found = held(hub)
    assert set(found) == set(written) == {"README.md", "app.py", "requirements.txt", wheel.name} and deleted == []
    assert found["requirements.txt"] == b"numpy>=1.26\n"
    assert found[wheel.name] == wheel.read_bytes()
    card = front_matter(found["README.md"])
    import gradio

    assert card["sdk"] == "gradio" and card["sdk_version"] == gradio.__version__ and card["app_file"] == "app.py"
    assert card["datasets"] == ["lab/results"] and card["license"] == "apache-2.0" and "bocb" in card["tags"]
    assert len(card["short_description"]) <= 60 and re.fullmatch(r"3\.\d+", card["python_version"])
    assert {"title", "emoji", "colorFrom", "colorTo"} <= card.keys()
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {card["colorFrom"], card["colorTo"]} <= colours, "others are refused by the Hub"
    assert not any(b"hf_writer" in content for content in found.values())
    # again: nothing is sent
    before = hub.count("/(commit|preupload)/")
    assert deploy(wheel) == [url, revision, [], []]
    assert hub.count("/(commit|preupload)/") == before
    # a new release takes the place of the old one, and the requirements stay as they are
    newer = make_wheel(tmp_path, "9.10")
    _, later, written, deleted = deploy(newer)
    assert sorted(written) == ["README.md", "app.py", newer.name] and deleted == [wheel.name]
    assert later != revision and set(held(hub)) == {"README.md", "app.py", "requirements.txt", newer.name}


def test_the_command_says_what_it_did(hub: HubServer, deploy: Any, hub_client: HubClient, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    words = ["leaderboard", "--deploy", SPACE, "--data", RESULTS, "--wheel", str(wheel)]
    code = "from bocb_hf.cli import main\nresult = main(words)"
    assert hub_client(code, words=words) == 0
    out = hub_client.last["out"]
    assert f"{hub.url}/spaces/{SPACE} at " in out
    assert f": wrote README.md, requirements.txt, app.py, {wheel.name}\n" in out
    assert hub_client(code, words=words) == 0 and ": nothing has changed\n" in hub_client.last["out"]
    assert hub_client(code, "hf_reader", words=words) == 2 and "may only read" in hub_client.last["out"]


def test_a_large_wheel_is_sent_once(hub: HubServer, deploy: Any, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("bocb_hf/data.bin", os.urandom(1_500_000))
    deploy(wheel)
    assert hub.repository(SPACE, "spaces").files[wheel.name].sha256 is not None
    assert hub.count("/lfs/", "PUT") == 1
    assert deploy(wheel)[2:] == [[], []]
    assert hub.count("/lfs/", "PUT") == 1


def test_a_local_file_comes_along_as_a_copy(hub: HubServer, deploy: Any, board: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    deploy(wheel, str(board))
    assert held(hub)["leaderboard.parquet"] == board.read_bytes()
    assert "datasets" not in front_matter(held(hub)["README.md"])
    assert str(board) not in held(hub)["app.py"].decode() + held(hub)["README.md"].decode()
    _, _, _, deleted = deploy(wheel)
    assert deleted == ["leaderboard.parquet"] and "leaderboard.parquet" not in held(hub)


def test_somebody_commits_in_between(hub: HubServer, deploy: Any, tmp_path: Path) -> None:
    hub.fail("POST", "/spaces/.*/commit/", status=412)
    deploy(make_wheel(tmp_path))
    assert len(held(hub)) == 4
    hub.put(SPACE, {"notes.md": b"of the owner"}, kind="spaces")
    deploy(make_wheel(tmp_path, "9.10"))
    assert held(hub)["notes.md"] == b"of the owner", "what is not ours stays"


def test_what_is_refused(hub: HubServer, deploy: Any, board: Path, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    hub.put("lab/other", {"app.py": b"theirs", "README.md": b"---\nsdk: gradio\n---\n"}, kind="spaces")
    hub.put("lab/closed", {LEADERBOARD: b"x"}, kind="datasets")
    hub.repository("lab/closed", "datasets").private = True
    hub.put("lab/empty", {"README.md": b"x"}, kind="datasets")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    other, broken = make_wheel(tmp_path, "1", name="other"), tmp_path / "broken.whl"
    broken.write_bytes(b"no wheel")
    for given, said in (
        ({"space": "coupling"}, "is no Space; write <user or organisation>/<name>"),
        ({"space": "lab/other"}, "shows something else already"),
        ({"space": "eve/coupling"}, "not a member of eve"),
        ({"token": "hf_reader"}, "may only read"),
        ({"source": "hf://datasets/lab/closed"}, "no such public data set, and a Space holds no token"),
        ({"source": "hf://datasets/lab/none"}, "no such public data set"),
        ({"source": "hf://datasets/lab/empty"}, "holds no data/leaderboard.parquet; `bocb publish"),
        ({"source": "hf://lab"}, "is no data set of the Hub"),
        ({"source": str(tmp_path / "bad.parquet")}, "cannot be read as a leaderboard"),
        ({"source": str(tmp_path / "none.parquet")}, "none.parquet"),
    ):
        kind, text = deploy.refused(wheel, **given)
        assert kind in ("InputError", "HubError") and said in text, (given, kind, text)
    for given in (other, broken, tmp_path / "none.whl"):
        assert "--wheel: " in deploy.refused(given)[1], given
    leaking = tmp_path / "leak" / wheel.name
    leaking.parent.mkdir()
    leaking.write_bytes(wheel.read_bytes() + b"hf_writer")
    assert f"{wheel.name} would carry your token into the Space" in deploy.refused(leaking)[1]
    assert ("spaces", SPACE) not in hub.repositories, "nothing was made"


def test_an_installation_from_a_wheel_must_be_given_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "resource_root", lambda: tmp_path)
    with pytest.raises(InputError, match="--wheel: this installation is no checkout"):
        build_wheel(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[build-system]\nrequires = ['hatchling']\nbuild-backend = 'nothing'\n")
    with pytest.raises(InputError, match="--wheel: it could not be built"):
        build_wheel(tmp_path)


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, board: Path, tmp_path: Path) -> None:
    def missing(name: str) -> str:
        raise module.PackageNotFoundError(name)

    monkeypatch.setattr(module, "version", missing)
    with pytest.raises(InputError, match=r"bocb-hf\[leaderboard\]"):
        space_files(str(board), make_wheel(tmp_path))


def unpack(files: dict[str, bytes], folder: Path) -> None:
    folder.mkdir()
    for path, content in files.items():
        (folder / path).write_bytes(content)


def start(folder: Path, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """As a Space does, from another folder, and with nothing of the checkout on the path."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "HF_HUB_OFFLINE")}
    command = [sys.executable, str(folder / "app.py")]
    return subprocess.Popen(
        command, cwd=cwd, env=kept | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def test_the_app_runs_what_the_wheel_holds(board: Path, tmp_path: Path) -> None:
    for number, source in enumerate((str(board), RESULTS)):
        folder = tmp_path / f"space{number}"
        unpack(space_files(source, make_wheel(tmp_path)), folder)
        out, _ = start(folder, tmp_path).communicate(timeout=60)
        package, location, host, port = out.splitlines()
        assert "bocb_hf-" in package and not package.startswith(str(Path(bocb_hf.__file__).parents[1]))
        assert location == (str(folder / "leaderboard.parquet") if number == 0 else RESULTS)
        assert (host, port) == ("0.0.0.0", "7860"), "where a Space listens"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("built"))


def test_the_real_wheel_gives_the_base_install_and_no_torch(wheel: Path, board: Path) -> None:
    files = space_files(str(board), wheel)
    names = [re.split(r"[<>=!~\[; ]", line)[0] for line in files["requirements.txt"].decode().splitlines()]
    assert {"numpy", "pyarrow", "pydantic", "huggingface-hub", "matplotlib"} <= set(names)
    assert not {"torch", "timm", "transformers", "gradio", "hatchling", "pytest"} & set(names)
    assert (
        files["README.md"].decode().endswith("has put here.\n") and bocb_hf.__version__ in files["README.md"].decode()
    )
    with zipfile.ZipFile(io.BytesIO(files[wheel.name])) as archive:
        names = archive.namelist()
    for shipped in ("model_cards/results_card.md.jinja", "model_cards/space_card.md.jinja"):
        assert f"bocb_hf/_resources/{shipped}" in names
    assert build_wheel(wheel.parent).read_bytes() == files[wheel.name], "the same checkout gives the same bytes"


BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "timm", "transformers", "accelerate", "datasets", "sklearn", "evaluate"):
            raise ImportError(f"No module named {name!r}")

sys.meta_path.insert(0, Blocker())
"""


@contextmanager
def running(folder: Path, cwd: Path, **environment: str) -> Iterator[str]:
    """The address of the app once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    app = start(folder, cwd, GRADIO_SERVER_PORT=port, **environment)
    try:
        for _ in range(600):
            if app.poll() is not None:
                raise AssertionError(f"it ended: {app.stdout.read() if app.stdout else ''}")
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                    break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/"
    finally:
        app.kill()
        app.wait(10)


def test_the_folder_of_the_space_starts_and_answers_without_torch(wheel: Path, board: Path, tmp_path: Path) -> None:
    check_source(str(board))
    unpack(space_files(str(board), wheel), tmp_path / "space")
    (tmp_path / "block").mkdir()
    (tmp_path / "block" / "sitecustomize.py").write_text(BLOCK)
    with (
        running(tmp_path / "space", tmp_path, PYTHONPATH=str(tmp_path / "block")) as url,
        urllib.request.urlopen(url, timeout=30) as answer,
    ):
        page = answer.read().decode()
    assert answer.status == 200 and "gradio" in page
