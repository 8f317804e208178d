"""Verified means by somebody else: the file names who measured, and a review looks at who proposed it."""

from __future__ import annotations

from typing import Any

import pytest
from builders import make_record
from hub_client import HubClient
from hub_server import HubServer
from hub_state import Token

from bocb_hf.errors import InputError
from bocb_hf.runs.verification import Verification, make_verification, parse_verification

RESULTS = "hf://datasets/lab/results"
PROPOSE = """
from bocb_hf.results.dataset import propose
from bocb_hf.runs.verification import parse_verification
result = propose("hf://datasets/lab/results", parse_verification(text.encode(), "x"))
"""
RAW = """
from bocb_hf.results.dataset import open_pull_request
result = open_pull_request("hf://datasets/lab/results", {path: text.encode()}, "x")
"""
REVIEW = """
from bocb_hf.cli import main
result = main(["validate", "hf://datasets/lab/results", "--revision", revision])
"""


def verification(repository: str = "bob/cell", **changes: Any) -> Verification:
    record = make_record()
    assert record.correctness is not None
    made = make_verification(repository, record, record.correctness.bits(), 0.1, "cpu", None)
    return Verification.model_validate(made.model_dump() | changes)


@pytest.fixture
def results(hub: HubServer) -> HubServer:
    hub.tokens["hf_second"] = Token("cid", organisations={"team": "read"})
    hub.put("lab/results", {"README.md": b""}, kind="datasets")
    return hub


def review(hub_client: HubClient, number: int = 1) -> tuple[int, str]:
    status = hub_client(REVIEW, None, revision=f"refs/pr/{number}")
    return status, hub_client.last["out"].splitlines()[0]


def test_older_files_keep_their_bytes_and_the_new_one_names_a_user() -> None:
    old = verification()
    assert "measured_by" not in old.to_json() and old.measured_by is None and old.owner == "bob"
    named = verification(measured_by="ada")
    assert parse_verification(named.to_json().encode(), "x") == named and '"measured_by":"ada"' in named.to_json()
    for bad in ("", "a b", "-x", "a/b", "x" * 97, "\u202ex"):
        with pytest.raises(ValueError, match="measured_by"):
            verification(measured_by=bad)


def test_somebody_else_is_fine_and_named(results: HubServer, hub_client: HubClient) -> None:
    item = verification()
    hub_client(PROPOSE, "hf_writer", text=item.to_json())
    files = results.repository("lab/results", "datasets").commits
    (proposed,) = {files[sha][item.path()].content for sha in files if item.path() in files[sha]}
    assert parse_verification(proposed, "x") == item.model_copy(update={"measured_by": "ada"})
    assert review(hub_client) == (0, f"fine: {item.path()}: verified: run {item.run_id} of bob/cell")


@pytest.mark.parametrize(("owner", "token"), [("bob", "hf_guest"), ("team", "hf_second"), ("BOB", "hf_guest")])
def test_an_owner_can_neither_propose_nor_slip_one_past_a_review(
    results: HubServer, hub_client: HubClient, owner: str, token: str
) -> None:
    item = verification(f"{owner}/cell")
    kind, text = hub_client.refused(PROPOSE, token, text=item.to_json())
    assert kind == "InputError" and "by somebody else" in text and f"belongs to {owner}" in text
    hub_client(RAW, token, text=item.to_json(), path=item.path())
    status, line = review(hub_client)
    assert status == 1 and line.startswith(f"wrong: {item.path()}: ") and "proposed it and owns the run" in line
    # a friend who opens it does not help, where the file says who measured
    user = results.tokens[token].name
    named = verification(f"{owner}/cell", measured_by=user)
    hub_client(RAW, "hf_writer", text=named.to_json(), path=named.path())
    status, line = review(hub_client, 2)
    assert status == 1 and f"{user}" in line and "measured it and owns the run" in line


def test_what_cannot_be_known_is_left_to_the_maintainer(results: HubServer, hub_client: HubClient) -> None:
    item = verification()
    hub_client(RAW, "hf_writer", text=item.to_json(), path=item.path())
    status, line = review(hub_client)
    assert status == 0 and line.endswith("; look at who measured, which the file does not name")
    other = verification(measured_by="cid")
    hub_client(RAW, "hf_writer", text=other.to_json(), path=other.path())
    assert review(hub_client, 2)[1].endswith("; look at whether cid measured this, since ada proposed it")
    # the account that proposed it is gone
    results.repository("lab/results", "datasets").authors.clear()
    assert "who proposed it, which is not known here: it must not be bob" in review(hub_client, 1)[1]
    # members who hide
    results.hidden_members.add("team")
    theirs = verification("team/cell", measured_by="ada")
    hub_client(RAW, "hf_writer", text=theirs.to_json(), path=theirs.path())
    line = review(hub_client, 3)[1]
    assert "whether ada, who measured it, belongs to team, which the Hub does not tell" in line


def test_without_a_token_nothing_is_proposed(results: HubServer, hub_client: HubClient) -> None:
    kind, text = hub_client.refused(PROPOSE, None, text=verification().to_json())
    assert kind == "HubError" and "hf auth login" in text
    with pytest.raises(InputError, match="further apart"):
        record = make_record()
        assert record.correctness is not None
        make_verification("bob/cell", record, ~record.correctness.bits(), 0.1, "cpu", None)
