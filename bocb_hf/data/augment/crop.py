"""Random flips, crops of padded images, and resized crops (torchvision's ``RandomCrop``, ``RandomResizedCrop``)."""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from bocb_hf.data.augment.draws import BOXES, PLACE, first_that_fits, pick, propose_boxes
from bocb_hf.data.augment.levels import choose, to_levels

_TABLE = 2**23  # largest number of weights in a table (32 MiB): those of all crops of 32 pixels to 224, also mirrored


def flip_some(images: Tensor, flips: Tensor) -> Tensor:
    """Mirrors the images (B, 3, H, W) of which ``flips`` (B,) is true."""
    return choose(flips[:, None, None, None], images.flip(3), images)


def padded_crop(
    images: Tensor,  # (B, 3, H, W)
    offsets: Tensor,  # (B, 2) int64 in 0..2·padding
    flips: Tensor,  # (B,) bool
    padding: int,
    mode: Literal["zeros", "reflect"],
) -> Tensor:
    """Takes crops of the images' own size out of the padded images, mirrored where ``flips`` is true, in one gather.

    The result equals torchvision's ``RandomCrop(size, padding)`` with the same offsets, then
    ``RandomHorizontalFlip()``.

    Returns:
        The crops, (B, 3, H, W), contiguous.
    """
    batch, channels, height, width = images.shape
    device = images.device
    across = torch.arange(width, device=device).expand(batch, width)
    across = torch.where(flips[:, None], across.flip(1), across) + offsets[:, 1:]
    down = torch.arange(height, device=device) + offsets[:, :1]
    if mode == "reflect":  # the index itself is reflected, which needs no padded copy
        source, row_length = images.contiguous(), width
        down, across = _reflect(down - padding, height), _reflect(across - padding, width)
    else:
        source, row_length = functional.pad(images, (padding,) * 4), width + 2 * padding
    places = (down[:, :, None] * row_length + across[:, None, :]).view(batch, 1, -1).expand(-1, channels, -1)
    return source.view(batch, channels, -1).gather(2, places).view(images.shape)


def _reflect(index: Tensor, length: int) -> Tensor:
    """Reflects indices that lie at most length-1 outside of 0..length-1 into that range."""
    return (length - 1) - ((length - 1) - index.abs()).abs()


