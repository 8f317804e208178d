"""Decodes images into pixels: the rules that give them their size, and the processes that decode in parallel."""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data.transforms_factory import transforms_imagenet_eval
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as pillow

from bocb_hf.data.augment import crop_box
from bocb_hf.data.encoded import EncodedColumn, Table
from bocb_hf.data.pictures import Encoded, explain_damage, open_picture, to_rgb
from bocb_hf.errors import InputError
from bocb_hf.runs.preprocessing import Interpolation
from bocb_hf.schema import one_line

CHUNK = 32  # images that a worker decodes at a time: few, so that the first step starts early and the queue stays small
MOST_WORKERS = 8
_BULK = 256  # images that a worker decodes at a time where a whole split is wanted; this takes fewer messages
_ALONE_SECONDS = 1.0  # workers are started only for a split that takes longer than this to decode

_ORIENTATION = 0x0112  # Exif's tag of the orientation
_ON_ITS_SIDE = frozenset((5, 6, 7, 8))  # Exif's orientations of a picture that is turned by 90 degrees


@dataclass(frozen=True)
class Centre:
    """The transform that config.json describes to timm and transformers, up to the last step on uint8.

    Attributes:
        size: Side of the result in pixels.
        crop_ratio: Side of the centre crop over the side that the image is resized to before.
        interpolation: Interpolation by which the image is resized.
    """

    size: int
    crop_ratio: float = 1.0
    interpolation: Interpolation = field(default="bicubic", repr=False)  # the steps in ``describe_rule`` name it

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.size, self.size

    def make(self, image: Image.Image, uniforms: NDArray[np.float32] | None) -> Image.Image:
        """Resizes the shorter side and crops the middle."""
        for step in _centre_steps(self.size, self.crop_ratio, self.interpolation):
            image = step(image)
        return image


@dataclass(frozen=True)
class Native:
    """The rule for a split whose images have one size: it takes their pixels as they are."""

    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.height, self.width

    def make(self, image: Image.Image, uniforms: NDArray[np.float32] | None) -> Image.Image:
        """Returns the image itself; another size would not fit into the array of the split."""
        return image


@dataclass(frozen=True)
class RandomCrop:
    """A random resized crop (bicubic) by random numbers that belong to the image's place in its step."""

    size: int
    scale: tuple[float, float]
    aspect: tuple[float, float]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the result."""
        return self.size, self.size

    def make(self, image: Image.Image, uniforms: NDArray[np.float32] | None) -> Image.Image:
        """Crops and resizes as torchvision's ``RandomResizedCrop`` does with a Pillow image."""
        assert uniforms is not None
        draws = torch.from_numpy(uniforms)[None]
        box: list[int] = crop_box(draws, image.height, image.width, self.scale, self.aspect)[0].tolist()
        # torchvision annotates tensors, and takes images of Pillow as well
        return pillow.resized_crop(image, *box, [self.size, self.size], InterpolationMode.BICUBIC)  # type: ignore[arg-type]


SizeRule = Centre | Native | RandomCrop


@functools.lru_cache(maxsize=8)
def _centre_steps(
    size: int, crop_ratio: float, interpolation: Interpolation
) -> list[Callable[[Image.Image], Image.Image]]:
    transform: Any = transforms_imagenet_eval(size, crop_pct=crop_ratio, interpolation=interpolation)
    return transform.transforms[:-2]


def describe_rule(rule: SizeRule) -> str:
    """Describes in one line everything about a rule that decides the pixels; the cache names files by a hash of it."""
    steps = repr(_centre_steps(rule.size, rule.crop_ratio, rule.interpolation)) if isinstance(rule, Centre) else ""
    return f"{rule!r} {steps}".strip()


class Chunk(NamedTuple):
    """The images that a worker decodes at a time.

    Attributes:
        images: Row numbers of the table, or encoded images (``bytes``, ``path``) of a stream.
        uniforms: Uniform random numbers in [0, 1), one row for each image, where the crop is random; else None.
    """

    images: Sequence[int] | Sequence[Encoded]
    uniforms: NDArray[np.float32] | None = None


