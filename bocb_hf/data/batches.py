"""Batches of images that the engine trains on and evaluates."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from bocb_hf.data.decode import CHUNK, Chunk, count_workers, decode
from bocb_hf.data.source import LoaderSource, MemorySource, Order, TrainSource
from bocb_hf.data.splits import EncodedImages, Images, TestImages, TrainImages
from bocb_hf.data.stream import StreamSource


def open_source(images: TrainImages, order: Order, workers: int | None = None, pin: bool = False) -> TrainSource:
    """Opens the source of training batches that fits the form in which a split is held.

    Args:
        images: The training split.
        order: Order in which this process takes the training images.
        workers: ``runtime.workers``; None chooses the number by the cores.
        pin: Whether batches are put into page-locked memory, for a GPU.
    """
    if isinstance(images, Images):
        return MemorySource(images, order, pin)
    if isinstance(images, EncodedImages):
        return LoaderSource(images, order, count_workers(workers), pin)
    return StreamSource(images, order, count_workers(workers), pin)


def evaluation_batches(
    images: TestImages, size: int, process: int = 0, processes: int = 1, workers: int | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Reads a split in batches; each of n processes takes every n-th image.

    Args:
        images: The split.
        size: Number of images in a batch.
        process: Index of this process.
        processes: Number of processes.
        workers: ``runtime.workers``, for a split that is decoded while it is read.

    Yields:
        Positions in the split (B,) int64, pixels (B, 3, H, W) uint8 and labels (B,) int64, on the CPU.

    Raises:
        InputError: An image is damaged.
    """
    batches = torch.arange(process, len(images), processes).split(size)
    if isinstance(images, Images):
        for indices in batches:
            yield indices, images.gather(indices), images.labels[indices]
    else:
        chunks = (Chunk(images.rows[part].tolist()) for indices in batches for part in indices.split(CHUNK))
        decoded = decode(images.decoder, chunks, count_workers(workers), 2 * -(-size // CHUNK))
        for indices in batches:
            pixels = torch.cat(list(islice(decoded, -(-len(indices) // CHUNK))))
            yield indices, pixels, images.labels[indices]
