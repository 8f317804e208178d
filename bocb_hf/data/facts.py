"""What is found out about images by looking at them: whether they have one size, their mean and standard deviation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bocb_hf.data.cache import SMALL, remember
from bocb_hf.data.decode import Centre, Decoder, SizeReader, SizeRule, decode_all
from bocb_hf.data.hold import Limits, describe_pixels
from bocb_hf.data.load import OpenData

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]

_SAMPLE = 10_000  # images that mean and standard deviation are taken of, where there are more


@functools.lru_cache(maxsize=8)
def find_one_size(data: OpenData, columns: tuple[str, str], limits: Limits) -> tuple[int, int] | None:
    """Height and width of the training images, or None if they differ.

    Raises:
        InputError: An image is damaged.
    """
    table, rule = data.splits["train"], Centre(1)  # the reader applies no rule
    reader = SizeReader(f"split 'train' of {data.name!r}", rule, table, columns[0])

    def find() -> list[int] | None:
        first = None
        for sizes in decode_all(reader, np.arange(len(table)), limits.workers):
            first = sizes[0] if first is None else first
            if bool((sizes != first).any()):
                return None
        return None if first is None else first.tolist()

    size = _know(data, columns, rule, "size", len(table) <= _SAMPLE, limits, find)
    return None if size is None else (int(size[0]), int(size[1]))


@functools.lru_cache(maxsize=8)
def find_statistics(data: OpenData, columns: tuple[str, str], size: int, limits: Limits) -> Statistics:
    """Mean and standard deviation of each channel of the training images in 0..1, to four digits.

    They are taken of all images, or of 10,000 evenly spaced ones where there are more, as squares of ``size``.

    Raises:
        InputError: An image is damaged.
    """
    table, rule = data.splits["train"], Centre(size)
    chosen = np.linspace(0, len(table) - 1, min(len(table), _SAMPLE)).round().astype(np.int64)
    decoder = Decoder(f"split 'train' of {data.name!r}", rule, table, columns[0])

    def find() -> list[list[float]]:
        sums, squares = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
        for pixels in decode_all(decoder, chosen, limits.workers):
            scaled = pixels.double() / 255
            sums += scaled.sum(dim=(0, 2, 3))
            squares += scaled.square().sum(dim=(0, 2, 3))
        mean = sums / (len(chosen) * size * size)
        std = (squares / (len(chosen) * size * size) - mean.square()).clamp_min(0).sqrt()
        return [_to_digits(mean), [max(value, 1e-4) for value in _to_digits(std)]]

    small = len(chosen) * 3 * size * size < SMALL
    mean, std = _know(data, columns, rule, "statistics", small, limits, find)
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])


def _know(
    data: OpenData,
    columns: tuple[str, str],
    rule: SizeRule,
    fact: str,
    small: bool,
    limits: Limits,
    find: Callable[[], Any],
) -> Any:
    """Finds a fact, or reads it where that would take long and was done before."""
    if small:
        return find()
    return remember(limits.folder, {**describe_pixels(data, "train", columns, rule), "fact": fact}, find)


def _to_digits(values: Tensor) -> list[float]:
    return [round(float(value), 4) for value in values]
