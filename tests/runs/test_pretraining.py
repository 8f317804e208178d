"""What a fine-tuned run remembers of its pre-training, and what that means for its cell, configuration and id."""

from __future__ import annotations

from typing import Any

import pytest
from builders import make_record
from fine_tuned import make_fine_tuned, make_pretrained, pretraining_of
from pydantic import ValidationError

from bocb_hf.errors import InputError
from bocb_hf.runs.identity import Identity, cell_differences, check_start
from bocb_hf.runs.naming import own_repository_name
from bocb_hf.runs.record import RunRecord, parse_record
from bocb_hf.store.write import check_free


def read_again(record: RunRecord) -> RunRecord:
    return parse_record(record.to_json().encode(), "r.json")


def test_the_record_remembers_its_pretraining_and_is_read_back_byte_for_byte() -> None:
    start = make_pretrained("lamb", seed=2, epochs=7)
    record = make_fine_tuned(start)
    again = read_again(record)
    assert again == record and again.to_json() == record.to_json()
    made = again.identity.backbone.pretraining
    assert made is not None
    assert (made.optimizer, made.setting, made.epochs, made.seed) == ("lamb", "pretrain", 7, 2)
    assert (made.config_hash, made.record_sha256) == (start.config_hash, start.sha256())
    assert made.dataset == start.identity.data.name and made.data_revision == start.identity.data.revision


def test_a_record_without_pretraining_has_no_such_key_and_its_hash_of_before() -> None:
    record = make_record()
    assert "pretraining" not in record.to_json()
    plain = record.identity.backbone.model_copy(update={"pretrained": "a1_in1k", "pretrained_sha256": "a" * 64})
    identity = record.identity.model_copy(update={"backbone": plain})
    assert identity.config_hash() != record.config_hash
    assert identity.cell().start == "a" * 64 and record.identity.cell().start is None


def test_pretraining_seeds_share_cell_and_configuration_but_are_different_runs() -> None:
    one = make_fine_tuned(make_pretrained(seed=1), weights="a", seed=1)
    two = make_fine_tuned(make_pretrained(seed=2), weights="b", seed=2)
    assert one.identity != two.identity
    assert one.identity.cell() == two.identity.cell()
    assert one.config_hash == two.config_hash and one.run_id != two.run_id
    assert one.identity.cell().start == make_pretrained().config_hash
    assert cell_differences(one.identity, two.identity) == []


def test_where_the_same_checkpoint_lies_is_no_configuration() -> None:
    record = make_fine_tuned(make_pretrained())
    backbone = record.identity.backbone.model_copy(update={"pretrained": "me/repository/seeds/1"})
    assert record.identity.model_copy(update={"backbone": backbone}).config_hash() == record.config_hash


@pytest.mark.parametrize("change", [{"lr": 0.02}, {"optimizer": "lamb"}, {"epochs": 9}, {"setting": "pretrain2"}])
def test_another_pretraining_configuration_is_another_cell_and_configuration(change: dict[str, Any]) -> None:
    one, two = make_fine_tuned(make_pretrained()), make_fine_tuned(make_pretrained(**change), weights="b")
    assert one.config_hash != two.config_hash
    assert one.identity.cell() != two.identity.cell()
    assert cell_differences(one.identity, two.identity) == ["backbone.pretraining.config_hash"]
    assert own_repository_name(one.identity.cell()) != own_repository_name(two.identity.cell())


def test_weights_of_known_and_of_unknown_origin_are_of_two_cells() -> None:
    known = make_fine_tuned(make_pretrained())
    backbone = known.identity.backbone.model_copy(update={"pretraining": None})
    unknown = known.identity.model_copy(update={"backbone": backbone})
    assert unknown.cell() != known.identity.cell() and unknown.config_hash() != known.config_hash
    assert "backbone.pretraining.config_hash" in cell_differences(unknown, known.identity)


def test_a_seed_belongs_to_one_checkpoint() -> None:
    one = make_fine_tuned(make_pretrained(seed=1), weights="a", seed=3)
    two = make_fine_tuned(make_pretrained(seed=2), weights="b", seed=3)
    assert one.run_id == two.run_id
    check_start(3, one.identity, one.identity)
    for check in (
        lambda: check_start(3, one.identity, two.identity),
        lambda: check_free(one, two.run_id, False, two.identity),
    ):
        with pytest.raises(
            InputError, match=r"seed 3 .* pre-training seed 1 .* not from pre-training seed 2 .* choose a"
        ):
            check()
    check_free(one, two.run_id, True, two.identity)


def test_pretraining_is_that_of_starting_weights() -> None:
    start = make_pretrained()
    data = make_record().identity.model_dump()
    data["backbone"]["pretraining"] = pretraining_of(start).model_dump()
    with pytest.raises(ValidationError, match="this network had none"):
        Identity.model_validate(data)
