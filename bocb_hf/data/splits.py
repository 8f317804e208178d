"""The forms in which a run holds the images of a split: decoded, decoded while they are read, or a stream."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bocb_hf.data.decode import Decoder


@dataclass(frozen=True)
class Images:
    """Decoded images.

    Attributes:
        stored: Pixels, (M, 3, H, W) uint8; they are a memory-mapped file unless they are few.
        labels: Labels of the images, (N,) int64.
        places: Index in ``stored`` of each image, (N,) int64; None when all are in use, in their order.
    """

    stored: Tensor
    labels: Tensor
    places: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pixels(self) -> Tensor:
        """Pixels of all images, (N, 3, H, W) uint8; they are a copy when only a part of ``stored`` is in use."""
        return self.stored if self.places is None else self.stored[self.places]

    def gather(self, indices: Tensor) -> Tensor:
        """Pixels of the images at these positions, (len(indices), 3, H, W) uint8."""
        return self.stored.index_select(0, indices if self.places is None else self.places[indices])

    def take(self, indices: NDArray[np.int64]) -> Images:
        """The images at these positions, without a copy of their pixels."""
        chosen = torch.from_numpy(indices)
        places = chosen if self.places is None else self.places[chosen]
        return replace(self, labels=self.labels[chosen], places=places)


@dataclass(frozen=True)
class Features(Images):
    """What a frozen network makes of images, in place of the images: ``stored`` is (M, ...) float32."""


@dataclass(frozen=True)
class EncodedImages:
    """Images that are decoded while they are read.

    Attributes:
        decoder: Decoder of the split.
        rows: Row of the decoder's table for each image, (N,) int64.
        labels: Labels of the images, (N,) int64.
    """

    decoder: Decoder
    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> EncodedImages:
        """The images at these positions."""
        chosen = torch.from_numpy(indices)
        return EncodedImages(self.decoder, self.rows[chosen], self.labels[chosen])


@dataclass(frozen=True)
class StreamedImages:
    """Training images of a stream, which come one after another in the order of their shards.

    Attributes:
        stream: ``datasets.IterableDataset`` of the columns ``image`` (encoded) and ``label``.
        decoder: Decodes the images of the stream.
        count: Number of images in the stream.
        classes: Number of classes.
    """

    stream: Any
    decoder: Decoder
    count: int
    classes: int

    def __len__(self) -> int:
        return self.count


TrainImages = Images | EncodedImages | StreamedImages
TestImages = Images | EncodedImages
