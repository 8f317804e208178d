"""Draws every random choice of a run.

Choices are read from tables seeded by (purpose, seed, epoch or step) and indexed by the place of an image, never from a
running stream. So they depend neither on the number of processes or workers nor on where a run was interrupted, and two
optimizers with one seed see the same initial weights, the same order and the same augmentation: the runs are paired.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import torch
from torch import Tensor

from bocb_hf.runs.identity import RANDOM_SCHEME

Purpose = Literal["init", "order", "augmentation", "erasing", "mix", "forward", "hessian"]


def derive_seed(purpose: Purpose, seed: int, *position: int | str) -> int:
    """Derives a 63-bit seed that depends on all arguments and on the random scheme."""
    text = "/".join(str(part) for part in (RANDOM_SCHEME, purpose, seed, *position))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def init_seed(seed: int, backbone: str) -> int:
    """Seed of the initial weights; it depends on the run's seed and the backbone, and not on the optimizer."""
    return derive_seed("init", seed, backbone)


def epoch_order(n: int, seed: int, epoch: int, repeats: int = 1, batch: int = 1) -> Tensor:
    """Order of the training images in one epoch: the image at each place, shape (n,), int64.

    Args:
        n: Number of training images.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        repeats: Number of copies of each image that is in the epoch (repeated augmentation); the length stays n. The
            copies of an image are in one batch, as in Hoffer et al. (2020), or in two where the end of a batch parts
            them; their places in a batch are random.
        batch: Number of images in a step, over all processes.
    """
    generator = torch.Generator().manual_seed(derive_seed("order", seed, epoch))
    order = torch.randperm(n, generator=generator)
    if repeats == 1:
        return order
    copies = order.repeat_interleave(repeats)[:n]
    return torch.cat([part[torch.randperm(len(part), generator=generator)] for part in copies.split(batch)])


def step_uniforms(batch: int, columns: int, seed: int, step: int) -> Tensor:
    """Uniform numbers in [0, 1) for the augmentation of one step, shape (batch, columns), one row for each image.

    They are drawn on the CPU, so that every device sees the same.
    """
    generator = torch.Generator().manual_seed(derive_seed("augmentation", seed, step))
    return torch.rand(batch, columns, generator=generator)


def seed_forward(seed: int, step: int, rank: int, device: torch.device) -> None:
    """Seeds what the network itself draws (dropout, stochastic depth) in one step of one process.

    The result is that of ``torch.manual_seed``, which takes 0.4 ms longer a step on one core, since it also formats the
    call stack for every kind of device that is not there.
    """
    number = derive_seed("forward", seed, step, rank)
    torch.default_generator.manual_seed(number)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(number)


def hessian_uniforms(n: int, seed: int, step: int, classes: int | None = None) -> Tensor:
    """Draws uniform numbers in [0, 1) for sampling labels in one step.

    Returns:
        The numbers: (n,), one for each image of the batch; (n, classes) where each class has a label of its own.
    """
    generator = torch.Generator().manual_seed(derive_seed("hessian", seed, step))
    return torch.rand((n,) if classes is None else (n, classes), generator=generator)
