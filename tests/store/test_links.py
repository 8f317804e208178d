"""Symbolic links in a local store: none is followed, each is named, and a loop of them ends nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import make_record
from published import REPOSITORY, publish, weights

from bocb_hf.errors import InputError
from bocb_hf.store import CopyOf
from bocb_hf.store.contents import LINK, read_store
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import write_run


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "store")
    publish(store, tmp_path, make_record(seed=1))
    return store


def loop(path: Path) -> None:
    """A link to itself in the place of a file or folder."""
    if path.is_file():
        path.unlink()
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("place", "counted"),
    [
        (f"{REPOSITORY}/README.md", 0),
        (f"{REPOSITORY}/seeds/1/record.json", 0),
        (f"{REPOSITORY}/seeds/9", 1),
        (f"{REPOSITORY}/trials", 1),
        ("me/other", 1),
        ("other", 1),
    ],
)
def test_a_loop_of_links_is_quarantined(store: LocalStore, place: str, counted: int) -> None:
    loop(store.root / "models" / place)
    assert store.links() == [place]
    contents = read_store(store)
    assert len(contents.records) == counted
    assert (place, LINK) in {(f"{q.repository}/{q.path}".strip("/"), q.reason) for q in contents.quarantined}
    assert store.revision(REPOSITORY) is not None


def test_a_link_out_of_the_store_is_named_and_not_read(store: LocalStore, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "record.json").write_text(make_record(seed=2).to_json())
    (store.path(REPOSITORY) / "seeds" / "2").symlink_to(outside)
    contents = read_store(store)
    assert [record.seed for record in contents.records] == [1]
    assert [(q.path, q.reason) for q in contents.quarantined] == [("seeds/2", LINK)]


def test_a_store_that_is_reached_through_a_link_is_read(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to(store.root)
    contents = read_store(LocalStore(tmp_path / "way"))
    assert len(contents.records) == 1 and not contents.quarantined


def test_no_commit_takes_or_leaves_files_through_a_link(store: LocalStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    link = tmp_path / "link"
    link.symlink_to(secret)
    head = store.revision(REPOSITORY)
    with pytest.raises(InputError, match="is a symbolic link, which is not followed"):
        store.commit(REPOSITORY, {"a": link}, parent=head, message="")
    inside = store.path(REPOSITORY) / "inside"
    inside.symlink_to(secret)
    for add in ({"b": CopyOf("inside")}, {"folder/a": b"1"}):
        if "b" not in add:
            (store.path(REPOSITORY) / "folder").symlink_to(tmp_path)
        with pytest.raises(InputError, match="is a symbolic link, which is not followed"):
            store.commit(REPOSITORY, add, parent=store.revision(REPOSITORY), message="")
    assert not (tmp_path / "a").exists()
    # a link in the place of the file itself is replaced, and what it leads to stays
    store.commit(REPOSITORY, {"inside": b"mine"}, parent=store.revision(REPOSITORY), message="")
    assert not inside.is_symlink() and inside.read_text() == "mine" and secret.read_text() == "s"


def test_weights_that_are_a_link_are_not_stored(store: LocalStore, tmp_path: Path) -> None:
    folder = weights(tmp_path, "seed 3")
    (folder / "model.safetensors").rename(tmp_path / "elsewhere")
    (folder / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"seeds/3/model\.safetensors: .* is a symbolic link"):
        write_run(store, "me", make_record(seed=3), folder, supersede=False)
    assert [record.seed for record in read_store(store).records] == [1]
