"""The local store beyond the contract of all stores: its layout, what it does not follow, and atomic commits."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from published import (
    snapshot,
)

from bocb_hf.errors import InputError
from bocb_hf.store import ConflictError, open_store
from bocb_hf.store.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def test_a_repository_lies_where_the_hub_has_it(store: LocalStore, tmp_path: Path) -> None:
    source = tmp_path / "big.bin"
    source.write_bytes(b"\x00\x01")
    store.commit("me/thing", {"README.md": b"hi\n", "seeds/1/big.bin": source}, parent=None, message="first")
    folder = tmp_path / "store" / "models" / "me" / "thing"
    assert snapshot(folder) == {"README.md": b"hi\n", "seeds/1/big.bin": b"\x00\x01"}
    assert store.path("me/thing") == folder


def test_what_is_refused_leaves_no_trace(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(ConflictError):
        store.commit("me/new", {"a": b"1"}, parent="0" * 64, message="")
    for repository in ("me", "../x", "me/x/y", ".me/x"):
        with pytest.raises(InputError):
            store.commit(repository, {"a": b"1"}, parent=None, message="")
    assert not (store.root / "models").exists() and store.repositories() == []
    first = store.commit("me/x", {"a": b"1"}, parent=None, message="")
    before = snapshot(tmp_path)
    with pytest.raises(ConflictError):
        store.commit("me/x", {"a": b"3", "b": b""}, delete=["a"], parent="0" * 64, message="")
    for path in ("../up", "/etc/passwd", ".git/config"):
        with pytest.raises(InputError):
            store.commit("me/x", {"good": b"1", path: b"2"}, parent=first, message="")
    assert snapshot(tmp_path) == before, "nothing is staged, and the good file did not get in"


def test_every_change_gives_a_new_revision_also_one_by_hand(store: LocalStore) -> None:
    seen = [store.commit("me/x", {"a": b"1"}, parent=None, message="")]
    seen.append(store.commit("me/x", {"a": b"1"}, parent=seen[-1], message="the same bytes again"))
    seen.append(store.commit("me/x", {"b": b""}, parent=seen[-1], message=""))
    seen.append(store.commit("me/x", {}, delete=["b", "never-there"], parent=seen[-1], message=""))
    assert store.revision("me/x") == seen[-1]
    (store.path("me/x") / "a").write_bytes(b"2")
    seen.append(str(store.revision("me/x")))
    assert seen[3] == seen[1], "what was added is gone again"
    assert len(set(seen)) == 4
    assert store.files("me/x") == ["a"]


def test_symbolic_links_and_hidden_files_are_ignored(store: LocalStore, tmp_path: Path) -> None:
    store.commit("me/x", {"a": b"1"}, parent=None, message="")
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "secret").write_text("s")
    folder = store.path("me/x")
    (folder / "file").symlink_to(outside / "deep" / "secret")
    (folder / "folder").symlink_to(outside)
    (folder / "dangling").symlink_to(tmp_path / "nothing")
    (folder / ".hidden").write_text("h")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "inside").write_text("h")
    (folder.parent / "linked").symlink_to(outside)
    (folder.parent.parent / "other").symlink_to(outside)
    (folder / "pipe").mkdir()
    os.mkfifo(folder / "pipe" / "p")
    assert store.files("me/x") == ["a"]
    assert store.repositories() == ["me/x"]
    for path in ("file", "folder/deep/secret", "dangling", "pipe/p", "pipe", "nothing"):
        with pytest.raises(FileNotFoundError):
            store.read("me/x", path)
    assert store.read("me/x", "a") == b"1"


def test_a_store_is_a_folder_or_a_namespace_of_the_hub(tmp_path: Path) -> None:
    assert open_store(str(tmp_path)).uri == str(tmp_path)
    assert open_store("hf://me").uri == "hf://me"
    with pytest.raises(InputError, match="'s3://me' is not supported; give a local folder or hf://"):
        open_store("s3://me")
    for bad in ("hf://", "hf://me/x", "hf://../x", "hf://me you"):
        with pytest.raises(InputError, match="must name one user or organisation"):
            open_store(bad)


def test_a_file_that_another_process_deletes_meanwhile_is_no_error(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit("me/x", {"a": b"1"}, parent=None, message="")
    plain = LocalStore.files
    monkeypatch.setattr(LocalStore, "files", lambda self, repository: [*plain(self, repository), "gone"])
    assert store.revision("me/x")


def test_of_two_commits_at_once_on_one_parent_exactly_one_wins(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = store.commit("me/x", {"a": b"0"}, parent=None, message="")
    plain, outcomes = os.fsync, []

    def slow(file: int) -> None:  # between the check of the parent and the change
        time.sleep(0.3)
        plain(file)

    def commit(name: str) -> None:
        try:
            store.commit("me/x", {name: b"1"}, parent=parent, message="")
            outcomes.append(name)
        except ConflictError:
            outcomes.append("conflict")

    monkeypatch.setattr(os, "fsync", slow)
    threads = [threading.Thread(target=commit, args=(name,)) for name in ("b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes)[1] == "conflict"
    assert store.files("me/x") == ["a", sorted(outcomes)[0]]
