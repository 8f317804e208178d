"""Sources of the training images of each step: decoded in memory, or decoded by workers while training.

A step takes a global batch; each process takes an equal and contiguous part of its rows and cuts it into micro-batches.
Which image stands in which row follows from ``bocb_hf.data.sampling`` alone, so that every source of a map-style data
set gives the same images for any number of processes, micro-batches and workers, and from any step on.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bocb_hf.data.augment import COLUMNS
from bocb_hf.data.decode import CHUNK, Chunk, RandomCrop, decode
from bocb_hf.data.sampling import epoch_order, step_uniforms
from bocb_hf.data.splits import EncodedImages, Images

MOST_PIECES = 64  # most pieces of a step, since each piece in the queue holds an open file

Item = TypeVar("Item")


@dataclass(frozen=True)
class Batch:
    """One micro-batch of this process, on the CPU.

    Attributes:
        pixels: Pixels, (B, 3, H, W) uint8.
        labels: Labels, (B,) int64.
        rows: Place of each image in the global batch of the step, (B,) int64.
        cropped: Whether the process that decoded the images has taken their random resized crop already.
    """

    pixels: Tensor
    labels: Tensor
    rows: Tensor
    cropped: bool


class TrainSource(Protocol):
    """The training images of one process.

    Attributes:
        count: Number of images in an epoch, over all processes.
        at_hand: Whether the images of any step can be had without waiting.
        exact_resume: Whether ``steps`` gives the same images from any step on as it would have given without a stop.
        waited_seconds: Time that the loop spent in ``next`` on the iterator of ``steps``; during it, nothing new is
            sent to the device.
    """

    count: int
    at_hand: bool
    exact_resume: bool
    waited_seconds: float

    def steps(self, epoch: int, first_step: int) -> Iterator[list[Batch]]:
        """Yields this process's micro-batches, one list a step, from ``first_step`` of ``epoch`` to the epoch's end."""
        ...

    def close(self) -> None:
        """Ends the processes that decode, if there are any."""
        ...


@dataclass(frozen=True)
class Order:
    """The order in which this process sees the training images.

    Attributes:
        count: Number of training images.
        batch_size: Number of images in a step, over all processes; a multiple of ``processes`` × ``accumulation``.
        seed: Seed of the run.
        repeats: Number of copies of an image in an epoch (repeated augmentation).
        process: Index of this process.
        processes: Number of processes.
        accumulation: Number of micro-batches in a step.
    """

    count: int
    batch_size: int
    seed: int
    repeats: int = 1
    process: int = 0
    processes: int = 1
    accumulation: int = 1

    @property
    def steps(self) -> int:
        """Number of steps in an epoch; the last incomplete batch is left out."""
        return self.count // self.batch_size

    @property
    def rows(self) -> Tensor:
        """The rows of every global batch that this process takes, (batch_size / processes,) int64."""
        mine = self.batch_size // self.processes
        return torch.arange(self.process * mine, (self.process + 1) * mine)

    @property
    def micro_batch(self) -> int:
        """Number of images in a micro-batch."""
        return self.batch_size // (self.processes * self.accumulation)

    def indices(self, epoch: int) -> Tensor:
        """Training images of this process in one epoch, (steps, batch_size / processes) int64."""
        order = epoch_order(self.count, self.seed, epoch, self.repeats, self.batch_size)
        return order[: self.steps * self.batch_size].view(self.steps, self.batch_size)[:, self.rows]

    @property
    def pieces(self) -> list[slice]:
        """Parts of ``rows`` that a worker decodes at a time: each holds few images, and there are not many of them."""
        mine = len(self.rows)
        size = max(CHUNK, -(-mine // MOST_PIECES))
        return [slice(first, min(first + size, mine)) for first in range(0, mine, size)]

    def uniforms(self, epoch: int, step: int) -> NDArray[np.float32]:
        """Random numbers that decide the augmentation of this process's images, (batch_size / processes, COLUMNS)."""
        table = step_uniforms(self.batch_size, COLUMNS, self.seed, epoch * self.steps + step)
        return table[self.rows].numpy()

    def cut(self, pixels: Tensor, labels: Tensor, cropped: bool) -> list[Batch]:
        """Cuts the images of a step into its micro-batches."""
        size = self.micro_batch
        parts = zip(pixels.split(size), labels.split(size), self.rows.split(size), strict=True)
        return [Batch(*micro, cropped=cropped) for micro in parts]


