"""Read, change, commit: again after a conflict, and only so often."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import make_record
from published import REPOSITORY, publish

from bocb_hf.errors import InputError
from bocb_hf.store import ConflictError, commits
from bocb_hf.store.commits import commit_with_retry
from bocb_hf.store.local import LocalStore
from bocb_hf.store.read import read_repository
from bocb_hf.store.write import render_repository, retract_run


def test_a_conflict_is_read_again_and_its_result_returned() -> None:
    calls: list[int] = []

    def attempt() -> str:
        calls.append(len(calls))
        if len(calls) < 4:
            raise ConflictError
        return "revision"

    assert commit_with_retry(attempt, "store: x") == "revision"
    assert calls == [0, 1, 2, 3]


def test_it_ends_and_says_what_kept_changing() -> None:
    calls: list[int] = []

    def attempt() -> None:
        calls.append(1)
        raise ConflictError

    with pytest.raises(InputError, match=r"^store: me/x kept changing during 50 attempts; run the same command again$"):
        commit_with_retry(attempt, "store: me/x")
    assert len(calls) == commits.ATTEMPTS == 50


def test_another_error_is_raised_at_once() -> None:
    calls: list[int] = []

    def attempt() -> None:
        calls.append(1)
        raise InputError("no")

    with pytest.raises(InputError, match=r"^no$"):
        commit_with_retry(attempt, "x")
    assert calls == [1]


@pytest.mark.parametrize("change", ["render", "retract"])
def test_a_commit_in_between_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    store = LocalStore(tmp_path / "store")
    record = publish(store, tmp_path, make_record(seed=1))
    plain = LocalStore.commit

    def meanwhile(self: LocalStore, *arguments: object, **words: object) -> str:
        monkeypatch.setattr(LocalStore, "commit", plain)
        publish(store, tmp_path, make_record(seed=2))
        return plain(self, *arguments, **words)  # type: ignore[arg-type] - the words that the type lists

    monkeypatch.setattr(LocalStore, "commit", meanwhile)
    if change == "render":
        render_repository(store, REPOSITORY)
    else:
        retract_run(store, REPOSITORY, record, "wrong data")
    contents = read_repository(store, REPOSITORY)
    assert sorted(contents.finals) == ([1, 2] if change == "render" else [2])
    # its type allows None, which it is not here
    assert contents.card.paths().keys() == {f"seeds/{seed}/record.json" for seed in contents.finals}  # type: ignore[union-attr]
