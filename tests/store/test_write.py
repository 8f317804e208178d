"""Publishing into a repository: its files, what may be replaced, the root, and rendering anew."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from builders import make_record
from published import (
    REPOSITORY,
    card_seeds,
    publish,
    root_of,
    snapshot,
)

from bocb_hf.errors import InputError
from bocb_hf.runs.card import parse_card
from bocb_hf.runs.record import parse_record
from bocb_hf.store import ConflictError
from bocb_hf.store.local import LocalStore
from bocb_hf.store.read import read_repository
from bocb_hf.store.write import (
    find_run,
    render_repository,
)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def filled(store: LocalStore, tmp_path: Path) -> LocalStore:
    publish(store, tmp_path, make_record(seed=1))
    return store


# publishing


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
    record = make_record(seed=1, role=role, status=status)  # type: ignore[arg-type] - the words that the type lists
    publish(store, tmp_path, record)
    before = snapshot(store.root)
    # a parametrized word, one of those that the type lists
    again = make_record(seed=1, role=role, status="completed", wall_seconds=1.0)  # type: ignore[arg-type]
    assert again.run_id == record.run_id
    with pytest.raises(InputError, match=rf"run {record.run_id} is {status} already; pass runtime.supersede=true"):
        publish(store, tmp_path, again, "again")
    with pytest.raises(InputError, match="already"):
        # a parametrized word, one of those that the type lists
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
    # a parametrized word, one of those that the type lists
    publish(store, tmp_path, make_record(role=role, status="interrupted"))  # type: ignore[arg-type]
    # a parametrized word, one of those that the type lists
    publish(store, tmp_path, make_record(role=role, status="interrupted", wall_seconds=9.0))  # type: ignore[arg-type]
    done = publish(store, tmp_path, make_record(role=role))  # type: ignore[arg-type] - the words that the type lists
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


def test_a_store_that_keeps_changing_is_given_up_with_advice(
    filled: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def conflict(*args: object, **options: object) -> str:
        raise ConflictError

    monkeypatch.setattr(filled, "commit", conflict)
    monkeypatch.setattr("bocb_hf.store.commits.ATTEMPTS", 3)
    with pytest.raises(InputError, match="kept changing during 3 attempts; run the same command again"):
        publish(filled, tmp_path, make_record(seed=9))
