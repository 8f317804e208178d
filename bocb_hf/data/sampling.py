"""Where every random choice of a run comes from.

Choices are read from tables seeded by (purpose, seed, epoch) and indexed by sample, never from a running stream.
So they depend neither on the number of processes or workers nor on where a run was interrupted, and two optimizers with
one seed see the same initial weights, the same order and the same augmentation: the runs are paired.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import torch
from torch import Tensor

from bocb_hf.config import RANDOM_SCHEME

Purpose = Literal["init", "order", "augmentation", "forward", "hessian"]


def derive_seed(purpose: Purpose, seed: int, *position: int | str) -> int:
    """A 63-bit seed that depends on all arguments and on the random scheme."""
    text = "/".join(str(part) for part in (RANDOM_SCHEME, purpose, seed, *position))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def init_seed(seed: int, backbone: str) -> int:
    """Seed of the initial weights: of (seed, backbone), the same for every optimizer."""
    return derive_seed("init", seed, backbone)


def epoch_order(n: int, seed: int, epoch: int) -> Tensor:
    """The order of the n training images in one epoch, shape (n,), int64."""
    generator = torch.Generator().manual_seed(derive_seed("order", seed, epoch))
    return torch.randperm(n, generator=generator)


def epoch_uniforms(n: int, columns: int, seed: int, epoch: int) -> Tensor:
    """Uniform numbers in [0, 1) for the augmentation of one epoch, shape (n, columns), one row for each image."""
    generator = torch.Generator().manual_seed(derive_seed("augmentation", seed, epoch))
    return torch.rand(n, columns, generator=generator)


def seed_forward(seed: int, step: int, rank: int) -> None:
    """Seeds what the network itself draws (dropout, stochastic depth) in one step of one process."""
    torch.manual_seed(derive_seed("forward", seed, step, rank))


def hessian_uniforms(n: int, seed: int, step: int) -> Tensor:
    """Uniform numbers in [0, 1) for sampling labels in one step, shape (n,), one for each image of the batch."""
    generator = torch.Generator().manual_seed(derive_seed("hessian", seed, step))
    return torch.rand(n, generator=generator)
