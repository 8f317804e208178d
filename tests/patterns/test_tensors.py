"""Reading safetensors without torch: equal to the reference reader, and nothing damaged is read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bocb_hf.errors import InputError
from bocb_hf.patterns.tensors import find_weights, read_header, read_headers


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, dict[str, torch.Tensor]]:
    tensors = {
        "a.weight": torch.randn(4, 3),
        "b.weight": torch.randn(2, 3, 1, 2).half(),
        "c.weight": torch.randn(5, 5).bfloat16(),
        "d": torch.randn(7).double(),
        "steps": torch.tensor(3),
        "empty": torch.zeros(0, 4),
    }
    path = tmp_path / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    return path, tensors


def test_tensors_are_those_that_were_saved(saved: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, tensors = saved
    found = read_headers([path])
    assert list(found) == sorted(tensors)
    for name, tensor in tensors.items():
        assert found[name].shape == tuple(tensor.shape)
        assert found[name].readable == tensor.dtype.is_floating_point
        if found[name].readable:
            np.testing.assert_array_equal(found[name].widen(found[name].read()), tensor.double().numpy())


def _written(path: Path, header: object, body: int) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(body))
    return path


def _one(shape: list[int], offsets: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    ("header", "body", "reason"),
    [
        (_one([2, 2], [0, 16]), 12, "the file holds"),
        (_one([2, 2], [0, 16]), 20, "the file holds"),
        (_one([2, 2], [4, 20]), 20, "leave a hole"),
        (_one([2, 2], [0, 12]), 12, "as many bytes as its shape"),
        (_one([-2, -2], [0, 16]), 16, "no count"),
        (_one([2, 2], [0, 16], "F33"), 16, "unknown number format"),
        ({"a": {"shape": [1]}}, 4, "not valid safetensors"),
        ([1], 0, "is no object"),
        (b"{", 0, "not valid safetensors"),
        (
            b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
            4,
            "stands twice",
        ),
        ({**_one([1], [0, 4]), "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, 4, "overlap"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, header: object, body: int, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_header(_written(tmp_path / "x.safetensors", header, body))


def test_what_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for content in (b"", b"PK\x03\x04 a zip archive, as a pickle of torch is"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="safetensors only"):
            read_header(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_header(tmp_path / "missing.safetensors")


def test_a_file_that_is_cut_after_its_header_was_read(saved: tuple[Path, dict[str, torch.Tensor]]) -> None:
    path, _ = saved
    found = read_header(path)
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 40)
    last = max(found.values(), key=lambda t: t.offset if t.readable else 0)
    with pytest.raises(InputError, match="ends inside a tensor"):
        last.read()


def test_shards(tmp_path: Path) -> None:
    for k, name in enumerate(("a.weight", "b.weight")):
        save_file({name: torch.zeros(2, 2)}, tmp_path / f"part-{k}.safetensors")
    with pytest.raises(InputError, match="2 safetensors files and no"):
        find_weights(tmp_path)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a.weight": "part-0.safetensors", "b.weight": "part-1.safetensors"}}))
    assert list(read_headers(find_weights(tmp_path))) == ["a.weight", "b.weight"]
    with pytest.raises(InputError, match="another file of the checkpoint holds too"):
        read_headers([tmp_path / "part-0.safetensors"] * 2)
    for name in ("../x.safetensors", "/etc/passwd", "x.bin"):
        index.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(InputError, match="only safetensors files beside it"):
            find_weights(tmp_path)
    index.unlink()
    for file in tmp_path.glob("*.safetensors"):
        file.unlink()
    with pytest.raises(InputError, match="safetensors only"):
        find_weights(tmp_path)
