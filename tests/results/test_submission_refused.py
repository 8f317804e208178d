"""What somebody might offer that is no row of the leaderboard: refused with its reason, and it stops nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from builders import make_record
from hub_client import HubClient
from hub_server import HubServer
from submissions import CELL, MINE, PLACE, RESULTS, merge, offer, own, push, table, weights

from bocb_hf.errors import InputError
from bocb_hf.results.submission.document import parse_submission
from bocb_hf.runs.retraction import make_retraction
from bocb_hf.store.cards.text import render_card


def _wrong_record(hub: HubServer) -> None:
    hub.put(MINE, {"seeds/1/record.json": own("bob", seed=1, correct=1999).to_json().encode()})


def _tampered_card(hub: HubServer) -> None:
    push(hub, "bob", own("bob", seed=1))
    text = hub.repository(MINE).files["README.md"].content.decode()
    better = text.replace("test_top1: 80.0", "test_top1: 99.0").replace("correct: 1600", "correct: 1980")
    hub.put(MINE, {"README.md": better.encode()})


def _withdrawn(hub: HubServer) -> None:
    record = own("bob", seed=1)
    tombstone = make_retraction(record, "wrong labels")
    hub.put(MINE, {tombstone.path(): tombstone.to_json().encode()})


def _private(hub: HubServer) -> None:
    hub.repository(MINE).private = True


def _moved(hub: HubServer) -> None:
    hub.repositories["models", "eve/moved"] = hub.repository(MINE)
    for _ in range(2):  # as the Hub does for the old name: once for `submit`, once for `validate`
        hub.fail("GET", f"^/api/models/{MINE}/revision/", status=307, headers={"Location": "/api/models/eve/moved"})


WRONG: dict[str, tuple[Any, str]] = {
    "a pickle": ({"pytorch_model.BIN": b"x"}, "pytorch_model.BIN: loading such a file runs code"),
    "other weights": ({"seeds/1/model.safetensors": weights("other")}, "the Hub lists"),
    "no safetensors": ({}, "is no safetensors file"),
    "no weights": (
        lambda hub: hub.repository(MINE).files.pop("seeds/1/model.safetensors"),
        "seeds/1/model.safetensors: the weights are missing",
    ),
    "another record": (_wrong_record, "seeds/1/record.json: card and record disagree"),
    "a better card": (_tampered_card, "card and record disagree"),
    "no card": (lambda hub: hub.repository(MINE).files.pop("README.md"), "there is no card"),
    "a bomb": ({"README.md": b"---\na: &a [x]\nb: [*a, *a]\n---\n"}, "not valid YAML"),
    "retracted": (_withdrawn, "run {run} is retracted: wrong labels"),
    "private": (_private, "is private or gated"),
    "moved": (_moved, f"{MINE} is called eve/moved now; submit that"),
    "megabytes": ({"trials/x.json": b"x" * 20_000_001}, "none above 20000000, are read"),
    "many": ({f"trials/{n}.json": b"{}" for n in range(2001)}, "at most 2000 of"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_merged_is_refused_with_its_reason(hub: HubServer, results: Any, bocb: Any, kind: str) -> None:
    what, reason = WRONG[kind]
    record = own("bob", seed=1)
    if kind == "no safetensors":
        pickle = b"\x80\x04cos\nsystem\n(S'true'\ntR."
        record = record.model_copy(update={"weights_sha256": hashlib.sha256(pickle).hexdigest()})
        what = {"seeds/1/model.safetensors": pickle}
    push(hub, "bob", record)
    if callable(what):
        what(hub)
    else:
        hub.put(MINE, what)
    path = f"submissions/bob__{CELL}.json"
    content = offer(hub.repository(MINE).head, record).to_json().encode()
    hub.put("lab/results", {path: content}, kind="datasets")
    token = "hf_guest"
    status, out = bocb("validate", RESULTS, token=token)
    assert status == 1, out
    assert all(line.startswith(f"wrong: {path}: ") for line in out.splitlines()[:-1])
    assert reason.format(run=record.run_id) in out
    status, out = bocb("submit", MINE, "--to", RESULTS, token=token)
    assert status in (1, 2) and "refs/pr/1" not in results.branches, "nothing was opened"


def test_a_card_that_makes_the_client_raise_stops_nothing(hub: HubServer, results: Any, bocb: Any) -> None:
    record = own("bob", seed=1)
    push(hub, "bob", record)
    text = hub.repository(MINE).files["README.md"].content.decode()
    hub.put(MINE, {"README.md": text.replace("---\n", "---\nignore_metadata_errors: 1\n", 1).encode()})
    status, out = bocb("submit", MINE, "--to", RESULTS)
    assert status == 0, out
    merge(results)
    status, out = bocb("publish", "--store", "hf://lab", "--to", RESULTS, "--draws", "100", token="hf_writer")
    assert status == 0 and "1 records, 0 quarantined" in out, out


def test_runs_that_are_not_finished_or_not_final(hub: HubServer, results: Any, bocb: Any) -> None:
    trial = make_record(role="trial", seed=0)
    sha = push(hub, "bob", trial)
    assert "no final run of seed any is listed" in bocb("submit", MINE, "--to", RESULTS)[1]
    hub.put("lab/results", {PLACE: offer(sha, trial).to_json().encode()}, kind="datasets")
    assert f"wrong: {PLACE}: it offers no valid final run" in bocb("validate", RESULTS)[1]
    push(hub, "bob", make_record(status="interrupted"))
    status, out = bocb("submit", MINE, "--seed", "1", "--to", RESULTS)
    assert status == 1 and "seeds/1/record.json: the run was interrupted" in out
    # a diverged run is a result
    push(hub, "bob", make_record(status="diverged"))
    status, out = bocb("submit", MINE, "--to", RESULTS)
    assert status == 0, out


def test_a_copy_is_no_second_run(hub: HubServer, results: Any, bocb: Any) -> None:
    original = own("lab", seed=1)
    push(hub, "lab", original)
    assert bocb("publish", "--store", "hf://lab", "--to", RESULTS, "--draws", "100", token="hf_writer")[0] == 0
    files = {path: file.content for path, file in hub.repository(f"lab/{CELL}").files.items()}
    hub.put(MINE, files | {"README.md": render_card(MINE, [original], []).encode()})
    status, out = bocb("submit", MINE, "--to", RESULTS)
    assert status == 1 and f"is a copy of the record that lab/{CELL} holds" in out
    # another date makes another record, and still no other run
    push(hub, "bob", own("bob", seed=1).model_copy(update={"finished_at": "2026-05-02T03:04:05Z"}))
    status, out = bocb("submit", MINE, "--to", RESULTS)
    assert status == 1 and f"run {original.run_id} is there from lab/{CELL}" in out
    # nor does another seed, with the weights of the first
    again = make_record(seed=5).model_copy(update={"weights_sha256": original.weights_sha256})
    push(hub, "bob", again, **{"seeds/5/model.safetensors": files["seeds/1/model.safetensors"]})
    status, out = bocb("submit", MINE, "--to", RESULTS)
    assert status == 1 and f"its weights are those of a run of lab/{CELL}" in out
    # or twice in one repository
    twice = [make_record(seed=s).model_copy(update={"weights_sha256": original.weights_sha256}) for s in (5, 6)]
    extra = {f"seeds/{s}/model.safetensors": files["seeds/1/model.safetensors"] for s in (5, 6)}
    push(hub, "bob", *twice, **extra)
    assert "seeds/6/record.json: its weights are those of seed 5" in bocb("submit", MINE, "--to", RESULTS)[1]
    # a trial of the same grid is everybody's
    push(hub, "bob", own("bob", seed=7), make_record(role="trial", seed=0))
    push(hub, "lab", original, make_record(role="trial", seed=0, wall_seconds=99.0))
    assert bocb("publish", "--store", "hf://lab", "--to", RESULTS, "--draws", "100", token="hf_writer")[0] == 0
    assert bocb("submit", MINE, "--to", RESULTS)[0] == 0


def test_a_copy_of_what_was_merged_but_not_yet_published(hub: HubServer, results: Any, bocb: Any) -> None:
    record = own("eve", seed=1)
    sha = push(hub, "eve", record)
    hub.put("lab/results", {(s := offer(sha, record, owner="eve")).path(): s.to_json().encode()}, kind="datasets")
    push(hub, "bob", own("bob", seed=1).model_copy(update={"finished_at": "2026-05-02T03:04:05Z"}))
    status, out = bocb("submit", MINE, "--to", RESULTS)
    assert status == 1 and f"run {record.run_id} is there from eve/{CELL}" in out


def test_a_pull_request_may_only_write_submissions(
    hub: HubServer, results: Any, bocb: Any, hub_client: HubClient
) -> None:
    record = own("bob", seed=1)
    sha = push(hub, "bob", record)
    evil = "verifications/0123456789abcdef-verified.json"
    hub.put("lab/results", {"submissions/eve__gone.json": b"{}", evil: b"{}"}, kind="datasets")
    code = """
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
operations = [CommitOperationAdd(path, text.encode()) for path, text in add.items()]
operations += [CommitOperationDelete(path) for path in delete]
HfApi().create_commit("lab/results", operations, commit_message="x", repo_type="dataset", create_pr=True)
"""
    add = {"README.md": "evil", "data/records.parquet": "evil", ".github/workflows/x.yml": "evil", evil: "{ }"}
    good = {PLACE: offer(sha, record).to_json()}
    hub_client(code, add=good | add, delete=["submissions/eve__gone.json"])
    # what is merged in the meantime is no doing of the pull request
    hub.put("lab/results", {"data/records.parquet": _empty_records(), "notes.md": b"later"}, kind="datasets")
    status, out = bocb("validate", RESULTS, "--revision", "refs/pr/1")
    lines = out.splitlines()
    assert status == 1 and lines[-1] == "6 file(s) checked, 5 wrong"
    assert f"fine: {PLACE}: 1 final run(s) and 0 trial(s) of {MINE}" in lines
    refused = {line.split(": ")[1] for line in lines if line.startswith("wrong: ")}
    assert refused == {*add, "submissions/eve__gone.json"}
    assert f"wrong: {evil}: was merged already; a pull request must not replace it" in lines
    # published records that cannot be read leave nothing to compare with: that is said, not passed over
    hub.put("lab/results", {"data/records.parquet": b"x"}, kind="datasets")
    status, out = bocb("validate", RESULTS, "--revision", "refs/pr/1")
    assert status == 2 and "records.parquet cannot be read as published records" in out
    # a second submission of a repository is told apart, since a stranger could offer only the worst seed
    hub.put("lab/results", {"data/records.parquet": _empty_records(), **_encoded(good)}, kind="datasets")
    push(hub, "bob", record, own("bob", seed=2))
    assert bocb("submit", MINE, "--to", RESULTS)[0] == 0
    status, out = bocb("validate", RESULTS, "--revision", "refs/pr/2")
    assert status == 0 and "2 final run(s)" in out and "replaces the merged one, which only its owner should" in out
    status, out = bocb("validate", RESULTS, "--revision", "refs/pr/9")
    assert status == 2 and "refs/pr/9" in out


def _encoded(texts: dict[str, str]) -> dict[str, bytes]:
    return {path: text.encode() for path, text in texts.items()}


def _empty_records() -> bytes:
    from bocb_hf.results.dataset import records_parquet

    return records_parquet([], {}, {})


def test_hostile_files_are_named_and_stop_nothing(hub: HubServer, results: Any, bocb: Any, tmp_path: Path) -> None:
    record = own("bob", seed=1)
    sha = push(hub, "bob", record)
    good = offer(sha, record)
    fields = json.loads(good.to_json())
    second = good.to_json().replace('"revision"', f'"revision":"{"0" * 40}","revision"')
    hostile: dict[str, tuple[str, str]] = {
        "submissions/eve__a.json": (json.dumps(fields), f"it is a submission of {MINE}, so it belongs at {PLACE}"),
        "submissions/eve__b.json": ("[" * 50_000, "not a valid submission"),
        "submissions/eve__c.json": ("x" * 100_001, "larger than 100000 bytes"),
        "submissions/eve__d.json": (json.dumps(fields | {"schema_version": 7}), "schema version 7 is newer than 1"),
        "submissions/eve__e.json": (json.dumps(fields | {"\x1b[2J\nfine: ": 1}), "unknown key"),
        "submissions/eve__f.json": (json.dumps(fields | {"records": fields["records"] * 2}), "each given once"),
        "submissions/eve__g.json": (json.dumps(fields | {"revision": "main"}), "revision: string should match"),
        "submissions/eve__h.json": (json.dumps(fields | {"repository": "../../x"}), "repository: string should match"),
        "submissions/eve__i.json": (json.dumps(fields | {"records": [float("nan")]}), "not a valid submission"),
        "submissions/deep/x__y.json": ("{}", "not named <namespace>__<repository>.json"),
        "submissions/x.sh": ("rm", "not named <namespace>__<repository>.json"),
        "verifications/0123456789abcdef-verified.json": ("{}", "missing"),
    }
    files = {path: text.encode() for path, (text, _) in hostile.items()} | {PLACE: good.to_json().encode()}
    for path, content in files.items():
        (tmp_path / "checkout" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "checkout" / path).write_bytes(content)
    (tmp_path / "checkout/submissions/z__link.json").symlink_to("/etc/passwd")
    hub.put("lab/results", files, kind="datasets")
    hub.put("lab/results", {PLACE.replace("bob", "eve"): second.replace("bob/", "eve/").encode()}, kind="datasets")
    for where in (RESULTS, str(tmp_path / "checkout")):
        status, out = bocb("validate", where)
        assert status == 1
        lines = out.splitlines()
        for path, (_, reason) in hostile.items():
            assert [reason in line for line in lines if line.startswith(f"wrong: {path}: ")] == [True], (path, out)
        assert sum(line.startswith("fine: ") for line in lines) == 1, "no text of a file became a line of its own"
        assert "\x1b" not in out and "root:" not in out
    assert "z__link.json: is not a plain file" in out
    assert f"eve__{CELL}.json: not a valid submission: duplicate key 'revision'" in bocb("validate", RESULTS)[1]
    with pytest.raises(InputError, match="not as `bocb submit` writes it"):
        parse_submission(json.dumps(fields, indent=1).encode(), PLACE)
    status, out = bocb("validate", str(tmp_path))
    assert status == 2 and "holds no folder submissions" in out


def test_what_has_changed_since_does_not_count(hub: HubServer, results: Any, bocb: Any) -> None:
    kept, replaced, retracted = (own("bob", seed=seed) for seed in (1, 2, 3))
    sha = push(hub, "bob", kept, replaced, retracted)
    closed = own("eve", optimizer="lamb")
    sha_closed = push(hub, "eve", closed)
    offers = (offer(sha, kept, replaced, retracted), offer(sha_closed, closed, owner="eve"))
    files = {item.path(): item.to_json().encode() for item in offers}
    hub.put("lab/results", files | {"submissions/x.json": b"{}"}, kind="datasets")
    push(hub, "lab", own("lab", optimizer="adamw"))
    # the repository goes on: a better record, one retracted, one that nobody has looked at
    better, new = own("bob", seed=2, correct=1999), own("bob", seed=4)
    tombstone = make_retraction(retracted, "wrong labels")
    card = render_card(MINE, [kept, better, new], [], [(retracted, tombstone)])
    push(hub, "bob", kept, better, new, **{"README.md": card.encode(), tombstone.path(): tombstone.to_json().encode()})
    hub.repository(f"eve/{closed.repository()}").private = True
    command = ("publish", "--store", "hf://lab", "--to", RESULTS, "--draws", "100")
    status, out = bocb(*command, token="hf_writer")
    assert status == 0, out
    assert sorted(table(results, "records")["record_sha256"]) == sorted(
        (kept.sha256(), own("lab", optimizer="adamw").sha256())
    )
    lines = [line for line in out.splitlines() if line.startswith("quarantined: ")]
    for expected in (
        f"{MINE}/seeds/2/record.json: is not what was submitted at commit {sha[:12]}",
        f"{MINE}/seeds/4/record.json: is not what was submitted at commit {sha[:12]}",
        f"{MINE}/README.md: run {retracted.run_id} is retracted: wrong labels",
        f"{MINE}/: 1 record(s) have changed since commit {sha[:12]}, SHA-256 {replaced.sha256()[:12]}",
        f"eve/{closed.repository()}/: was submitted, but is gone, private or moved",
        f"{RESULTS}/submissions/x.json: not named",
    ):
        assert sum(line.startswith(f"quarantined: {expected}") for line in lines) == 1, (expected, out)
    assert len(lines) == 6
    # the whole is checked again by the same code
    status, out = bocb("validate", RESULTS)
    assert status == 1 and f"run {retracted.run_id} is retracted: wrong labels" in out
