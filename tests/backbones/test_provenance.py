"""Finding the run that made a checkpoint: missing, altered, failed and retracted ones are refused."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import pytest
from fine_tuned import make_pretrained, pretraining_of

from bocb_hf.backbones import provenance
from bocb_hf.backbones.provenance import find_pretraining, split_hub_id
from bocb_hf.errors import InputError
from bocb_hf.runs.record import RunRecord, parse_record
from bocb_hf.runs.retraction import make_retraction
from bocb_hf.store.cards.text import render_card

WEIGHTS = b"the weights"
SHA = hashlib.sha256(WEIGHTS).hexdigest()


def make(**more: object) -> RunRecord:
    record = make_pretrained(**more)  # type: ignore[arg-type] - the words that the type lists
    final = record.status == "completed" and record.role == "final"
    return record.model_copy(update={"weights_sha256": SHA if final else None})


def put(folder: Path, record: RunRecord | None, ours: bool = True) -> Path:
    """A folder with weights, their configuration and their record."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    (folder / "config.json").write_text(json.dumps({"pretrained_cfg": {"tag": "bocb" if ours else "a1"}}))
    if record is not None:
        (folder / "record.json").write_text(record.to_json())
    return folder


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The folder of a repository with two seeds; at its root lie the weights of the first."""
    root = put(tmp_path / "repository", None)
    put(root / "seeds" / "1", make(seed=1))
    put(root / "seeds" / "2", make(seed=2).model_copy(update={"weights_sha256": "b" * 64}))
    (root / "README.md").write_text(render_card("me/x", [make(seed=1)], []))
    return root


def test_the_folder_of_a_seed_and_the_root_of_a_repository(repository: Path) -> None:
    for folder in (repository / "seeds" / "1", repository):
        assert find_pretraining(str(folder), folder, SHA) == pretraining_of(make(seed=1))


def test_a_copied_folder_that_holds_its_record(tmp_path: Path) -> None:
    folder = put(tmp_path / "copied", make(seed=4))
    found = find_pretraining(str(folder), folder, SHA)
    assert found is not None and found.seed == 4


def test_weights_of_other_origin_have_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = put(tmp_path / "other", None, ours=False)
    assert find_pretraining(str(folder), folder, SHA) is None
    assert find_pretraining("a1_in1k", folder, SHA) is None
    assert caplog.records == []


def test_our_weights_without_a_record_are_marked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = put(tmp_path / "copied", None)
    with caplog.at_level(logging.WARNING):
        assert find_pretraining(str(folder), folder, SHA) is None
    assert "cannot say which optimizer pre-trained them" in caplog.text


def test_a_record_that_is_missing_in_a_repository_is_refused(repository: Path) -> None:
    folder = repository / "seeds" / "1"
    (folder / "record.json").unlink()
    with pytest.raises(InputError, match=r"holds no record\.json.*fetch it again"):
        find_pretraining(str(folder), folder, SHA)


def test_weights_or_record_that_were_altered_are_refused(repository: Path) -> None:
    folder = repository / "seeds" / "2"
    with pytest.raises(InputError, match=r"their record names bbbbbbbbbbbb…: one of them was altered"):
        find_pretraining(str(folder), folder, SHA)
    with pytest.raises(InputError, match="none of the 2 record"):
        find_pretraining(str(repository), repository, "c" * 64)
    damaged = folder / "record.json"
    damaged.write_text(damaged.read_text().replace('"seed":2', '"seed":3'))
    with pytest.raises(InputError, match=r"backbone\.pretrained: .*not a valid record"):
        find_pretraining(str(folder), folder, SHA)


@pytest.mark.parametrize("more", [{"status": "diverged"}, {"status": "interrupted"}, {"role": "trial"}])
def test_a_run_without_final_weights_is_refused(tmp_path: Path, more: dict[str, object]) -> None:
    folder = put(tmp_path / "bad", make(**more))
    with pytest.raises(InputError, match="take a completed final run"):
        find_pretraining(str(folder), folder, SHA)


def test_a_retracted_run_is_refused(repository: Path) -> None:
    tombstone = make_retraction(make(seed=1), "the data were wrong")
    path = repository / tombstone.path()
    path.parent.mkdir()
    path.write_text(tombstone.to_json())
    for folder in (repository / "seeds" / "1", repository):
        with pytest.raises(InputError, match="was retracted by its owner: the data were wrong"):
            find_pretraining(str(folder), folder, SHA)


def test_ids_on_the_hub() -> None:
    assert split_hub_id("me/x") == ("me/x", "")
    assert split_hub_id("hf-hub:me/x") == ("me/x", "")
    assert split_hub_id("me/x/seeds/03") == ("me/x", "seeds/3/")
    assert split_hub_id("me/x/other/3") == ("me/x/other/3", "")


@pytest.fixture
def hub(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The repository as it would lie on the Hub."""
    cards = [make(seed=1), parse_record((repository / "seeds/2/record.json").read_bytes(), "r")]
    (repository / "README.md").write_text(render_card("me/x", cards, []))

    def fetch(hub_id: str, file: str, key: str) -> Path:
        assert (hub_id, key) == ("me/x", "backbone.pretrained")
        return repository / file

    monkeypatch.setattr(provenance, "fetch", fetch)
    return repository


def test_a_repository_on_the_hub_and_one_of_its_seeds(hub: Path) -> None:
    assert find_pretraining("me/x", hub, SHA) == pretraining_of(make(seed=1))
    assert find_pretraining("me/x/seeds/1", hub / "seeds" / "1", SHA) == pretraining_of(make(seed=1))
    with pytest.raises(InputError, match="one of them was altered"):
        find_pretraining("me/x/seeds/2", hub / "seeds" / "2", SHA)


def test_a_record_that_its_card_does_not_list_is_refused(hub: Path) -> None:
    (hub / "seeds/1/record.json").write_text(make(seed=1, correct=1700).to_json())
    with pytest.raises(InputError, match=r"does not list seeds/1/record\.json as it is"):
        find_pretraining("me/x", hub, SHA)


def test_a_run_that_its_card_says_is_retracted_is_refused(hub: Path) -> None:
    record = make(seed=1)
    card = render_card("me/x", [make(seed=2)], [], [(record, make_retraction(record, "a mistake"))])
    (hub / "README.md").write_text(card)
    with pytest.raises(InputError, match="was retracted by its owner: a mistake"):
        find_pretraining("me/x/seeds/1", hub / "seeds" / "1", SHA)
