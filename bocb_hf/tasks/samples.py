"""A source of training batches for tasks whose samples are made one by one, in the order and with the draws of a run.

A sample depends only on its place in the data and on the random numbers of its place in the step, so that any number of
processes, micro-batches and workers gives the same batches, and a run can be taken up at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bocb_hf.data.decode import count_workers
from bocb_hf.data.source import Batch, Order, read_ahead, time_waits

HELD = 2.0e9  # bytes of decoded images that are held at most, within runtime.memory_budget_gb

# Joins the samples of a micro-batch into pixels (B, 3, H, W) uint8 and labels of any kind.
Collate = Callable[[Sequence[Any]], tuple[Tensor, Any]]


class Samples(Protocol):
    """The samples of a split."""

    def __len__(self) -> int: ...

    def make(self, index: int, draws: NDArray[np.float32] | None) -> Any:
        """One sample; ``draws`` are its random numbers (``bocb_hf.data.augment.draws``), or None in evaluation."""
        ...


class _Steps(Dataset[Any]):
    """The samples of a step as one item, so that a worker makes whole steps."""

    def __init__(self, samples: Samples, order: Order, epoch: int, collate: Collate) -> None:
        self._samples, self._order, self._epoch, self._collate = samples, order, epoch, collate
        self._indices = order.indices(epoch)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, step: int) -> list[Batch]:
        order = self._order
        draws = order.uniforms(self._epoch, step)
        made = [self._samples.make(i, draws[k]) for k, i in enumerate(self._indices[step].tolist())]
        batches: list[Batch] = []
        for first, rows in zip(
            range(0, len(made), order.micro_batch), order.rows.split(order.micro_batch), strict=True
        ):
            pixels, labels = self._collate(made[first : first + order.micro_batch])
            batches.append(Batch(pixels, labels, rows, True))
        return batches


class SampleSource:
    """Makes the samples of each step, in this process or by workers.

    Args:
        samples: The training samples.
        order: Order in which this process takes them.
        collate: Joins samples into a micro-batch.
        workers: Processes that make steps ahead; 0 makes them in this one.
        pin: Whether pixels are put into page-locked memory, for a GPU.
    """

    at_hand, exact_resume = False, True

    def __init__(self, samples: Samples, order: Order, collate: Collate, workers: int, pin: bool = False) -> None:
        self.count, self._samples, self._order = len(samples), samples, order
        self._collate, self._workers, self._pin = collate, workers, pin
        self.waited_seconds = 0.0

    def steps(self, epoch: int, first_step: int) -> Iterator[list[Batch]]:
        """Does what ``TrainSource`` says."""
        return time_waits(self, self._steps(epoch, first_step))

    def close(self) -> None:
        """Does nothing: workers end with the epoch that they were started for."""

    def _steps(self, epoch: int, first_step: int) -> Iterator[list[Batch]]:
        dataset = _Steps(self._samples, self._order, epoch, self._collate)
        if self._workers == 0:
            made = (dataset[step] for step in range(first_step, len(dataset)))
            return read_ahead(made) if self._pin else made
        loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=None,
            sampler=range(first_step, len(dataset)),
            num_workers=self._workers,
            pin_memory=False,
            prefetch_factor=2,
        )
        return iter(loader)


def evaluation_chunks(
    samples: Samples, size: int, process: int, processes: int, collate: Collate
) -> Iterator[tuple[list[int], Tensor, Any]]:
    """Yields positions, pixels and labels of a split in batches; each of n processes takes every n-th sample."""
    places = iter(range(process, len(samples), processes))
    while part := list(islice(places, size)):
        yield part, *collate([samples.make(i, None) for i in part])


def choose_workers(held: bool, workers: int | None) -> int:
    """How many processes make samples: none where the decoded images are held, unless a number was asked for."""
    if workers is not None:
        return count_workers(workers)
    return 0 if held else count_workers(None)


def may_hold(total_bytes: float, budget_gb: float) -> bool:
    """Whether so many bytes of decoded images are held in memory."""
    return total_bytes <= min(HELD, budget_gb * 1e9)


def pad_stack(images: Sequence[NDArray[np.uint8]], divisor: int) -> Tensor:
    """Images (h, w, 3) of several sizes as one tensor (B, 3, H, W) uint8, with zeros below and to the right.

    Args:
        images: The images.
        divisor: H and W are the largest sides, rounded up to a multiple of it.
    """
    height, width = (-(-max(image.shape[k] for image in images) // divisor) * divisor for k in (0, 1))
    stacked = np.zeros((len(images), 3, height, width), np.uint8)
    for place, image in enumerate(images):
        stacked[place, :, : image.shape[0], : image.shape[1]] = image.transpose(2, 0, 1)
    return torch.from_numpy(stacked)
