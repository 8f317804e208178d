"""Leases: one holder at a time without ``flock``, dead holders replaced, a holder that was replaced stopped in time."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest
from builders import make_record
from warm import WarmProcess, wait_until

from bocb_hf.errors import InputError
from bocb_hf.store import lease as leases
from bocb_hf.store.lease import LIFETIME, Lease, LeaseHeldError, LeaseLostError, run_lease, running
from bocb_hf.store.local import LocalStore
from bocb_hf.store.read import read_repository
from bocb_hf.store.write import write_run

FORK = multiprocessing.get_context("fork")


def make_old(path: Path, seconds: float = LIFETIME + 1) -> None:
    now = time.time()
    os.utime(path, (now - seconds, now - seconds))


def test_a_lease_has_one_holder_and_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.lease"
    first, second = Lease(path, "the work"), Lease(path, "the work")
    with first:
        first.check()
        with pytest.raises(LeaseHeldError, match="the work is in progress in another process"):
            second.acquire(timeout=0.1)
    assert list(path.parent.iterdir()) == []
    with second:
        second.check()


def test_a_lease_of_another_system_is_taken_over_only_when_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell here whether a process of another system lives, so only the age counts."""
    path = tmp_path / "x.lease"
    with monkeypatch.context() as there:
        there.setattr(leases, "this_process", lambda: "another-boot 1 99999999 5")
        theirs = Lease(path, "the work", lifetime=1e9)
        theirs.acquire()
    ours = Lease(path, "the work")
    with pytest.raises(LeaseHeldError):
        ours.acquire()
    make_old(path)
    ours.acquire()
    with pytest.raises(LeaseLostError, match="another one took over"):
        theirs.check()
    theirs.release()
    ours.check()  # what the old holder gave back was not its own any more
    ours.release()


def test_a_holder_renews_its_lease(tmp_path: Path) -> None:
    path = tmp_path / "x.lease"
    with Lease(path, "the work", lifetime=0.06):
        make_old(path, 3600)
        deadline = time.monotonic() + 10
        while time.time() - path.stat().st_mtime > 60:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_holder_that_was_killed_here_is_replaced_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from bocb_hf.store.lease import run_lease\n"
        "run_lease(Path(sys.argv[1]), 'me/x', 'r-1', 'final').acquire(); time.sleep(600)"
    )
    process = WarmProcess(["-c", code, tmp_path])
    wait_until(lambda: running(tmp_path), process)
    assert running(tmp_path) == [("me/x", "r-1", "final")]
    with pytest.raises(LeaseHeldError):
        run_lease(tmp_path, "me/x", "r-1", "final").acquire()
    process.kill()
    process.wait()
    assert running(tmp_path) == []
    with run_lease(tmp_path, "me/x", "r-1", "final"):
        assert len(running(tmp_path)) == 1


def test_of_two_that_find_a_dead_lease_one_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at the dead lease and its removal, somebody else has replaced it: the new one is put back."""
    path = tmp_path / "x.lease"
    path.write_text("dead")
    quick, slow = Lease(path, "the work"), Lease(path, "the work")
    look = leases._look

    def slowly(where: Path) -> tuple[str, float]:
        seen = look(where)
        monkeypatch.setattr(leases, "_look", look)
        make_old(path)
        quick.acquire()
        return seen[0], LIFETIME + 1

    monkeypatch.setattr(leases, "_look", slowly)
    with pytest.raises(LeaseHeldError):
        slow.acquire()
    quick.check()
    quick.release()


def _add_seeds(root: Path, seeds: range) -> None:
    """A machine on which ``flock`` works only inside itself: as if nobody else had any lock."""
    import fcntl

    def useless(*_: object) -> None:
        """Locks nothing."""

    fcntl.flock = useless
    for seed in seeds:
        write_run(LocalStore(root), "me", make_record(seed=seed, role="trial"), None, supersede=False)


def test_two_machines_that_share_only_the_folder_lose_no_commit(tmp_path: Path) -> None:
    """Two processes with roots of other names and no lock in common write 12 runs each into one repository."""
    store = tmp_path / "store"
    store.mkdir()
    roots = [tmp_path / "mounted-here", tmp_path / "mounted-there"]
    for root in roots:
        root.symlink_to(store)
    processes = [FORK.Process(target=_add_seeds, args=(r, range(12 * k, 12 * k + 12))) for k, r in enumerate(roots)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    (repository,) = LocalStore(store).repositories()
    contents = read_repository(LocalStore(store), repository)
    assert sorted(r.seed for r in contents.trials.values()) == list(range(24)) and contents.damaged == []
    assert contents.card is not None and len(list((store / ".locks").iterdir())) == 0


def test_a_commit_whose_lease_was_taken_over_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process stood still while it staged its files, and another one has the repository now."""
    from bocb_hf.store import local

    store, stage = LocalStore(tmp_path), local._stage

    def stand_still(content: bytes | Path, target: Path) -> Path:
        (lease,) = (tmp_path / ".locks").glob("*.lease")
        lease.write_text("somebody else")
        return stage(content, target)

    monkeypatch.setattr(local, "_stage", stand_still)
    with pytest.raises(LeaseLostError, match="nothing was changed"):
        store.commit("me/x", {"a": b"1"}, parent=None, message="m")
    assert store.files("me/x") == []
    assert isinstance(LeaseLostError("x"), InputError)