class MemorySource:
    """Images from a decoded tensor.

    Args:
        images: The training split.
        order: Order in which this process takes the training images.
        pin: Whether a thread gathers the next steps into page-locked memory, for a GPU.
    """

    at_hand = exact_resume = True

    def __init__(self, images: Images, order: Order, pin: bool = False) -> None:
        self.count, self._images, self._order, self._pin = len(images), images, order, pin
        self.waited_seconds = 0.0

    def steps(self, epoch: int, first_step: int) -> Iterator[list[Batch]]:
        """Does what ``TrainSource`` says."""
        gathered = self._gather(epoch, first_step)
        return time_waits(self, read_ahead(gathered) if self._pin else gathered)

    def close(self) -> None:
        """Does nothing: no process decodes for a source in memory."""

    def _gather(self, epoch: int, first_step: int) -> Iterator[list[Batch]]:
        for indices in self._order.indices(epoch)[first_step:]:
            pixels = self._images.gather(indices)
            yield self._order.cut(pixels.pin_memory() if self._pin else pixels, self._images.labels[indices], False)


class LoaderSource:
    """Images that are decoded by workers while the network trains, in the order of a ``MemorySource``.

    The queue holds about two steps. It goes on into the next epoch while the network is evaluated after an epoch.

    Args:
        images: The training split.
        order: Order in which this process takes the training images.
        workers: Number of decoding processes; 0 decodes in this one.
        pin: Whether a thread puts the next steps together in page-locked memory, for a GPU.
    """

    at_hand, exact_resume = False, True

    def __init__(self, images: EncodedImages, order: Order, workers: int, pin: bool = False) -> None:
        self.count, self._images, self._order = len(images), images, order
        self._workers, self._pin = workers, pin
        self._cropped = isinstance(images.decoder.rule, RandomCrop)
        self._parked: tuple[int, Iterator[Tensor]] | None = None  # the next epoch, and the iterator that decodes it
        self.waited_seconds = 0.0

    def steps(self, epoch: int, first_step: int) -> Iterator[list[Batch]]:
        """Does what ``TrainSource`` says; the iterator of an earlier call can still be used beside the new one."""
        return time_waits(self, self._steps(epoch, first_step))

    def close(self) -> None:
        """Ends the workers that wait for the next epoch; another call of ``steps`` starts new ones."""
        self._parked = None

    def _steps(self, epoch: int, first_step: int) -> Iterator[list[Batch]]:
        parked, self._parked = self._parked, None
        if parked is not None and parked[0] == epoch and first_step == 0:
            decoded = parked[1]
        else:
            decoded = self._decode(epoch, first_step)
        for indices in self._order.indices(epoch)[first_step:]:
            yield self._order.cut(next(decoded), self._images.labels[indices], self._cropped)
        self._parked = epoch + 1, decoded

    def _decode(self, epoch: int, first_step: int) -> Iterator[Tensor]:
        """Decodes the pixels of one step after another, without end."""
        pieces = self._order.pieces
        chunks = _cut_epochs(self._images, self._order, epoch, first_step)
        steps = join_pieces(
            decode(self._images.decoder, chunks, self._workers, 2 * len(pieces)), len(pieces), self._pin
        )
        return read_ahead(steps) if self._pin else steps


def _cut_epochs(images: EncodedImages, order: Order, epoch: int, first_step: int) -> Iterator[Chunk]:
    """Yields the chunks that workers decode, from a step on and without end."""
    cropped = isinstance(images.decoder.rule, RandomCrop)
    while True:
        rows = images.rows[order.indices(epoch)]  # (steps, images of this process)
        for step in range(first_step, order.steps):
            uniforms = order.uniforms(epoch, step) if cropped else None
            for piece in order.pieces:
                yield Chunk(rows[step, piece].tolist(), None if uniforms is None else uniforms[piece])
        epoch, first_step = epoch + 1, 0


def join_pieces(pieces: Iterator[Tensor], count: int, pin: bool) -> Iterator[Tensor]:
    """Joins every ``count`` decoded pieces into the pixels of one step."""
    while step := list(islice(pieces, count)):
        pixels = torch.cat(step)
        yield pixels.pin_memory() if pin else pixels


def time_waits(source: TrainSource, steps: Iterator[list[Batch]]) -> Iterator[list[Batch]]:
    """Passes the steps on, and adds the time that was waited for each to ``source.waited_seconds``."""
    while True:
        started = time.perf_counter()
        batches = next(steps, None)
        source.waited_seconds += time.perf_counter() - started
        if batches is None:
            return
        yield batches


def read_ahead(items: Iterator[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Passes the items on in their order while a thread makes up to ``depth`` of the next ones.

    An exception in the thread is raised at its place in the order of the items.
    """
    ready: queue.Queue[tuple[Item | None, BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(entry: tuple[Item | None, BaseException | None]) -> bool:
        while not stopped.is_set():
            try:
                ready.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def fill() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((None, StopIteration()))
        except BaseException as error:  # every exception is handed to the reader, which raises it
            put((None, error))

    thread = threading.Thread(target=fill, daemon=True, name="bocb-read-ahead")
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc] - an image, since no error came
    finally:
        stopped.set()
        thread.join()
