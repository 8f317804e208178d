"""The columns of ``sampling.step_uniforms``, each of which decides one thing about an image.

One row of uniform numbers is all the randomness of one image, so that the image is augmented in the same way in any
process and any micro-batch. A row has all columns whether they are used or not, so that switching one kind of
augmentation on or off leaves the choices of all other kinds as they were.
"""

from __future__ import annotations

import torch
from torch import Tensor

TRIES = 10  # number of boxes that torchvision's random resized crop and timm's random erasing try before they give up

PLACE = slice(0, 2)  # top and left of a crop
FLIP = 2
BOXES = slice(3, 3 + 2 * TRIES)  # area and aspect of each box that a random resized crop tries
OPERATIONS = slice(BOXES.stop, BOXES.stop + 8)  # two layers of RandAugment: operation, whether it acts, level, sign
ERASES = OPERATIONS.stop
ERASED_BOXES = slice(ERASES + 1, ERASES + 1 + 2 * TRIES)
ERASED_PLACE = slice(ERASED_BOXES.stop, ERASED_BOXES.stop + 2)
NOISE = ERASED_PLACE.stop  # where an image's noise begins in the noise of the step
COLUMNS = NOISE + 1


def pick(uniforms: Tensor, count: Tensor | int) -> Tensor:
    """Maps float64 numbers in [0, 1) to whole numbers from 0 to ``count - 1``, in equal shares."""
    return (uniforms * count).long()


def propose_boxes(
    uniforms: Tensor,  # (B, 2·TRIES) in [0, 1), float64
    area: Tensor,  # (B, 1), float64
    scale: tuple[float, float],
    log_aspect: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """Sides of the boxes that are tried for each image: area uniform in ``scale``, aspect uniform in its logarithm.

    Returns:
        Roots of area · aspect and of area / aspect, rounded to whole pixels, each (B, TRIES) int64.
    """
    areas = area * (scale[0] + (scale[1] - scale[0]) * uniforms[:, 0::2])
    aspects = torch.exp(log_aspect[0] + (log_aspect[1] - log_aspect[0]) * uniforms[:, 1::2])
    return (areas * aspects).sqrt().round().long(), (areas / aspects).sqrt().round().long()


def first_that_fits(fits: Tensor, *sides: Tensor) -> tuple[Tensor, ...]:
    """Picks from each of ``sides`` (B, TRIES) the value at the first try that ``fits``, or at the first if none fits.

    Returns:
        As many tensors as ``sides``, each (B,).
    """
    first = fits.byte().argmax(dim=1, keepdim=True)
    return tuple(side.gather(1, first)[:, 0] for side in sides)
