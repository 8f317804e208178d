"""Batched augmentation of uint8 images on the training device; randomness is passed in, never drawn here."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bocb_hf.config import AugmentationConfig

COLUMNS = 3  # vertical offset, horizontal offset, flip


def augment(
    images: Tensor,  # (B, 3, H, W) uint8
    uniforms: Tensor,  # (B, COLUMNS) in [0, 1)
    config: AugmentationConfig,
) -> Tensor:
    """Random crop after zero padding, then horizontal flip, each drawn for every image.

    Equals torchvision's ``RandomCrop(size, padding)`` and ``RandomHorizontalFlip()`` applied to one image at a time.

    Returns:
        (B, 3, H, W) uint8.
    """
    padding = config.crop_padding
    if not padding and not config.horizontal_flip:
        return images
    batch, _, height, width = images.shape
    padded = functional.pad(images, (padding,) * 4)
    rows = torch.arange(height, device=images.device).expand(batch, height)
    columns = torch.arange(width, device=images.device).expand(batch, width)
    if config.horizontal_flip:
        columns = torch.where(uniforms[:, 2:3] < 0.5, columns.flip(1), columns)
    if padding:
        offsets = (uniforms[:, :2] * (2 * padding + 1)).long()  # (B, 2) in 0..2·padding
        rows, columns = rows + offsets[:, 0:1], columns + offsets[:, 1:2]
    picked = torch.arange(batch, device=images.device)[:, None, None]
    # one gather for crop and flip together; advanced indices around the slice put the channel last
    return padded[picked, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)  # (B, 3, H, W)


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 images (B, 3, H, W) to floats with the arithmetic of timm's evaluation transform.

    Args:
        images: uint8.
        mean: (3, 1, 1) in 0..1.
        std: (3, 1, 1) in 0..1.
    """
    return images.float().div_(255).sub_(mean).div_(std).contiguous()
