"""The whole augmentation of a micro-batch, in timm's order: crop, flip, RandAugment, normalise, erase, mix.

All choices are made on the CPU from numbers that depend on (seed, step, place in the global batch) alone, so that the
result depends neither on processes and micro-batches nor on where a run was resumed. The device gets indices and
arguments, and the CPU never waits for a result of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from bocb_hf.data.augment.crop import crop_box, flip_some, padded_crop, resized_crop
from bocb_hf.data.augment.draws import COLUMNS, FLIP, OPERATIONS, PLACE, pick
from bocb_hf.data.augment.erasing import draw_noise, erase
from bocb_hf.data.augment.mix import draw_mix, find_partners, mix_images, mix_targets
from bocb_hf.data.augment.randaugment import apply_layer, choose_layers
from bocb_hf.data.augment.targets import soft_targets
from bocb_hf.data.sampling import step_uniforms
from bocb_hf.errors import InputError
from bocb_hf.runs.config import AugmentationConfig
from bocb_hf.runs.training_config import TrainingConfig

# Number of values of the inputs that a CPU augments at once: those of 16 images of 224 pixels, for which caches still
# help.
_BLOCK = 16 * 3 * 224**2
_CROP_BLOCK = 128 * 3 * 32**2  # number of values that a CPU crops at once, but at least 16 images


def normalize(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Normalises uint8 images (B, 3, H, W) to floats, with the arithmetic of timm's evaluation transform.

    Args:
        images: The images, uint8.
        mean: Mean of each channel, (3, 1, 1), in 0..1.
        std: Standard deviation of each channel, (3, 1, 1), in 0..1.
    """
    return images.float().div_(255).sub_(mean).div_(std).contiguous()


def mixes(augmentation: AugmentationConfig) -> bool:
    """Whether images are mixed with each other."""
    return augmentation.mixup_alpha > 0 or augmentation.cutmix_alpha > 0


def check_micro_batch(augmentation: AugmentationConfig, micro_batch: int) -> None:
    """Refuses micro-batches that would tear pairs apart.

    Raises:
        InputError: Images are mixed, and a micro-batch has an odd number of images.
    """
    if mixes(augmentation) and micro_batch % 2:
        raise InputError(
            f"training.batch_size: mixup and cutmix pair images, but a micro-batch holds {micro_batch}; change the "
            "batch, the number of processes or runtime.accumulation so that it is even"
        )


class Part(NamedTuple):
    """The images of one micro-batch.

    Attributes:
        pixels: Pixels, (B, 3, H, W) uint8 on any device. Images that are still to be cropped by ``crop_scale`` may have
            any size; all others have the size of the inputs.
        labels: Labels, (B,) int64 on any device.
        rows: Place of each image in the global batch of its step, (B,) int64 on the CPU.
        step: Number of optimizer steps before this one.
    """

    pixels: Tensor
    labels: Tensor
    rows: Tensor
    step: int


