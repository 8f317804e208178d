"""Steps on bytes that torch's own operations take several times as long for, on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor


def to_levels(values: Tensor) -> Tensor:
    """Floats to uint8: kept within 0..255, then cut to whole numbers. ``values`` is overwritten."""
    return values.clamp_(0, 255).to(torch.int32).to(torch.uint8)  # there is quick code for each of the two


def choose(condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """``torch.where`` of bytes that broadcast, which torch does one by one.

    Args:
        condition: bool.
        first: uint8, where it holds.
        second: uint8, elsewhere.
    """
    mask = condition.to(torch.uint8).neg_()  # 255 is all bits
    return ((first ^ second) & mask) ^ second
