"""``.eval_results/bocb.yaml``: what the Hub's own parser reads from it, and that it is never stale."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from builders import make_data, make_record
from hub_client import HubClient
from hub_server import HubServer
from huggingface_hub import EvalResultEntry, parse_eval_result_entries

from bocb_hf.cli import main
from bocb_hf.runs.card import make_block, parse_card
from bocb_hf.runs.record import RunRecord, wilson_interval
from bocb_hf.store import EVAL_RESULTS
from bocb_hf.store.cards.eval_results import render_eval_results
from bocb_hf.store.cards.text import render_card
from bocb_hf.store.local import LocalStore
from bocb_hf.store.write import retract_run, write_run

REVISION = "aadb3af77e9048adbea6b47c21a81e47dd092ae5"
DATA = make_data("cifar100", revision=REVISION)


def record(seed: int = 1, correct: int = 1600, **changes: Any) -> RunRecord:
    return make_record(seed=seed, correct=correct, data=DATA, **changes)


CELL = f"me/{record().repository()}"


def read(content: bytes | None) -> EvalResultEntry:
    """The one entry, as the client reads it."""
    assert content is not None
    (entry,) = parse_eval_result_entries(yaml.safe_load(content))
    return entry


def test_the_entry_is_the_root_and_says_where_it_is_from() -> None:
    finals = [record(3, 1900), record(2, 1600), record(1, status="diverged"), record(4, 1650)]
    entry = read(render_eval_results("me/x", finals, "top1"))
    assert (entry.dataset_id, entry.task_id, entry.dataset_revision) == ("uoft-cs/cifar100", "top1", REVISION)
    assert entry.value == 80.0, "the lowest completed seed, not the best"
    assert entry.source_url == "https://huggingface.co/me/x/blob/main/seeds/2/record.json"
    assert entry.date == "2026-01-02T03:04:05Z" and entry.verify_token is None
    low, high = wilson_interval(1600, 2000)
    assert entry.notes is not None
    for text in (
        *("seed 2", "split test", f"{low:.2f} to {high:.2f}", "2000 images", f"configuration {finals[1].config_hash}"),
        *("n = 3 seeds (2, 3, 4) 85.83", "95 % interval"),
    ):
        assert text in entry.notes, text
    one = read(render_eval_results("me/x", [record(2), record(1, lr=0.3, correct=1000)], "top1"))
    assert one.value == 50.0 and "mean" not in str(one.notes), "two configurations are not pooled"


def test_without_a_score_or_a_data_set_of_the_hub_there_is_none() -> None:
    assert render_eval_results("me/x", [], "t") is None
    assert render_eval_results("me/x", [record(status="diverged")], "t") is None
    for name in ("fashion_mnist_subset", "local/pictures", "pictures"):
        assert render_eval_results("me/x", [make_record(data=make_data(name))], "t") is None, name
    assert (
        read(render_eval_results("me/x", [make_record(data=make_data("org/images"))], "t")).dataset_id == "org/images"
    )


def test_the_card_remembers_that_it_was_asked_for() -> None:
    text = render_card("me/x", [record()], [], eval_task="top1")
    assert parse_card(text, "x") == make_block([record()], [], eval_task="top1")
    assert "eval_task" not in render_card("me/x", [record()], [])
    with pytest.raises(ValueError, match="eval_task"):
        make_block([record()], [], eval_task="../x")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def publish(store: LocalStore, tmp_path: Path, run: RunRecord, supersede: bool = False) -> None:
    folder = tmp_path / "weights"
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_text(f"{run.seed}")
    write_run(store, "me", run, folder if run.status == "completed" and run.role == "final" else None, supersede)


def stated(store: LocalStore) -> float | None:
    return read(store.read(CELL, EVAL_RESULTS)).value if EVAL_RESULTS in store.files(CELL) else None


def test_it_is_off_until_asked_for_and_then_follows_every_change(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    render = ["render", "--store", str(store.root)]
    publish(store, tmp_path, record(2, 1600))
    assert main(render) == 0
    assert stated(store) is None
    assert main([*render, "--eval-results", "top1"]) == 0
    assert stated(store) == 80.0
    publish(store, tmp_path, record(1, 1500))
    assert stated(store) == 75.0, "a new root"
    publish(store, tmp_path, record(1, 1400, wall_seconds=3.0), supersede=True)
    assert stated(store) == 70.0, "the root superseded"
    publish(store, tmp_path, record(0, role="trial"))
    assert stated(store) == 70.0
    retract_run(store, CELL, record(1, 1400, wall_seconds=3.0).model_copy(update={"supersedes": _sha(store)}), "wrong")
    assert stated(store) == 80.0, "the root retracted"
    publish(store, tmp_path, record(2, status="diverged"), supersede=True)
    assert stated(store) is None, "no run is left"
    publish(store, tmp_path, record(3, 1800))
    assert stated(store) == 90.0, "it is still asked for"
    assert main(render) == 0
    assert stated(store) == 90.0
    assert main([*render, "--no-eval-results"]) == 0
    assert stated(store) is None and not (store.path(CELL) / EVAL_RESULTS).exists()
    publish(store, tmp_path, record(4))
    assert stated(store) is None
    assert main([*render, "--eval-results", "../x"]) == 2
    assert "no id of a task" in capsys.readouterr().err


def _sha(store: LocalStore) -> str:
    """What the run in seed 1's place says that it replaced."""
    return record(1, 1500).sha256()


def test_a_card_that_was_damaged_leaves_no_stale_score(store: LocalStore, tmp_path: Path) -> None:
    publish(store, tmp_path, record(2))
    main(["render", "--store", str(store.root), "--eval-results", "top1"])
    (store.path(CELL) / "README.md").write_text("# my own words\n")
    publish(store, tmp_path, record(1))
    assert stated(store) is None


def test_a_part_of_a_data_set_is_no_benchmark(
    store: LocalStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(store, tmp_path, make_record())
    assert main(["render", "--store", str(store.root), "--eval-results", "top1"]) == 2
    assert "not the test split of a data set of the Hub" in capsys.readouterr().err


PUSH = """
from bocb_hf.cli import main
result = [main(words) for words in commands]
"""


def test_a_push_carries_it_to_the_hub_and_the_listing_is_not_asked_for_it(
    hub: HubServer, hub_client: HubClient, store: LocalStore, tmp_path: Path
) -> None:
    digest = hashlib.sha256(b"1").hexdigest()  # of the weights that `publish` leaves
    publish(store, tmp_path, record(1).model_copy(update={"weights_sha256": digest}))
    main(["render", "--store", str(store.root), "--eval-results", "top1"])
    push = ["push", "--to", "hf://lab", "--store", str(store.root)]
    assert hub_client(PUSH, commands=[push]) == [0], hub_client.last["out"]
    repository = hub.repository(CELL.replace("me/", "lab/"))
    assert len(repository.messages) == 2, "in the commit of the run"
    assert "lab/" in str(read(repository.files[EVAL_RESULTS].content).source_url)
    words = ["--store", "hf://lab", "--out", str(tmp_path / "out")]
    off = ["render", "--store", "hf://lab", "--no-eval-results"]
    assert hub_client(PUSH, commands=[["aggregate", "--cards", *words], off]) == [0, 0], hub_client.last["out"]
    assert EVAL_RESULTS not in repository.files
    assert not any("evalResults" in path for _, path, _ in hub.requests)
