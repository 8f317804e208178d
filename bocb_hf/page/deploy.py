"""Makes a Space of the Hub that shows a leaderboard, or brings one up to date.

The Space holds no token and no torch: a card, an app of a few lines, requirements, our wheel, and a copy of the
leaderboard's file where it shows a local one.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile, constants, get_token
from huggingface_hub.utils.sha import git_hash
from packaging.metadata import RawMetadata, parse_email
from packaging.requirements import InvalidRequirement, Requirement

from bocb_hf.errors import InputError, missing_extra
from bocb_hf.page.read import LeaderboardFile
from bocb_hf.resources import resource, resource_root
from bocb_hf.results.dataset import LEADERBOARD, dataset_name
from bocb_hf.runs import strict_yaml
from bocb_hf.schema import HUB_SCHEME
from bocb_hf.store import hub_calls
from bocb_hf.store.commits import commit_with_retry
from bocb_hf.store.hub_calls import HubError, check_writable, conflicts_named, explained, make_api, with_back_off

DATA = "leaderboard.parquet"  # the copy in the Space of a local file
TAG = "bocb"
EXTRA = "leaderboard"
SHORT_DESCRIPTION = "Which optimizer for this vision backbone?"  # the Hub allows 60 characters
_SPACE = re.compile(r"(?:hf://spaces/)?([A-Za-z0-9][A-Za-z0-9_-]{0,95}/[A-Za-z0-9._-]{1,96})")
_OF_A_NEW_SPACE = {".gitattributes", "README.md"}
_APP = '''\
"""Serves the leaderboard. Written by `bocb leaderboard --deploy`.

