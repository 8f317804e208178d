"""Random erasing (Zhong et al. 2020) as timm does it in its mode ``pixel``: a rectangle becomes normal noise.

The noise of a step is one long row of normal numbers on the device. Each image takes a window of it that begins where
its own random number says, so that its noise depends neither on micro-batches nor on the other images. The windows of
two images of a step may overlap; within an image all numbers are independent. Devices of different kinds draw different
noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bocb_hf.data.augment.draws import ERASED_BOXES, ERASED_PLACE, ERASES, NOISE, first_that_fits, pick, propose_boxes
from bocb_hf.data.sampling import derive_seed

AREA = (0.02, 1 / 3)
LOG_ASPECT = (math.log(0.3), math.log(1 / 0.3))
IMAGES_OF_NOISE = 4


def draw_rectangles(draws: Tensor, size: int, probability: float) -> Tensor:
    """Draws rectangles as timm's ``RandomErasing`` does with one rectangle for each image.

    Args:
        draws: Random numbers of the images, (B, COLUMNS) in [0, 1), float64.
        size: Side of the images in pixels.
        probability: Probability that an image has a rectangle.

    Returns:
        The rectangles, (B, 4) int64: top, left, height, width; height and width are 0 where nothing is erased.
    """
    area = torch.full((len(draws), 1), float(size * size), dtype=torch.float64)
    heights, widths = propose_boxes(draws[:, ERASED_BOXES], area, AREA, LOG_ASPECT)
    fits = (heights < size) & (widths < size)
    sides = torch.stack(first_that_fits(fits, heights, widths), dim=1)
    erased = (draws[:, ERASES] < probability) & fits.any(dim=1)
    sides = torch.where(erased[:, None], sides, 0)
    return torch.cat((pick(draws[:, ERASED_PLACE], size - sides + 1), sides), dim=1)


def draw_noise(size: int, seed: int, step: int, device: torch.device) -> Tensor:
    """Draws the normal numbers of a step: as many as the values of ``IMAGES_OF_NOISE`` images."""
    generator = torch.Generator(device).manual_seed(derive_seed("erasing", seed, step))
    return torch.randn(IMAGES_OF_NOISE * 3 * size * size, generator=generator, device=device)


def erase(inputs: Tensor, draws: Tensor, probability: float, noise: Tensor, which: Tensor | None = None) -> Tensor:
    """Puts noise into rectangles of normalised images (B, 3, S, S), in place.

    Args:
        inputs: The images, float32; they are changed.
        draws: Random numbers of the images, (B, COLUMNS) in [0, 1), float64, on the CPU.
        probability: Probability that an image has a rectangle.
        noise: ``draw_noise`` of the step, (N,), or of several steps, (steps, N).
        which: Row of ``noise`` that each image takes, (B,) int64 on the CPU; None where there is only one step.
    """
    size, device = inputs.shape[-1], inputs.device
    rectangles = draw_rectangles(draws, size, probability)
    index = rectangles[:, 2].nonzero()[:, 0]
    if not len(index):
        return inputs
    window = inputs[0].numel()
    length = noise.shape[-1]
    starts = pick(draws[index, NOISE], length - window + 1)
    if which is not None:
        starts += which[index] * length
    starts = starts.to(device, non_blocking=True)
    top, left, height, width = rectangles[index].to(device, non_blocking=True).T[:, :, None]  # (n, 1) each
    index = index.to(device, non_blocking=True)
    place = torch.arange(size, device=device)
    down, across = (place >= top) & (place < top + height), (place >= left) & (place < left + width)  # (n, S)
    windows = noise.flatten().unfold(0, window, 1).index_select(0, starts).view(-1, *inputs.shape[1:])
    inside = (down[:, :, None] & across[:, None, :])[:, None]
    return inputs.index_copy_(0, index, torch.where(inside, windows, inputs.index_select(0, index)))
