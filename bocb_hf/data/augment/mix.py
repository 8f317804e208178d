"""Mixup and cutmix of neighbours, as in timm's ``Mixup`` with mode ``batch``: each step has one share and one box.

Images 2j and 2j+1 of the global batch are mixed with each other, where timm mixes i and B-1-i. The order of an epoch is
random, so that these pairs are as random as timm's; but neighbours stay together when a batch is cut into
micro-batches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy import special
from torch import Tensor

from bocb_hf.data.augment.draws import pick
from bocb_hf.data.sampling import derive_seed
from bocb_hf.errors import InputError
from bocb_hf.runs.config import AugmentationConfig


@dataclass(frozen=True)
class Mix:
    """The way in which all pairs of one step are mixed.

    Attributes:
        share: Share of the image itself in the mixture; the rest is the share of its partner.
        box: Top, bottom, left and right of the box that cutmix takes from the partner; None for mixup.
    """

    share: float
    box: tuple[int, int, int, int] | None


def draw_mix(augmentation: AugmentationConfig, size: int, seed: int, step: int) -> Mix:
    """Draws how one step is mixed, which is the same in every process.

    The share in cutmix is that of the pixels outside the box, after the box was cut off at the edges of the image (Yun
    et al. 2019, in timm's form).
    """
    generator = torch.Generator().manual_seed(derive_seed("mix", seed, step))
    which, level, *place = torch.rand(4, generator=generator, dtype=torch.float64)
    mixup, cutmix = augmentation.mixup_alpha, augmentation.cutmix_alpha
    cuts = cutmix > 0 and (mixup == 0 or bool(which < 0.5))
    alpha = cutmix if cuts else mixup
    share = float(special.betaincinv(alpha, alpha, float(level)))
    if not cuts:
        return Mix(share, None)
    top, bottom, left, right = box = cut_box(share, size, int(pick(place[0], size)), int(pick(place[1], size)))
    return Mix(1 - (bottom - top) * (right - left) / size**2, box)


def cut_box(share: float, size: int, row: int, column: int) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of a square about a centre, of area ``1 - share``, cut off at the image's edges."""
    side = int(size * math.sqrt(1 - share))
    top, left = row - side // 2, column - side // 2
    return max(top, 0), min(top + side, size), max(left, 0), min(left + side, size)


def find_partners(rows: Tensor) -> Tensor:
    """Index in the micro-batch of the neighbour of each image, (B,) int64.

    Args:
        rows: Place of each image in the global batch, (B,), on the CPU.

    Raises:
        InputError: The neighbour of an image is not in the micro-batch.
    """
    order = rows.argsort()
    even, odd = order[0::2], order[1::2]
    if len(rows) % 2 or not torch.equal(rows[odd], rows[even] + 1) or bool((rows[even] % 2).any()):
        raise InputError("rows: mixup and cutmix need images 2j and 2j+1 in one micro-batch; give it an even size")
    partners = torch.empty_like(order)
    partners[even], partners[odd] = odd, even
    return partners


def mix_images(images: Tensor, partners: Tensor, mix: Mix) -> Tensor:
    """Mixes the images (B, 3, S, S), floats, with their partners, in place."""
    if mix.box is None:
        others = images.index_select(0, partners)
        return images.mul_(mix.share).add_(others, alpha=1 - mix.share)
    top, bottom, left, right = mix.box
    images[:, :, top:bottom, left:right] = images[:, :, top:bottom, left:right].index_select(0, partners)
    return images


def mix_targets(targets: Tensor, partners: Tensor, mix: Mix) -> Tensor:
    """Mixes rows of targets (B, K) by the same share as the images."""
    return targets * mix.share + targets[partners] * (1 - mix.share)