A Space installs its requirements before these files are there, so the wheel is unpacked here.
"""

import os
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
package = tempfile.mkdtemp(prefix="bocb_hf-")
zipfile.ZipFile(HERE / {wheel!r}).extractall(package)
sys.path.insert(0, package)

from bocb_hf.page.app import serve

serve({source}, host="0.0.0.0", port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")))
'''


class Deployment(NamedTuple):
    """What was done.

    Attributes:
        url: Of the Space.
        revision: Its commit.
        written: Files that were new or had changed.
        deleted: Files that were removed.
    """

    url: str
    revision: str
    written: list[str]
    deleted: list[str]

    def __str__(self) -> str:
        done = [
            f"{what} {', '.join(paths)}"
            for what, paths in (("wrote", self.written), ("deleted", self.deleted))
            if paths
        ]
        return f"{self.url} at {self.revision[:12]}: {'; '.join(done) or 'nothing has changed'}"


def deploy(space: str, source: str, wheel: Path | None = None) -> Deployment:
    """Creates or updates a Space in one commit; files that are there already are not sent again.

    Args:
        space: ``namespace/name``.
        source: What it shows: ``hf://datasets/<namespace>/<name>``, which must be public, or a local file of a
            leaderboard, of which the Space gets a copy.
        wheel: Of this project; None builds it from the checkout that this runs in.

    Raises:
        InputError: A wrong name, a source that the Space could not read, no wheel, no right to write there, a Space
            that shows something else, or the Hub refused.
    """
    match = _SPACE.fullmatch(space)
    if match is None:
        raise InputError(f"--deploy: {space!r} is no Space; write <user or organisation>/<name>")
    name = match.group(1)
    check_source(source)
    check_writable(name.split("/")[0])
    with tempfile.TemporaryDirectory() as folder:
        files = space_files(source, wheel or build_wheel(Path(folder)))
    token = get_token()
    leaked = [path for path, content in files.items() if token and token.encode() in content]
    if leaked:
        raise InputError(f"{', '.join(leaked)} would carry your token into the Space; remove it there")
    with explained(f"hf://spaces/{name}"):
        return _send(name, files)


def check_source(source: str) -> None:
    """Makes sure that a Space, which has no token, can show a source.

    Raises:
        InputError: It is no local leaderboard, and no public data set with one.
    """
    if not source.startswith(HUB_SCHEME):
        LeaderboardFile(Path(source))
        return
    name, api = dataset_name(source), make_api()
    try:
        with explained(source):
            info = with_back_off(
                lambda: api.dataset_info(name, expand=["siblings"], timeout=hub_calls.TIMEOUT, token=False)
            )
    except HubError as error:
        if error.status not in (401, 403, 404):
            raise
        raise InputError(
            f"{source}: there is no such public data set, and a Space holds no token; make one with `bocb publish`, "
            "make it public, or give a local file"
        ) from None
    if LEADERBOARD not in {sibling.rfilename for sibling in info.siblings or ()}:
        raise InputError(f"{source}: holds no {LEADERBOARD}; `bocb publish --to {source}` writes it")


def build_wheel(folder: Path) -> Path:
    """Builds our wheel from the checkout that this runs in.

    Args:
        folder: Where to.

    Raises:
        InputError: This is no checkout, or it cannot be built.
    """
    root = resource_root()
    if not (root / "pyproject.toml").is_file():
        raise InputError("--wheel: this installation is no checkout to build a wheel from; name the file of the wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "--disable-pip-version-check"]
    if find_spec("hatchling") is not None:  # else pip fetches it
        command.append("--no-build-isolation")
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")}
    ended = subprocess.run(
        [*command, "--wheel-dir", str(folder), str(root)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        check=False,
    )
    built = list(folder.glob("bocb_hf-*.whl"))
    if ended.returncode != 0 or len(built) != 1:
        why = " ".join(ended.stderr.split())[-300:]
        raise InputError(f"--wheel: it could not be built ({why or 'no wheel'}); build it yourself and name its file")
    return built[0]


def space_files(source: str, wheel: Path) -> dict[str, bytes]:
    """Every file of the Space, by its path.

    Args:
        source: As ``deploy``.
        wheel: Of this project.

    Raises:
        InputError: It is another wheel, or gradio is not installed.
    """
    try:
        gradio = version("gradio")
    except PackageNotFoundError:
        raise missing_extra("gradio", EXTRA) from None
    metadata = _read_metadata(wheel)
    on_hub = source.startswith(HUB_SCHEME)
    files = {
        "README.md": _card(source if on_hub else None, gradio, metadata.get("version", "")).encode(),
        "requirements.txt": ("\n".join(_requirements(metadata)) + "\n").encode(),
        "app.py": _APP.format(wheel=wheel.name, source=repr(source) if on_hub else f"str(HERE / {DATA!r})").encode(),
        wheel.name: wheel.read_bytes(),
    }
    return files if on_hub else files | {DATA: Path(source).read_bytes()}


def _read_metadata(wheel: Path) -> RawMetadata:
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            (place,) = [n for n in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)]
            metadata, _ = parse_email(archive.read(place))
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise InputError(f"--wheel: {wheel} cannot be read as a wheel: {error}") from None
    if metadata.get("name") != "bocb-hf" or "bocb_hf/leaderboard/app.py" not in names:
        raise InputError(f"--wheel: {wheel} is no wheel of bocb-hf with the leaderboard; build one with `pip wheel .`")
    return metadata


def _requirements(metadata: RawMetadata) -> list[str]:
    """What the app needs beside the wheel: the base install and the extra, without gradio, which the Space provides."""
    kept: list[str] = []
    for text in metadata.get("requires_dist", []):
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise InputError(f"--wheel: its requirement {text!r} is not valid: {error}") from None
        if requirement.marker is not None and "extra" in str(requirement.marker):
            if not requirement.marker.evaluate({"extra": EXTRA}):
                continue
            requirement.marker = None
        if requirement.name != "gradio":
            kept.append(str(requirement))
    return sorted(set(kept))


def _card(source: str | None, gradio: str, release: str) -> str:
    """The README of the Space.

    Args:
        source: The data set that it shows; None for a copy inside.
        gradio: Version of the SDK.
        release: Of our wheel.
    """
    metadata: dict[str, Any] = {
        "title": "Backbone-optimizer coupling",
        "emoji": "🧭",
        "colorFrom": "blue",
        "colorTo": "gray",
        "sdk": "gradio",
        "sdk_version": gradio,
        "python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        "app_file": "app.py",
        "short_description": SHORT_DESCRIPTION,
        "tags": [TAG, "leaderboard", "optimizers", "image-classification"],
        "license": "apache-2.0",
    }
    if source is not None:
        metadata["datasets"] = [dataset_name(source)]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    template = environment.from_string(resource("model_cards/space_card.md.jinja").read_text(encoding="utf-8"))
    name = dataset_name(source) if source is not None else None
    return f"---\n{strict_yaml.dump(metadata)}---\n{template.render(source=source, name=name, release=release)}"


def _send(name: str, files: Mapping[str, bytes]) -> Deployment:
    """Commits what is not there yet; somebody else's commit in between is read and kept."""
    api = make_api()
    with_back_off(lambda: api.create_repo(name, repo_type="space", space_sdk="gradio", exist_ok=True))

    def attempt() -> Deployment:
        info = with_back_off(lambda: api.space_info(name, timeout=hub_calls.TIMEOUT))
        head, present = str(info.sha), _tree(api, name, str(info.sha))
        if TAG not in (info.tags or []) and present.keys() - _OF_A_NEW_SPACE:
            raise InputError(f"--deploy: the Space {name} shows something else already; name a new one")
        written = [path for path, content in files.items() if not _is_same(present.get(path), content)]
        deleted = [p for p in present if p not in files and (p == DATA or re.fullmatch(r"bocb_hf-[^/]+\.whl", p))]
        url = f"{constants.ENDPOINT}/spaces/{name}"
        if not written and not deleted:
            return Deployment(url, head, [], [])
        with conflicts_named(name):
            made = with_back_off(
                lambda: api.create_commit(
                    name,
                    [
                        *(CommitOperationAdd(path, files[path]) for path in written),
                        *(CommitOperationDelete(path) for path in deleted),
                    ],
                    commit_message="bocb leaderboard --deploy",
                    repo_type="space",
                    parent_commit=head,
                )
            )
        return Deployment(url, made.oid, written, deleted)

    return commit_with_retry(attempt, f"--deploy: {name}")


def _tree(api: HfApi, name: str, revision: str) -> dict[str, RepoFile]:
    listing = api.list_repo_tree(name, recursive=True, revision=revision, repo_type="space")
    return {entry.path: entry for entry in listing if isinstance(entry, RepoFile)}


def _is_same(file: RepoFile | None, content: bytes) -> bool:
    """Whether a file of the Hub has this content: by SHA-256 where it is a large one, else by its git object id."""
    if file is None:
        return False
    if file.lfs is not None:
        return file.lfs.sha256 == hashlib.sha256(content).hexdigest()
    return file.blob_id == git_hash(content)
