"""'Your backbone': the page looks up what ``bocb recommend`` answers, and says which table answers and why."""

from __future__ import annotations

from typing import Any

import pytest
from boards import DEMO

from bocb_hf.backbones import STUDY
from bocb_hf.page.ask import BOUND
from bocb_hf.page.lookup import lookup
from bocb_hf.page.names import ASKED, designs, known_names, list_names, places
from bocb_hf.page.read import Board, LeaderboardFile
from bocb_hf.recommend.answer import answer
from bocb_hf.recommend.lead import lead
from bocb_hf.recommend.tags import known_tags


@pytest.fixture(scope="module")
def boards() -> dict[str, Board]:
    return LeaderboardFile(DEMO).boards


@pytest.fixture(scope="module")
def ask(boards: dict[str, Board]) -> dict[str, Any]:
    return lookup(boards)


@pytest.mark.parametrize("name", ["convnext_tiny", "tiny_vit"])
def test_a_measured_backbone_has_the_answer_of_the_command(ask: dict[str, Any], boards: Any, name: str) -> None:
    first = ask["measured"][name][0]
    given = answer(boards[first["table"]].source, known_tags(name), BOUND)
    assert first["own"] and first["sentences"] == lead(given) and first["use"] == list(given.names(given.chosen))
    assert first["sentences"][0].startswith(f"{name}: use ")
    assert [start["optimizer"] for start in first["start"]] == first["use"]


def test_a_name_has_the_answer_of_its_design(ask: dict[str, Any], boards: Any) -> None:
    for name in ("resnet101", "vit_base_patch16_224"):
        found = ask["designs"][ask["names"][name]]
        given = answer(boards["published-cifar100"].source, known_tags(name), BOUND)
        first = found["answers"][0]
        assert first["table"] == "published-cifar100" and not first["own"]
        assert [text.replace(ASKED, name) for text in first["sentences"]] == lead(given), name
        assert all(ASKED in command for command in first["commands"])


def test_a_name_that_tells_nothing_has_the_answer_of_an_unknown_design(ask: dict[str, Any], boards: Any) -> None:
    assert ask["designs"][0]["like"] is None and ask["designs"][0]["family"] == "unknown"
    first = ask["designs"][0]["answers"][0]
    given = answer(boards["published-cifar100"].source, known_tags("efficientvit_b0"), BOUND)
    assert ask["names"]["efficientvit_b0"] == 0
    assert [text.replace(ASKED, "efficientvit_b0") for text in first["sentences"]] == lead(given)
    assert "nothing is known of its design" in first["sentences"][-1]


def test_the_most_relevant_table_comes_first_and_says_why(ask: dict[str, Any]) -> None:
    tiny, *_ = ask["measured"]["tiny_vit"]
    assert tiny["toy"] and tiny["why"].endswith(
        "where ViT-tiny itself was measured (n = 2 a cell), as in no other table here."
    )
    both = ask["measured"]["deit_small_patch16_224"]
    assert [a["own"] for a in both] == sorted((a["own"] for a in both), reverse=True)
    assert both[0]["table"] == "published-cifar100" and both[0]["own"] and both[-1]["toy"] and not both[-1]["own"]
    assert "where it was not measured itself" in both[-1]["why"]
    assert both[-1]["sentences"][0].startswith("deit_small_patch16_224: use ")
    for entry in ask["designs"]:
        order = [a["table"] for a in entry["answers"]]
        assert order[0] == "published-cifar100" and order[-1].startswith("fashion_mnist_subset-demo")
        assert "the most relevant one, since no table here measured this backbone" in entry["answers"][0]["why"]
        assert "did not measure this backbone either" in entry["answers"][1]["why"]
    assert ask["unanswered"] == []


def test_every_design_of_the_study_is_answered(ask: dict[str, Any]) -> None:
    tags = {(d["family"], d["stage_wise"], d["block_wise"], d["operator"]) for d in ask["designs"]}
    assert {known_tags(row.id).design for row in STUDY} <= tags and len(tags) == len(ask["designs"]) == len(designs())
    assert all(entry["answers"] for entry in ask["designs"])
    assert set(places().values()) <= set(range(len(designs())))


def test_names_lead_to_the_design_that_the_recommender_reads_from_them() -> None:
    found = places()
    for name in (
        "resnet101d",
        "regnetx_032",
        "swin_base_patch4_window7_224",
        "vit",
        "convnextv2",
        "eva02_base_patch14_224",
    ):
        assert designs()[found[name]][1].design == known_tags(name).design, name
    assert len(known_names()) > 1300 and list(known_names()) == sorted(set(known_names()))


@pytest.mark.slow
def test_the_committed_names_are_those_of_the_libraries() -> None:
    """``python -m bocb_hf.page.names > bocb_hf/page/names.txt`` writes them anew."""
    assert list(known_names()) == list_names()
