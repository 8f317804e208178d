"""The local store: its layout, atomic commits, full disks, crashes, and many processes at once."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from builders import make_record

from bocb_hf.card import make_block, parse_card
from bocb_hf.errors import InputError
from bocb_hf.record import RunRecord, parse_record
from bocb_hf.store import ConflictError, check_path, check_repository, open_store
from bocb_hf.store.local import LocalStore
from bocb_hf.store.publish import (
    WEIGHT_FILES,
    find_run,
    holds_runs,
    publish_run,
    render_repository,
)
from bocb_hf.store.read import read_repository

TESTS = Path(__file__).resolve().parent
PYTHONPATH = os.pathsep.join(map(str, (TESTS, TESTS.parent)))  # this checkout, wherever another is installed
REPOSITORY = "me/bocb-fashion_mnist_subset-demo-tiny_resnet-sgdm"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def weights(tmp_path: Path, text: str) -> Path:
    """A folder as the exporter leaves it, recognisable by its text."""
    folder = tmp_path / f"weights-{text}"
    folder.mkdir(exist_ok=True)
    for name in WEIGHT_FILES:
        (folder / name).write_text(f"{name} of {text}")
    return folder


def publish(store: LocalStore, tmp_path: Path, record: RunRecord, text: str = "", supersede: bool = False) -> RunRecord:
    finished = record.role == "final" and record.status == "completed"
    folder = weights(tmp_path, text or f"seed {record.seed}") if finished else None
    return publish_run(store, "me", record, folder, supersede)


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file below a folder, locks aside."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def root_of(store: LocalStore, repository: str = REPOSITORY) -> str | None:
    """Whose weights lie at the root, or None; both files must agree."""
    texts = {
        (store.path(repository) / name).read_text().removeprefix(f"{name} of ")
        for name in WEIGHT_FILES
        if (store.path(repository) / name).exists()
    }
    assert len(texts) < 2
    assert sum((store.path(repository) / name).exists() for name in WEIGHT_FILES) in (0, 2)
    return texts.pop() if texts else None


def card_seeds(store: LocalStore, repository: str = REPOSITORY) -> list[int]:
    return [run.seed for run in parse_card(store.read(repository, "README.md").decode(), "card").runs]


# layout and commits


def test_a_repository_lies_where_the_hub_has_it(store: LocalStore, tmp_path: Path) -> None:
    source = tmp_path / "big.bin"
    source.write_bytes(b"\x00\x01")
    assert store.revision("me/thing") is None
    assert store.files("me/thing") == []
    assert store.repositories() == []
    store.commit("me/thing", {"README.md": b"hi\n", "seeds/1/big.bin": source}, parent=None, message="first")
    folder = tmp_path / "store" / "models" / "me" / "thing"
    assert snapshot(folder) == {"README.md": b"hi\n", "seeds/1/big.bin": b"\x00\x01"}
    assert store.path("me/thing") == folder
    assert store.files("me/thing") == ["README.md", "seeds/1/big.bin"]
    assert store.read("me/thing", "README.md") == b"hi\n"
    assert store.repositories() == ["me/thing"]
    assert source.exists(), "files are copied, not moved"
    with pytest.raises(FileNotFoundError):
        store.read("me/thing", "nothing")


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


def test_a_commit_on_a_stale_parent_changes_nothing(store: LocalStore, tmp_path: Path) -> None:
    first = store.commit("me/x", {"a": b"1"}, parent=None, message="")
    second = store.commit("me/x", {"a": b"2"}, parent=first, message="")
    before = snapshot(tmp_path)
    for stale in (first, None, "0" * 40):
        with pytest.raises(ConflictError):
            store.commit("me/x", {"a": b"3", "b": b""}, delete=["a"], parent=stale, message="")
    with pytest.raises(ConflictError):
        store.commit("me/new", {"a": b"1"}, parent=first, message="")
    assert snapshot(tmp_path) == before
    assert store.revision("me/x") == second
    assert store.repositories() == ["me/x"]


BAD_PATHS = [
    "../up",
    "a/../../up",
    "/etc/passwd",
    ".git/config",
    "a/.hidden",
    "..",
    ".",
    "",
    "./a",
    "a//b",
    "a/",
    "a b",
    "a\\b",
    "é",
    "a\n",
]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_paths_that_leave_the_repository_are_refused(store: LocalStore, tmp_path: Path, path: str) -> None:
    revision = store.commit("me/x", {"a": b"1"}, parent=None, message="")
    before = snapshot(tmp_path)
    with pytest.raises(InputError, match="not a path inside a repository"):
        check_path(path)
    with pytest.raises(InputError):
        store.read("me/x", path)
    # the good file before the bad one must not get in either
    with pytest.raises(InputError):
        store.commit("me/x", {"good": b"1", path: b"2"}, parent=revision, message="")
    with pytest.raises(InputError):
        store.commit("me/x", {"good": b"1"}, delete=[path], parent=revision, message="")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("repository", ["me", "me/x/y", "../x", "me/..", "/x", "me/", "./x", ".me/x", "me/x y", ""])
def test_only_namespace_and_name_make_a_repository(store: LocalStore, repository: str) -> None:
    with pytest.raises(InputError, match="not a"):
        check_repository(repository)
    with pytest.raises(InputError):
        store.commit(repository, {"a": b"1"}, parent=None, message="")
    assert not store.root.exists()


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
    assert store.files("me/x") == ["a"]
    assert store.repositories() == ["me/x"]


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


# what the disk does


@pytest.fixture
def filled(store: LocalStore, tmp_path: Path) -> LocalStore:
    publish(store, tmp_path, make_record(seed=1))
    return store


PUBLISH_UNDER_A_LIMIT = """
import resource, signal, sys
from pathlib import Path
from builders import make_record
from bocb_hf.errors import InputError
from bocb_hf.store.local import LocalStore
from bocb_hf.store.publish import publish_run

