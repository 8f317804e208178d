"""Small sketches of images, by which copies of an image are found, and hashes of their decoded pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from bocb_hf.data.decode import Centre, Chunk, Decoder, decode_all
from bocb_hf.data.encoded import Table
from bocb_hf.data.pictures import Encoded, explain_damage, open_picture, to_rgb
from bocb_hf.errors import InputError

SIDE = 32  # of the sketch in grey
BLUR = 1.0  # standard deviation in pixels of the sketch: another encoding or size changes the finest detail most
COLOURS = 8  # side of the sketch in colour
_GREY, _RGB = SIDE**2, 3 * COLOURS**2
_DRAFT = 4 * SIDE  # a JPEG is decoded no smaller than this, which takes an eighth of the time for a photograph


@dataclass(frozen=True)
class Sketches:
    """The sketches of some images.

    Attributes:
        grey: Luma of the whole image, squeezed into a square and blurred, (N, 1024) uint8.
        colour: Colours of the same, (N, 192) uint8.
        size: Height and width of the upright image in pixels, (N, 2) int64.
        content: 64 bits of the SHA-256 of the encoded bytes, (N,) uint64.
    """

    grey: NDArray[np.uint8]
    colour: NDArray[np.uint8]
    size: NDArray[np.int64]
    content: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.grey)


def sketch_images(where: str, table: Table, column: str, workers: int) -> Sketches:
    """Reads all images of a split once and sketches them.

    Args:
        where: Name of the split in an error.
        table: Table of the split.
        column: Column of the images.
        workers: Number of processes that decode.

    Raises:
        InputError: An image is damaged; the message names it.
    """
    parts = _read_rows(_Sketcher(where, Centre(1), table, column), np.arange(len(table)), workers)
    numbers = np.ascontiguousarray(parts[:, _GREY + _RGB :])
    return Sketches(
        grey=np.ascontiguousarray(parts[:, :_GREY]),
        colour=np.ascontiguousarray(parts[:, _GREY : _GREY + _RGB]),
        size=numbers[:, 8:].copy().view("<i8"),
        content=numbers[:, :8].copy().view("<u8")[:, 0],
    )


def hash_pixels(where: str, table: Table, column: str, rows: NDArray[np.int64], workers: int) -> NDArray[np.uint64]:
    """64 bits of the SHA-256 of the decoded RGB pixels and the size of these images, (rows,).

    Raises:
        InputError: An image is damaged; the message names it.
    """
    return _read_rows(_PixelHasher(where, Centre(1), table, column), rows, workers).view("<u8")[:, 0]


def _read_rows(reader: Decoder, rows: NDArray[np.int64], workers: int) -> NDArray[np.uint8]:
    return torch.cat([*decode_all(reader, rows, workers)]).numpy()


class _Reader(Decoder):
    """Makes bytes of each image of a chunk."""

    def __getitem__(self, chunk: Chunk) -> Tensor | str:
        """Bytes of the images of a chunk, (n, length) uint8, or an error message."""
        made: list[bytes] = []
        for name, value in zip(chunk.images, self._read(chunk), strict=True):
            try:
                made.append(self._make(value, self._locate(name, value)))
            except InputError as error:
                return str(error)
            except Exception as error:  # Pillow raises a different error for each kind of damage
                return f"{self._locate(name, value)} cannot be read: {explain_damage(error, value)}"
        return torch.from_numpy(np.frombuffer(b"".join(made), np.uint8).reshape(len(made), -1).copy())

    def _make(self, value: Encoded, where: str) -> bytes:
        raise NotImplementedError


class _Sketcher(_Reader):
    def _make(self, value: Encoded, where: str) -> bytes:
        content = _encoded_bytes(value)
        with open_picture({"bytes": content, "path": None} if content else value) as opened:
            width, height = opened.size
            opened.draft(None, (_DRAFT, _DRAFT))  # of effect on a JPEG alone
            image = to_rgb(opened, where)
        if (image.width > image.height) != (width > height):  # turned upright
            width, height = height, width
        square = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR).filter(ImageFilter.GaussianBlur(BLUR))
        grey = np.asarray(square.convert("L")).tobytes()
        colour = np.asarray(square.resize((COLOURS, COLOURS), Image.Resampling.BOX)).tobytes()
        digest = hashlib.sha256(content).digest() if content else hashlib.sha256(image.tobytes()).digest()
        return grey + colour + digest[:8] + np.array([height, width], "<i8").tobytes()


class _PixelHasher(_Reader):
    def _make(self, value: Encoded, where: str) -> bytes:
        with open_picture(value) as opened:
            image = to_rgb(opened, where)
        digest = hashlib.sha256(f"{image.size}".encode())
        digest.update(image.tobytes())
        return digest.digest()[:8]


def _encoded_bytes(value: Encoded) -> bytes | None:
    """The bytes of an image file; None where it is in an archive."""
    content, path = (value or {}).get("bytes"), str((value or {}).get("path"))
    if content is not None or "://" in path or "::" in path:
        return content
    return Path(path).read_bytes()
