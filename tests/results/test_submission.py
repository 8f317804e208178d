"""A row in the leaderboard: offered, judged, merged, published; and what somebody else might send instead."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import struct
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pytest
from builders import make_record
from hub_client import HubClient
from hub_server import HubServer
from published import publish

from bocb_hf.backbones import BACKBONES
from bocb_hf.cli import bocb as commands
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.page.read import LeaderboardFile
from bocb_hf.resources import config_files
from bocb_hf.results.card import results_card
from bocb_hf.results.submission.document import Submission, parse_submission
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.retraction import make_retraction
from bocb_hf.store.cards.text import render_card
from bocb_hf.store.local import LocalStore

RESULTS = "hf://datasets/lab/results"
CELL = "bocb-fashion_mnist_subset-demo-tiny_resnet-sgdm"
MINE = f"bob/{CELL}"
PLACE = f"submissions/bob__{CELL}.json"


def weights(text: str) -> bytes:
    """A safetensors file of one tensor, unlike that of any other text."""
    data = text.encode().ljust(64)
    header = json.dumps({"w": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return struct.pack("<Q", len(header)) + header + data


def own(owner: str, **fields: Any) -> RunRecord:
    """A record of a run that ended at weights of its own."""
    record = make_record(**fields)
    if record.weights_sha256 is None:
        return record
    digest = hashlib.sha256(weights(f"{owner} {record.run_id}")).hexdigest()
    return record.model_copy(update={"weights_sha256": digest})


def push(hub: HubServer, owner: str, *records: RunRecord, **files: bytes) -> str:
    """A repository as `bocb push` leaves it; returns its commit."""
    name = f"{owner}/{records[0].repository()}"
    finals, trials = ([r for r in records if r.role == role] for role in ("final", "trial"))
    content = {record.path(): record.to_json().encode() for record in records}
    for record in finals:
        if record.weights_sha256 is not None:
            content[f"seeds/{record.seed}/model.safetensors"] = weights(f"{owner} {record.run_id}")
    return hub.put(name, content | {"README.md": render_card(name, finals, trials).encode()} | files)


def offer(sha: str, *records: RunRecord, owner: str = "bob", **changes: Any) -> Submission:
    fields: dict[str, Any] = {"repository": f"{owner}/{records[0].repository()}", "revision": sha}
    return Submission(schema_version=1, records=sorted(r.sha256() for r in records), **(fields | changes))


@pytest.fixture
def bocb(hub: HubServer, hub_client: HubClient, tmp_path: Path) -> Any:
    """Runs a command in the client's process; returns its exit status and what it printed."""

    def call(*words: str, token: str | None = "hf_guest") -> tuple[int, str]:
        code = "import os\nfrom bocb_hf.cli import main\nos.environ['HF_HOME'] = home\nresult = main(words)"
        status = hub_client(code, token, words=list(words), home=str(tmp_path / "home"))
        return status, hub_client.last["out"]

    return call


@pytest.fixture
def results(hub: HubServer) -> Any:
    """The results data set, which belongs to the laboratory."""
    hub.put("lab/results", {"README.md": b"---\ntags: [bocb]\n---\n"}, kind="datasets")
    return hub.repository("lab/results", "datasets")


def merge(results: Any, number: int = 1) -> None:
    results.branches["main"] = results.branches[f"refs/pr/{number}"]


def table(results: Any, name: str) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(results.files[f"data/{name}.parquet"].content))


def test_a_run_is_pushed_submitted_validated_merged_and_published(
    hub: HubServer, results: Any, bocb: Any, tmp_path: Path
) -> None:
    mine = [own("bob", seed=seed) for seed in (1, 2)] + [make_record(seed=0, role="trial")]
    sha = push(hub, "bob", *mine)
    push(hub, "lab", own("lab", optimizer="adamw"))
    status, out = bocb("submit", MINE, "--to", RESULTS)
    assert status == 0, out
    assert f"fine: {PLACE}: 2 final run(s) and 1 trial(s) of {MINE}" in out
    assert "submitted: " in out and out.rstrip().endswith("/lab/results/discussions/1")
    assert set(results.files) == {"README.md"}, "nothing counts before it is merged"
    proposed = results.commits[results.branches["refs/pr/1"]]
    assert set(proposed) == {"README.md", PLACE}
    submission = offer(sha, *mine)
    assert proposed[PLACE].content == submission.to_json().encode()
    # what a maintainer's automatic check runs, without any token
    status, out = bocb("validate", RESULTS, "--revision", "refs/pr/1", token=None)
    assert (status, out.splitlines()[-1]) == (0, "1 file(s) checked, 0 wrong"), out
    merge(results)
    assert bocb("submit", MINE, "--to", RESULTS)[1].splitlines()[-1] == f"there already: {PLACE}"
    command = ("publish", "--store", "hf://lab", "--to", RESULTS, "--draws", "100")
    status, out = bocb(*command, token="hf_writer")
    assert status == 0 and "4 records, 0 quarantined" in out, out
    assert hub.count("author=bob") == 0, "a stranger's namespace is never listed"
    assert sorted(set(table(results, "records")["repository"])) == [
        MINE,
        f"lab/{make_record(optimizer='adamw').repository()}",
    ]
    cells = table(results, "leaderboard").query("kind == 'cell' and namespace == namespace")
    assert sorted(cells["namespace"]) == ["bob", "lab"]
    shown = json.loads(gzip.decompress(results.files["data/page/summary.json.gz"].content))
    assert shown["source"] == RESULTS and shown["tables"][0]["namespaces"] == ["bob", "lab"]
    assert shown["chunks"][-1] == len(results.files["data/page/details.bin"].content)
    _check_card(results, tmp_path)


