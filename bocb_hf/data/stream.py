"""Streams: training images that neither memory nor disk holds, read in the order of their shards.

Each process of n reads its own shards or, where n does not divide the number of shards, every n-th image. Seed and
epoch decide the order: the shards are shuffled, and then the images in a buffer. The order depends on the number of
processes, but not on the number of workers, which only decode. An epoch has as many steps as for a map-style data set;
a process whose shards are used up earlier begins them again. A stopped epoch is replayed: its remaining steps take the
images from its start. The library ``datasets`` shuffles, so the order also depends on its version; version 5.2 also
waits for 5 s at the end of a pass, for Arrow's threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from bocb_hf.data.cache import Parameters, ToDecode
from bocb_hf.data.decode import Chunk, Decoder, RandomCrop, SizeRule, decode
from bocb_hf.data.labels import check_labels, convert_labels
from bocb_hf.data.load import OpenData
from bocb_hf.data.sampling import derive_seed
from bocb_hf.data.source import Batch, Order, join_pieces, read_ahead, time_waits
from bocb_hf.data.splits import StreamedImages
from bocb_hf.errors import InputError

SHUFFLE_BUFFER = 5_000  # number of encoded images; those of ImageNet take about 0.6 GB a process
_READ_AHEAD = 64  # number of chunks that a thread reads before they are decoded
_BULK = 256  # number of images in a chunk where a whole split is wanted


class StreamSource:
    """Images of a stream, decoded by workers.

    Args:
        images: The training split.
        order: Order of the images; for a stream, only its seed, its sizes and its processes matter.
        workers: Decoding processes; 0 decodes in this one.
        pin: Put the next steps together in a thread, in page-locked memory, for a GPU.
    """

    at_hand = exact_resume = False

    def __init__(self, images: StreamedImages, order: Order, workers: int, pin: bool = False) -> None:
        self.count, self._images, self._order = len(images), images, order
        self._workers, self._pin = workers, pin
        self._cropped = isinstance(images.decoder.rule, RandomCrop)
        self.waited_seconds = 0.0

    def steps(self, epoch: int, first_step: int) -> Iterator[list[Batch]]:
        """Does what ``TrainSource`` says, but every ``first_step`` gets the images from the start of the epoch."""
        return time_waits(self, self._steps(epoch, first_step))

    def close(self) -> None:
        """Does nothing: the workers end with the epoch that they work for."""

    def _steps(self, epoch: int, first_step: int) -> Iterator[list[Batch]]:
        order = self._order
        labels: deque[Tensor] = deque()  # labels of the steps that were read
        chunks = read_ahead(self._chunks(epoch, first_step, labels), _READ_AHEAD)
        decoded = decode(self._images.decoder, chunks, self._workers, 2 * len(order.pieces))
        steps = join_pieces(decoded, len(order.pieces), self._pin)
        for pixels in read_ahead(steps) if self._pin else steps:
            yield order.cut(pixels, labels.popleft(), self._cropped)

    def _chunks(self, epoch: int, first_step: int, labels: deque[Tensor]) -> Iterator[Chunk]:
        order, examples = self._order, self._examples(epoch)
        for step in range(first_step, order.steps):
            taken = list(islice(examples, len(order.rows)))
            theirs = convert_labels([example["label"] for example in taken], "train")
            check_labels(theirs, self._images.classes, "train")
            labels.append(torch.from_numpy(theirs))
            uniforms = order.uniforms(epoch, step) if self._cropped else None
            for piece in order.pieces:
                encoded = [example["image"] for example in taken[piece]]
                yield Chunk(encoded, None if uniforms is None else uniforms[piece])

    def _examples(self, epoch: int) -> Iterator[dict[str, Any]]:
        """Yields the examples that this process reads in an epoch, and begins again when they are used up."""
        from datasets.distributed import split_dataset_by_node

        order = self._order
        shuffled = self._images.stream.shuffle(seed=derive_seed("order", order.seed), buffer_size=SHUFFLE_BUFFER)
        mine = split_dataset_by_node(shuffled, order.process, order.processes)
        mine.set_epoch(epoch)
        while True:
            read = 0
            for example in mine:
                yield example
                read += 1
            if read == 0:
                raise InputError(f"data.streaming: process {order.process} of {order.processes} finds no image to read")


def stream_split(data: OpenData, split: str, columns: tuple[str, str], rule: SizeRule, classes: int) -> StreamedImages:
    """Opens a split as a stream.

    Raises:
        InputError: The number of images in the split is not known.
    """
    stream = _encoded(data, split, columns)
    return StreamedImages(stream, Decoder(_where(data, split), rule), count_images(data, split), classes)


def stream_to_decode(
    data: OpenData,
    split: str,
    columns: tuple[str, str],
    rule: SizeRule,
    classes: int,
    parameters: Parameters,
    workers: int,
) -> ToDecode:
    """Describes how a split is decoded that is read once as a stream, in its order.

    Raises:
        InputError: The number of images in the split is not known. While the split is decoded: that number is another
            one, an image is damaged, or a label is out of range.
    """
    count = count_images(data, split)

    def pieces() -> Iterator[tuple[Tensor, Tensor]]:
        labels: deque[Tensor] = deque()

        def chunks() -> Iterator[Chunk]:
            examples = iter(_encoded(data, split, columns))
            while some := list(islice(examples, _BULK)):
                labels.append(torch.from_numpy(convert_labels([example["label"] for example in some], split)))
                yield Chunk([example["image"] for example in some])

        done = 0
        for pixels in decode(Decoder(_where(data, split), rule), read_ahead(chunks(), _READ_AHEAD), workers):
            theirs = labels.popleft()
            check_labels(theirs.numpy(), classes, split)
            done += len(theirs)
            if done <= count:
                yield pixels, theirs
        if done != count:
            raise InputError(f"data.name: {_where(data, split)} has {done} images where {count} were announced")

    return ToDecode(count, rule.shape, parameters, pieces)


def count_images(data: OpenData, split: str) -> int:
    """Number of images in a split of a stream, as the row of the data set or the data set itself says.

    Raises:
        InputError: Neither says the number.
    """
    row, info = data.row, data.splits[split].info
    if row is not None and split in row.sizes:
        return row.sizes[split]
    if info.splits and split in info.splits and info.splits[split].num_examples:
        return info.splits[split].num_examples
    raise InputError(
        f"data.streaming: {data.name!r} does not say how many images {split!r} has; add a row for it to "
        "bocb_hf.data.DATASETS with `sizes`, or load it without streaming"
    )


def _encoded(data: OpenData, split: str, columns: tuple[str, str]) -> Any:
    """The ``datasets.IterableDataset`` of ``image`` (bytes and path) and ``label``."""
    import datasets

    stream = data.splits[split].select_columns(list(columns)).cast_column(columns[0], datasets.Image(decode=False))
    for name, plain in zip(columns, ("image", "label"), strict=True):
        if name != plain:
            stream = stream.rename_column(name, plain)
    return stream


def _where(data: OpenData, split: str) -> str:
    return f"split {split!r} of {data.name!r}"
