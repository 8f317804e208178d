"""Turns the images of the source into the inputs of the network, step by step."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor

from bocb_hf.data.augment import Augmenter, Part
from bocb_hf.data.source import Batch, TrainSource
from bocb_hf.tasks.task import MakeInputs

log = logging.getLogger(__name__)

# Steps are augmented together up to so many values of their inputs: those of 512 images of 32 pixels. An augmentation
# is some hundred operations, and starting them takes longer than their work on one step of small images.
TOGETHER = 512 * 3 * 32**2
MOST_STEPS = 8


def count_together(images: int, size: int) -> int:
    """How many steps of ``images`` images with a side of ``size`` pixels are augmented together."""
    return max(1, min(TOGETHER // (images * 3 * size**2), MOST_STEPS))


class Feed:
    """Gives the micro-batches of a run in their order, and the inputs that the augmentation makes of them.

    Args:
        source: Training images of this process.
        augmenter: Augments the images. The result depends only on the image, its row and its step, so that several
            steps may be augmented together; another task than classification gives a plain function.
        steps_per_epoch: Number of steps in an epoch. No step is read before the previous epoch has ended.
        images: Number of images of a step in this process.
        memory_format: Memory format of the inputs.
    """

    def __init__(
        self,
        source: TrainSource,
        augmenter: Augmenter | MakeInputs,
        steps_per_epoch: int,
        images: int,
        memory_format: torch.memory_format,
    ) -> None:
        self._source, self._augmenter, self._format = source, augmenter, memory_format
        self._steps_per_epoch = steps_per_epoch
        # asking for several steps that are still to be decoded would make the device wait
        several = source.at_hand and isinstance(augmenter, Augmenter)
        self._together = count_together(images, augmenter.size) if several else 1
        self._read: dict[int, tuple[Batch, int]] = {}  # micro-batches of the steps that were read, by id
        self._made: dict[int, tuple[Tensor, Tensor]] = {}  # inputs of these micro-batches, once one was asked for

    def steps(self, first: int) -> Iterator[list[Batch]]:
        """The micro-batches of each step, from a step on to the end of the run and beyond."""
        coming, step = self._endless(first), first
        while True:
            left = self._steps_per_epoch - step % self._steps_per_epoch
            group = list(islice(coming, min(self._together, left)))
            self._read = {id(batch): (batch, step + i) for i, batches in enumerate(group) for batch in batches}
            self._made = {}
            yield from group
            step += len(group)

    def inputs(self, batch: Batch, step: int) -> tuple[Tensor, Any]:
        """Augmented and normalised images (B, 3, S, S) of a micro-batch, and their targets."""
        if self._together == 1 or id(batch) not in self._read or not isinstance(self._augmenter, Augmenter):
            made = self._augmenter(batch.pixels, batch.labels, batch.rows, step, batch.cropped)
        else:
            if not self._made:
                parts = [Part(b.pixels, b.labels, b.rows, at) for b, at in self._read.values()]
                self._made = dict(zip(self._read, self._augmenter.augment(parts, batch.cropped), strict=True))
            made = self._made[id(batch)]
        return made[0].contiguous(memory_format=self._format), made[1]

    def _endless(self, first: int) -> Iterator[list[Batch]]:
        epoch, within = divmod(first, self._steps_per_epoch)
        yield from self._source.steps(epoch, within)
        for later in count(epoch + 1):
            yield from self._source.steps(later, 0)