def test_the_documented_path_from_training_to_the_leaderboard(
    hub: HubServer, hub_client: HubClient, results: Any, bocb: Any, sections: dict[str, Any], tmp_path: Path
) -> None:
    """Real weights and a real record: what training writes is what the check wants."""
    train = """
from bocb_hf.engine.run import train_run
from bocb_hf.runs.load_config import build_run_config
result = train_run(build_run_config(sections, [])).repository()
"""
    name = hub_client(train, None, sections=sections)
    push = ("push", "--to", "hf://bob", "--store", sections["runtime"]["store"])
    for words in (push, ("submit", f"bob/{name}", "--to", RESULTS), ("validate", RESULTS, "--revision", "refs/pr/1")):
        status, out = bocb(*words)
        assert status == 0, out
    merge(results)
    status, out = bocb("publish", "--store", "hf://lab", "--to", RESULTS, "--draws", "100", token="hf_writer")
    assert status == 0 and "1 records, 0 quarantined" in out, out
    (tmp_path / "board.parquet").write_bytes(results.files["data/leaderboard.parquet"].content)
    own_board = next(iter(LeaderboardFile(tmp_path / "board.parquet").boards.values()))
    (cell,) = own_board.cells.values()
    assert (cell.repository, cell.level, cell.n) == (f"bob/{name}", "self-reported", 1)


def _check_card(results: Any, folder: Path) -> None:
    """The data card configures the viewer: the library that the Hub's viewer uses finds every table by its name."""
    import datasets

    for path, file in results.files.items():
        (folder / "copy" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "copy" / path).write_bytes(file.content)
    copy, cache = str(folder / "copy"), str(folder / "cache")
    assert datasets.get_dataset_config_names(copy) == ["leaderboard", "coupling", "records"]
    assert datasets.get_dataset_default_config_name(copy) == "leaderboard"
    for name in ("leaderboard", "coupling", "records"):
        loaded: Any = datasets.load_dataset(copy, name, split="train", cache_dir=cache)
        assert len(loaded) == len(table(results, name)), name
    text = results.files["README.md"].content.decode()
    assert "size_categories:\n- n<1K\n" in text and "license: apache-2.0" in text
    assert "\n2 owners.\n" in text and f"--to {RESULTS}" in text and "\n| verified | 0 |" in text


def test_one_seed_or_several_repositories(hub: HubServer, results: Any, bocb: Any) -> None:
    push(hub, "bob", own("bob", seed=1), own("bob", seed=2))
    other = own("bob", optimizer="adamw")
    push(hub, "bob", other)
    status, out = bocb("submit", MINE, f"bob/{other.repository()}", "--seed", "1", "--to", RESULTS)
    assert status == 0 and "1 final run(s)" in out
    proposed = results.commits[results.branches["refs/pr/1"]]
    assert len(proposed) == 3
    assert parse_submission(proposed[PLACE].content, PLACE).records == [own("bob", seed=1).sha256()]
    status, out = bocb("submit", MINE, "--seed", "3", "--to", RESULTS)
    assert status == 2 and "no final run of seed 3 is listed; it has 1, 2" in out
    status, out = bocb("submit", MINE, "--to", RESULTS, "--dry-run")
    assert status == 0 and f'{PLACE}: {{"records":[' in out and "refs/pr/2" not in results.branches
    status, out = bocb("submit", "bob/nothing", "--to", RESULTS)
    assert status == 2 and "bob/nothing" in out
    status, out = bocb("submit", MINE, "--to", "hf://datasets/lab/none")
    assert status == 2 and "hf://datasets/lab/none" in out


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


