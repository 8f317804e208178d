"""Reading the Hub: what a listing costs, what is read again, what hostile cards and records come to, and levels."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from builders import make_record
from hub_client import HubClient
from hub_server import HubServer
from hub_state import Token

from bocb_hf.commands.collect import collection_title
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.retraction import make_retraction
from bocb_hf.runs.verification import Verification, levels
from bocb_hf.store.cards.text import render_card

OPTIMIZERS = ("sgdm", "adamw", "lamb", "lars")


def put(hub: HubServer, *records: RunRecord, namespace: str = "lab", **files: bytes) -> str:
    """A repository with its card, as a push leaves it."""
    name = f"{namespace}/{records[0].repository()}"
    finals = [r for r in records if r.role == "final"]
    trials = [r for r in records if r.role == "trial"]
    content = {record.path(): record.to_json().encode() for record in records}
    hub.put(name, content | {"README.md": render_card(name, finals, trials).encode()} | files)
    return name


def metadata(record: RunRecord, **changes: Any) -> Any:
    """The metadata of a record's card as a listing has it, with keys of the block changed."""
    text = render_card(f"lab/{record.repository()}", [record], [])
    data = strict_yaml.parse(text.split("---\n")[1], "x")
    data["bocb"] |= changes
    return data


@pytest.fixture
def aggregate(hub: HubServer, hub_client: HubClient, tmp_path: Path) -> Any:
    """Runs ``bocb aggregate`` in the client's process, with a cache of its own; returns what it printed."""

    def call(*words: str, token: str | None = None) -> str:
        before = len(hub.requests)
        code = """
import os
from bocb_hf.cli import main
os.environ["HF_HOME"] = home
print("status", main(["aggregate", "--full", *words]))
"""
        hub_client(code, token, words=[*words, "--out", str(tmp_path / "out")], home=str(tmp_path / "home"))
        # the client looks up once a process by what it is run
        asked = [r for r in hub.requests[before:] if "agent-harnesses" not in r[1]]
        call.requests = asked  # type: ignore[attr-defined] - functions take attributes
        assert "status 0" in hub_client.last["out"], hub_client.last["out"]
        return hub_client.last["out"]

    return call


def runs(tmp_path: Path) -> list[tuple[str, int]]:
    import pandas as pd

    frame = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    return sorted(zip(frame["optimizer"], frame["seed"], strict=True))


def levels_of(tmp_path: Path) -> dict[str, str]:
    """Level by SHA-256 of the record."""
    import pandas as pd

    frame = pd.read_parquet(tmp_path / "out" / "runs.parquet")
    return dict(zip(frame["record_sha256"], frame["level"], strict=True))


def quarantined(tmp_path: Path) -> dict[str, str]:
    with (tmp_path / "out" / "quarantined.csv").open(encoding="utf-8") as file:
        return {f"{row['repository']}/{row['path']}": row["reason"] for row in csv.DictReader(file)}


def test_cards_cost_a_request_a_page_and_then_only_what_changed(hub: HubServer, aggregate: Any, tmp_path: Path) -> None:
    for optimizer in OPTIMIZERS:
        put(hub, *(make_record(optimizer=optimizer, seed=seed) for seed in (1, 2)))
    hub.page = 2
    out = aggregate("--store", "hf://lab", "--cards")
    assert "4 repositories, 4 read anew, 0 gone" in out
    assert len(aggregate.requests) == 2
    assert runs(tmp_path) == sorted((o, s) for o in OPTIMIZERS for s in (1, 2))
    out = aggregate("--store", "hf://lab", "--cards")
    assert "4 repositories, 0 read anew, 0 gone" in out
    assert len(aggregate.requests) == 2 and all("cardData" not in path for _, path, _ in aggregate.requests)
    # one changes, one goes
    put(hub, make_record(optimizer="lamb", seed=7))
    del hub.repositories["models", f"lab/{make_record(optimizer='sgdm').repository()}"]
    out = aggregate("--store", "hf://lab", "--cards")
    assert "3 repositories, 1 read anew, 1 gone" in out
    assert len(aggregate.requests) == 3, "two pages and the one card"
    expected = [*((o, s) for o in ("adamw", "lars") for s in (1, 2)), ("lamb", 7)]
    assert runs(tmp_path) == sorted(expected)
    aggregate("--store", "hf://lab", "--cards", "--offline")
    assert aggregate.requests == [] and runs(tmp_path) == sorted(expected)


