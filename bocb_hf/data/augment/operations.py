"""The pixel operations of RandAugment on batches of uint8 images, with the values that Pillow gives each image.

Operations that map each value of a channel by itself are tables of 256 values, which are looked up in one gather.
Tables, blends and the smoothing of ``Sharpness`` equal Pillow's, except that AutoContrast is exact where rounding makes
Pillow's floats fall just short of a level. The geometric operations resample as Pillow does, by a bicubic kernel with
a = -1, and drop the fractions of values; they compute in float32, so that a value very close to a whole level may be
one level off.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bocb_hf.data.augment.levels import choose, to_levels

LEVELS = 256


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Replaces each value by its entry in a table.

    Args:
        images: The images, (B, 3, H, W) uint8.
        tables: Table of each image and channel, (B, 3 or 1, 256) uint8; a single table of an image is for all channels.
    """
    batch, channels = images.shape[:2]
    tables = tables.expand(-1, channels, -1)
    return tables.gather(2, images.view(batch, channels, -1).long()).view(images.shape)


def stretch_tables(images: Tensor) -> Tensor:
    """Tables of AutoContrast, which maps a channel's smallest value to 0 and its largest to 255; (B, 3, 256) uint8."""
    pixels = images.flatten(2)
    low, high = (side.int() for side in (pixels.amin(2, keepdim=True), pixels.amax(2, keepdim=True)))
    values = torch.arange(LEVELS, device=images.device, dtype=torch.int32)
    stretched = (values - low) * 255 // (high - low).clamp_min(1)
    return torch.where(high > low, stretched, values).clamp_(0, 255).to(torch.uint8)


def equalize_tables(images: Tensor) -> Tensor:
    """Tables of Equalize, which evens out each channel's histogram as Pillow does; (B, 3, 256) uint8."""
    pixels = images.flatten(2).long()
    counts = torch.zeros(*pixels.shape[:2], LEVELS, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, pixels, counts.new_ones(1).expand_as(pixels))
    of_largest = counts.gather(2, pixels.amax(2, keepdim=True))
    step = (pixels.shape[2] - of_largest) // 255
    below = counts.cumsum(2) - counts
    values = torch.arange(LEVELS, device=images.device)
    even = (step // 2 + below) // step.clamp_min(1)
    return torch.where(step > 0, even, values).clamp_(max=255).to(torch.uint8)


def contrast_tables(images: Tensor, factors: Tensor) -> Tensor:
    """Tables of Contrast, which blends an image with its mean grey by ``factors`` (B,); (B, 1, 256) uint8."""
    gray = grayscale(images).flatten(1)
    mean = ((2 * gray.sum(1) + gray.shape[1]) // (2 * gray.shape[1])).float()[:, None]
    values = torch.arange(LEVELS, device=images.device, dtype=torch.float32)
    return blend(mean, values, factors[:, None])[:, None]


def grayscale(images: Tensor) -> Tensor:
    """Luma of ITU-R 601-2 in Pillow's fixed point, (B, 1, H, W) int32."""
    red, green, blue = images.int().split(1, dim=1)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def blend(first: Tensor, second: Tensor, factor: Tensor) -> Tensor:
    """Blends floats linearly into uint8: ``first`` at a factor of 0, ``second`` at 1, and extrapolated above 1."""
    return to_levels(first + factor * (second - first))


def color(images: Tensor, factors: Tensor) -> Tensor:
    """Applies Color, which blends an image with its grey version by ``factors`` (B,)."""
    return blend(grayscale(images).float(), images.float(), factors.view(-1, 1, 1, 1))


def sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Applies Sharpness: blends with the image smoothed 3×3, whose border is not smoothed, by ``factors`` (B,)."""
    pixels = images.float()
    rows = pixels[:, :, :-2] + pixels[:, :, 1:-1] + pixels[:, :, 2:]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = pixels.clone()
    inner = pixels[:, :, 1:-1, 1:-1]
    smooth[:, :, 1:-1, 1:-1] = ((around + 4 * inner) / 13 + 0.5).floor_()
    return blend(smooth, pixels, factors.view(-1, 1, 1, 1))


def move_rows(images: Tensor, shear: Tensor, shift: Tensor, fill: Tensor) -> Tensor:
    """Applies ShearX and TranslateX: row y shows what was ``shear · (y + 0.5) + shift`` pixels to the right.

    Args:
        images: The images, (B, 3, H, W) uint8.
        shear: Shear of each image, (B,), in pixels for each row.
        shift: Shift of each image, (B,), in pixels.
        fill: Colour of what was outside the image, (B or 1, 3, 1, 1) uint8.
    """
    channels, width = images.shape[1], images.shape[3]
    down, across = _centres(images)
    way = shear[:, None] * down + shift[:, None]  # (B, H), since all pixels of a row move by the same distance
    whole = way.floor()
    window = torch.arange(-1, width + 2, device=images.device) + whole.long()[:, :, None]
    window = window.clamp_(0, width - 1)[:, None].expand(-1, channels, -1, -1)
    seen = images.float().gather(3, window)  # (B, 3, H, W + 3)
    place = across + way[:, :, None]
    four = [seen[..., k : k + width] for k in range(4)]
    return _filled(_cubic(four, (way - whole)[:, None, :, None]), (place >= 0) & (place < width), fill)


def rotate(images: Tensor, cosine: Tensor, sine: Tensor, fill: Tensor) -> Tensor:
    """Rotates counter-clockwise about the centre by angles given as cosine and sine (B,); see ``move_rows``."""
    batch, channels, height, width = images.shape
    down, across = _centres(images)
    down, across = (down - height / 2)[:, None], across - width / 2
    cosine, sine = cosine.view(-1, 1, 1), sine.view(-1, 1, 1)
    x = cosine * across - sine * down + width / 2  # (B, H, W)
    y = sine * across + cosine * down + height / 2
    columns, part_x = _taps(x, width)
    rows, part_y = _taps(y, height)
    pixels = images.reshape(batch, channels, -1).float()

    def look(row: Tensor, column: Tensor) -> Tensor:
        place = torch.add(column, row, alpha=width).view(batch, 1, -1).expand(-1, channels, -1)
        return pixels.gather(2, place).view(images.shape)

    # the four rows are read one after another, so that the values in use fit into a processor's cache
    along = [_cubic([look(row, column) for column in columns], part_x[:, None]) for row in rows]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return _filled(_cubic(along, part_y[:, None]), inside, fill)


def _centres(images: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates of the centres of rows (H,) and columns (W,)."""
    down, across = (torch.arange(n, device=images.device, dtype=torch.float32) + 0.5 for n in images.shape[2:])
    return down, across


def _taps(place: Tensor, length: int) -> tuple[list[Tensor], Tensor]:
    """Indices of the four pixels around each place, clamped to the image, and the place's distance from the second."""
    start = place - 0.5
    floor = start.floor()
    first = floor.long()
    return [(first + k).clamp_(0, length - 1) for k in (-1, 0, 1, 2)], start - floor


def _cubic(four: Sequence[Tensor], part: Tensor) -> Tensor:
    """Cubic interpolation between the middle two (part 0 and 1); Horner's form is exact where all four are equal."""
    before, left, right, after = four
    twist, fall = right - after, before - left
    square = torch.add(twist, fall, alpha=2).sub_(twist.add_(fall).mul_(part))
    return (right - before).add_(square.mul_(part)).mul_(part).add_(left)


def _filled(values: Tensor, inside: Tensor, fill: Tensor) -> Tensor:
    return choose(inside[:, None], to_levels(values), fill)
