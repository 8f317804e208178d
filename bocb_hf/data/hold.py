"""Decides whether a split is decoded at once, into memory or into the cache, or while it is read."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bocb_hf.data.cache import SMALL, Parameters, ToDecode, decode_to_memory, load_decoded
from bocb_hf.data.decode import Decoder, RandomCrop, SizeRule, count_workers, decode_all, describe_rule
from bocb_hf.data.labels import read_labels
from bocb_hf.data.load import OpenData
from bocb_hf.data.splits import EncodedImages, Images, TestImages
from bocb_hf.resources import cache_folder
from bocb_hf.runs.runtime_config import RuntimeConfig

log = logging.getLogger(__name__)


class Limits(NamedTuple):
    """Limits that memory, disk and cores of this machine set.

    Attributes:
        budget: Largest size of a decoded split, in bytes.
        folder: Folder of the cache.
        workers: Number of processes that decode.
    """

    budget: int
    folder: Path
    workers: int


def find_limits(runtime: RuntimeConfig) -> Limits:
    """Finds the limits for a run on this machine."""
    return Limits(int(runtime.memory_budget_gb * 1e9), cache_folder(runtime.cache_dir), count_workers(runtime.workers))


@functools.lru_cache(maxsize=8)
def hold_split(
    data: OpenData, split: str, columns: tuple[str, str], rule: SizeRule, rows: bytes | None, limits: Limits
) -> TestImages:
    """Holds a split, decoded if it fits. The result is cached, so that a warm worker decodes once.

    Args:
        data: The data set, which is not a stream.
        split: Name of the split.
        columns: Columns of the images and of the labels.
        rule: How an image becomes pixels of one size.
        rows: Row numbers (int64) of the images to hold; None takes all.
        limits: Limits of this machine.

    Raises:
        InputError: An image is damaged, or the cache cannot be written.
    """
    labels = read_labels(data, split, columns[1])
    chosen = np.arange(len(labels)) if rows is None else np.frombuffer(rows, np.int64)
    decoder = Decoder(f"split {split!r} of {data.name!r}", rule, data.splits[split], columns[0])
    theirs = torch.from_numpy(labels[chosen])

    def pieces() -> Iterator[tuple[Tensor, Tensor]]:
        first = 0
        for pixels in decode_all(decoder, chosen, limits.workers):
            yield pixels, theirs[first : first + len(pixels)]
            first += len(pixels)

    parameters = describe_pixels(data, split, columns, rule, None if rows is None else chosen)
    wanted = ToDecode(len(chosen), rule.shape, parameters, pieces)
    if isinstance(rule, RandomCrop) or wanted.size > limits.budget:
        why = "cropped at random" if isinstance(rule, RandomCrop) else f"{wanted.size / 1e9:.1f} GB decoded"
        log.info("%s: %d images, %s: read by %d worker(s)", split, len(chosen), why, limits.workers)
        return EncodedImages(decoder, torch.from_numpy(chosen.copy()), theirs)
    return keep_decoded(wanted, limits.folder)


def keep_decoded(wanted: ToDecode, folder: Path) -> Images:
    """Decodes a split into memory if it is small, else memory-maps it from the cache.

    Raises:
        InputError: An image is damaged, or the cache cannot be written.
    """
    split, size = wanted.parameters["split"], "×".join(str(side) for side in wanted.shape)
    if wanted.size < SMALL:
        log.info("%s: %d images of %s in memory", split, wanted.images, size)
        return decode_to_memory(wanted)
    images = load_decoded(wanted, folder)
    log.info("%s: %d images of %s in %s", split, wanted.images, size, wanted.path(folder))
    return images


def describe_pixels(
    data: OpenData, split: str, columns: tuple[str, str], rule: SizeRule, rows: NDArray[np.int64] | None = None
) -> Parameters:
    """The parameters by whose hash the cache names the file of a decoded split."""
    parameters = {
        "name": data.public_name,
        "revision": data.revision,
        "split": split,
        "image_column": columns[0],
        "label_column": columns[1],
        "rule": describe_rule(rule),
    }
    return parameters if rows is None else {**parameters, "rows": hash_rows(rows)}


def hash_rows(rows: NDArray[np.int64]) -> str:
    """SHA-256 of row numbers as little-endian int64."""
    return hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()