def test_offline_needs_an_earlier_reading(hub: HubServer, hub_client: HubClient, tmp_path: Path) -> None:
    code = """
import os
from bocb_hf.cli import main
os.environ["HF_HOME"] = home
result = main(["aggregate", "--store", "hf://lab", "--offline"])
"""
    assert hub_client(code, None, home=str(tmp_path)) == 2
    assert "nothing of hf://lab was read before" in hub_client.last["out"]
    more = code.replace('"--offline"', '"--offline", "--results", "hf://datasets/lab/r"')
    put(hub, make_record())
    online = code.replace(', "--offline"', ', "--cards", "--out", home')
    assert hub_client(online, None, home=str(tmp_path)) == 0
    hub.requests.clear()
    assert hub_client(more, None, home=str(tmp_path)) == 2
    assert "nothing of hf://datasets/lab/r was read before" in hub_client.last["out"]
    assert hub.requests == []


def test_records_are_fetched_once_each_and_make_the_whole_report(
    hub: HubServer, aggregate: Any, tmp_path: Path
) -> None:
    grid = [
        make_record(b, o, seed=s, correct=1500 + 10 * s)
        for b in ("tiny_resnet", "tiny_vit")
        for o in OPTIMIZERS[:2]
        for s in (1, 2)
    ]
    for start in range(0, len(grid), 2):
        put(
            hub,
            *grid[start : start + 2],
            make_record(grid[start].identity.backbone.name, grid[start].identity.optimizer.name, seed=0, role="trial"),
        )
    out = aggregate("--store", "hf://lab")
    assert "quarantined" not in out and (tmp_path / "out" / "report.html").is_file()
    assert sum("/resolve/" in path for _, path, _ in aggregate.requests) == 12
    assert all("README" not in path for _, path, _ in aggregate.requests)
    put(hub, grid[0], grid[1], make_record(seed=3, correct=1700))
    again = aggregate("--store", "hf://lab")
    assert sum("/resolve/" in path for _, path, _ in aggregate.requests) == 1
    assert again != out
    aggregate("--store", "hf://lab", "--offline")
    assert aggregate.requests == []


HOSTILE: dict[str, tuple[Any, str]] = {
    "no metadata": (None, "has no block `bocb`"),
    "a list": ([1, 2], "has no block `bocb`"),
    "NaN": ({"runs": [{"test_top1": float("nan")}]}, "not a valid card"),
    "a string for a number": ({"category": 3}, "not a valid card"),
    "over the range": ({"runs": [{"seed": -1}]}, "not a valid card"),
    "megabytes": ({"backbone": "x" * 1_500_000}, "larger than 1000000 bytes"),
    "another card's place": ({"optimizer": "rmsprop"}, "its card is that of a repository called"),
    "a future version": ({"card_version": 99}, "card version 99 is newer than 1; upgrade bocb-hf"),
    "unknown keys": ({"constructor": {"name": "x"}}, "unknown key"),
    "script": ({"setting": "<script>alert(1)</script>"}, "not a valid card"),
    "a path": ({"runs": [{"run_id": "../../../etc/passwd"}]}, "not a valid card"),
    "a count beyond any column": ({"runs": [{"correct": 10**30, "test_images": 10**30}]}, "not a valid card"),
    "a score of other counts": ({"runs": [{"test_top1": 99.0}]}, "not a valid card"),
    "a run twice": ({"runs": [{}, {}]}, "a seed, or a trial, is listed twice"),
    "codes for a terminal": ({"dataset": "\x1b[2J"}, "not a valid card"),
    "half a character": ({"backbone": "\ud800"}, "not a valid card"),
}