class Decoder:
    """Decodes chunks of one split, in this process or in a worker.

    Args:
        where: Name of the split in an error.
        rule: Rule by which an image becomes pixels of one size.
        table: Table of the split; None when chunks bring their images along.
        column: Column of the images.
    """

    def __init__(self, where: str, rule: SizeRule, table: Table | None = None, column: str = "") -> None:
        self.where, self.rule = where, rule
        self._encoded: EncodedColumn | None = table.images(column) if table is not None else None

    def __getitem__(self, chunk: Chunk) -> Tensor | str:
        """Pixels (n, 3, H, W) uint8, or an error message, since an exception would carry a worker's traceback."""
        encoded = self._read(chunk)
        pixels = np.empty((len(encoded), 3, *self.rule.shape), np.uint8)
        for place, (name, value) in enumerate(zip(chunk.images, encoded, strict=True)):
            try:
                with open_picture(value) as opened:
                    image = to_rgb(opened, self._locate(name, value))
                image = self.rule.make(image, None if chunk.uniforms is None else chunk.uniforms[place])
                pixels[place] = np.asarray(image).transpose(2, 0, 1)
            except InputError as error:
                return str(error)
            except Exception as error:  # Pillow raises a different error for each kind of damage
                return f"{self._locate(name, value)} cannot be read: {explain_damage(error, value)}"
        return torch.from_numpy(pixels)

    def _locate(self, name: int | Encoded, value: Encoded | None) -> str:
        """Names an image for errors: its row if that is known, its split, and its path if it has one."""
        path = (value or {}).get("path")
        which = f"image {name}" if isinstance(name, int) else "an image"
        return f"data.name: {which} of {self.where}" + (f" ({one_line(str(path))})" if path else "")

    def _read(self, chunk: Chunk) -> Sequence[Encoded]:
        # without encoded images a chunk carries its own
        return chunk.images if self._encoded is None else self._encoded[list(chunk.images)]  # type: ignore[return-value]


class SizeReader(Decoder):
    """Reads heights and widths, without decoding where the header says how an image is turned."""

    def __getitem__(self, chunk: Chunk) -> Tensor | str:
        """Heights and widths of the images of a chunk, (n, 2) int64, or an error message."""
        sizes = np.empty((len(chunk.images), 2), np.int64)
        for place, (name, value) in enumerate(zip(chunk.images, self._read(chunk), strict=True)):
            try:
                with open_picture(value) as image:
                    if image.format == "TIFF":
                        image.load()  # some releases of Pillow turn a TIFF only when they decode it
                    sizes[place] = image.height, image.width
                    if image.height != image.width and image.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE:
                        sizes[place] = image.width, image.height
            except Exception as error:  # Pillow raises a different error for each kind of damage
                return f"{self._locate(name, value)} cannot be read: {explain_damage(error, value)}"
        return torch.from_numpy(sizes)


class _Chunks(Sampler[Chunk]):
    """Hands chunks to a loader as its sampler: they are made in this process and decoded by the workers."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[Chunk]:
        return self._chunks


def decode(decoder: Decoder, chunks: Iterator[Chunk], workers: int, ahead: int = 0) -> Iterator[Tensor]:
    """Decodes chunks in their order into pixels, (n, 3, H, W) uint8 for each chunk.

    Args:
        decoder: Decoder of the split.
        chunks: Chunks to decode; they may be endless.
        workers: Number of processes that decode, with one thread each; 0 decodes in this one.
        ahead: Smallest number of chunks that are decoded before they are asked for; it is two a worker if that is more.

    Raises:
        InputError: An image is damaged (the message names it), or a worker was killed.
    """
    if workers == 0:
        decoded: Iterator[Tensor | str] = map(decoder.__getitem__, chunks)
    else:
        decoded = iter(
            DataLoader(
                decoder,  # type: ignore[arg-type] - maps like a data set
                sampler=_Chunks(chunks),
                batch_size=None,
                num_workers=workers,
                collate_fn=_as_is,
                prefetch_factor=max(2, -(-ahead // workers)),
                worker_init_fn=_start_worker,
            )
        )
    while True:
        try:
            pixels = next(decoded, None)
        # torch raises RuntimeError for a worker that was killed, and the other errors where it died handing over a
        # tensor
        except (RuntimeError, ConnectionError, EOFError) as error:
            if workers == 0:
                raise
            raise InputError(
                f"runtime.workers: a process that decodes has ended ({type(error).__name__}: {error}); if memory or "
                "shared memory is short, choose fewer"
            ) from error
        if pixels is None:
            return
        if isinstance(pixels, str):
            raise InputError(pixels)
        yield pixels


def decode_all(decoder: Decoder, rows: NDArray[np.int64], workers: int) -> Iterator[Tensor]:
    """Decodes the images of these rows in chunks, in their order: for a second in this process, then by workers.

    Raises:
        InputError: An image is damaged.
    """
    chunks = (Chunk(rows[first : first + _BULK].tolist()) for first in range(0, len(rows), _BULK))
    started = time.perf_counter()
    while workers == 0 or time.perf_counter() - started < _ALONE_SECONDS:
        chunk = next(chunks, None)
        if chunk is None:
            return
        yield from decode(decoder, iter([chunk]), workers=0)
    yield from decode(decoder, chunks, workers)


def count_workers(asked: int | None) -> int:
    """Number of processes that decode for this one: ``runtime.workers``, or one for each of its cores, at most 8.

    The cores that the system allows are shared by the processes of the run on this machine.
    """
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))), MOST_WORKERS))


def _as_is(item: Any) -> Any:
    return item


def _start_worker(_: int) -> None:
    """Makes a worker ignore signals: the process that trains saves first, and the worker ends with it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
