"""What was read of a local store is kept: exact, of this user alone, and of this code alone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import make_floor, make_record, with_patterns
from stored import mixed_records, publish

from bocb_hf.runs.record import FloorRecord, RunRecord, parse_record
from bocb_hf.store import contents, record_cache
from bocb_hf.store.contents import StoreContents, read_store
from bocb_hf.store.local import LocalStore
from bocb_hf.store.rebuild import rebuild

GOLDEN = Path(__file__).resolve().parent.parent / "golden"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStore]:
    """A store of every status, whose reading is kept at once, though it is small and new."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(record_cache, "LEAST", 1)
    monkeypatch.setattr(record_cache, "SETTLED_SECONDS", -60.0)
    found = LocalStore(tmp_path / "store")
    publish(found, mixed_records())
    floor = make_floor()
    found.commit(f"local/{floor.repository()}", {floor.path(): floor.to_json().encode()}, parent=None, message="")
    yield found


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The repositories that were read again, in their order."""
    found: list[str] = []
    real = contents.read_repository

    def watched(store: LocalStore, repository: str) -> object:
        found.append(repository)
        return real(store, repository)

    monkeypatch.setattr(contents, "read_repository", watched)
    return found


def cache_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "home" / "bocb_hf" / "records").iterdir()
    return path


def plain(found: StoreContents) -> tuple[object, ...]:
    return (found.records, [r.to_json() for r in found.records], found.floors, found.quarantined, found.places)


def test_nothing_is_read_again_and_all_is_equal(store: LocalStore, reads: list[str], tmp_path: Path) -> None:
    name = store.repositories()[1]
    damaged = store.root / "models" / name / "trials" / "0123456789ab-0.json"
    damaged.parent.mkdir(exist_ok=True)
    damaged.write_text("{")
    first = read_store(store, cached=True)
    assert sorted(reads) == store.repositories() and first.quarantined and first.floors
    reads.clear()
    second = read_store(store, cached=True)
    assert reads == [name], "a file that could not be read may be readable the next time"
    assert plain(second) == plain(first) == plain(read_store(store))
    assert [r.sha256() for r in second.records] == [r.sha256() for r in first.records]
    assert cache_file(tmp_path).stat().st_mode & 0o077 == 0
    environments = {id(r.environment) for r in second.records}
    assert len(environments) == 1 < len(second.records), "equal parts are one object"


@pytest.mark.parametrize("change", ["content", "same size and time", "new file", "gone file", "gone repository"])
def test_every_change_is_seen(store: LocalStore, reads: list[str], change: str) -> None:
    read_store(store, cached=True)
    name = store.repositories()[1]
    folder = store.root / "models" / name
    record = next(path for path in sorted(folder.rglob("*.json")))
    old, status = record.read_bytes(), record.stat()
    if change == "content":
        record.write_bytes(old + b" ")
    elif change == "same size and time":  # as `rsync --times` and `touch -r` leave it
        record.write_bytes(old[:-2] + b"]\n")
        os.utime(record, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif change == "new file":
        (folder / "seeds" / "9").mkdir(parents=True)
        (folder / "seeds" / "9" / "record.json").write_bytes(old)
    elif change == "gone file":
        record.unlink()
    else:
        store.root.joinpath("models", name).rename(store.root / "elsewhere")
    reads.clear()
    found = read_store(store, cached=True)
    assert reads == ([] if change == "gone repository" else [name])
    assert plain(found) == plain(read_store(store))
    reads.clear()
    assert plain(read_store(store, cached=True)) == plain(found)
    assert reads == [name] * bool(found.quarantined), "what is in quarantine is never kept"


def test_a_repository_that_has_just_changed_is_read_again(
    store: LocalStore, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two changes within one tick of a clock have one time; the second one must not be missed."""
    monkeypatch.setattr(record_cache, "SETTLED_SECONDS", 3600.0)
    read_store(store, cached=True)
    reads.clear()
    read_store(store, cached=True)
    assert sorted(reads) == store.repositories()


