"""Reads safetensors files one tensor at a time, without torch and without mapping the file into memory.

The format is eight bytes of length, a JSON header and the numbers (huggingface.co/docs/safetensors). No code of a file
is run, and no more of it is read than its header says. What is mapped counts as memory of the process once it is
touched, so tensors are read into memory of their own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bocb_hf.errors import InputError
from bocb_hf.patterns.measure import widen
from bocb_hf.schema import one_line

INDEX, WEIGHTS, SUFFIX = "model.safetensors.index.json", "model.safetensors", ".safetensors"
_LONGEST_HEADER = 100_000_000  # bytes, as the reference implementation has it
_FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}
_BYTES = {
    **{"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2},
    **{"I8": 1, "U8": 1, "BOOL": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "C64": 8},
}


@dataclass(frozen=True)
class StoredTensor:
    """Where one tensor lies in a file.

    Attributes:
        path: The file.
        dtype: Name of the number format, as safetensors has it.
        shape: Shape of the tensor.
        offset: First byte of its numbers in the file.
    """

    path: Path
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def readable(self) -> bool:
        """Whether its numbers are of a floating-point format that is read here."""
        return self.dtype in _FLOATS

    @property
    def widen(self) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
        """Function that turns a block of what ``read`` returns into float64."""
        return _widen_bfloat16 if self.dtype == "BF16" else widen

    def read(self) -> NDArray[Any]:
        """The numbers as they are stored, of this shape; bfloat16 as the 16 bits of each.

        Raises:
            InputError: The file was cut since its header was read.
        """
        kind, count = np.dtype(_FLOATS[self.dtype]).newbyteorder("<"), math.prod(self.shape)
        found = np.fromfile(self.path, kind, count, offset=self.offset)
        if len(found) != count:
            raise InputError(f"{self.path}: ends inside a tensor; fetch the file again")
        return found.reshape(self.shape)


def _widen_bfloat16(block: NDArray[Any]) -> NDArray[np.float64]:
    return (block.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def read_headers(files: list[Path]) -> dict[str, StoredTensor]:
    """The tensors of some files by name, in the order of their names.

    Raises:
        InputError: A file is not safetensors, is damaged, or holds a tensor that another one holds too.
    """
    found: dict[str, StoredTensor] = {}
    for path in files:
        tensors = read_header(path)
        twice = sorted(found.keys() & tensors.keys())
        if twice:
            raise InputError(
                f"{path}: holds {one_line(twice[0], 100)!r}, which another file of the checkpoint holds too"
            )
        found |= tensors
    return dict(sorted(found.items()))


def read_header(path: Path) -> dict[str, StoredTensor]:
    """The tensors of one file by name.

    Raises:
        InputError: The file cannot be read, is not safetensors, or is damaged.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > min(size - 8, _LONGEST_HEADER):
                raise InputError(f"{path}: is no safetensors file, or was cut; weights are read from safetensors only")
            header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_once)
        if not isinstance(header, dict):
            raise ValueError("the header is no object")
        entries = cast(dict[str, Any], header)
        entries.pop("__metadata__", None)
        tensors = {name: _entry(path, name, given, 8 + length) for name, given in entries.items()}
        _check_layout(tensors.values(), 8 + length, size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: is not valid safetensors ({one_line(str(error), 200)}); fetch the file again"
        ) from None
    return tensors


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in the header")
    return found


def _entry(path: Path, name: str, given: Mapping[str, Any], start: int) -> StoredTensor:
    shape, (first, last) = given["shape"], given["data_offsets"]
    numbers = [*shape, first, last]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"{one_line(name, 100)} has a shape or a place that is no count")
    if given["dtype"] not in _BYTES:
        raise ValueError(f"{one_line(name, 100)} is of the unknown number format {one_line(str(given['dtype']), 40)!r}")
    if last - first != math.prod(shape) * _BYTES[given["dtype"]]:
        raise ValueError(f"{one_line(name, 100)} has not as many bytes as its shape needs")
    return StoredTensor(path, given["dtype"], tuple(shape), start + first)


def _check_layout(tensors: Any, start: int, size: int) -> None:
    """Checks that the tensors fill the file, one after another."""
    at = start
    for tensor in sorted(tensors, key=lambda t: (t.offset, math.prod(t.shape))):
        if tensor.offset != at:
            raise ValueError("tensors overlap, or leave a hole between them")
        at += math.prod(tensor.shape) * _BYTES[tensor.dtype]
    if at != size:
        raise ValueError(f"the header describes {at} bytes, but the file holds {size}")


def find_weights(folder: Path) -> list[Path]:
    """The safetensors files of a folder: ``model.safetensors``, the shards that its index names, or its only one.

    Raises:
        InputError: There is none, or there are several and no index says which of them belong together.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / INDEX
    if index.is_file():
        return [folder / name for name in shard_names(index)]
    found = sorted(folder.glob(f"*{SUFFIX}"))
    if len(found) != 1:
        what = f"{len(found)} safetensors files and no {INDEX}; name one of them" if found else f"no {WEIGHTS}"
        raise InputError(f"{folder}: holds {what}; weights are read from safetensors only")
    return found


def shard_names(index: Path) -> list[str]:
    """The names of the shards that an index lists, sorted.

    Raises:
        InputError: The file is no index, or a name leads out of its folder or is not that of a safetensors file.
    """
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{index}: is no index of safetensors files ({one_line(repr(error), 200)})") from error
    for name in names:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(SUFFIX):
            raise InputError(f"{index}: names {one_line(str(name), 100)!r}; only safetensors files beside it are read")
    if not names:
        raise InputError(f"{index}: names no file")
    return names
