"""The Hub as a store: commits that merge, back-off, interrupted uploads, the queue, and tokens that stay put."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from builders import make_floor, make_record
from hub_client import HubClient
from hub_server import HubServer

from bocb_hf.runs.card import make_block, parse_card
from bocb_hf.runs.record import RunRecord, parse_record

NAME = "bocb-fashion_mnist_subset-demo-tiny_resnet-sgdm"
CELL = f"lab/{NAME}"

SETUP = """
from pathlib import Path
from builders import make_record, make_floor
from bocb_hf.store import open_store, CopyOf, ConflictError
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import file_sha256, write_run, write_runs, retract_run
from bocb_hf.store.push import Queue, push_after_training, push_pending, push_repository
from bocb_hf.store.read import read_repository

def weights(text):
    folder = Path(home) / text
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(text.encode() * 50)
    return folder

def publish(store, record, namespace="lab", supersede=False):
    folder = weights(f"seed{record.seed}") if record.weights_sha256 else None
    if folder is not None:
        record = record.model_copy(update={"weights_sha256": file_sha256(folder / "model.safetensors")})
    return write_run(store, namespace, record, folder, supersede)
"""


@pytest.fixture
def run(hub: HubServer, hub_client: HubClient, tmp_path: Path) -> Any:
    """Runs code in the client's process after the set-up above."""

    def call(code: str, token: str | None = "hf_writer", **variables: Any) -> Any:
        return hub_client(SETUP + code, token, home=str(tmp_path), **variables)

    return call


def files(hub: HubServer, name: str = CELL) -> dict[str, bytes]:
    return {path: file.content for path, file in hub.repository(name).files.items() if not path.startswith(".")}


def card(hub: HubServer, name: str = CELL) -> Any:
    return parse_card(files(hub, name)["README.md"].decode(), "card")


def final_records(hub: HubServer, name: str = CELL) -> list[RunRecord]:
    return [parse_record(c, p) for p, c in sorted(files(hub, name).items()) if p.endswith("record.json")]


def test_weights_record_and_card_change_in_one_commit(hub: HubServer, run: Any) -> None:
    run("publish(open_store('hf://lab'), make_record(seed=2))")
    assert hub.repository(CELL).messages == ["initial commit", f"completed run {make_record(seed=2).run_id}"]
    found = files(hub)
    assert set(found) == {
        *("README.md", "config.json", "model.safetensors", "curves.png"),
        *(f"seeds/2/{name}" for name in ("config.json", "model.safetensors", "record.json")),
    }
    assert card(hub) == make_block(final_records(hub), [])
    # a lower seed takes the root; the weights of a seed are uploaded once, whoever points to them
    before = hub.count("/lfs/", "PUT")
    run("publish(open_store('hf://lab'), make_record(seed=1))")
    assert files(hub)["model.safetensors"] == b"seed1" * 50
    assert hub.count("/lfs/", "PUT") == before + 1
    # and gives it back when it is retracted, by a copy on the server
    code = "retract_run(store, cell, read_repository(store, cell).finals[1], 'wrong data')"
    run(f"store = open_store('hf://lab')\n{code}", cell=CELL)
    assert files(hub)["model.safetensors"] == b"seed2" * 50
    assert hub.count("/lfs/", "PUT") == before + 1
    assert [entry.reason for entry in card(hub).retracted] == ["wrong data"]
    assert [entry.seed for entry in card(hub).runs] == [2]


def test_two_seeds_that_finish_at_once_lose_nothing(hub: HubServer, run: Any) -> None:
    """Both compute their commit from one state; the second is refused, reads again and merges."""
    run(
        """
publish(open_store("hf://lab"), make_record(seed=0))
store, other = open_store("hf://lab"), open_store("hf://lab")
plain = type(store).commit
def meanwhile(self, *args, **kwargs):
    type(store).commit = plain
    publish(other, make_record(seed=1))
    return plain(self, *args, **kwargs)
type(store).commit = meanwhile
try:
    publish(store, make_record(seed=2))
finally:
    type(store).commit = plain
"""
    )
    assert [entry.seed for entry in card(hub).runs] == [0, 1, 2]
    assert any(status == 412 for _, _, status in hub.requests)
    assert card(hub) == make_block(final_records(hub), [])


def test_two_that_create_the_repository_at_once(hub: HubServer, run: Any) -> None:
    run(
        """
store, other = open_store("hf://lab"), open_store("hf://lab")
plain = type(store).revision
def meanwhile(self, repository):
    type(store).revision = plain
    head = plain(self, repository)
    publish(other, make_record(seed=1))
    return head
type(store).revision = meanwhile
try:
    publish(store, make_record(seed=2))
finally:
    type(store).revision = plain
"""
    )
    assert [entry.seed for entry in card(hub).runs] == [1, 2]
    assert any(status == 409 for _, _, status in hub.requests)


