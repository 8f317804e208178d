"""Records of every kind of cell, and their cards taken apart."""

from __future__ import annotations

from typing import Any

import yaml
from builders import make_data, make_record

from bocb_hf.runs.naming import make_run_id
from bocb_hf.runs.record import RunRecord
from bocb_hf.schema import Frozen
from bocb_hf.store.cards.text import render_card

Records = tuple[list[RunRecord], list[RunRecord]]


def with_identity(record: RunRecord, **changes: Any) -> RunRecord:
    """The record with parts of its identity changed and its hash and id to match."""
    parts: dict[str, Any] = {}
    for section, fields in changes.items():
        part = getattr(record.identity, section)
        parts[section] = part.model_copy(update=fields) if isinstance(part, Frozen) else fields
    identity = record.identity.model_copy(update=parts)
    config_hash = identity.config_hash()
    update = {
        "identity": identity,
        "config_hash": config_hash,
        "run_id": make_run_id(config_hash, record.seed),
    }
    return RunRecord.model_validate(record.model_copy(update=update).model_dump())


def tuned(record: RunRecord) -> RunRecord:
    return with_identity(
        record,
        backbone={"name": "resnet18", "architecture": "resnet18", "pretrained": "timm/resnet18.a1_in1k"}
        | {"pretrained_sha256": "e" * 64},
    )


TRIALS = [make_record(seed=0, role="trial", lr=lr, val_top1=70 + 10 * lr) for lr in (0.3, 0.1, 0.03)]
SHAPES: dict[str, Records] = {
    "only trials": ([], TRIALS),
    "one seed": ([make_record()], []),
    "several seeds": ([make_record(seed=seed, correct=1600 + seed) for seed in (3, 1, 2)], TRIALS),
    "several hashes": ([make_record(seed=1), make_record(seed=2, lr=0.2, correct=1000)], []),
    "diverged": ([make_record(seed=1, status="diverged"), make_record(seed=2)], []),
    "only diverged": ([make_record(status="diverged")], [make_record(seed=0, role="trial", status="diverged")]),
    "interrupted": ([make_record(seed=4, status="interrupted")], []),
    "fine-tuned": ([tuned(make_record("resnet18"))], []),
    "unknown names": ([make_record("resnet18.a1_in1k", "madeup", data=make_data("org/images"))], []),
    # every one of these is a number to YAML unless it is quoted
    "number-like": ([make_record(setting="1e5", data=make_data("123", revision="1234567"))], []),
}


def render(shape: str) -> str:
    finals, trials = SHAPES[shape]
    return render_card(f"me/{(finals + trials)[0].repository()}", finals, trials)


def front_matter(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---\n")[1])


def body(text: str) -> str:
    return text.split("---\n", 2)[2]
