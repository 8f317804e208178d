"""Makes a static Space of the Hub that shows the page, or brings one up to date.

Static Spaces cost nothing, run nothing and hold no token: a card, the page, and its data, which lie beside it or are
read from the published data set. A Space of this project that ran Gradio is converted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jinja2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, RepoFile, constants, get_token
from huggingface_hub.utils.sha import git_hash

from bocb_hf.errors import InputError
from bocb_hf.page.document import DETAILS, INDEX, PARQUET, SCRIPT, STYLE, SUMMARY, Addresses, folder_files, page_files
from bocb_hf.page.locate import Located, locate
from bocb_hf.resources import resource
from bocb_hf.results.dataset import LEADERBOARD, PAGE_DETAILS, PAGE_SUMMARY, dataset_name
from bocb_hf.runs import strict_yaml
from bocb_hf.schema import HUB_SCHEME
from bocb_hf.store import hub_calls
from bocb_hf.store.commits import commit_with_retry
from bocb_hf.store.hub_calls import HubError, check_writable, conflicts_named, explained, make_api, with_back_off
from bocb_hf.version import __version__

TAG = "bocb"
SHORT_DESCRIPTION = "Which optimizer for this vision backbone?"  # the Hub allows 60 characters
_SPACE = re.compile(r"(?:hf://spaces/)?([A-Za-z0-9][A-Za-z0-9_-]{0,95}/[A-Za-z0-9._-]{1,96})")
_OF_A_NEW_SPACE = {".gitattributes", "README.md", INDEX, "style.css"}  # a new static Space has a page of the Hub's own
_OURS = {INDEX, SCRIPT, STYLE, SUMMARY, DETAILS, PARQUET, "app.py", "requirements.txt"}  # the last two: of 0.1
_WHEEL = re.compile(r"bocb_hf-[^/]+\.whl")


class Deployment(NamedTuple):
    """What was done.

    Attributes:
        url: Of the Space.
        revision: Its commit.
        written: Files that were new or had changed.
        deleted: Files that were removed.
        follows: The data set that the page reads; None where the Space holds a copy of the data.
    """

    url: str
    revision: str
    written: list[str]
    deleted: list[str]
    follows: str | None

    def __str__(self) -> str:
        done = [
            f"{what} {', '.join(paths)}"
            for what, paths in (("wrote", self.written), ("deleted", self.deleted))
            if paths
        ]
        data = f"it reads {self.follows}" if self.follows else "it holds a copy of the data"
        return f"{self.url} at {self.revision[:12]}: {'; '.join(done) or 'nothing has changed'}; {data}"


def deploy(space: str, source: str | Located) -> Deployment:
    """Creates or updates a Space in one commit; files that are there already are not sent again.

    Args:
        space: ``namespace/name``.
        source: What it shows: ``hf://datasets/<namespace>/<name>``, which must be public and which the page then reads
            itself, so that each ``bocb publish`` shows at once; or a leaderboard's file, whose data lie in the Space.
            A data set that was published before the page had files there is copied as well.

    Raises:
        InputError: A wrong name, a source that the page could not read, no right to write there, a Space that shows
            something else, or the Hub refused.
    """
    match = _SPACE.fullmatch(space)
    if match is None:
        raise InputError(f"--deploy: {space!r} is no Space; write <user or organisation>/<name>")
    name = match.group(1)
    follows = source if isinstance(source, str) and _holds_page(source) else None
    check_writable(name.split("/")[0])
    if follows is None:
        located = locate(source) if isinstance(source, str) else source
        files = folder_files(located.data(), located.content)
        files |= page_files(Addresses(space=name))
    else:
        located = None
        base = f"{constants.ENDPOINT}/datasets/{dataset_name(follows)}/resolve/main"
        addresses = (f"{base}/{path}" for path in (PAGE_SUMMARY, PAGE_DETAILS, LEADERBOARD))
        files = page_files(Addresses(*addresses, space=name))
    files["README.md"] = _card(source if isinstance(source, str) else None, follows is not None).encode()
    token = get_token()
    leaked = [path for path, content in files.items() if token and token.encode() in content]
    if leaked:
        raise InputError(f"{', '.join(leaked)} would carry your token into the Space; remove it there")
    with explained(f"hf://spaces/{name}"):
        return _send(name, files, follows)


def _holds_page(source: str) -> bool:
    """Returns whether a data set holds the files of a page; a file here holds none.

    Raises:
        InputError: It is no public data set with a leaderboard's file.
    """
    if not source.startswith(HUB_SCHEME):
        return False
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
            f"{source}: there is no such public data set, and a page holds no token; make one with `bocb publish`, "
            "make it public, or give a local file"
        ) from None
    held = {sibling.rfilename for sibling in info.siblings or ()}
    if LEADERBOARD not in held:
        raise InputError(f"{source}: holds no {LEADERBOARD}; `bocb publish --to {source}` writes it")
    return {PAGE_SUMMARY, PAGE_DETAILS} <= held


def _card(source: str | None, follows: bool) -> str:
    """Returns the README of the Space.

    Args:
        source: The data set or file that it shows; None for a store.
        follows: Whether the page reads the data set itself.
    """
    dataset = source if source is not None and source.startswith(HUB_SCHEME) else None
    metadata: dict[str, Any] = {
        "title": "Backbone-optimizer coupling",
        "emoji": "🧭",
        "colorFrom": "blue",
        "colorTo": "gray",
        "sdk": "static",
        "app_file": INDEX,
        "short_description": SHORT_DESCRIPTION,
        "tags": [TAG, "leaderboard", "optimizers", "image-classification"],
        "license": "apache-2.0",
    }
    if dataset is not None:
        metadata["datasets"] = [dataset_name(dataset)]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    template = environment.from_string(resource("model_cards/space_card.md.jinja").read_text(encoding="utf-8"))
    name = dataset_name(dataset) if dataset is not None else None
    body = template.render(source=dataset, name=name, follows=follows, release=__version__)
    return f"---\n{strict_yaml.dump(metadata)}---\n{body}"


def _send(name: str, files: Mapping[str, bytes], follows: str | None) -> Deployment:
    """Commits what is not there yet; somebody else's commit in between is read and kept."""
    api = make_api()
    with_back_off(lambda: api.create_repo(name, repo_type="space", space_sdk="static", exist_ok=True))

    def attempt() -> Deployment:
        info = with_back_off(lambda: api.space_info(name, timeout=hub_calls.TIMEOUT))
        head, present = str(info.sha), _tree(api, name, str(info.sha))
        if TAG not in (info.tags or []) and present.keys() - _OF_A_NEW_SPACE:
            raise InputError(f"--deploy: the Space {name} shows something else already; name a new one")
        written = [path for path, content in files.items() if not _is_same(present.get(path), content)]
        deleted = [p for p in present if p not in files and (p in _OURS or _WHEEL.fullmatch(p))]
        url = f"{constants.ENDPOINT}/spaces/{name}"
        if not written and not deleted:
            return Deployment(url, head, [], [], follows)
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
        return Deployment(url, made.oid, written, deleted, follows)

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