def test_publishing_a_local_store_counts_submissions_beside_it(
    hub: HubServer, results: Any, bocb: Any, tmp_path: Path
) -> None:
    record = own("bob", seed=1)
    sha = push(hub, "bob", record)
    hub.put("lab/results", {PLACE: offer(sha, record).to_json().encode()}, kind="datasets")
    mine = make_record(optimizer="adamw")
    folder = tmp_path / "store/models/local" / mine.repository()
    (folder / "seeds/1").mkdir(parents=True)
    (folder / mine.path()).write_text(mine.to_json())
    (folder / "README.md").write_text(render_card(f"local/{mine.repository()}", [mine], []))
    command = ("publish", "--store", str(tmp_path / "store"), "--to", RESULTS, "--draws", "100")
    status, out = bocb(*command, token="hf_writer")
    assert status == 0, out
    assert sorted(table(results, "records")["repository"]) == [MINE, f"local/{mine.repository()}"]


def test_a_reader_counts_what_was_merged_when_asked_to(hub: HubServer, results: Any, bocb: Any, tmp_path: Path) -> None:
    mine, theirs, trial = own("lab", seed=1), own("bob", seed=2), make_record(seed=0, role="trial")
    push(hub, "lab", mine)
    push(hub, "bob", theirs, trial)
    assert bocb("submit", MINE, "--to", RESULTS)[0] == 0
    merge(results)
    command = ["aggregate", "--store", "hf://lab", "--results", RESULTS, "--draws", "100", "--out", str(tmp_path / "o")]

    def read(*words: str) -> tuple[int, str, str]:
        """Exit status, what was printed, and the seeds of the one cell."""
        status, out = bocb(*command, *words)
        return status, out, pd.read_parquet(tmp_path / "o" / "coupling.parquet")["seeds"].item()

    status, out, seeds = read()
    assert (status, seeds) == (0, "1") and "1 merged submission(s) are not counted; --submissions counts them" in out
    status, out, seeds = read("--submissions")
    assert (status, seeds) == (0, "1 2") and "not counted" not in out
    before = len(hub.requests)
    status, _, seeds = read("--submissions", "--offline")
    assert (status, seeds) == (0, "1 2") and len(hub.requests) == before, "from the cache, and nobody is asked"
    # beside a local store too
    command[2] = str(tmp_path / "local")
    publish(LocalStore(tmp_path / "local"), tmp_path, make_record(seed=3))
    assert read("--submissions")[::2] == (0, "2 3") and read()[::2] == (0, "3")
    for words, reason in (
        (["--submissions", "--cards"], "leave out --cards"),
        (["--submissions", "--results", "hf://lab"], "is no data set of the Hub"),
    ):
        status, out, _ = read(*words)
        assert status == 2 and reason in out
    status, out = bocb("aggregate", "--store", "hf://lab", "--submissions")
    assert status == 2 and "name the data set that holds them with --results" in out


def test_a_submission_is_what_its_file_says() -> None:
    record = make_record()
    good = offer("a" * 40, record)
    assert parse_submission(good.to_json().encode(), PLACE) == good
    assert set(json.loads(good.to_json())) == {"schema_version", "repository", "revision", "records"}
    many = Submission(
        schema_version=1, repository=MINE, revision="a" * 40, records=sorted(f"{n:064x}" for n in range(1000))
    )
    assert len(many.to_json()) < 100_000, "the largest that the model allows is one that is read"


def test_the_data_card_of_an_empty_data_set() -> None:
    from bocb_hf.store.contents import StoreContents

    rows: dict[str, int] = {f"data/{name}.parquet": 1500 for name in ("leaderboard", "coupling", "records")}
    text = results_card(RESULTS, StoreContents("x"), rows, "2026-01-01")
    assert "size_categories:\n- 1K<n<10K\n" in text and "\n0 owners.\n" in text


def test_every_documented_command_can_be_typed() -> None:
    root = Path(__file__).resolve().parents[2]
    guide = (root / "CONTRIBUTING.md").read_text().split("## A row in the leaderboard")[1].split("\n## ")[0]
    cards = [(root / "model_cards" / f"{name}_card.md.jinja").read_text() for name in ("results", "space")]
    lines = [line for text in (guide, *cards) for line in text.splitlines() if line.startswith("bocb ")]
    assert {line.split()[1] for line in lines} == {"train", "push", "submit", "validate"}
    for line in lines:
        words = re.sub(r"\{\{.*?\}\}", RESULTS, line.split("  #")[0]).translate(str.maketrans("", "", "<>")).split()[1:]
        _, command, rest = commands.resolve_command(click.Context(commands), words)
        assert command is not None
        command.make_context(words[0], list(rest))  # parses and checks, and runs nothing
        for word in words:
            key, _, value = word.partition("=")
            assert key != "backbone.name" or value in BACKBONES, line
            assert key != "optimizer.name" or value in OPTIMIZERS, line
        if words[0] == "train":
            assert words[2] in config_files("recipes/configs")
