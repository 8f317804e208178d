"""The pixel operations of RandAugment on batches of uint8 images, with the values that Pillow gives one image.

What a table of 256 values an image and channel can say is said by one, and looked up in one gather. Tables, blends and
the smoothing of ``Sharpness`` equal Pillow's, but that AutoContrast is exact where Pillow's floats fall a hair short of
a level. The bicubic resampling of the geometric operations is Pillow's, a cubic with a = -1 and values cut to whole
levels, in float32, so that a value a hair beside a whole level may be one level off.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bocb_hf.data.augment.levels import choose, to_levels

LEVELS = 256


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Replaces each value by that of its table.

    Args:
        images: (B, 3, H, W) uint8.
        tables: (B, 3 or 1, 256) uint8.
    """
    batch, channels = images.shape[:2]
    tables = tables.expand(-1, channels, -1)
    return tables.gather(2, images.view(batch, channels, -1).long()).view(images.shape)


def stretch_tables(images: Tensor) -> Tensor:
    """AutoContrast: each channel's smallest value to 0, its largest to 255; (B, 3, 256) uint8."""
    pixels = images.flatten(2)
    low, high = (side.int() for side in (pixels.amin(2, keepdim=True), pixels.amax(2, keepdim=True)))
    values = torch.arange(LEVELS, device=images.device, dtype=torch.int32)
    stretched = (values - low) * 255 // (high - low).clamp_min(1)
    return torch.where(high > low, stretched, values).clamp_(0, 255).to(torch.uint8)


def equalize_tables(images: Tensor) -> Tensor:
    """Equalize: each channel's histogram made as even as Pillow makes it; (B, 3, 256) uint8."""
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
    """Contrast: a blend with the image's mean grey, by ``factors`` (B,); (B, 1, 256) uint8."""
    gray = grayscale(images).flatten(1)
    mean = ((2 * gray.sum(1) + gray.shape[1]) // (2 * gray.shape[1])).float()[:, None]
    values = torch.arange(LEVELS, device=images.device, dtype=torch.float32)
    return blend(mean, values, factors[:, None])[:, None]


def grayscale(images: Tensor) -> Tensor:
    """Luma of ITU-R 601-2 in Pillow's fixed point, (B, 1, H, W) int32."""
    red, green, blue = images.int().split(1, dim=1)
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16


def blend(first: Tensor, second: Tensor, factor: Tensor) -> Tensor:
    """``first`` for a factor 0, ``second`` for 1, beyond it above 1; floats to uint8."""
    return to_levels(first + factor * (second - first))


def color(images: Tensor, factors: Tensor) -> Tensor:
    """Color: a blend with the grey image, by ``factors`` (B,)."""
    return blend(grayscale(images).float(), images.float(), factors.view(-1, 1, 1, 1))


def sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Sharpness: a blend with the image smoothed 3×3 (its border is left as it is), by ``factors`` (B,)."""
    pixels = images.float()
    rows = pixels[:, :, :-2] + pixels[:, :, 1:-1] + pixels[:, :, 2:]
    around = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = pixels.clone()
    inner = pixels[:, :, 1:-1, 1:-1]
    smooth[:, :, 1:-1, 1:-1] = ((around + 4 * inner) / 13 + 0.5).floor_()
    return blend(smooth, pixels, factors.view(-1, 1, 1, 1))


def move_rows(images: Tensor, shear: Tensor, shift: Tensor, fill: Tensor) -> Tensor:
    """ShearX and TranslateX: row y shows what lay ``shear · (y + 0.5) + shift`` pixels to its right.

    Args:
        images: (B, 3, H, W) uint8.
        shear: (B,).
        shift: (B,) in pixels.
        fill: (B or 1, 3, 1, 1) uint8, for what lay outside.
    """
    channels, width = images.shape[1], images.shape[3]
    down, across = _centres(images)
    way = shear[:, None] * down + shift[:, None]  # (B, H): all pixels of a row go the same way
    whole = way.floor()
    window = torch.arange(-1, width + 2, device=images.device) + whole.long()[:, :, None]
    window = window.clamp_(0, width - 1)[:, None].expand(-1, channels, -1, -1)
    seen = images.float().gather(3, window)  # (B, 3, H, W + 3)
    place = across + way[:, :, None]
    four = [seen[..., k : k + width] for k in range(4)]
    return _filled(_cubic(four, (way - whole)[:, None, :, None]), (place >= 0) & (place < width), fill)


def rotate(images: Tensor, cosine: Tensor, sine: Tensor, fill: Tensor) -> Tensor:
    """Rotate: counter-clockwise about the centre, by angles given as cosine and sine (B,); see ``move_rows``."""
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

    # row by row, so that a processor's cache holds what is worked on
    along = [_cubic([look(row, column) for column in columns], part_x[:, None]) for row in rows]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return _filled(_cubic(along, part_y[:, None]), inside, fill)


def _centres(images: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates of the centres of rows (H,) and columns (W,)."""
    down, across = (torch.arange(n, device=images.device, dtype=torch.float32) + 0.5 for n in images.shape[2:])
    return down, across


def _taps(place: Tensor, length: int) -> tuple[list[Tensor], Tensor]:
    """Indices of the four pixels around each place, kept within the image, and its distance from the second."""
    start = place - 0.5
    floor = start.floor()
    first = floor.long()
    return [(first + k).clamp_(0, length - 1) for k in (-1, 0, 1, 2)], start - floor


def _cubic(four: Sequence[Tensor], part: Tensor) -> Tensor:
    """Cubic through the middle two (part 0 and 1); Horner's form is exact where all four are equal."""
    before, left, right, after = four
    twist, fall = right - after, before - left
    square = torch.add(twist, fall, alpha=2).sub_(twist.add_(fall).mul_(part))
    return (right - before).add_(square.mul_(part)).mul_(part).add_(left)


def _filled(values: Tensor, inside: Tensor, fill: Tensor) -> Tensor:
    return choose(inside[:, None], to_levels(values), fill)