def test_a_repository_that_changes_while_it_is_read_is_not_kept(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = store.repositories()[1]
    real, touched = contents.read_repository, store.root / "models" / name / "README.md"

    def disturbed(some: LocalStore, repository: str) -> object:
        found = real(some, repository)
        if repository == name:
            touched.write_bytes(touched.read_bytes() + b"\n")
        return found

    monkeypatch.setattr(contents, "read_repository", disturbed)
    read_store(store, cached=True)
    again: list[str] = []
    monkeypatch.setattr(contents, "read_repository", lambda some, r: (again.append(r), real(some, r))[1])
    read_store(store, cached=True)
    assert again == [name]


def test_half_a_file_and_a_changed_one_count_as_none(store: LocalStore, reads: list[str], tmp_path: Path) -> None:
    first = plain(read_store(store, cached=True))
    path = cache_file(tmp_path)
    whole = path.read_bytes()
    for bad in (whole[: len(whole) // 2], b"", whole.replace(b"sgdm", b"sgdp", 1), whole + b"x\n"):
        path.write_bytes(bad)
        reads.clear()
        assert plain(read_store(store, cached=True)) == first and sorted(reads) == store.repositories()
        assert path.read_bytes() == whole


def test_a_file_of_other_code_counts_as_none(
    store: LocalStore, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_store(store, cached=True)
    reads.clear()
    monkeypatch.setattr(record_cache, "code_version", lambda: "0" * 64)
    read_store(store, cached=True)
    assert sorted(reads) == store.repositories()


def test_what_others_may_write_is_not_used(
    store: LocalStore, reads: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read_store(store, cached=True)
    path = cache_file(tmp_path)
    for open_to_all in (path, path.parent):
        mode = open_to_all.stat().st_mode
        open_to_all.chmod(0o777)
        reads.clear()
        read_store(store, cached=True)
        assert sorted(reads) == store.repositories() and "others can write it" in caplog.text
        open_to_all.chmod(mode)
        caplog.clear()
    own = path.stat()
    with pytest.raises(record_cache.InputError, match="set HF_HOME"):
        record_cache.check_own(os.stat_result((own.st_mode, 0, 0, 1, own.st_uid + 1, 0, 0, 0, 0, 0)), path)
    other = tmp_path / "other.json"
    path.rename(other)
    path.symlink_to(other)
    reads.clear()
    read_store(store, cached=True)
    assert sorted(reads) == store.repositories(), "a link is not followed"


def test_a_store_brings_no_cache_and_small_ones_need_none(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_cache, "LEAST", 500)
    read_store(store, cached=True)
    assert not (tmp_path / "home").exists()
    monkeypatch.setattr(record_cache, "LEAST", 1)
    read_store(store, cached=True)
    inside = [path for path in store.root.rglob("*") if b"environment" in path.name.encode() or "cache" in path.name]
    assert inside == [] and json.loads(cache_file(tmp_path).read_bytes().split(b"\n")[0])["root"] == str(store.root)


def test_a_folder_that_cannot_be_written_costs_time_only(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file"))
    assert plain(read_store(store, cached=True)) == plain(read_store(store))
    assert "is not kept for the next time" in caplog.text


def test_the_clock_of_the_settled_is_the_files_own(store: LocalStore) -> None:
    cache = record_cache.RecordCache(store, record_cache.Shared())
    _, newest = cache.state(store.repositories()[0])
    assert abs(newest - time.time()) < 600


def test_a_record_made_again_is_the_record() -> None:
    records: list[RunRecord | FloorRecord] = [*mixed_records(), make_floor(), with_patterns(make_record())]
    for path in sorted(GOLDEN.rglob("*.json")):
        if path.parent.name == "trials" or path.name == "record.json":
            records.append(parse_record(path.read_bytes(), path.name))
    assert len(records) > 40
    for record in records:
        found = rebuild(type(record), json.loads(record.to_json()))
        assert found == record and found.to_json() == record.to_json()
    with pytest.raises(KeyError, match="identity"):
        rebuild(RunRecord, {"schema_version": 1, "run_id": "", "role": "", "status": "", "seed": 1, "config_hash": ""})