class Augmenter:
    """Turns the decoded images of a micro-batch into inputs and targets.

    Args:
        augmentation: Augmentation of the setting.
        training: Training configuration: ``batch_size`` (global), ``loss`` and ``label_smoothing``.
        size: Side of the inputs in pixels.
        num_classes: Number of classes, which are the columns of soft targets.
        mean: Mean of each channel, in 0..1.
        std: Standard deviation of each channel, in 0..1.
        seed: Seed of the run.
        device: Device on which the images are augmented.

    Raises:
        InputError: The image is too small for its reflected padding.
    """

    def __init__(
        self,
        augmentation: AugmentationConfig,
        training: TrainingConfig,
        size: int,
        num_classes: int,
        mean: Sequence[float],
        std: Sequence[float],
        seed: int,
        device: torch.device | str,
    ) -> None:
        if augmentation.crop_padding_mode == "reflect" and augmentation.crop_padding >= size:
            raise InputError(
                f"augmentation.crop_padding: {augmentation.crop_padding} pixels cannot be reflected from an image of "
                f"{size}; give less than {size} or crop_padding_mode: zeros"
            )
        self.augmentation, self.training = augmentation, training
        self.size, self.num_classes, self.seed, self.device = size, num_classes, seed, torch.device(device)
        self.mean, self.std = (
            torch.tensor(values, dtype=torch.float32, device=self.device).view(3, 1, 1) for values in (mean, std)
        )
        self._fill = (self.mean * 255).round_().clamp_(max=255).to(torch.uint8)
        each = (augmentation.crop_scale, augmentation.crop_padding, augmentation.horizontal_flip)
        self._draws_nothing = (
            not any((*each, augmentation.random_erasing)) and augmentation.randaugment_magnitude is None
        )
        self._drawn: tuple[int, Tensor] | None = None
        self._noise: tuple[int, Tensor] | None = None

    def __call__(
        self, pixels: Tensor, labels: Tensor, rows: Tensor, step: int, cropped: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Augments one micro-batch of a step; see ``Part`` and ``augment``."""
        return self.augment([Part(pixels, labels, rows, step)], cropped)[0]

    def augment(self, parts: Sequence[Part], cropped: bool = False) -> list[tuple[Tensor, Tensor]]:
        """Augments micro-batches of one or several steps together, which is faster for small images than one by one.

        Args:
            parts: The micro-batches; all of their images have one size. The result does not depend on which are given
                together.
            cropped: Whether the process that decoded the images has made their random resized crop already, from
                ``crop_box``; they are still mirrored here.

        Returns:
            For each part, inputs (B, 3, size, size) float32 and targets. The targets are labels (B,) where nothing is
            mixed and the loss is cross-entropy, else smoothed soft targets (B, K) float32, on which ``loss`` sets the
            threshold.

        Raises:
            InputError: The images have a wrong type or size, or the neighbour of an image that is to be mixed is
                missing.
        """
        for part in parts:
            self._check(part.pixels, cropped)
        if self._draws_nothing:
            inputs = [normalize(p.pixels.to(self.device, non_blocking=True), self.mean, self.std) for p in parts]
        else:
            inputs = self._augment_parts(parts, cropped)
        return [self._mix(*pair) for pair in zip(parts, inputs, strict=True)]

    def _mix(self, part: Part, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes the inputs of a micro-batch, and makes its targets."""
        config, labels = self.augmentation, part.labels.to(self.device, non_blocking=True)
        if not mixes(config) and self.training.loss == "ce":
            return inputs, labels
        targets = soft_targets(labels, self.num_classes, self.training.label_smoothing)
        if not mixes(config):
            return inputs, targets
        mix = draw_mix(config, self.size, self.seed, part.step)
        partners = find_partners(part.rows).to(self.device, non_blocking=True)
        return mix_images(inputs, partners, mix), mix_targets(targets, partners, mix)

    def _check(self, pixels: Tensor, cropped: bool) -> None:
        if pixels.dtype != torch.uint8 or pixels.ndim != 4 or pixels.shape[1] != 3:
            raise InputError(f"pixels: {tuple(pixels.shape)} {pixels.dtype}; give (B, 3, H, W) uint8")
        resizes = self.augmentation.crop_scale is not None and not cropped
        if not resizes and pixels.shape[2:] != (self.size, self.size):
            height, width = pixels.shape[2:]
            raise InputError(f"pixels: {height}×{width}, but nothing resizes them to {self.size}; decode at that size")

    def _draw(self, step: int) -> Tensor:
        """Random numbers of a step, (batch_size, COLUMNS) float64; micro-batches of one step share them."""
        if self._drawn is None or self._drawn[0] != step:
            # float64, because in it a number below 1 times a count stays below the count
            self._drawn = step, step_uniforms(self.training.batch_size, COLUMNS, self.seed, step).double()
        return self._drawn[1]

    def _draw_noise(self, step: int) -> Tensor:
        """The noise of a step, which its micro-batches share."""
        if self._noise is None or self._noise[0] != step:
            self._noise = step, draw_noise(self.size, self.seed, step, self.device)
        return self._noise[1]

    def _augment_parts(self, parts: Sequence[Part], cropped: bool) -> Sequence[Tensor]:
        """Does everything but mixing: operations on all parts at once, and erasing with the noise of each step."""
        draws = [self._draw(part.step)[part.rows] for part in parts]
        pixels = [part.pixels for part in parts]
        one = len(parts) == 1
        drawn, together = (draws[0], pixels[0]) if one else (torch.cat(draws), torch.cat(pixels))
        inputs = self._augment(together.to(self.device, non_blocking=True), drawn, cropped)
        sizes = [len(part.rows) for part in parts]
        if self.augmentation.random_erasing:
            rows = [self._draw_noise(part.step) for part in parts]
            noise = rows[0] if one else torch.stack(rows)
            which = torch.arange(len(parts)).repeat_interleave(torch.tensor(sizes))
            erase(inputs, drawn, self.augmentation.random_erasing, noise, which)
        return inputs.split(sizes)

    def _augment(self, pixels: Tensor, draws: Tensor, cropped: bool) -> Tensor:
        """Does everything up to normalised inputs (B, 3, size, size) float32; ``draws`` is (B, COLUMNS) float64."""
        count = max(1, _BLOCK // (3 * self.size**2))
        if self.device.type == "cpu" and len(pixels) > count:
            inputs = torch.empty(len(pixels), 3, self.size, self.size)
            for some, draw, block in zip(*(t.split(count) for t in (pixels, draws, inputs)), strict=True):
                block.copy_(self._augment(some, draw, cropped))
            return inputs
        config = self.augmentation
        images = self._crop(pixels, draws, cropped)
        if config.randaugment_magnitude is not None:
            choices = draws[:, OPERATIONS]
            for layer in choose_layers(choices, config.randaugment_magnitude, config.randaugment_std):
                images = apply_layer(images, layer, self._fill)
        return normalize(images, self.mean, self.std)

    def _crop(self, pixels: Tensor, draws: Tensor, cropped: bool) -> Tensor:
        """Crops and flips images into (B, 3, size, size) uint8."""
        config = self.augmentation
        flips = ((draws[:, FLIP] < 0.5) & config.horizontal_flip).to(self.device, non_blocking=True)
        if config.crop_scale is not None and not cropped:
            height, width = pixels.shape[2:]
            boxes = crop_box(draws, height, width, config.crop_scale, config.crop_aspect)
            boxes = boxes.to(self.device, non_blocking=True)
            return self._in_blocks(partial(resized_crop, size=self.size), pixels, boxes, flips)
        if config.crop_padding and not cropped:
            offsets = pick(draws[:, PLACE], 2 * config.crop_padding + 1).to(self.device, non_blocking=True)
            crop = partial(padded_crop, padding=config.crop_padding, mode=config.crop_padding_mode)
            return self._in_blocks(crop, pixels, offsets, flips)
        return flip_some(pixels, flips) if config.horizontal_flip else pixels

    def _in_blocks(self, crop: Callable[..., Tensor], *each: Tensor) -> Tensor:
        """Crops all images, on a CPU in blocks of some at a time."""
        count = max(16, _CROP_BLOCK // (3 * self.size**2))
        if self.device.type != "cpu" or len(each[0]) <= count:
            return crop(*each)
        return torch.cat([crop(*some) for some in zip(*(t.split(count) for t in each), strict=True)])


class Unaugmented(Augmenter):
    """Passes features of a frozen network on as inputs, and makes their targets as for images."""

    def augment(self, parts: Sequence[Part], cropped: bool = False) -> list[tuple[Tensor, Tensor]]:
        """Inputs (B, ...) float32 as they are given in ``pixels``, and targets; see ``Augmenter.augment``."""
        return [self._mix(part, part.pixels.to(self.device, non_blocking=True)) for part in parts]
