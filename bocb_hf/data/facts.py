"""Facts that are found by looking at images: one size or many, mean and standard deviation, images in two splits."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bocb_hf.data.cache import SMALL, remember
from bocb_hf.data.decode import Centre, Decoder, SizeReader, SizeRule, decode_all
from bocb_hf.data.encoded import EncodedColumn
from bocb_hf.data.hold import Limits, describe_pixels
from bocb_hf.data.load import OpenData
from bocb_hf.data.pictures import Encoded
from bocb_hf.errors import InputError

log = logging.getLogger(__name__)

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]

_SAMPLE = 10_000  # most images that mean and standard deviation are taken of
_BULK = 256  # number of images that are read at a time


@functools.lru_cache(maxsize=8)
def find_one_size(data: OpenData, columns: tuple[str, str], limits: Limits) -> tuple[int, int] | None:
    """Height and width of the training images, or None if they differ.

    Raises:
        InputError: An image is damaged.
    """
    table, rule = data.splits["train"], Centre(1)  # the reader of sizes needs some rule, but applies none
    reader = SizeReader(f"split 'train' of {data.name!r}", rule, table, columns[0])

    def find() -> list[int] | None:
        first = None
        for sizes in decode_all(reader, np.arange(len(table)), limits.workers):
            first = sizes[0] if first is None else first
            if bool((sizes != first).any()):
                return None
        return None if first is None else first.tolist()

    size = _know(data, columns, rule, "size", len(table) <= _SAMPLE, limits, find)
    return None if size is None else (int(size[0]), int(size[1]))


@functools.lru_cache(maxsize=8)
def find_statistics(
    data: OpenData, columns: tuple[str, str], size: int, limits: Limits, rows: bytes | None = None
) -> Statistics:
    """Mean and standard deviation of each channel of the training images in 0..1, to four digits.

    They are taken of all images, or of 10,000 evenly spaced ones where there are more, as squares with sides of
    ``size``.

    Args:
        data: The data set, which is not a stream.
        columns: Columns of the images and of the labels.
        size: Side of the squares in pixels.
        limits: Limits of this machine.
        rows: Row numbers (int64) of the training images to use; None takes all.

    Raises:
        InputError: An image is damaged.
    """
    table, rule = data.splits["train"], Centre(size)
    places = None if rows is None else np.frombuffer(rows, np.int64)
    count = len(table) if places is None else len(places)
    chosen = np.linspace(0, count - 1, min(count, _SAMPLE)).round().astype(np.int64)
    chosen = chosen if places is None else places[chosen]
    decoder = Decoder(f"split 'train' of {data.name!r}", rule, table, columns[0])

    def find() -> list[list[float]]:
        sums, squares = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        for pixels in decode_all(decoder, chosen, limits.workers):
            scaled = pixels.double() / 255
            sums += scaled.sum(dim=(0, 2, 3))
            squares += scaled.square().sum(dim=(0, 2, 3))
        mean = sums / (len(chosen) * size * size)
        std = (squares / (len(chosen) * size * size) - mean.square()).clamp_min(0).sqrt()
        return [_to_digits(mean), [max(value, 1e-4) for value in _to_digits(std)]]

    small = len(chosen) * 3 * size * size < SMALL
    mean, std = _know(data, columns, rule, "statistics", small, limits, find, places)
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


@functools.lru_cache(maxsize=8)
def count_shared(data: OpenData, columns: tuple[str, str], splits: tuple[str, ...], limits: Limits) -> int:
    """Counts the images of the last split that are, byte for byte, in the first one, which is train.

    All pairs of splits are compared, and the log names the images that they share. A data set with a row in the
    registry is not compared again: that was done when its row was written. An image that was encoded anew is not
    recognised.

    Args:
        data: The data set, which is not a stream.
        columns: Columns of the images and of the labels.
        splits: Names of the splits: train, then those that are held out.
        limits: Limits of this machine.

    Raises:
        InputError: Two splits hold the same images.
    """
    if data.row is not None:
        return 0
    small = sum(len(data.splits[name]) for name in splits) <= _SAMPLE

    def find() -> list[list[int]]:
        hashes = [_hash_images(data.splits[name].images(columns[0]), len(data.splits[name])) for name in splits]
        return [
            [first, later, *(int(np.isin(hashes[a], hashes[b]).sum()) for a, b in ((later, first), (first, later)))]
            for later in range(len(splits))
            for first in range(later)
        ]

    found = 0
    for first, later, shared, back in _know(data, columns, Centre(1), f"shared by {splits}", small, limits, find):
        one, other = splits[later], splits[first]
        count = len(data.splits[one])
        if shared == count and back == len(data.splits[other]):
            tested = later == len(splits) - 1
            fix = (
                "name another split, or remove this one and set data.test_fraction=0.2, which draws a test split from "
                "train and trains on the rest"
                if tested
                else "remove this one; tuning then draws validation images from train"
            )
            raise InputError(
                f"{'data.evaluation_split' if tested else 'data.name'}: the splits {other!r} and {one!r} of "
                f"{data.name!r} hold the same images, and a score on images that were trained or tuned on measures no "
                f"generalisation; {fix}"
            )
        if shared:
            log.warning(
                "%d of %d images of split %r of %s are, byte for byte, in %r, too: a score on them measures no "
                "generalisation; remove them from one of the two",
                *(shared, count, one, data.name, other),
            )
        if (first, later) == (0, len(splits) - 1):
            found = shared
    return found


def _hash_images(column: EncodedColumn, count: int) -> NDArray[np.uint64]:
    """64 bits of the SHA-256 of each encoded image, (count,); an image that cannot be read is hashed by its row."""
    hashes = np.empty(count, np.uint64)
    for first in range(0, count, _BULK):
        for row, encoded in enumerate(column[list(range(first, min(first + _BULK, count)))], first):
            digest = hashlib.sha256(_read_bytes(encoded, row)).digest()
            hashes[row] = int.from_bytes(digest[:8], "little")
    return hashes


def _read_bytes(encoded: Encoded | None, row: int) -> bytes:
    content = (encoded or {}).get("bytes")
    if content is None and encoded is not None and encoded.get("path"):
        try:
            return Path(str(encoded["path"])).read_bytes()
        except OSError:  # it is in an archive, or damaged; decoding will say so
            return f"{row} {encoded['path']}".encode()
    return content or f"row {row}".encode()


def _know(
    data: OpenData,
    columns: tuple[str, str],
    rule: SizeRule,
    fact: str,
    small: bool,
    limits: Limits,
    find: Callable[[], Any],
    rows: NDArray[np.int64] | None = None,
) -> Any:
    """Finds a fact, or reads it from the cache where finding it takes long and was done before."""
    if small:
        return find()
    return remember(limits.folder, {**describe_pixels(data, "train", columns, rule, rows), "fact": fact}, find)


def _to_digits(values: Tensor) -> list[float]:
    return [round(float(value), 4) for value in values]
