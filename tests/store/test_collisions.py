"""Cells of the same four names: the first keeps the plain repository, every other one has its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from builders import make_data, make_record
from published import REPOSITORY, publish
from stored import publish as put

from bocb_hf.coupling.marks import Marks
from bocb_hf.coupling.scores import scores_of
from bocb_hf.coupling.table import build_tables
from bocb_hf.errors import InputError
from bocb_hf.report.outputs import table_slug
from bocb_hf.report.words.tables import terminal_text
from bocb_hf.runs.card import make_block
from bocb_hf.runs.naming import is_repository_name, make_run_id, own_repository_name, repository_name
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.contents import read_store
from bocb_hf.store.local import LocalStore
from bocb_hf.store.peers import find_peers
from bocb_hf.store.read import read_repository
from bocb_hf.store.write import find_place, render_repository, write_runs

NAME = REPOSITORY.removeprefix("me/")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def fine_tuned(seed: int = 1, digest: str = "a" * 64, **changes: Any) -> RunRecord:
    """A run that started from given weights."""
    record = make_record(seed=seed, **changes)
    backbone = record.identity.backbone.model_copy(update={"pretrained": "timm", "pretrained_sha256": digest})
    identity = record.identity.model_copy(update={"backbone": backbone})
    number = identity.config_hash()
    return RunRecord.model_validate(
        record.model_dump()
        | {"identity": identity.model_dump(), "config_hash": number, "run_id": make_run_id(number, seed)}
    )


def other_data(seed: int = 1, **changes: Any) -> RunRecord:
    return make_record(seed=seed, data=make_data(revision="abcdef0"), **changes)


def other_draw(seed: int = 1, **changes: Any) -> RunRecord:
    data = make_data(validation_fraction=0.1, validation_indices_sha256="b" * 64)
    return make_record(seed=seed, data=data, **changes)


OTHERS = {"other data": other_data, "another draw": other_draw, "pretrained": fine_tuned}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_second_cell_has_a_repository_of_its_own(store: LocalStore, tmp_path: Path, kind: str) -> None:
    make = OTHERS[kind]
    publish(store, tmp_path, make_record(seed=1))
    for record in (make(role="trial", seed=0), make(1), make(2, status="diverged")):
        publish(store, tmp_path, record)
    own = f"me/{own_repository_name(make().identity.cell())}"
    assert store.repositories() == sorted([REPOSITORY, own])
    assert own.startswith(f"{REPOSITORY}-") and len(own) == len(REPOSITORY) + 7
    plain, second = read_repository(store, REPOSITORY), read_repository(store, own)
    assert sorted(plain.finals) == [1] and not plain.trials and sorted(second.finals) == [1, 2]
    assert len(second.trials) == 1 and not plain.damaged and not second.damaged
    contents = read_store(store)
    assert len(contents.records) == 4 and not contents.quarantined
    # more seeds of either find their place, whichever comes when
    publish(store, tmp_path, make_record(seed=5))
    publish(store, tmp_path, make(6))
    assert sorted(read_repository(store, REPOSITORY).finals) == [1, 5]
    assert sorted(read_repository(store, own).finals) == [1, 2, 6]
    render_repository(store, own)
    assert not read_store(store).quarantined


@pytest.mark.parametrize("kind", OTHERS)
def test_whoever_comes_first_keeps_the_plain_name(store: LocalStore, tmp_path: Path, kind: str) -> None:
    publish(store, tmp_path, OTHERS[kind](1))
    publish(store, tmp_path, make_record(seed=1))
    own = f"me/{own_repository_name(make_record().identity.cell())}"
    assert store.repositories() == sorted([REPOSITORY, own])
    assert find_place(store, "me", make_record().identity) == own
    assert find_place(store, "me", OTHERS[kind]().identity) == REPOSITORY
    assert find_place(store, "you", make_record().identity) == f"you/{NAME}"


def test_another_configuration_of_a_cell_stays_in_it_and_the_error_names_the_fields(
    store: LocalStore, tmp_path: Path
) -> None:
    publish(store, tmp_path, make_record(seed=1))
    publish(store, tmp_path, make_record(seed=2, lr=0.3, epochs=8))
    assert store.repositories() == [REPOSITORY]
    with pytest.raises(InputError, match=r"differ in optimizer\.lr, training\.epochs\); choose another seed"):
        publish(store, tmp_path, make_record(seed=1, lr=0.3, epochs=8))


def test_runs_of_two_cells_are_no_one_commit(store: LocalStore) -> None:
    for kind, field in (("other data", "data.revision"), ("pretrained", "backbone.pretrained_sha256")):
        with pytest.raises(InputError, match=f"is of another cell than run .*; they differ in {field}$"):
            write_runs(store, "me", [(make_record(role="trial"), None), (OTHERS[kind](role="trial"), None)], False)


def test_a_repository_from_before_that_holds_several_cells_is_read_and_grows_as_it_is(
    store: LocalStore, tmp_path: Path
) -> None:
    put(store, [make_record(seed=1), fine_tuned(2)], "me")
    assert len(read_store(store).records) == 2 and not read_store(store).quarantined
    publish(store, tmp_path, make_record(seed=3))
    publish(store, tmp_path, fine_tuned(4))
    assert store.repositories() == [REPOSITORY]
    assert sorted(read_repository(store, REPOSITORY).finals) == [1, 2, 3, 4]
    publish(store, tmp_path, other_data(1))
    assert len(store.repositories()) == 2


def test_a_record_lies_in_one_of_two_places_and_nowhere_else(store: LocalStore, tmp_path: Path) -> None:
    record, other = make_record(seed=1), other_data(1)
    own = own_repository_name(record.identity.cell())
    assert record.repositories() == (NAME, own) and record.repository() == NAME
    put(store, [record], "me")
    for name in (own, own_repository_name(other.identity.cell()), f"{NAME}-000000"):
        (store.root / "models/me").joinpath(NAME).rename(store.root / "models/me" / name)
        contents = read_store(store)
        assert len(contents.records) == (name == own), name
        if name != own:
            assert "its identity belongs at" in str(contents.quarantined)
        (store.root / "models/me").joinpath(name).rename(store.root / "models/me" / NAME)


def test_names_stay_within_what_the_hub_takes() -> None:
    long = make_record(setting="s" * 40, data=make_data(dataset="d" * 200))
    names = long.repositories()
    assert all(len(name) <= 96 for name in names) and len(set(names)) == 2
    cell = long.identity.cell()
    assert is_repository_name(names[0], *cell.names) and is_repository_name(names[1], *cell.names)
    assert not is_repository_name(f"{names[0][:-1]}", *cell.names)
    assert not is_repository_name(f"{NAME}-00000g", *make_record().identity.cell().names)
    assert repository_name(*make_record().identity.cell().names) == NAME


def test_a_place_is_decided_anew_when_another_cell_takes_it_meanwhile(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = LocalStore.commit

    def meanwhile(self: LocalStore, *arguments: Any, **words: Any) -> str:
        monkeypatch.setattr(LocalStore, "commit", plain)
        publish(store, tmp_path, make_record(seed=1))
        return plain(self, *arguments, **words)

    monkeypatch.setattr(LocalStore, "commit", meanwhile)
    publish(store, tmp_path, fine_tuned(1))
    assert [len(read_repository(store, name).finals) for name in store.repositories()] == [1, 1]
    assert not read_store(store).quarantined


def test_tables_never_pool_runs_from_different_weights() -> None:
    scratch = [make_record(seed=s, correct=1000) for s in (1, 2)]
    tuned = [fine_tuned(s, correct=1900) for s in (1, 2, 3)]
    assert [table.start for table in build_tables(scratch)] == [""]
    assert [table.start for table in build_tables(tuned)] == [""], "no other table to tell it from"
    few = [fine_tuned(s, "c" * 64, correct=1500) for s in (1, 2)]
    vit = [make_record("tiny_vit", seed=1)]
    tables = {table.start: table for table in build_tables([*scratch, *tuned, *few, *vit])}
    assert list(tables) == ["pretrained weights", "random weights", f"pretrained weights {'c' * 12}"]
    shown = {start: table.shown("tiny_resnet", "sgdm") for start, table in tables.items()}
    assert [(row.n, row.mean) for row in shown.values()] == [(3, 95.0), (2, 50.0), (2, 75.0)]
    assert tables["random weights"].backbones == ("tiny_resnet", "tiny_vit")
    assert len({table_slug(table) for table in tables.values()}) == 3
    random = tables["random weights"]
    assert "setting demo, from random weights" in terminal_text(random, [], Marks.of(scores_of(random), random))


def test_neighbours_start_from_the_same_weights(store: LocalStore, tmp_path: Path) -> None:
    cells = [make_record(), make_record(optimizer="adamw"), fine_tuned(), fine_tuned(optimizer="adamw")]
    for record in cells:
        publish(store, tmp_path, record)
    places = [find_place(store, "me", record.identity) for record in cells]
    found = find_peers(store, places)
    neighbours = [[entry.repository for entry in peers.entries] if (peers := found[name]) else [] for name in places]
    assert neighbours == [[places[1]], [places[0]], [places[3]], [places[2]]]


def test_cards_of_random_weights_keep_their_bytes_and_others_name_theirs() -> None:
    assert "pretrained" not in make_block([make_record()], []).model_dump_json()
    assert make_block([fine_tuned(1), fine_tuned(2)], []).pretrained == ["a" * 64]
    with pytest.raises(ValueError, match=r"one cell, but .* differ in optimizer\.name$"):
        make_block([make_record(), make_record(seed=2, optimizer="adamw")], [])
