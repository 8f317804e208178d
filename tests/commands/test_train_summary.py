"""What is said when a run ends: a place that is there, and nothing of the client's requests."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from builders import make_data, make_record
from published import publish

from bocb_hf.commands.train import summary
from bocb_hf.engine.console import show_log
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.local import LocalStore


def config(**runtime: str) -> RunConfig:
    sections = {"setting": "demo", "backbone": {"name": "tiny_vit"}, "optimizer": {"name": "adamw"}}
    sections |= {
        "data": {"name": "fashion_mnist_subset", "image_size": 32},
        "training": {"epochs": 1, "batch_size": 64},
    }
    return build_run_config(sections | {"runtime": runtime}, [])


def place(record: RunRecord, found: RunConfig) -> str:
    line = summary(record, found).splitlines()[-1]
    assert line.startswith("  record ")
    return line.removeprefix("  record ")


def test_the_path_is_that_of_the_file(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    first = publish(store, tmp_path, make_record(seed=1))
    second = publish(store, tmp_path, make_record(seed=1, data=make_data(revision="abcdef0")))
    here = config(store=str(store.root), namespace="me")
    paths = [Path(place(record, here)) for record in (first, second)]
    assert [path.read_text() for path in paths] == [first.to_json(), second.to_json()], "each cell has its own place"


def test_a_run_for_the_hub_is_named_where_it_lies_here(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "local")
    record = publish(store, tmp_path, make_record(seed=1))
    # publish writes for the namespace `me`
    there = config(store="hf://me", local_store=str(store.root))
    assert Path(place(record, there)).read_text() == record.to_json()
    elsewhere = config(store="hf://me", local_store=str(tmp_path / "empty"))
    assert place(record, elsewhere) == f"hf://me/{record.repository()}/seeds/1/record.json"
    assert not (tmp_path / "empty").exists()


def test_an_interrupted_run_that_replaced_nothing_says_so(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    record = make_record(seed=1, status="interrupted")
    assert "not stored: the finished run there stays" in place(record, config(store=str(store.root), namespace="me"))


@pytest.mark.parametrize("name", ["httpx", "httpx2", "huggingface_hub.file_download", "timm.models._hub"])
def test_no_request_fills_the_log(name: str) -> None:
    loggers = [logging.getLogger(part) for part in (name, name.split(".")[0], "")]
    before = [logger.level for logger in loggers]
    try:
        show_log(logging.INFO)
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
        assert logging.getLogger(name).isEnabledFor(logging.WARNING)
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def test_the_logger_that_the_client_uses_is_among_them() -> None:
    """The library that huggingface_hub sends its requests with, whichever it is in this version."""
    from huggingface_hub.utils import _http

    libraries = [name for name in ("httpx", "httpx2", "requests") if hasattr(_http, name)]
    assert libraries and set(libraries) <= {"httpx", "httpx2"}