def crop_box(
    uniforms: Tensor,  # (B, COLUMNS) in [0, 1)
    height: int | Tensor,  # one number for all images, or (B,) with one for each
    width: int | Tensor,
    scale: tuple[float, float],
    aspect: tuple[float, float],
) -> Tensor:
    """Boxes with the distribution and the rounding of torchvision's ``RandomResizedCrop``.

    Args:
        uniforms: Rows of ``step_uniforms`` on the CPU, one for each image.
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        scale: Smallest and largest share of the area.
        aspect: Smallest and largest width over height.

    Returns:
        The boxes, (B, 4) int64: top, left, height, width.
    """
    draws = uniforms.double()
    heights, widths = (torch.as_tensor(side).expand(len(draws)) for side in (height, width))
    log_aspect = (math.log(aspect[0]), math.log(aspect[1]))
    across, down = propose_boxes(draws[:, BOXES], (heights * widths).double()[:, None], scale, log_aspect)
    fits = (across > 0) & (across <= widths[:, None]) & (down > 0) & (down <= heights[:, None])
    found = fits.any(dim=1)
    box_width, box_height = first_that_fits(fits, across, down)
    # where no box fits, the largest box of an allowed aspect in the middle of the image is taken
    ratio = widths.double() / heights
    middle_width = torch.where(ratio > aspect[1], (heights * aspect[1]).round().long(), widths)
    middle_height = torch.where(ratio < aspect[0], (widths / aspect[0]).round().long(), heights)
    box_width = torch.where(found, box_width, middle_width)
    box_height = torch.where(found, box_height, middle_height)
    free = torch.stack((heights - box_height, widths - box_width), dim=1)  # (B, 2)
    corner = torch.where(found[:, None], pick(draws[:, PLACE], free + 1), free // 2)
    return torch.cat((corner, box_height[:, None], box_width[:, None]), dim=1)


def resized_crop(images: Tensor, boxes: Tensor, flips: Tensor, size: int) -> Tensor:
    """Crops each image to its box, resizes it to a square, and mirrors it where ``flips`` is true.

    This takes two matrix products an image. The interpolation is bicubic, over a wider window when the crop shrinks.
    The result equals ``functional.interpolate(crop, mode="bicubic", antialias=True)`` up to rounding; Pillow's
    ``resize`` rounds once more, between its two passes.

    Args:
        images: The images, (B, 3, H, W) uint8.
        boxes: Box of each image, (B, 4): top, left, height, width.
        flips: Whether each image is mirrored, (B,) bool.
        size: Side of the result in pixels.

    Returns:
        The resized crops, (B, 3, size, size) uint8.
    """
    batch, channels, height, width = images.shape
    down = _look_up_weights(boxes[:, 0], boxes[:, 2], None, height, size)
    across = _look_up_weights(boxes[:, 1], boxes[:, 3], flips, width, size)
    lines = (down[:, None] @ images.float()).view(batch, channels * size, width)
    resized = (lines @ across.transpose(1, 2)).view(batch, channels, size, size)
    return to_levels(resized.round_())


def _look_up_weights(start: Tensor, length: Tensor, flips: Tensor | None, pixels: int, size: int) -> Tensor:
    """``resize_weights``, mirrored where ``flips`` is true; they are read from a table where few crops are possible."""
    crops = pixels * (pixels + 1) // 2
    if 2 * crops * size * pixels > _TABLE:
        weights = resize_weights(start, length, pixels, size)
        return weights if flips is None else torch.where(flips[:, None, None], weights.flip(1), weights)
    # in the table, shorter crops come first, and crops of one length are in the order of their starts
    place = (length - 1) * (pixels + 1) - (length - 1) * length // 2 + start
    if flips is not None:
        place = place + crops * flips
    return _weights_table(pixels, size, start.device).index_select(0, place)


@functools.lru_cache(maxsize=4)
def _weights_table(pixels: int, size: int, device: torch.device) -> Tensor:
    """``resize_weights`` of all crops of a side, then the same mirrored, (pixels · (pixels + 1), size, pixels)."""
    crops = [(start, length) for length in range(1, pixels + 1) for start in range(pixels - length + 1)]
    start, length = torch.tensor(crops, device=device).T
    weights = resize_weights(start, length, pixels, size)
    return torch.cat((weights, weights.flip(1)))


def resize_weights(start: Tensor, length: Tensor, pixels: int, size: int) -> Tensor:
    """Weights of the input pixels in each output pixel, along one side of a resized crop.

    The kernel is Keys' cubic with a = -0.5, stretched by the scale when that is above 1, cut off at the crop's edges
    and scaled to sum 1, as in Pillow and in torch's antialiased resize.

    Args:
        start: First pixel of each crop, (B,).
        length: Number of pixels of each crop, (B,).
        pixels: Number of pixels of the image's side.
        size: Number of pixels of the result's side.

    Returns:
        The weights, (B, size, pixels) float32.
    """
    device = start.device
    scale = (length.float() / size)[:, None, None]
    centres = scale * (torch.arange(size, device=device, dtype=torch.float32) + 0.5)[None, :, None]
    inside = torch.arange(pixels, device=device)[None, None, :] - start[:, None, None]  # place in the crop
    distance = ((inside + 0.5 - centres) / scale.clamp_min(1)).abs_()  # (B, size, pixels)
    near = (1.5 * distance - 2.5) * distance.square() + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    weights = torch.where(distance <= 1, near, far)
    weights.masked_fill_((distance >= 2) | (inside < 0) | (inside >= length[:, None, None]), 0)
    return weights.div_(weights.sum(dim=2, keepdim=True))
