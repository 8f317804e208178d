"""Files that are written in one step, and files that are read without following a link."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bocb_hf.errors import InputError
from bocb_hf.files import check_folder, link_on_the_way, read_plain, refuse_links, replacing, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_made_with_its_folders_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "table.csv"
    assert write_atomically(path, b"1") == path
    path.chmod(0o640)
    write_atomically(path, b"22")
    assert path.read_bytes() == b"22"
    assert names(path.parent) == ["table.csv"], "nothing is left beside it"
    other = tmp_path / ("long" * 60)
    assert write_atomically(other, b"3").read_bytes() == b"3"


def test_what_goes_wrong_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = write_atomically(tmp_path / "kept", b"old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        assert path.read_bytes() == b"old"
        raise RuntimeError
    with pytest.raises(FileNotFoundError), replacing(path):
        pass  # nothing was written
    assert path.read_bytes() == b"old" and names(tmp_path) == ["kept"]


def test_two_writers_never_share_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with replacing(path) as one, replacing(path) as two:
        one.write_bytes(b"one")
        two.write_bytes(b"two")
        assert one != two and one.parent == two.parent == tmp_path
    assert path.read_bytes() == b"one", "the one that ended last"


def test_a_named_temporary_file_writes_over_what_a_killed_process_left(tmp_path: Path) -> None:
    left = tmp_path / "x.partial"
    left.write_bytes(b"of a killed process")
    with replacing(tmp_path / "x", temporary=left) as temporary:
        assert temporary == left
        temporary.write_bytes(b"whole")
    assert names(tmp_path) == ["x"]


def test_the_error_names_the_path_and_no_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    path = tmp_path / "file" / "out.csv"
    with pytest.raises(InputError, match=rf"^cannot write {re.escape(str(path))}: [A-Z].*; choose another"):
        write_atomically(path, b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        write_atomically(tmp_path / "folder", b"")
    assert names(tmp_path) == ["file", "folder"]


def test_a_folder_is_checked_without_making_it(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "folder")
    check_folder(tmp_path)
    assert names(tmp_path) == []
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=rf"^cannot write {re.escape(str(path))}: Not a directory; choose another"):
            check_folder(path)


def test_no_link_below_the_root_is_followed(tmp_path: Path) -> None:
    root, secret = tmp_path / "root", tmp_path / "secret"
    (root / "plain").mkdir(parents=True)
    (root / "plain" / "file").write_bytes(b"123")
    secret.mkdir()
    (secret / "file").write_bytes(b"s")
    (root / "folder").symlink_to(secret)
    (root / "plain" / "link").symlink_to(secret / "file")
    (root / "loop").symlink_to("loop")
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    (tmp_path / "way").symlink_to(root)  # the root itself may be reached through one
    assert read_plain(tmp_path / "way", "plain/file", 2) == b"123", (
        "one byte more than the limit shows that it is longer"
    )
    for path in ("folder/file", "plain/link", "loop", "loop/file", "a", "a/b/c", "plain/none", "plain"):
        with pytest.raises(FileNotFoundError):
            read_plain(root, path, 100)
    for path, link in (("folder/file", "folder"), ("plain/link", "plain/link"), ("loop/x", "loop"), ("a", "a")):
        assert link_on_the_way(root, path) == root / link
        with pytest.raises(InputError, match=f"^{re.escape(str(root / link))}: is a symbolic link"):
            refuse_links(root, path)
    assert refuse_links(root, "plain/none") == root / "plain" / "none"
