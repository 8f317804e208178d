"""Weights and records from elsewhere: what is not what it says is an error of one line, and nothing is run."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from builders import make_record
from cards import with_identity

from bocb_hf.engine.trained import load_backbone
from bocb_hf.errors import InputError

ARGS = {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32, "patch_size": 8}
TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def tensors(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file, with whatever length its header claims."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


HOSTILE: dict[str, bytes] = {
    "a header of 2^63 bytes": tensors(b"{}", length=2**63),
    "a header longer than the file": tensors(b"{}", length=10**8),
    "nothing": b"",
    "half a length": b"\1\0",
    "no JSON": tensors(b"x" * 10),
    "too deep": tensors(b'{"a":' * 50_000),
    "a pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
    "an archive": b"PK\3\4" + bytes(100),
    "tensors that overlap": tensors({"a": TENSOR, "b": TENSOR}, bytes(4)),
    "a hole": tensors({"a": TENSOR | {"data_offsets": [4, 8]}}, bytes(8)),
    "a size that overflows": tensors({"a": TENSOR | {"shape": [2**40, 2**40]}}, bytes(4)),
    "a negative size": tensors({"a": TENSOR | {"shape": [-1]}}, bytes(4)),
    "an unknown type": tensors({"a": TENSOR | {"dtype": "PY"}}, bytes(4)),
    "other tensors": tensors({"a\x1b[2J\u202e" + "k" * 10_000: TENSOR}, bytes(4)),
    "no tensors": tensors({}),
}


def stored(folder: Path, content: bytes, args: dict[str, Any]) -> str:
    """A repository whose record names exactly these weights."""
    record = with_identity(make_record("tiny_vit"), backbone={"args": args, "architecture": "vit_tiny_patch16_224"})
    record = record.model_copy(update={"weights_sha256": hashlib.sha256(content).hexdigest()})
    place = folder / "seeds" / "1"
    place.mkdir(parents=True)
    (place / "record.json").write_text(record.to_json())
    (place / "model.safetensors").write_bytes(content)
    return str(folder)


@pytest.mark.parametrize("kind", HOSTILE)
def test_weights_that_are_none_are_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the weights of seed 1 do not fit its record") as raised:
        load_backbone(stored(tmp_path, HOSTILE[kind], ARGS), seed=1)
    assert str(raised.value).isprintable() and len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    "changed",
    [{"patch_size": 0}, {"num_heads": 0}, {"embed_dim": -1}, {"depth": "x"}, {"norm_layer": "os.system"}, {"x": 1}],
    ids=str,
)
def test_arguments_that_build_nothing_are_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"backbone\.args: timm cannot build"):
        load_backbone(stored(tmp_path, tensors({}), ARGS | changed), seed=1)


@pytest.mark.parametrize("name", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained"])
def test_arguments_that_load_something_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="would load or name something beside the weights"):
        load_backbone(stored(tmp_path, tensors({}), ARGS | {name: "/etc/passwd"}), seed=1)
