"""The local store when the disk is full, a process dies, or many publish at once."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from builders import make_record
from published import (
    PYTHONPATH,
    REPOSITORY,
    card_seeds,
    publish,
    root_of,
    run_script,
    snapshot,
    weights,
)
from warm import WarmProcess, wait_for

from bocb_hf.errors import InputError
from bocb_hf.runs.card import make_block, parse_card
from bocb_hf.store.local import LocalStore
from bocb_hf.store.read import read_repository
from bocb_hf.store.write import (
    find_run,
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def filled(store: LocalStore, tmp_path: Path) -> LocalStore:
    publish(store, tmp_path, make_record(seed=1))
    return store


# what the disk does


PUBLISH_UNDER_A_LIMIT = """
import resource, signal, sys
from pathlib import Path
from builders import make_record
from bocb_hf.errors import InputError
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import write_run

store, folder = LocalStore(Path(sys.argv[1])), Path(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then write() fails, as it does on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_run(store, "me", make_record(seed=0), folder, False)
except InputError as error:
    print(error)
    sys.exit(2)
"""


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
from bocb_hf.store.write import write_run

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
write_run(LocalStore(Path(sys.argv[1])), "me", make_record(seed=0, correct=1700), Path(sys.argv[2]), False)
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


# many processes

PROCESSES = 5


PUBLISH_SEVERAL = """
import sys, time
from pathlib import Path
from builders import make_record
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import write_run

store, folder, index = LocalStore(Path(sys.argv[1])), Path(sys.argv[2]), int(sys.argv[3])
gate = Path(sys.argv[4])
(gate / f"ready {index}").touch()
while not (gate / "open").exists():
    time.sleep(0.001)
write_run(store, "me", make_record(seed=index), folder, False)
write_run(store, "me", make_record(seed=0, role="trial", lr=1.0 + index), None, False)
"""


def test_processes_that_publish_at_once_lose_nothing(store: LocalStore, tmp_path: Path) -> None:
    folders = [weights(tmp_path, f"seed {index}") for index in range(PROCESSES)]
    gate = tmp_path / "gate"
    gate.mkdir()
    processes = [
        WarmProcess(
            ["-c", PUBLISH_SEVERAL, store.root, folder, str(index), gate],
            environment=os.environ | {"PYTHONPATH": PYTHONPATH},
        )
        for index, folder in enumerate(folders)
    ]
    # all have imported what they need before the first one starts
    wait_for(lambda: len(list(gate.iterdir())) == PROCESSES or any(p.poll() is not None for p in processes))
    (gate / "open").touch()
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