store, folder = LocalStore(Path(sys.argv[1])), Path(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then write() fails, as it does on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    publish_run(store, "me", make_record(seed=0), folder, False)
except InputError as error:
    print(error)
    sys.exit(2)
"""


def run_script(text: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": PYTHONPATH}
    command = [sys.executable, "-c", text, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


def test_a_full_disk_says_so_and_loses_nothing(filled: LocalStore, tmp_path: Path) -> None:
    before, revision = snapshot(filled.root), filled.revision(REPOSITORY)
    folder = weights(tmp_path, "big")
    (folder / "model.safetensors").write_bytes(bytes(200_000))
    ended = run_script(PUBLISH_UNDER_A_LIMIT, filled.root, folder)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout.startswith(f"store: cannot write {REPOSITORY} below {filled.root}: File too large")
    assert "free some space and run the same command again, nothing finished is lost" in ended.stdout
    assert snapshot(filled.root) == before
    assert filled.revision(REPOSITORY) == revision
    # with space it goes through
    publish(filled, tmp_path, make_record(seed=0))
    assert card_seeds(filled) == [0, 1]


@pytest.mark.parametrize("place", ["", "models", "models/me", f"models/{REPOSITORY}"])
def test_a_file_in_the_place_of_a_folder_is_named(store: LocalStore, tmp_path: Path, place: str) -> None:
    blocker = store.root / place
    blocker.parent.mkdir(parents=True, exist_ok=True)
    blocker.write_text("I was here first")
    with pytest.raises(InputError, match=r"store: cannot write below .*; choose another folder with --store"):
        publish(store, tmp_path, make_record())
    assert blocker.read_text() == "I was here first"


def test_a_folder_in_the_place_of_a_file_is_named(store: LocalStore) -> None:
    (store.path("me/x") / "README.md").mkdir(parents=True)
    with pytest.raises(InputError, match="Is a directory; choose another folder"):
        store.commit("me/x", {"README.md": b"1"}, parent=store.revision("me/x"), message="")


COMMIT_AS_NOBODY = """
import os, sys
from pathlib import Path
from bocb_hf.errors import InputError
from bocb_hf.store.local import LocalStore

store = LocalStore(Path(sys.argv[1]))
if os.getuid() == 0:  # nothing is read-only for root
    os.setgid(65534)
    os.setuid(65534)
try:
    store.commit("me/x", {"a": b"1"}, parent=None, message="")
except InputError as error:
    print(error)
    sys.exit(2)
"""


def test_a_read_only_folder_is_named() -> None:
    root = Path(tempfile.mkdtemp(prefix="bocb-readonly-"))  # pytest's own folders are closed to other users
    root.chmod(0o555)
    try:
        ended = run_script(COMMIT_AS_NOBODY, root / "store")
        assert ended.returncode == 2, ended.stderr
        assert ended.stdout.strip() == (
            f"store: cannot write below {root / 'store'}: Permission denied; choose another folder with --store"
        )
        assert list(root.iterdir()) == []
    finally:
        root.chmod(0o755)
        shutil.rmtree(root)


def test_a_source_that_cannot_be_read_leaves_no_partial_file(filled: LocalStore, tmp_path: Path) -> None:
    before = snapshot(filled.root)
    with pytest.raises(FileNotFoundError):
        filled.commit(
            REPOSITORY,
            {"new": b"1", "README.md": b"2", "missing": tmp_path / "missing"},
            parent=filled.revision(REPOSITORY),
            message="",
        )
    assert snapshot(filled.root) == before


PUBLISH_AND_DIE = """
import os, signal, sys
from pathlib import Path
from builders import make_record
from bocb_hf.store.local import LocalStore
from bocb_hf.store.publish import publish_run

left = int(sys.argv[3])

def dying(plain):
    def call(*arguments, **options):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return plain(*arguments, **options)
    return call

if sys.argv[4] == "staging":
    os.fsync = dying(os.fsync)
else:
    Path.replace = dying(Path.replace)
publish_run(LocalStore(Path(sys.argv[1])), "me", make_record(seed=0, correct=1700), Path(sys.argv[2]), False)
"""

# two weight files of the seed, two of the root, the card, the record
FILES = 7


@pytest.mark.parametrize("after", range(0, FILES, 2))
def test_a_crash_while_staging_leaves_the_repository_as_it_was(filled: LocalStore, tmp_path: Path, after: int) -> None:
    before = snapshot(filled.path(REPOSITORY))
    ended = run_script(PUBLISH_AND_DIE, filled.root, weights(tmp_path, "seed 0"), str(after), "staging")
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert snapshot(filled.path(REPOSITORY)) == before
    assert filled.repositories() == [REPOSITORY], "what was staged is no repository"
    # the lock of the dead process does not block
    publish(filled, tmp_path, make_record(seed=0))
    assert card_seeds(filled) == [0, 1]


@pytest.mark.parametrize("after", range(FILES))
def test_after_a_crash_in_the_middle_of_a_commit_the_same_command_mends_all(
    filled: LocalStore, tmp_path: Path, after: int
) -> None:
    ended = run_script(PUBLISH_AND_DIE, filled.root, weights(tmp_path, "seed 0"), str(after), "replacing")
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    record = make_record(seed=0, correct=1700)
    # no file is half a file, and the run does not count as published: it will be published again
    contents = read_repository(filled, REPOSITORY)
    assert contents.damaged == []
    assert sorted(contents.finals) == [1]
    assert find_run(filled, REPOSITORY, record) is None
    publish(filled, tmp_path, record)
    contents = read_repository(filled, REPOSITORY)
    card = parse_card(filled.read(REPOSITORY, "README.md").decode(), "card")
    assert card == make_block(list(contents.finals.values()), [])
    assert card_seeds(filled) == [0, 1]
    assert root_of(filled) == "seed 0"


def test_a_crash_is_simulated_at_every_file(filled: LocalStore, tmp_path: Path) -> None:
    """The two tests above must not pass because the process dies elsewhere, or never."""
    ended = run_script(PUBLISH_AND_DIE, filled.root, weights(tmp_path, "seed 0"), str(FILES), "replacing")
    assert ended.returncode == 0, ended.stderr
    assert card_seeds(filled) == [0, 1]


# publishing


def test_a_run_leaves_weights_record_and_card(store: LocalStore, tmp_path: Path) -> None:
    record = make_record(seed=2)
    assert publish(store, tmp_path, record) == record
    assert store.repositories() == [REPOSITORY]
    assert store.files(REPOSITORY) == [
        "README.md",
        "config.json",
        "curves.png",
        "model.safetensors",
        "seeds/2/config.json",
        "seeds/2/model.safetensors",
        "seeds/2/record.json",
    ]
    assert store.read(REPOSITORY, "seeds/2/record.json").decode() == record.to_json()
    assert store.read(REPOSITORY, "seeds/2/model.safetensors") == b"model.safetensors of seed 2"
    assert find_run(store, REPOSITORY, record) == record
    assert find_run(store, REPOSITORY, ("final", record.run_id, 3)) is None


def test_a_trial_leaves_its_record_and_no_weights(store: LocalStore, tmp_path: Path) -> None:
    trial = make_record(seed=0, role="trial")
    publish(store, tmp_path, trial)
    assert store.files(REPOSITORY) == ["README.md", f"trials/{trial.run_id}.json"]
    assert find_run(store, REPOSITORY, trial) == trial
    assert holds_runs(store, REPOSITORY)


def test_the_root_is_the_lowest_completed_seed_and_never_the_best(store: LocalStore, tmp_path: Path) -> None:
    publish(store, tmp_path, make_record(seed=5, correct=1000))
    assert root_of(store) == "seed 5"
    publish(store, tmp_path, make_record(seed=7, correct=1999))
    assert root_of(store) == "seed 5"
    publish(store, tmp_path, make_record(seed=3, status="diverged"))
    publish(store, tmp_path, make_record(seed=2, role="trial", val_top1=99.0))
    publish(store, tmp_path, make_record(seed=1, status="interrupted"))
    assert root_of(store) == "seed 5"
    publish(store, tmp_path, make_record(seed=4, correct=10))
    assert root_of(store) == "seed 4"
    assert card_seeds(store) == [1, 3, 4, 5, 7]


def test_without_a_completed_run_there_is_no_root(store: LocalStore, tmp_path: Path) -> None:
    publish(store, tmp_path, make_record(seed=1, status="diverged"))
    publish(store, tmp_path, make_record(seed=2, status="interrupted"))
    assert root_of(store) is None
    assert store.files(REPOSITORY) == ["README.md", "curves.png", "seeds/1/record.json", "seeds/2/record.json"]


@pytest.mark.parametrize("status", ["completed", "diverged"])
@pytest.mark.parametrize("role", ["final", "trial"])
def test_a_finished_run_is_not_replaced_by_accident(store: LocalStore, tmp_path: Path, status: str, role: str) -> None:
    record = make_record(seed=1, role=role, status=status)  # type: ignore[arg-type]
    publish(store, tmp_path, record)
    before = snapshot(store.root)
    again = make_record(seed=1, role=role, status="completed", wall_seconds=1.0)  # type: ignore[arg-type]
    assert again.run_id == record.run_id
    with pytest.raises(InputError, match=rf"run {record.run_id} is {status} already; pass runtime.supersede=true"):
        publish(store, tmp_path, again, "again")
    with pytest.raises(InputError, match="already"):
        publish(store, tmp_path, make_record(seed=1, role=role, status="interrupted"))  # type: ignore[arg-type]
    assert snapshot(store.root) == before


def test_a_seed_of_another_configuration_is_not_replaced_by_accident(store: LocalStore, tmp_path: Path) -> None:
    for status in ("completed", "interrupted"):
        there = make_record(seed=1, status=status)
        publish(store, tmp_path, there, supersede=True)
        before = snapshot(store.root)
        with pytest.raises(InputError, match=rf"seed 1 of this cell holds run {there.run_id}, of another config"):
            publish(store, tmp_path, make_record(seed=1, lr=0.5))
        assert snapshot(store.root) == before
    # a trial of another configuration has a place of its own
    publish(store, tmp_path, make_record(seed=0, role="trial"))
    publish(store, tmp_path, make_record(seed=0, role="trial", lr=0.5))
    assert len(read_repository(store, REPOSITORY).trials) == 2


@pytest.mark.parametrize("role", ["final", "trial"])
def test_an_interrupted_run_is_replaced_silently(store: LocalStore, tmp_path: Path, role: str) -> None:
    publish(store, tmp_path, make_record(role=role, status="interrupted"))  # type: ignore[arg-type]
    publish(store, tmp_path, make_record(role=role, status="interrupted", wall_seconds=9.0))  # type: ignore[arg-type]
    done = publish(store, tmp_path, make_record(role=role))  # type: ignore[arg-type]
    assert done.supersedes is None
    assert find_run(store, REPOSITORY, done) == done


def test_superseding_records_what_was_replaced(store: LocalStore, tmp_path: Path) -> None:
    old = publish(store, tmp_path, make_record(seed=1, correct=1500))
    new = publish(store, tmp_path, make_record(seed=1, correct=1600), "new", supersede=True)
    assert new.supersedes == old.sha256()
    stored = parse_record(store.read(REPOSITORY, "seeds/1/record.json"), "r")
    assert stored == new
    assert stored.metrics.test_top1 is not None
    assert stored.metrics.test_top1.last == 80.0
    assert root_of(store) == "new"
    card = parse_card(store.read(REPOSITORY, "README.md").decode(), "card")
    assert [(run.test_top1, run.record_sha256) for run in card.runs] == [(80.0, new.sha256())]
    other = publish(store, tmp_path, make_record(seed=1, lr=0.5), "other", supersede=True)
    assert other.supersedes == new.sha256()
    assert root_of(store) == "other"
    assert sorted(read_repository(store, REPOSITORY).finals) == [1]


def test_an_interrupted_run_does_not_replace_a_finished_one(store: LocalStore, tmp_path: Path) -> None:
    publish(store, tmp_path, make_record(seed=1))
    before = store.revision(REPOSITORY)
    publish(store, tmp_path, make_record(seed=1, status="interrupted"), supersede=True)
    assert store.revision(REPOSITORY) == before


def test_when_the_root_is_superseded_by_a_run_without_weights_the_next_seed_moves_up(
    store: LocalStore, tmp_path: Path
) -> None:
    for seed in (1, 2, 3):
        publish(store, tmp_path, make_record(seed=seed))
    publish(store, tmp_path, make_record(seed=1, status="diverged"), supersede=True)
    assert root_of(store) == "seed 2"
    assert [f for f in store.files(REPOSITORY) if f.startswith("seeds/1/")] == ["seeds/1/record.json"]
    publish(store, tmp_path, make_record(seed=3, status="diverged"), supersede=True)
    assert root_of(store) == "seed 2"
    publish(store, tmp_path, make_record(seed=2, status="diverged"), supersede=True)
    assert root_of(store) is None
    assert store.files(REPOSITORY) == [
        "README.md",
        "curves.png",
        *(f"seeds/{seed}/record.json" for seed in (1, 2, 3)),
    ]


DAMAGE = {
    "seeds/1/record.json": b"{",
    "seeds/8/record.json": b"\xff\xfe",
    "seeds/9/record.json": make_record(seed=4).to_json().encode(),  # belongs elsewhere
    "seeds/1/deep/record.json": make_record(seed=1).to_json().encode(),
    "trials/odd.json": make_record(seed=0, role="trial").to_json().encode(),
    "trials/other.json": make_record("tiny_vit", seed=0, role="trial").to_json().encode(),
}


@pytest.mark.parametrize("path", DAMAGE)
def test_a_damaged_record_is_left_out_but_kept(
    store: LocalStore, tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    publish(store, tmp_path, make_record(seed=1))
    publish(store, tmp_path, make_record(seed=2))
    place = store.path(REPOSITORY) / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(DAMAGE[path])
    with caplog.at_level(logging.WARNING):
        publish(store, tmp_path, make_record(seed=3))
    assert place.read_bytes() == DAMAGE[path]
    assert [where for where, _ in read_repository(store, REPOSITORY).damaged] == [path]
    assert f"left out of the card: {path}" in caplog.text
    left = [2, 3] if path == "seeds/1/record.json" else [1, 2, 3]
    assert card_seeds(store) == left
    assert parse_card(store.read(REPOSITORY, "README.md").decode(), "c").trials == []


def test_a_cell_has_its_own_repository(store: LocalStore, tmp_path: Path) -> None:
    publish(store, tmp_path, make_record())
    publish(store, tmp_path, make_record(optimizer="adamw"))
    publish(store, tmp_path, make_record(setting="other"))
    assert len(store.repositories()) == 3
    assert all(card_seeds(store, name) == [1] for name in store.repositories())


# rendering


@pytest.mark.parametrize("damage", [b"", b"# my own words\n", None])
def test_a_damaged_card_is_rendered_again(filled: LocalStore, tmp_path: Path, damage: bytes | None) -> None:
    publish(filled, tmp_path, make_record(seed=0, role="trial"))
    publish(filled, tmp_path, make_record(seed=0))  # the card shows the software of the lowest seed
    good = snapshot(filled.path(REPOSITORY))
    card = filled.path(REPOSITORY) / "README.md"
    if damage is None:
        card.unlink()
    else:
        card.write_bytes(damage)
    revision = render_repository(filled, REPOSITORY)
    assert snapshot(filled.path(REPOSITORY)) == good
    assert revision == filled.revision(REPOSITORY)


def test_nothing_is_rendered_without_a_record(store: LocalStore) -> None:
    store.commit("me/empty", {"seeds/1/record.json": b"{"}, parent=None, message="")
    for name in ("me/empty", "me/nothing"):
        with pytest.raises(InputError, match=f"{name} holds no valid record to render a card from"):
            render_repository(store, name)
    assert store.files("me/empty") == ["seeds/1/record.json"]


# many processes

PROCESSES = 8


PUBLISH_SEVERAL = """
import sys
from pathlib import Path
from builders import make_record
from bocb_hf.store.local import LocalStore
from bocb_hf.store.publish import publish_run

store, folder, index = LocalStore(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
publish_run(store, "me", make_record(seed=index), folder, False)
publish_run(store, "me", make_record(seed=0, role="trial", lr=1.0 + index), None, False)
"""


def test_processes_that_publish_at_once_lose_nothing(store: LocalStore, tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PUBLISH_SEVERAL, store.root, weights(tmp_path, f"seed {index}"), str(index)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": PYTHONPATH},
        )
        for index in range(PROCESSES)
    ]
    for process in processes:  # all have imported what they need before the first one starts
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors
    contents = read_repository(store, REPOSITORY)
    assert contents.damaged == []
    assert sorted(contents.finals) == list(range(PROCESSES))
    assert len(contents.trials) == PROCESSES
    card = parse_card(store.read(REPOSITORY, "README.md").decode(), "card")
    assert card == make_block(list(contents.finals.values()), list(contents.trials.values()))
    assert card_seeds(store) == list(range(PROCESSES))
    assert root_of(store) == "seed 0"
    for seed in range(PROCESSES):
        assert store.read(REPOSITORY, f"seeds/{seed}/model.safetensors").decode().endswith(f"of seed {seed}")
    assert list((store.root / ".staging").iterdir()) == []


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


def test_a_store_that_keeps_changing_is_given_up_with_advice(
    filled: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conflict(*args: object, **options: object) -> str:
        raise ConflictError

    monkeypatch.setattr(filled, "commit", conflict)
    monkeypatch.setattr("bocb_hf.store.publish._ATTEMPTS", 3)
    with pytest.raises(InputError, match="kept changing during 3 attempts; run the same command again"):
        publish(filled, tmp_path, make_record(seed=9))
