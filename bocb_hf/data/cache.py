"""Decoded images on disk: decoded once, memory-mapped by every process that trains on them.

A split is one safetensors file (``labels`` int64, ``pixels`` uint8), named after a hash of everything that decides its
content. It is written under a lock and moved into place when it is whole, so that several processes decode it once and
none sees an unfinished file. Opening it checks its size, its parameters, and a digest of its labels and of some images;
a split whose file fails a check is decoded again. Nothing is deleted here: the folder may be emptied by hand at any
time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import PIL
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from torch import Tensor

from bocb_hf.data.splits import Images
from bocb_hf.errors import InputError
from bocb_hf.files import replacing
from bocb_hf.schema import canonical_json

log = logging.getLogger(__name__)

SMALL = 4 * 2**20  # bytes; a smaller split is decoded quickly by every process anew, and never written
_LAYOUT = 2  # this number is raised when older files cannot be read, or would be decoded differently
_CHECKED = 64  # number of images in the digest

Parameters = Mapping[str, str | int]
Pieces = Callable[[], Iterator[tuple[Tensor, Tensor]]]  # pixels (n, 3, H, W) uint8 and labels (n,) int64, in order


@dataclass(frozen=True)
class ToDecode:
    """A split that is to be decoded.

    Attributes:
        images: Number of images.
        shape: Height and width of each decoded image.
        parameters: Everything beside number and shape that decides the pixels.
        pieces: Decodes the split, piece by piece.
    """

    images: int
    shape: tuple[int, int]
    parameters: Parameters
    pieces: Pieces

    @property
    def size(self) -> int:
        """Bytes of the decoded pixels."""
        return self.images * 3 * self.shape[0] * self.shape[1]

    @property
    def description(self) -> str:
        """All parameters as canonical JSON, with Pillow's version, since its resizing may change."""
        own = {"layout": _LAYOUT, "pillow": PIL.__version__, "images": self.images, "shape": list(self.shape)}
        return canonical_json({**own, **self.parameters})

    def path(self, folder: Path) -> Path:
        """The file in which the decoded split is kept."""
        return folder / f"{_slug(self.parameters)}-{_digest_text(self.description)[:16]}.safetensors"


def decode_to_memory(wanted: ToDecode) -> Images:
    """Decodes a split into a tensor of its own.

    Raises:
        InputError: An image or a label is damaged.
    """
    pixels = torch.empty((wanted.images, 3, *wanted.shape), dtype=torch.uint8)
    labels = torch.empty(wanted.images, dtype=torch.int64)
    first = 0
    for some, theirs in wanted.pieces():
        pixels[first : first + len(some)] = some
        labels[first : first + len(some)] = theirs
        first += len(some)
    return Images(pixels, labels)


def load_decoded(wanted: ToDecode, folder: Path) -> Images:
    """Loads a split from its file, which is written first if it is missing or not whole.

    Raises:
        InputError: The folder cannot be written or is full; an image is damaged.
    """
    path = wanted.path(folder)
    images = _open(path, wanted)
    if images is not None:
        return images
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            images = _open(path, wanted)  # another process may have been quicker
            if images is None:
                images = _write(path, wanted)
        return images
    except OSError as error:
        raise _unwritable(path, error, f" with {wanted.size / 1e9:.1f} GB free") from error


