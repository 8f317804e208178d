"""What tests that write the training loop down once more share."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from bocb_hf.data.augment.draws import COLUMNS, FLIP, PLACE
from bocb_hf.data.sampling import step_uniforms
from bocb_hf.data.splits import Images
from bocb_hf.runs.config import AugmentationConfig


def decoded(images: object) -> Images:
    """A split that a small data set has in memory."""
    assert isinstance(images, Images)
    return images


def augment_plainly(pixels: Tensor, seed: int, step: int, config: AugmentationConfig) -> Tensor:
    """Crop and flip of a whole batch, one image after the other, with torchvision; uint8 in, uint8 out.

    Args:
        pixels: (B, 3, S, S), the global batch of the step.
        seed: Of the run.
        step: Steps before this one.
        config: Of padding, zeros, and flip only.
    """
    draws = step_uniforms(len(pixels), COLUMNS, seed, step).double()
    images: list[Tensor] = []
    for image, draw in zip(pixels, draws, strict=True):
        size, padding = image.shape[-1], config.crop_padding
        if padding:
            top, left = (int(u * (2 * padding + 1)) for u in draw[PLACE])
            image = vision.crop(vision.pad(image, [padding] * 4), top, left, size, size)
        images.append(vision.horizontal_flip(image) if config.horizontal_flip and draw[FLIP] < 0.5 else image)
    return torch.stack(images)
