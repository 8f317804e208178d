"""Operations on bytes that are several times as fast on a CPU as torch's own."""

from __future__ import annotations

import torch
from torch import Tensor


def to_levels(values: Tensor) -> Tensor:
    """Converts floats to uint8: clamps them to 0..255 and drops the fractions. ``values`` is overwritten."""
    return values.clamp_(0, 255).to(torch.int32).to(torch.uint8)  # torch is fast at each of these two conversions


def choose(condition: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """``torch.where`` for bytes that broadcast, which torch itself processes one by one.

    Args:
        condition: Where to take ``first``, bool.
        first: Values where the condition holds, uint8.
        second: Values elsewhere, uint8.
    """
    mask = condition.to(torch.uint8).neg_()  # 255, with all bits set, where the condition holds; else 0
    return ((first ^ second) & mask) ^ second
