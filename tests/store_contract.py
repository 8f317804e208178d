"""What every store does, whatever keeps it: the tests that each of them inherits.

``tests/store/test_contract.py`` has one subclass for each store, which gives the fixture ``store``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import make_record
from published import REPOSITORY, card_seeds, publish, root_bytes, weights

from bocb_hf.errors import InputError
from bocb_hf.runs.card import make_block, parse_card
from bocb_hf.store import ConflictError, CopyOf, Store, check_path, check_repository
from bocb_hf.store.read import read_repository
from bocb_hf.store.write import find_run, holds_runs, render_repository, retract_run

BAD_PATHS = [
    *("../up", "a/../../up", "/etc/passwd", ".git/config", "a/.hidden", "..", ".", "", "./a", "a//b", "a/", "a b"),
    *("a\\b", "é", "a\n"),
]
BAD_REPOSITORIES = ["me", "me/x/y", "../x", "me/..", "/x", "me/", "./x", ".me/x", "me/x y", ""]


def everything(store: Store) -> dict[str, dict[str, bytes]]:
    """The content of each file of each repository."""
    return {name: {path: store.read(name, path) for path in store.files(name)} for name in store.repositories()}


class StoreContract:
    """Repositories of the namespace ``me``, in a store that is empty at first."""

    @pytest.fixture
    def store(self) -> Store:
        raise NotImplementedError

    def test_what_is_not_there(self, store: Store) -> None:
        assert store.revision("me/thing") is None
        assert store.files("me/thing") == []
        assert store.repositories() == []
        with pytest.raises(FileNotFoundError):
            store.read("me/thing", "README.md")

    def test_files_come_back_as_they_were_committed(self, store: Store, tmp_path: Path) -> None:
        source = tmp_path / "big.dat"
        source.write_bytes(b"\x00\x01")
        revision = store.commit(
            "me/thing",
            {"seeds/1/big.dat": source, "README.md": b"---\ntags: [bocb]\n---\nhi\n", "empty": b""},
            parent=None,
            message="first",
        )
        assert store.revision("me/thing") == revision
        assert store.files("me/thing") == ["README.md", "empty", "seeds/1/big.dat"]
        assert store.read("me/thing", "README.md") == b"---\ntags: [bocb]\n---\nhi\n"
        assert store.read("me/thing", "seeds/1/big.dat") == b"\x00\x01"
        assert store.read("me/thing", "empty") == b""
        assert store.repositories() == ["me/thing"]
        assert source.exists(), "files are copied, not moved"
        for missing in ("nothing", "seeds", "seeds/1", "README.md/x"):
            with pytest.raises(FileNotFoundError):
                store.read("me/thing", missing)

    def test_every_change_gives_a_new_revision(self, store: Store) -> None:
        first = store.commit("me/x", {"a": b"1"}, parent=None, message="test")
        second = store.commit("me/x", {"b": b""}, parent=first, message="test")
        third = store.commit("me/x", {"a": b"2"}, delete=["b", "never-there"], parent=second, message="test")
        assert len({first, second, third}) == 3
        assert store.revision("me/x") == third
        assert store.files("me/x") == ["a"] and store.read("me/x", "a") == b"2"

    def test_what_is_written_and_deleted_at_once_is_written(self, store: Store) -> None:
        first = store.commit("me/x", {"a": b"1", "b": b"1"}, parent=None, message="test")
        store.commit("me/x", {"a": b"2"}, delete=["a", "b"], parent=first, message="test")
        assert store.files("me/x") == ["a"] and store.read("me/x", "a") == b"2"

    def test_a_file_of_the_repository_is_copied(self, store: Store) -> None:
        first = store.commit("me/x", {"deep/model.safetensors": b"weights"}, parent=None, message="test")
        copied = {"model.safetensors": CopyOf("deep/model.safetensors")}
        store.commit("me/x", copied, parent=first, message="test")
        assert store.read("me/x", "model.safetensors") == store.read("me/x", "deep/model.safetensors") == b"weights"

    def test_a_commit_on_a_stale_parent_changes_nothing(self, store: Store) -> None:
        first = store.commit("me/x", {"a": b"1"}, parent=None, message="test")
        second = store.commit("me/x", {"a": b"2"}, parent=first, message="test")
        for stale in (first, None, "0" * 40):
            with pytest.raises(ConflictError):
                store.commit("me/x", {"a": b"3", "b": b""}, delete=["a"], parent=stale, message="test")
        assert store.revision("me/x") == second
        assert store.files("me/x") == ["a"] and store.read("me/x", "a") == b"2"

    @pytest.mark.parametrize("path", BAD_PATHS)
    def test_paths_that_leave_the_repository_are_refused(self, store: Store, path: str) -> None:
        revision = store.commit("me/x", {"a": b"1"}, parent=None, message="test")
        with pytest.raises(InputError, match="not a path inside a repository"):
            check_path(path)
        with pytest.raises(InputError, match="not a path inside a repository"):
            store.read("me/x", path)
        # the good file before the bad one must not get in either
        with pytest.raises(InputError, match="not a path inside a repository"):
            store.commit("me/x", {"good": b"1", path: b"2"}, parent=revision, message="test")
        with pytest.raises(InputError, match="not a path inside a repository"):
            store.commit("me/x", {"good": b"1"}, delete=[path], parent=revision, message="test")
        assert store.files("me/x") == ["a"] and store.revision("me/x") == revision

    @pytest.mark.parametrize("repository", BAD_REPOSITORIES)
    def test_only_namespace_and_name_make_a_repository(self, store: Store, repository: str) -> None:
        with pytest.raises(InputError, match="not a"):
            check_repository(repository)
        for refused in (store.revision, store.files, lambda name: store.read(name, "a")):
            with pytest.raises(InputError, match="not a"):
                refused(repository)
        with pytest.raises(InputError):
            store.commit(repository, {"a": b"1"}, parent=None, message="test")
        assert store.repositories() == []

    def test_no_more_is_read_than_a_record_can_hold(self, store: Store, tmp_path: Path) -> None:
        with (tmp_path / "big").open("wb") as file:
            file.truncate(20_000_001)
        store.commit("me/x", {"big.dat": tmp_path / "big"}, parent=None, message="test")
        with pytest.raises(InputError, match=r"me/x/big\.dat: larger than 20000000 bytes"):
            store.read("me/x", "big.dat")

    # runs

    def test_a_run_leaves_weights_record_and_card(self, store: Store, tmp_path: Path) -> None:
        record = make_record(seed=2)
        assert publish(store, tmp_path, record) == record
        assert store.repositories() == [REPOSITORY]
        assert store.files(REPOSITORY) == [
            *("README.md", "config.json", "curves.png", "model.safetensors"),
            *(f"seeds/2/{name}" for name in ("config.json", "model.safetensors", "record.json")),
        ]
        assert store.read(REPOSITORY, "seeds/2/record.json").decode() == record.to_json()
        assert store.read(REPOSITORY, "seeds/2/model.safetensors") == b"model.safetensors of seed 2"
        assert parse_card(store.read(REPOSITORY, "README.md").decode(), "card") == make_block([record], [])
        assert find_run(store, REPOSITORY, record) == record
        assert find_run(store, REPOSITORY, ("final", record.run_id, 3)) is None

    def test_a_trial_leaves_its_record_and_no_weights(self, store: Store, tmp_path: Path) -> None:
        trial = make_record(seed=0, role="trial")
        publish(store, tmp_path, trial)
        assert store.files(REPOSITORY) == ["README.md", f"trials/{trial.run_id}.json"]
        assert find_run(store, REPOSITORY, trial) == trial
        assert holds_runs(store, REPOSITORY)

    def test_the_root_is_the_lowest_completed_seed_that_counts(self, store: Store, tmp_path: Path) -> None:
        publish(store, tmp_path, make_record(seed=5, correct=1999))
        publish(store, tmp_path, make_record(seed=3, status="diverged"))
        assert root_bytes(store) == b"model.safetensors of seed 5"
        publish(store, tmp_path, make_record(seed=4, correct=10))
        assert root_bytes(store) == b"model.safetensors of seed 4"
        retract_run(store, REPOSITORY, make_record(seed=4, correct=10), "a wrong split")
        assert root_bytes(store) == b"model.safetensors of seed 5"
        assert card_seeds(store) == [3, 5]
        contents = read_repository(store, REPOSITORY)
        assert [tombstone.reason for _, tombstone in contents.retracted.values()] == ["a wrong split"]
        assert "seeds/4/record.json" in store.files(REPOSITORY), "it stays"

    def test_a_finished_run_is_not_replaced_by_accident(self, store: Store, tmp_path: Path) -> None:
        publish(store, tmp_path, make_record(seed=1))
        before = everything(store)
        with pytest.raises(InputError, match=r"is completed already; pass runtime\.supersede=true"):
            publish(store, tmp_path, make_record(seed=1, wall_seconds=1.0), "again")
        with pytest.raises(InputError, match="of another configuration"):
            publish(store, tmp_path, make_record(seed=1, lr=0.2), "other")
        assert everything(store) == before
        stored = publish(store, tmp_path, make_record(seed=1, lr=0.2), "other", supersede=True)
        assert stored.supersedes == make_record(seed=1).sha256()
        assert root_bytes(store) == b"model.safetensors of other"

    def test_somebody_who_commits_meanwhile_loses_nothing(self, store: Store, tmp_path: Path) -> None:
        """The commit is refused, its state is read again, and both runs are on the card."""

        class Between:
            """The store, where another run is committed just before the first commit of this one."""

            def __init__(self) -> None:
                self.waiting = True

            def __getattr__(self, name: str):
                return getattr(store, name)

            def commit(self, *given, **words):
                if self.waiting:
                    self.waiting = False
                    publish(store, tmp_path, make_record(seed=1))
                return store.commit(*given, **words)

        publish(store, tmp_path, make_record(seed=0))
        publish(Between(), tmp_path, make_record(seed=2))  # type: ignore[arg-type] - a stand-in
        assert card_seeds(store) == [0, 1, 2]
        assert sorted(read_repository(store, REPOSITORY).finals) == [0, 1, 2]

    def test_a_card_is_rendered_again_from_its_records(self, store: Store, tmp_path: Path) -> None:
        publish(store, tmp_path, make_record(seed=1))
        card, parent = store.read(REPOSITORY, "README.md"), store.revision(REPOSITORY)
        store.commit(REPOSITORY, {"README.md": b"somebody's own text"}, parent=parent, message="test")
        assert render_repository(store, REPOSITORY) == store.revision(REPOSITORY)
        assert store.read(REPOSITORY, "README.md") == card

    def test_nothing_is_rendered_without_a_record(self, store: Store) -> None:
        store.commit("me/x", {"README.md": b"hello"}, parent=None, message="test")
        with pytest.raises(InputError, match="holds no valid record to render a card from"):
            render_repository(store, "me/x")
        assert store.read("me/x", "README.md") == b"hello"

    def test_weights_are_committed_from_their_folder(self, store: Store, tmp_path: Path) -> None:
        folder = weights(tmp_path, "seed 1")
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        publish(store, tmp_path, make_record(seed=1))
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert all(store.read(REPOSITORY, f"seeds/1/{name}") == content for name, content in before.items())
