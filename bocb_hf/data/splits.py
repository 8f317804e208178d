"""The images of one split, as a run holds them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Decoded images.

    Attributes:
        stored: Pixels, (M, 3, H, W) uint8; a memory-mapped file unless they are few.
        labels: Of the images, (N,) int64.
        places: Where in ``stored`` each image is, (N,) int64; None when all are in use, in their order.
    """

    stored: Tensor
    labels: Tensor
    places: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pixels(self) -> Tensor:
        """All images, (N, 3, H, W) uint8; a copy when only a part of what is stored is in use."""
        return self.stored if self.places is None else self.stored[self.places]

    def gather(self, indices: Tensor) -> Tensor:
        """Pixels of the images at these positions, (len(indices), 3, H, W) uint8."""
        return self.stored.index_select(0, indices if self.places is None else self.places[indices])

    def take(self, indices: NDArray[np.int64]) -> Images:
        """The images at these positions, without a copy of their pixels."""
        chosen = torch.from_numpy(indices)
        return Images(self.stored, self.labels[chosen], chosen if self.places is None else self.places[chosen])