def test_the_hub_is_left_alone_for_as_long_as_it_says(hub: HubServer, hub_client: HubClient, run: Any) -> None:
    hub.fail("POST", "/commit/", status=429, headers={"RateLimit": '"api";r=0;t=41', "Retry-After": "1"})
    hub.fail("POST", "/commit/", status=503, headers={"Retry-After": "17"})
    hub.fail("POST", "/repos/create", status=500)
    run("publish(open_store('hf://lab'), make_record(seed=1))")
    assert {42.0, 18.0} <= set(hub_client.last["slept"])
    assert any(1 <= seconds <= 1.25 for seconds in hub_client.last["slept"]), "no header: its own back-off"
    assert [entry.seed for entry in card(hub).runs] == [1]


def test_how_long_a_header_asks_to_wait(hub: HubServer, hub_client: HubClient, run: Any) -> None:
    code = """
from email.utils import formatdate
import time
from bocb_hf.store.hub_calls import wait_seconds
result = [wait_seconds({"Retry-After": v}, 2) for v in (formatdate(time.time() + 100, usegmt=True), *values)]
"""
    date, past, *odd = run(code, values=["Wed, 21 Oct 2015 07:28:00 GMT", "soon", "²", "-5", "9" * 400, ""])
    assert 90 < date <= 101 and past == 1.0
    assert all(4 <= seconds <= 5 for seconds in odd), "what is no header of this kind: its own back-off"
    # an hour is not waited for: the push fails at once, and the queue keeps the run
    hub.fail("POST", "/commit/", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(AssertionError, match=r"too many requests; wait a few minutes \(HTTP 429"):
        run("publish(open_store('hf://lab'), make_record(seed=1))")
    assert hub_client.last["slept"] == []


def test_a_commit_whose_answer_was_lost_is_not_made_twice(hub: HubServer, run: Any) -> None:
    hub.fail("POST", "/commit/", answer_lost=True)
    run("publish(open_store('hf://lab'), make_record(seed=1))")
    assert len(hub.repository(CELL).messages) == 2
    assert [entry.seed for entry in card(hub).runs] == [1]


def test_an_interrupted_upload_sends_only_what_is_missing(hub: HubServer, run: Any) -> None:
    second = hashlib.sha256(b"seed2" * 50).hexdigest()
    hub.fail("PUT", f"/lfs/{second}", cut_after=5, times=6)  # the client tries six times, then gives up
    code = """
store, other = LocalStore(Path(home) / "store"), weights("seed2")
for seed in (1, 2):
    publish(store, make_record(seed=seed))
try:
    push_repository(store, cell, "hf://lab")
    result = None
except Exception as error:
    result = [type(error).__name__, str(error)]
"""
    kind, text = run(code, cell=CELL)
    assert kind == "HubError" and "uploading" in text
    arrived = len(hub.large)
    assert arrived == 1 and set(hub.repository(CELL).files) == {".gitattributes"}
    before = hub.count("/lfs/", "PUT")
    assert run(code, cell=CELL) is None
    assert hub.count("/lfs/", "PUT") == before + 1
    assert [entry.seed for entry in card(hub).runs] == [1, 2]


def test_a_failed_push_waits_and_pending_finishes_it(hub: HubServer, hub_client: HubClient, run: Any) -> None:
    hub.fail("POST", "/commit/", status=503, times=100)
    code = """
from bocb_hf.runs.runtime_config import RuntimeConfig
store, runtime = LocalStore(Path(home) / "store"), RuntimeConfig(store="hf://lab")
assert runtime.namespace == "lab"
for lr in (0.1, 0.2):
    trial = make_record(seed=0, role="trial", lr=lr)
    publish(store, trial)
    push_after_training(store, runtime, cell, trial.path())
record = publish(store, make_record(seed=1))
push_after_training(store, runtime, cell, record.path())
result = [entry.model_dump() for entry in Queue(store).entries()]
"""
    (entry,) = run(code, cell=CELL)
    assert len(entry["paths"]) == 3 and "HTTP 503" in entry["reason"]
    assert "bocb push --pending" in hub_client.last["log"]
    again = "store = LocalStore(Path(home) / 'store')\nsent, left = push_pending(store)\nresult = [sent, len(left)]"
    assert run(again) == [0, 1], "it still waits"
    hub.faults.clear()
    assert run(again) == [3, 0]
    assert run("result = len(Queue(LocalStore(Path(home) / 'store')).entries())") == 0
    assert len(hub.repository(CELL).messages) == 2, "one commit for the final run and its trials"
    assert len(card(hub).trials) == 2
    assert run(again) == [0, 0]


def test_a_queue_that_cannot_be_used_fails_no_training(hub: HubServer, hub_client: HubClient, run: Any) -> None:
    code = """
from bocb_hf.runs.runtime_config import RuntimeConfig
store = LocalStore(Path(home) / "store")
record = publish(store, make_record(seed=1))
queue = store.root / ".pending"
if damage == "a file in its place":
    queue.write_text("")
else:
    queue.mkdir()
    (queue / ("lab__" + cell.replace("/", "__") + ".json")).write_text("{" if damage == "its entry" else "")
    if damage == "another entry":
        (queue / ("lab__" + cell.replace("/", "__") + ".json")).rename(queue / "lab__lab__other.json")
push_after_training(store, RuntimeConfig(store="hf://lab"), cell, record.path())
"""
    run(code, cell=CELL, damage="another entry")
    assert [entry.seed for entry in card(hub).runs] == [1], "what is not its own does not matter"
    for damage in ("its entry", "a file in its place"):
        run(code.replace('"store")', "damage)", 1), cell=CELL, damage=damage)
        assert "not pushed, but kept in" in hub_client.last["log"]


def test_pushing_again_changes_nothing_and_a_taken_place_is_refused(hub: HubServer, run: Any) -> None:
    code = """
store = LocalStore(Path(home) / where)
publish(store, make_record(seed=1, lr=lr), namespace="local")
baseline = make_floor()
if "README.md" not in store.files("local/" + baseline.repository()):
    files = {baseline.path(): baseline.to_json().encode(), "README.md": b"# Floors\\n"}
    store.commit("local/" + baseline.repository(), files, parent=None, message="floors")
sent = [push_repository(store, f"local/{name}", "hf://lab") for name in (cell, baseline.repository())]
try:
    result = push_repository(store, f"local/{cell}", "hf://lab", supersede=supersede)
except Exception as error:
    result = str(error)
"""
    run(code, where="a", lr=0.1, cell=NAME, supersede=False)
    (first,) = final_records(hub)
    heads = {name: repo.head for (_, name), repo in hub.repositories.items()}
    assert set(heads) == {CELL, f"lab/{make_floor().repository()}"}
    run(code, where="a", lr=0.1, cell=NAME, supersede=False)
    assert heads == {name: repo.head for (_, name), repo in hub.repositories.items()}
    with pytest.raises(AssertionError, match="of another configuration"):
        run(code, where="b", lr=0.2, cell=NAME, supersede=False)
    code = code.replace("sent = [", "sent = [] and [")
    run(code, where="b", lr=0.2, cell=NAME, supersede=True)
    (stored,) = final_records(hub)
    assert stored.identity.optimizer.lr == 0.2 and stored.supersedes == first.sha256()


def test_only_safetensors_and_only_its_own_namespace(hub: HubServer, run: Any) -> None:
    refused = """
try:
    open_store("hf://lab").commit(name, {path: b"1"}, parent=None, message="x")
except Exception as error:
    result = str(error)
"""
    assert "only safetensors" in run(refused, name="lab/x", path="pytorch_model.bin")
    assert "the only place that this store writes to" in run(refused, name="bob/x", path="a.txt")
    assert hub.repositories == {}


ACCESS = """
from bocb_hf.store.hub_calls import check_writable
try:
    result = check_writable("lab")
except Exception as error:
    result = str(error)
"""


def test_a_token_that_cannot_write_is_found_before_training(hub: HubServer, run: Any) -> None:
    assert run(ACCESS, "hf_writer") == run(ACCESS, "hf_fine") == "ada"
    assert "may only read" in run(ACCESS, "hf_reader")
    assert "may only read" in run(ACCESS, "hf_narrow")
    assert "not a member of lab" in run(ACCESS, "hf_guest")
    assert "does not accept the token" in run(ACCESS, "hf_unknown")
    assert "there is no token; run `hf auth login` or set HF_TOKEN" in run(ACCESS, None)
    asked = hub.count("whoami")
    assert run(ACCESS, "hf_writer") == "ada"
    assert hub.count("whoami") == asked, "asked once: the Hub limits this request strictly"


def test_tokens_reach_no_log_no_error_and_no_other_origin(hub: HubServer, hub_client: HubClient, run: Any) -> None:
    token = "hf_secret_of_ada"
    hub.tokens[token] = hub.tokens["hf_writer"]
    echo = {"X-Error-Message": f"bad token {token}"}
    hub.fail("POST", "/commit/", status=400, headers=echo)
    code = "publish(open_store('hf://lab'), make_record(seed=1))"
    with pytest.raises(AssertionError):
        run(code, token)
    seen = json.dumps(hub_client.last)
    assert "***" in seen and token not in seen
    run(code, token)
    assert token not in json.dumps(hub_client.last)
    assert all(token.encode() not in content for content in files(hub).values())
    assert [t for path, t in hub.authorised if path.startswith("/lfs/") and t] == []


def test_tokens_reach_no_file_and_no_command_line(
    hub: HubServer, hub_client: HubClient, run: Any, tmp_path: Path
) -> None:
    token = "hf_secret_of_ada"
    hub.tokens[token] = hub.tokens["hf_writer"]
    code = """
import os, subprocess
from bocb_hf.cli import main
from bocb_hf.engine.environment import code_commit
from bocb_hf.engine.launch import launch_recipe
os.environ["HF_HOME"] = home
started, plain = [], subprocess.Popen.__init__
def watch(self, args, *more, **words):
    started.append(" ".join(map(str, args)))
    plain(self, [sys.executable, "-c", ""] if "accelerate.commands.launch" in args else args, *more, **words)
import sys
subprocess.Popen.__init__ = watch
try:
    local = str(Path(home) / "store")
    publish(LocalStore(Path(local)), make_record(seed=1), namespace="local")
    status = [main(["push", "--to", "hf://lab", "--store", local])]
    status.append(main(["publish", "--store", "hf://lab", "--to", "hf://datasets/lab/results", "--draws", "100"]))
    status.append(launch_recipe(["--config", "x", "runtime.store=hf://lab"], cpu_processes=2))
    code_commit.__wrapped__()
finally:
    subprocess.Popen.__init__ = plain
started += [Path(f"/proc/{p}/cmdline").read_text() for p in ("self", os.getppid()) if Path("/proc/self").exists()]
result = [status, started]
"""
    status, started = run(code, token)
    assert status == [0, 0, 0], hub_client.last["out"]
    assert any("--num_processes 2" in line for line in started) and any("git" in line for line in started)
    assert token not in json.dumps(hub_client.last), "command lines, what was printed and what was logged"
    held = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in held) and any(path.name == "README.md" for path in held)
    assert [path for path in held if token.encode() in path.read_bytes()] == [], "caches, queues, cards and records"
    for repository in hub.repositories.values():
        assert all(token.encode() not in file.content for file in repository.files.values())


