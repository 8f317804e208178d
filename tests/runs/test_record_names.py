"""Names of repositories and paths of records, and what no record may hold: hosts, users, paths."""

from __future__ import annotations

import getpass
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import make_data, make_floor, make_record
from huggingface_hub.utils import validate_repo_id
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from bocb_hf.runs.identity import Identity
from bocb_hf.runs.naming import floor_repository_name, repository_name
from bocb_hf.runs.record import FloorRecord, RunRecord
from bocb_hf.store import check_repository

AWKWARD = [
    ("cifar10", "demo", "resnet18", "sgdm"),
    ("cifar10", "demo", "ResNet18", "sgdm"),
    ("cifar10", "demo", "RESNET18", "sgdm"),
    ("cifar10", "demo", "resnet18.a1_in1k", "sgdm"),
    ("cifar10", "demo", "resnet18-a1_in1k", "sgdm"),
    ("cifar10", "demo", "hf-hub:org/name", "sgdm"),
    ("cifar10", "demo", "hf-hub:org/name2", "sgdm"),
    ("cifar10", "demo", "org/name", "sgdm"),
    ("cifar10", "demo", "org-name", "sgdm"),
    ("cifar10", "demo", "hf-hub:", "sgdm"),
    ("cifar10", "demo", "timm:", "sgdm"),
    ("cifar10", "demo", "a--b..c", "sgdm"),
    ("cifar10", "demo", "a-b.c", "sgdm"),
    ("cifar10", "demo", "x_" * 100, "sgdm"),
    ("cifar10", "demo", "x_" * 99 + "xy", "sgdm"),
    ("cifar10", "demo", "a.git", "sgdm"),
    ("zalando-datasets/fashion_mnist", "demo", "resnet18", "sgdm"),
    ("zalando_datasets/fashion_mnist", "demo", "resnet18", "sgdm"),
    ("d" * 200, "s" * 40, "b" * 200, "o" * 40),
    ("d" * 200, "s" * 40, "b" * 200, "p" * 40),
    # the separator inside a part must not move a boundary
    ("a", "b", "c-d", "e"),
    ("a-b", "c", "d", "e"),
    ("a", "s.1", "b", "c"),
    ("a", "s..1", "b", "c"),
    ("a", "s.1.", "b", "c"),
    ("a", "s", "b", "c.1"),
    ("a", "s", "b", "c..1"),
]


def test_repository_names_are_valid_for_the_hub_and_distinct() -> None:
    names = [repository_name(*cell) for cell in AWKWARD]
    assert len(set(names)) == len(names)
    for name in names:
        assert len(name) <= 96
        assert re.fullmatch(r"bocb-[a-z0-9_-]+", name)
        validate_repo_id(f"some-namespace/{name}")
        check_repository(f"some-namespace/{name}")


def test_plain_names_read_well_and_keep_their_place() -> None:
    # published repositories are found by these
    assert repository_name("cifar10", "demo", "tiny_resnet", "sgdm") == "bocb-cifar10-demo-tiny_resnet-sgdm"
    assert floor_repository_name("cifar10") == "bocb-cifar10-baselines"
    assert repository_name("cifar10", "demo", "resnet18.a1", "sgdm") == "bocb-cifar10-demo-resnet18-a1-sgdm-5c68f6"


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,30}", fullmatch=True)
slugs = st.from_regex(r"[a-z0-9][a-z0-9_.]{0,15}", fullmatch=True)
cells = st.tuples(names, slugs, names, slugs)


@settings(max_examples=150)
@given(cells, cells)
def test_any_cell_has_a_valid_name_of_its_own(a: tuple[str, str, str, str], b: tuple[str, str, str, str]) -> None:
    validate_repo_id(f"ns/{repository_name(*a)}")
    assert (repository_name(*a) == repository_name(*b)) == (a == b)


def test_a_record_knows_its_place() -> None:
    final, trial = make_record(seed=7), make_record(seed=0, role="trial")
    assert final.repository() == trial.repository() == "bocb-fashion_mnist_subset-demo-tiny_resnet-sgdm"
    assert final.path() == "seeds/7/record.json"
    assert trial.path() == f"trials/{trial.config_hash}-0.json"
    other = make_record(data=make_data("cifar10"))
    assert other.repository() == "bocb-cifar10-demo-tiny_resnet-sgdm"


# privacy


def strings(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            # any text can turn up in Base64
            yield from (key, *(strings(value) if key != "packed" else ()))
    elif isinstance(node, list):
        for value in node:
            yield from strings(value)
    elif isinstance(node, str):
        yield node


def field_names(model: type[BaseModel]) -> Iterator[str]:
    schema = model.model_json_schema()
    for part in [schema, *schema.get("$defs", {}).values()]:
        yield from part.get("properties", {})


@pytest.mark.parametrize("make", [make_record, make_floor], ids=["run", "baseline"])
def test_a_record_names_no_host_user_or_path(make: Callable[[], RunRecord | FloorRecord]) -> None:
    private = {socket.gethostname(), str(Path.home()), str(Path.cwd())}
    if getpass.getuser() != "root":
        private.add(getpass.getuser())
    found = list(strings(json.loads(make().to_json())))
    assert len(found) > 30
    for text in found:
        assert not text.startswith(("/", "~"))
        assert not any(name in text for name in private)


def test_no_field_of_a_record_is_meant_for_a_host_user_or_path() -> None:
    names = {*field_names(RunRecord), *field_names(FloorRecord), *field_names(Identity)}
    assert {"device", "lr", "config_hash"} <= names
    assert not {n for n in names if re.search(r"host|user|path|dir$|directory|login|email|store|address", n)} - {
        "drop_path"
    }
