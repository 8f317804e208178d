"""What a person pushes and offers to a results data set, and what merging it does there."""

from __future__ import annotations

import hashlib
import io
import json
import struct
from typing import Any

import pandas as pd
from builders import make_record
from hub_server import HubServer

from bocb_hf.results.submission.document import Submission
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.cards.text import render_card

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


def merge(results: Any, number: int = 1) -> None:
    results.branches["main"] = results.branches[f"refs/pr/{number}"]


def table(results: Any, name: str) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(results.files[f"data/{name}.parquet"].content))
