"""What is compared before a run is sent to the Hub, and what a later push repairs there."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from builders import make_record
from hub_client import HubClient
from hub_server import HubServer
from published import weights

from bocb_hf.runs.record import RunRecord
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import write_run

CELL = "bocb-fashion_mnist_subset-demo-tiny_resnet-sgdm"
PUSH = """
from bocb_hf.cli import main
result = main(["push", "--store", store, *words])
"""


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Seeds 1 to 3 with weights that are those of their records."""
    store = LocalStore(tmp_path / "store")
    for seed in (1, 2, 3):
        folder = weights(tmp_path, f"seed {seed}")
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        record = make_record(seed=seed).model_copy(update={"weights_sha256": digest})
        write_run(store, "me", record, folder, supersede=False)
    return store


def files(store: LocalStore, seed: int, name: str = "model.safetensors") -> Path:
    return store.path(f"me/{CELL}") / "seeds" / str(seed) / name


def there(hub: HubServer) -> dict[str, bytes]:
    return {path: file.content for path, file in hub.repository(f"lab/{CELL}").files.items()}


def push(hub_client: HubClient, store: LocalStore, *words: str) -> tuple[int, str]:
    status = hub_client(
        PUSH, store=str(store.root), words=list(words) if "--pending" in words else ["--to", "hf://lab", *words]
    )
    return status, hub_client.last["out"]


def spoil(store: LocalStore, kind: str, tmp_path: Path) -> None:
    """Puts something else in the place of the weights of seed 2."""
    path = files(store, 2)
    good = path.read_bytes()
    path.unlink()
    if kind == "another file":
        path.write_bytes(b"of somebody else")
    elif kind == "one bit":
        path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    elif kind == "a link":
        secret = tmp_path / "secret"
        secret.write_bytes(good)  # even what has the right content: the next reader would follow it
        path.symlink_to(secret)
    elif kind == "a link further up":
        path.write_bytes(good)
        folder = path.parent
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("another file", f"seeds/2/model.safetensors is not what run {make_record(seed=2).run_id} ended with"),
        ("one bit", "so the run is not sent; put the right file there"),
        ("a link", "is a symbolic link, which is not followed"),
        ("nothing", "seed 2 lacks model.safetensors; train it again"),
    ],
)
def test_a_run_with_other_weights_is_not_sent_and_the_rest_is(
    hub: HubServer, hub_client: HubClient, store: LocalStore, tmp_path: Path, kind: str, reason: str
) -> None:
    good = files(store, 2).read_bytes()
    spoil(store, kind, tmp_path)
    status, out = push(hub_client, store)
    assert status == 1 and reason in out and "(2 other record(s)" in out
    assert {path for path in there(hub) if path.endswith("record.json")} == {
        "seeds/1/record.json",
        "seeds/3/record.json",
    }
    assert not any(path.startswith("seeds/2/") for path in there(hub))
    files(store, 2).unlink(missing_ok=True)
    files(store, 2).write_bytes(good)
    status, out = push(hub_client, store, "--pending")
    assert status == 0 and "3 record(s) sent" in out
    assert there(hub)["seeds/2/model.safetensors"] == good


def test_a_folder_of_weights_that_is_a_link_sends_nothing_of_it(
    hub: HubServer, hub_client: HubClient, store: LocalStore, tmp_path: Path
) -> None:
    spoil(store, "a link further up", tmp_path)
    # its record lies behind the link too, so the run is not there at all
    assert push(hub_client, store)[0] == 0
    assert not any(path.startswith("seeds/2/") for path in there(hub))
    (tmp_path / "store" / "models" / "me").rename(tmp_path / "mine")
    (tmp_path / "store" / "models" / "me").symlink_to(tmp_path / "mine")
    status, out = push(hub_client, store, f"me/{CELL}")
    assert status == 1 and "there is no finished run to push" in out


@pytest.mark.parametrize("bad", ["seeds/3/model.safetensors", "model.safetensors", "seeds/1/model.safetensors"])
def test_a_later_push_repairs_weights_on_the_hub(
    hub: HubServer, hub_client: HubClient, store: LocalStore, bad: str
) -> None:
    assert push(hub_client, store)[0] == 0
    whole, head = there(hub), hub.repository(f"lab/{CELL}").head
    assert push(hub_client, store)[0] == 0 and hub.repository(f"lab/{CELL}").head == head, "nothing to repair"
    hub.put(f"lab/{CELL}", {bad: b"cut off"})
    assert push(hub_client, store)[0] == 0
    assert there(hub) == whole


def test_a_cell_whose_name_is_taken_on_the_hub_goes_beside_it(
    hub: HubServer, hub_client: HubClient, store: LocalStore, tmp_path: Path
) -> None:
    from builders import make_data

    assert push(hub_client, store)[0] == 0
    other = LocalStore(tmp_path / "other")
    record: RunRecord = make_record(seed=1, status="diverged", data=make_data(revision="abcdef0"))
    write_run(other, "me", record, None, supersede=False)
    assert other.repositories() == [f"me/{CELL}"]
    assert push(hub_client, other)[0] == 0
    names: list[Any] = sorted(name for kind, name in hub.repositories if kind == "models")
    assert names == [f"lab/{name}" for name in record.repositories()]
    assert len([path for path in there(hub) if path.endswith("record.json")]) == 3
    code = """
from bocb_hf.store import open_store
from bocb_hf.store.card_cache import open_cache
from bocb_hf.store.contents import read_store
with open_cache("lab", folder=__import__("pathlib").Path(folder)) as cache:
    cache.refresh()
    through_cards = read_store(cache)
through_files = read_store(open_store("hf://lab"))
result = [[len(c.records), [str(q) for q in c.quarantined]] for c in (through_cards, through_files)]
"""
    assert hub_client(code, folder=str(tmp_path / "cache")) == [[4, []], [4, []]]
    # pushing the same again finds the same places
    heads = {name: repo.head for name, repo in hub.repositories.items()}
    assert push(hub_client, other)[0] == push(hub_client, store)[0] == 0
    assert {name: repo.head for name, repo in hub.repositories.items()} == heads