def remember(folder: Path, parameters: Parameters, find: Callable[[], Any]) -> Any:
    """Reads a fact about the data that takes long to find from its file, or finds it and writes the file.

    Args:
        folder: Folder of the cache.
        parameters: Everything that decides the fact.
        find: Function that finds the fact and returns it as plain JSON values.

    Raises:
        InputError: The folder cannot be written.
    """
    description = canonical_json({"layout": _LAYOUT, **parameters})
    path = folder / f"{_slug(parameters)}-{_digest_text(description)[:16]}.json"
    try:
        known = json.loads(path.read_bytes())
        if known["parameters"] == description:
            return known["fact"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # the file is missing or damaged, so the fact is found again
    fact = find()
    try:
        with replacing(path) as partial:
            partial.write_text(canonical_json({"parameters": description, "fact": fact}), encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error, "") from error
    return fact


def _unwritable(path: Path, error: OSError, space: str) -> InputError:
    """Makes the error for a cache that cannot be written; it names the setting that led to its folder."""
    variable = next((v for v in ("HF_HOME", "XDG_CACHE_HOME") if path.parent == _folder_of(v)), None)
    named = f" (the folder follows from {variable}={os.environ[variable]})" if variable else ""
    return InputError(
        f"runtime.cache_dir: cannot write {path} ({error.strerror or error}){named}; set runtime.cache_dir to a "
        f"folder that can be written{space}"
    )


def _folder_of(variable: str) -> Path | None:
    base = os.environ.get(variable)
    return Path(base).expanduser() / "bocb_hf" if base else None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Inside this context, no other process writes the file; if it has to wait for that, the log says so."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another process that decodes %s", path.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _open(path: Path, wanted: ToDecode) -> Images | None:
    """Opens the memory-mapped file; returns None unless it is whole and holds this split."""
    try:
        with safe_open(path, "pt") as file:  # checks that the tensors fill the file
            metadata: dict[str, str] = file.metadata() or {}
            images = Images(file.get_tensor("pixels"), file.get_tensor("labels"))
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        log.warning("%s cannot be read (%s): decoding again", path, error)
        return None
    if metadata.get("parameters") != wanted.description or metadata.get("digest") != _digest(images):
        log.warning("%s is damaged: decoding again", path)
        return None
    return images


def _write(path: Path, wanted: ToDecode) -> Images:
    """Decodes into a file beside ``path``, and moves that to ``path`` when it is whole."""
    log.info("decoding %d images (%.2f GB) to %s", wanted.images, wanted.size / 1e9, path)
    started = time.perf_counter()
    header = _header(wanted, "0" * 64)
    labels = torch.empty(wanted.images, dtype=torch.int64)
    with replacing(path, temporary=path.with_suffix(".partial")) as partial:
        with partial.open("wb") as file:
            file.seek(len(header) + labels.nbytes)
            first = 0
            for some, theirs in wanted.pieces():
                file.write(some.numpy().data)
                labels[first : first + len(some)] = theirs
                first += len(some)
            file.seek(0)
            file.write(header)
            file.write(labels.numpy().data)
        with safe_open(partial, "pt") as written:
            digest = _digest(Images(written.get_tensor("pixels"), written.get_tensor("labels")))
        with partial.open("r+b") as file:
            file.write(_header(wanted, digest))
    images = _open(path, wanted)
    if images is None:
        raise InputError(f"runtime.cache_dir: {path} reads otherwise than it was written; check the disk")
    log.info("decoded %d images in %.1f s", wanted.images, time.perf_counter() - started)
    return images


def _header(wanted: ToDecode, digest: str) -> bytes:
    """Header of the safetensors file: 8 bytes of length, then JSON padded to whole words; its length is constant."""
    after_labels = 8 * wanted.images
    fields = {
        "__metadata__": {"parameters": wanted.description, "digest": digest},
        "labels": {"dtype": "I64", "shape": [wanted.images], "data_offsets": [0, after_labels]},
        "pixels": {
            "dtype": "U8",
            "shape": [wanted.images, 3, *wanted.shape],
            "data_offsets": [after_labels, after_labels + wanted.size],
        },
    }
    text = json.dumps(fields).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _digest(images: Images) -> str:
    """SHA-256 of all labels and of evenly spaced images, the first and the last among them."""
    digest = hashlib.sha256(images.labels.numpy().tobytes())
    count = len(images)
    for index in torch.linspace(0, count - 1, min(count, _CHECKED), dtype=torch.float64).round().long().tolist():
        digest.update(images.stored[index].numpy().tobytes())
    return digest.hexdigest()


def _digest_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _slug(parameters: Parameters) -> str:
    """The readable beginning of a file's name: data set and split."""
    text = f"{parameters.get('name', '')}-{parameters.get('split', '')}"
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:80]