def test_hostile_cards_are_quarantined_with_a_reason_and_stop_nothing(
    hub: HubServer, aggregate: Any, tmp_path: Path
) -> None:
    good = [put(hub, make_record(optimizer=o)) for o in OPTIMIZERS]
    names: dict[str, str] = {}
    for number, (kind, (changes, _)) in enumerate(HOSTILE.items()):
        record = make_record(optimizer="sgdm", setting=f"s{number}")
        names[kind] = f"lab/{record.repository()}"
        data = metadata(record, **changes) if isinstance(changes, dict) else changes
        if isinstance(data, dict):
            for run in data["bocb"]["runs"]:  # a partial run: the good one with these keys changed
                run_changes = dict(run)
                run.clear()
                run.update(metadata(record)["bocb"]["runs"][0] | run_changes)
        listed = {"tags": ["bocb"]} | data if isinstance(data, dict) else {"tags": ["bocb"], "bocb": data}
        hub.put(names[kind], {"README.md": b"x"}, card_data=listed)
    # what makes the client's own listing raise in the middle
    hub.put("lab/a-first", {"README.md": b"x"}, card_data={"tags": ["bocb"], "ignore_metadata_errors": 1, "bocb": 3})
    # a name of another namespace, and one that leaves its folder, in an answer of the server
    aggregate("--store", "hf://lab", "--cards")
    assert len(runs(tmp_path)) == len(good) == 4
    found = quarantined(tmp_path)
    for kind, (_, reason) in HOSTILE.items():
        assert reason in found[f"{names[kind]}/README.md"], kind
        assert len(found[f"{names[kind]}/README.md"]) < 1000
        assert found[f"{names[kind]}/README.md"].isprintable()
    assert "has no block" in found["lab/a-first/README.md"]
    assert len(found) == len(HOSTILE) + 1


def test_the_clients_own_listing_stops_where_ours_goes_on(hub: HubServer, hub_client: HubClient) -> None:
    """Why pages are read as JSON: a key of a card is passed on as an argument."""
    put(hub, make_record())
    hub.put("lab/a-first", {"README.md": b"x"}, card_data={"tags": ["bocb"], "ignore_metadata_errors": 1})
    code = """
from huggingface_hub import HfApi
result = len(list(HfApi().list_models(author="lab", filter="bocb", expand=["cardData", "sha"])))
"""
    assert hub_client.refused(code, None)[0] == "TypeError"
    code = """
from bocb_hf.store.hub_listing import list_repositories
result = len(list(list_repositories("lab", ("cardData", "sha"))))
"""
    assert hub_client(code, None) == 2


def test_a_page_that_cannot_be_parsed_is_read_card_by_card(hub: HubServer, aggregate: Any, tmp_path: Path) -> None:
    names = [put(hub, make_record(optimizer=o)) for o in OPTIMIZERS]
    deep: Any = []
    for _ in range(700):
        deep = [deep]
    text = json.dumps(deep).replace("[]", "[" * 150_000 + "]" * 150_000)
    hub.raw_page = text.encode()
    aggregate("--store", "hf://lab", "--cards")
    assert len(runs(tmp_path)) == len(names)


def test_a_changed_card_that_cannot_be_parsed_stops_no_later_listing(
    hub: HubServer, aggregate: Any, tmp_path: Path
) -> None:
    for optimizer in OPTIMIZERS:
        put(hub, make_record(optimizer=optimizer))
    aggregate("--store", "hf://lab", "--cards")
    for number, body in enumerate((b"[" * 200_000 + b"]" * 200_000, b'{"id": ' + b"1" * 5000 + b"}")):
        name = put(hub, make_record(optimizer="lamb", seed=7 + number))
        hub.fail("GET", f"/api/models/{name}$", status=200, body=body)
        out = aggregate("--store", "hf://lab", "--cards")
        assert "4 repositories, 1 read anew, 0 gone" in out
        assert ("lamb", 7 + number) in runs(tmp_path) and len(runs(tmp_path)) == 4, "read from its text instead"
    assert quarantined(tmp_path) == {}