def test_a_hub_that_is_not_there_or_slow(hub: HubServer, hub_client: HubClient, run: Any) -> None:
    code = """
import bocb_hf.store.hub_calls as calls
calls.TIMEOUT = 0.2
try:
    open_store("hf://lab").revision("lab/x")
except Exception as error:
    result = [type(error).__name__, str(error)]
calls.TIMEOUT = 300.0
calls.make_api()
"""
    hub.fail("GET", "/api/models/lab/x", delay=1.0, times=10)
    kind, text = run(code)
    assert kind == "HubError" and "imed" in text
    assert make_record().run_id  # the builders of both processes agree


def test_the_commands_push_render_and_retract(hub: HubServer, hub_client: HubClient, run: Any) -> None:
    code = """
from bocb_hf.cli import main
local = str(Path(home) / "store")
for seed in (1, 2):
    publish(LocalStore(Path(local)), make_record(seed=seed), namespace="local")
publish(LocalStore(Path(local)), make_record(optimizer="adamw", seed=1), namespace="local")
result = [main([word.replace("LOCAL", local) for word in words]) for words in commands]
"""
    push = ["push", "--to", "hf://lab", "--store", "LOCAL"]
    hub.fail("POST", f"{NAME}/commit/", status=400)
    assert run(code, commands=[push, ["push", "--pending", "--store", "LOCAL"]]) == [1, 0]
    out = hub_client.last["out"]
    assert "1 record(s) sent" not in out and "2 record(s) sent, 0 repositories still waiting" in out
    assert "not pushed, `bocb push --pending` tries again" in out
    assert [entry.seed for entry in card(hub).runs] == [1, 2]
    retract = ["retract", CELL, "--seed", "1", "--reason", "a wrong split", "--store", "hf://lab"]
    assert run(code, commands=[retract, ["render", "--store", "hf://lab"], retract]) == [0, 0, 2]
    assert [entry.seed for entry in card(hub).runs] == [2] and card(hub).retracted[0].reason == "a wrong split"
    trial = make_record(seed=0, role="trial")
    publish_trial = "publish(open_store('hf://lab'), make_record(seed=0, role='trial'))"
    run(publish_trial)
    retract = ["retract", CELL, "--trial", trial.run_id, "--reason", "another loss", "--store", "hf://lab"]
    assert run(code, commands=[retract, retract]) == [0, 2]
    assert "is retracted already" in hub_client.last["out"]
    assert card(hub).trials == []
    assert {entry.reason for entry in card(hub).retracted} == {"a wrong split", "another loss"}
    assert trial.path() in files(hub), "it stays"
    (peer,) = card(hub).peers.entries
    assert (peer.optimizer, peer.n) == ("adamw", 1)
    assert f"https://huggingface.co/{peer.repository}" in files(hub)["README.md"].decode()
    assert run(code, commands=[["push", "--to", "lab"], ["push", "--pending", "--to", "hf://lab"]]) == [2, 2]
