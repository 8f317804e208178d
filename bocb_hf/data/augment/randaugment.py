"""RandAugment in batches: timm's ``rand-m{magnitude}-mstd{std}-inc1`` (Cubuk et al. 2020).

Each image draws two of 15 operations, with replacement. Each is applied with probability 0.5, at a level that is drawn
from a normal distribution around the magnitude and clamped to 0..10, in a random direction where there are two
directions. Areas that an operation uncovers take the mean colour, as in timm's ``transforms_imagenet_train``.
Resampling is bicubic, as in DeiT and in the study's released configurations (timm's default draws bilinear or bicubic).

Operations are drawn on the CPU, so that the images can be grouped by operation without waiting for the device.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special
from torch import Tensor

from bocb_hf.data.augment import operations as pixel

Floats = NDArray[np.float64]

# operations by timm's names; neighbours in this order are done together
OPERATIONS = (
    # operations by a table that depends on the level alone
    *("Invert", "PosterizeIncreasing", "SolarizeIncreasing", "SolarizeAdd", "BrightnessIncreasing"),
    # operations by a table that depends on the image
    *("AutoContrast", "Equalize", "ContrastIncreasing"),
    # operations that blend with another image
    *("ColorIncreasing", "SharpnessIncreasing"),
    # operations that move pixels along rows, along columns, and along both
    *("ShearX", "TranslateXRel", "ShearY", "TranslateYRel", "Rotate"),
)


@dataclass(frozen=True)
class Layer:
    """One operation for each image of a batch.

    Attributes:
        operation: Index in ``OPERATIONS`` for each image, (B,); -1 is no operation.
        level: Level of each operation, (B,), from 0 to 10.
        negative: Whether an operation that has a direction acts in the opposite one, (B,) bool.
    """

    operation: NDArray[np.int64]
    level: Floats
    negative: NDArray[np.bool_]


def choose_layers(uniforms: Tensor, magnitude: float, std: float) -> list[Layer]:
    """Chooses the operations of a batch.

    Args:
        uniforms: Random numbers, (B, 4·layers) in [0, 1); for each layer: operation, whether it acts, level, direction.
        magnitude: Mean of the level.
        std: Standard deviation of the level.
    """
    return [
        _choose(part, magnitude, std) for part in np.split(uniforms.double().numpy(), uniforms.shape[1] // 4, axis=1)
    ]


def _choose(uniforms: Floats, magnitude: float, std: float) -> Layer:
    drawn = (uniforms[:, 0] * len(OPERATIONS)).astype(np.int64)
    # the uniform numbers are whole multiples of 2^-24; taking the middle of each interval keeps the normal numbers
    # finite
    level = magnitude + std * special.ndtri(uniforms[:, 2] + 2.0**-25)
    return Layer(np.where(uniforms[:, 1] < 0.5, drawn, -1), np.clip(level, 0, 10), uniforms[:, 3] < 0.5)


def apply_layer(images: Tensor, layer: Layer, fill: Tensor) -> Tensor:
    """Returns images (B, 3, S, S) uint8 after one layer of operations.

    Args:
        images: The images, uint8; they are not changed.
        layer: Operations of the images.
        fill: Colour of areas that an operation uncovers, (3,) uint8.
    """
    order = np.argsort(layer.operation, kind="stable")
    rest = int(np.sum(layer.operation < 0))
    chosen = order[rest:]
    if not len(chosen):
        return images
    operation = layer.operation[chosen]
    ends = np.searchsorted(operation, np.arange(len(OPERATIONS) + 1)).tolist()
    span = {name: slice(*pair) for name, pair in zip(OPERATIONS, itertools.pairwise(ends), strict=True)}
    numbers = arguments(operation, layer.level[chosen], layer.negative[chosen], images.shape[-1])
    # images are sorted, changed and put back, since selecting whole images is far faster than writing to an index
    forth, back = torch.from_numpy(np.stack((order, np.argsort(order)))).to(images.device, non_blocking=True)
    sent = torch.from_numpy(numbers.astype(np.float32)).to(images.device, non_blocking=True)  # (2, n)
    level_tables = _level_tables(numbers[0], span).to(images.device, non_blocking=True)
    ordered = images.index_select(0, forth)
    changed = _operate(ordered[rest:], span, sent, level_tables, fill.view(1, 3, 1, 1))
    return torch.cat((ordered[:rest], changed)).index_select(0, back)


def arguments(operation: NDArray[np.int64], level: Floats, negative: NDArray[np.bool_], size: int) -> Floats:
    """Arguments that timm makes of levels, (2, n): one number, shear and shift, or cosine and sine of a rotation."""
    share = level / 10
    signed = np.where(negative, -share, share)
    turn = np.radians(signed * 30)
    zero = np.zeros_like(share)
    first = {
        "PosterizeIncreasing": 4 - np.trunc(share * 4),
        "SolarizeIncreasing": 256 - np.minimum(256, np.trunc(share * 256)),
        "SolarizeAdd": np.minimum(128, np.trunc(share * 110)),
        **dict.fromkeys(
            ("BrightnessIncreasing", "ContrastIncreasing", "ColorIncreasing", "SharpnessIncreasing"),
            np.maximum(0.1, 1 + signed * 0.9),
        ),
        **dict.fromkeys(("ShearX", "ShearY"), signed * 0.3),
        "Rotate": np.cos(turn),
    }
    shift = signed * 0.45 * size
    second = {"TranslateXRel": shift, "TranslateYRel": shift, "Rotate": np.sin(turn)}
    everyone = np.arange(len(operation))
    return np.stack([np.stack([by.get(n, zero) for n in OPERATIONS])[operation, everyone] for by in (first, second)])


def _level_tables(argument: Floats, span: dict[str, slice]) -> Tensor:
    """Tables of the operations that do not depend on the image, (n, 1, 256) uint8, in the order of ``OPERATIONS``."""
    value = np.arange(pixel.LEVELS)
    of = {name: argument[where][:, None] for name, where in span.items()}
    bright = of["BrightnessIncreasing"].astype(np.float32) * value.astype(np.float32)
    tables = (
        np.broadcast_to(255 - value, (len(of["Invert"]), pixel.LEVELS)),
        value & -(2 ** (8 - of["PosterizeIncreasing"].astype(np.int64))),  # only the upper bits are kept
        np.where(value < of["SolarizeIncreasing"], value, 255 - value),
        np.where(value < 128, np.minimum(255, value + of["SolarizeAdd"]), value),
        np.clip(bright, 0, 255),
    )
    return torch.from_numpy(np.concatenate(tables).astype(np.uint8))[:, None]


def _operate(images: Tensor, span: dict[str, slice], numbers: Tensor, level_tables: Tensor, fill: Tensor) -> Tensor:
    """Applies the operations to images that are sorted by operation."""
    first = numbers[0]
    parts: list[Tensor] = []

    def chosen(*names: str) -> slice:
        return slice(span[names[0]].start, span[names[-1]].stop)

    def some(where: slice) -> bool:
        return where.stop > where.start

    tables = [level_tables.expand(-1, 3, -1)]
    if some(where := span["AutoContrast"]):
        tables.append(pixel.stretch_tables(images[where]))
    if some(where := span["Equalize"]):
        tables.append(pixel.equalize_tables(images[where]))
    if some(where := span["ContrastIncreasing"]):
        tables.append(pixel.contrast_tables(images[where], first[where]).expand(-1, 3, -1))
    if some(where := chosen("Invert", "ContrastIncreasing")):
        parts.append(pixel.look_up(images[where], torch.cat(tables)))
    if some(where := span["ColorIncreasing"]):
        parts.append(pixel.color(images[where], first[where]))
    if some(where := span["SharpnessIncreasing"]):
        parts.append(pixel.sharpness(images[where], first[where]))
    if some(where := chosen("ShearX", "TranslateYRel")):
        parts.append(_move(images[where], span["ShearY"].start - where.start, numbers[:, where], fill))
    if some(where := span["Rotate"]):
        parts.append(pixel.rotate(images[where], numbers[0, where], numbers[1, where], fill))
    return torch.cat(parts)


def _move(images: Tensor, across: int, numbers: Tensor, fill: Tensor) -> Tensor:
    """Shears and translates the rows of the first ``across`` images, and the columns of the rest by transposing."""
    rows, columns = images[:across], images[across:].transpose(2, 3)
    moved = pixel.move_rows(torch.cat((rows, columns)), numbers[0], numbers[1], fill)
    return torch.cat((moved[:across], moved[across:].transpose(2, 3)))