def test_records_that_are_not_what_their_card_says(hub: HubServer, aggregate: Any, tmp_path: Path) -> None:
    good = put(hub, make_record(optimizer="adamw", seed=1), make_record(optimizer="adamw", seed=2))
    tampered = put(hub, make_record(optimizer="lamb"))
    hub.put(tampered, {"seeds/1/record.json": make_record(optimizer="lamb", correct=1999).to_json().encode()})
    missing = put(hub, make_record(optimizer="lars"))
    del hub.repository(missing).files["seeds/1/record.json"]
    huge = put(hub, make_record(optimizer="sgdm"))
    hub.put(huge, {"seeds/1/record.json": b"x" * 20_000_001})
    # files with odd names are never asked for: paths are made from the numbers of the card
    hub.put(good, {"seeds/../../../../tmp/x/record.json": b"{}", "seeds/9/record.json": b"{}"})
    out = aggregate("--store", "hf://lab")
    assert "its SHA-256 differs" in " ".join(out.split())
    assert "larger than 20000000 bytes" in " ".join(out.split())
    assert "which has no record" in " ".join(out.split()) or "FileNotFoundError" in out
    assert "| adamw" in out or "AdamW" in out
    assert not any(".." in path for _, path, _ in aggregate.requests)
    assert "seeds/9" not in out


def test_only_named_namespaces_are_read_and_a_copy_is_no_second_run(
    hub: HubServer, aggregate: Any, tmp_path: Path
) -> None:
    record = make_record()
    put(hub, record)
    put(hub, record, namespace="bob")
    put(hub, make_record(optimizer="adamw"), namespace="eve")
    aggregate("--store", "hf://lab", "--cards")
    assert runs(tmp_path) == [("sgdm", 1)] and quarantined(tmp_path) == {}
    aggregate("--store", "hf://lab,bob", "--cards")
    assert runs(tmp_path) == [("sgdm", 1)]
    (reason,) = quarantined(tmp_path).values()
    assert reason == f"a copy of what lab/{record.repository()} holds; a copy is not a second run"
    assert hub.count("author=eve") == 0
    out = aggregate("--store", "hf://lab,bob")
    assert "a copy of what" in " ".join(out.split())


def test_a_withdrawn_run_counts_nowhere(hub: HubServer, aggregate: Any) -> None:
    gone, kept = make_record(seed=1), make_record(seed=2)
    name = put(hub, kept)
    tombstone = make_retraction(gone, "wrong labels")
    card = render_card(name, [kept], [], [(gone, tombstone)])
    files = {gone.path(): gone.to_json(), tombstone.path(): tombstone.to_json(), "README.md": card}
    hub.put(name, {path: text.encode() for path, text in files.items()})
    out = " ".join(aggregate("--store", "hf://lab").split())
    assert f"run {gone.run_id} is retracted: wrong labels" in out
    assert "(1)" in out, "one run is left"


def verification(record: RunRecord, **changes: Any) -> Verification:
    fields: dict[str, Any] = {
        **{"schema_version": 1, "level": "verified", "repository": f"lab/{record.repository()}"},
        **{"run_id": record.run_id, "record_sha256": record.sha256(), "weights_sha256": "0" * 64},
        **{"claimed": 1600, "measured": 1601, "differing": 3, "images": 2000, "tolerance": 0.1},
        **{"measured_on": "cpu", "measured_at": "2026-01-02T03:04:05Z"},
    }
    return Verification(**(fields | changes))


def test_a_level_belongs_to_one_record_and_needs_agreement() -> None:
    record, later = make_record(), make_record(wall_seconds=21.0)
    both = [verification(record, level="reproduced", differing=None), verification(record)]
    assert levels(both) == {record.sha256(): "reproduced"}
    assert later.sha256() not in levels(both)
    for measured in (1590, 2001):
        with pytest.raises(ValueError, match=r"apart than|more images are counted"):
            verification(record, measured=measured)


def test_publish_writes_one_data_set_that_saves_later_readers_the_records(
    hub: HubServer, hub_client: HubClient, aggregate: Any, tmp_path: Path
) -> None:
    records = [make_record(optimizer=o, seed=s) for o in OPTIMIZERS for s in (1, 2)]
    for start in range(0, len(records), 2):
        put(hub, *records[start : start + 2])
    hub.put(
        "lab/results", {verification(records[0]).path(): verification(records[0]).to_json().encode()}, kind="datasets"
    )
    hub.put("lab/results", {"verifications/0123456789abcdef-verified.json": b"{}"}, kind="datasets")
    command = """
import os
from bocb_hf.cli import main
os.environ["HF_HOME"] = home
result = main(["publish", "--store", "hf://lab", "--to", "hf://datasets/lab/results"])
"""
    assert hub_client(command, home=str(tmp_path / "writer")) == 0, hub_client.last["out"]
    held = {p: f.content for p, f in hub.repository("lab/results", "datasets").files.items()}
    (tmp_path / "r.parquet").write_bytes(held["data/records.parquet"])
    import pandas as pd

    frame = pd.read_parquet(tmp_path / "r.parquet")
    assert sorted(frame["record"]) == sorted(r.to_json() for r in records)
    assert frame["level"].value_counts().to_dict() == {"self-reported": 7, "verified": 1}
    assert "verified" in held["README.md"].decode()
    # another reader: no record is fetched by itself, and a row that is not what a card names is not used
    out = aggregate("--store", "hf://lab", "--results", "hf://datasets/lab/results")
    assert not any(".json" in path and "/resolve/" in path and "seeds" in path for _, path, _ in aggregate.requests)
    assert "0123456789abcdef" in out, "a file that is no verification is named"
    cards = ["--store", "hf://lab", "--results", "hf://datasets/lab/results", "--cards"]
    for words, asked in ((cards, 2), ([*cards, "--offline"], 0)):
        aggregate(*words)
        assert len(aggregate.requests) == asked, "the listing and the head of the data set; then nobody"
        level = levels_of(tmp_path)
        assert level.pop(records[0].sha256()) == "verified" and set(level.values()) == {"self-reported"}
        assert "lab/results/verifications/0123456789abcdef-verified.json" in " ".join(quarantined(tmp_path))
    # a trained-again run, merged since: one more request for the tree and one for the file
    done = verification(records[0], level="reproduced", same_weights=True)
    hub.put("lab/results", {done.path(): done.to_json().encode()}, kind="datasets")
    aggregate(*cards)
    assert len(aggregate.requests) == 4
    assert levels_of(tmp_path)[records[0].sha256()] == "reproduced"


def test_publish_needs_a_token_that_may_write(hub: HubServer, hub_client: HubClient) -> None:
    hub.tokens["hf_eve"] = Token("eve")
    code = "from bocb_hf.cli import main\nresult = main(['publish', '--to', 'hf://datasets/lab/results'])"
    assert hub_client(code, "hf_eve") == 2
    assert "not a member of lab" in hub_client.last["out"]


def test_a_collection_gathers_a_setting_and_grows(hub: HubServer, hub_client: HubClient, tmp_path: Path) -> None:
    names = [put(hub, make_record(optimizer=o)) for o in OPTIMIZERS[:2]]
    put(hub, make_record(setting="other"))
    code = """
import os
from bocb_hf.cli import main
os.environ["HF_HOME"] = home
result = main(["collect", "--store", "hf://lab", "--dataset", "fashion_mnist_subset", "--setting", "demo"])
"""
    assert hub_client(code, home=str(tmp_path)) == 0, hub_client.last["out"]
    names.append(put(hub, make_record(optimizer="lamb")))
    assert hub_client(code, home=str(tmp_path)) == 0
    assert "3 repositories, 1 added" in hub_client.last["out"]
    (collection,) = hub.collections.values()
    assert sorted(item["id"] for item in collection["items"]) == sorted(names)
    assert hub_client(code.replace("hf://lab", "hf://lab,ada"), home=str(tmp_path)) == 2
    assert "a collection belongs to one namespace" in hub_client.last["out"]


def test_two_settings_never_share_a_collection() -> None:
    titles = {collection_title("fashion_mnist_subset", f"pytorch_{size}") for size in (160, 192, 224)}
    assert len(titles) == 3 and all(len(title) <= 60 for title in titles)
    assert collection_title("cifar100", "deit") == "Backbone-optimizer coupling: cifar100, deit"
