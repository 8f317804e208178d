"""What the tests of the augmentation share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from scipy import stats
from torch import Tensor

from bocb_hf.data.augment import Augmenter, normalize
from bocb_hf.runs.config import AugmentationConfig
from bocb_hf.runs.training_config import TrainingConfig

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
CLASSES = 7
EVERYTHING: dict[str, Any] = {
    "crop_padding": 4,
    "horizontal_flip": True,
    "randaugment_magnitude": 9,
    "random_erasing": 0.25,
    "mixup_alpha": 0.8,
    "cutmix_alpha": 1.0,
}
RESIZED: dict[str, Any] = {k: v for k, v in EVERYTHING.items() if k != "crop_padding"} | {"crop_scale": (0.08, 1.0)}


class Replay:
    """Stands in for the module ``random`` inside timm and answers with given uniform numbers."""

    def __init__(self, uniforms: Tensor, places: Tensor, chance: float = 0.0) -> None:
        self.uniforms: Iterator[float] = iter(uniforms.tolist())
        self.places: Iterator[float] = iter(places.tolist())
        self.chance = chance

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * next(self.uniforms)

    def randint(self, low: int, high: int) -> int:
        return low + math.floor(next(self.places) * (high - low + 1))

    def random(self) -> float:
        return self.chance


def images(count: int, height: int = 32, width: int | None = None, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width or height), dtype=torch.uint8, generator=generator)


def labels(count: int) -> Tensor:
    return torch.arange(count) % CLASSES


def training(batch_size: int = 16, **changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({"epochs": 1, "batch_size": batch_size} | changes)


def augmenter(batch_size: int = 16, size: int = 32, seed: int = 0, smoothing: float = 0.1, **changes: Any) -> Augmenter:
    config = AugmentationConfig(**changes)
    setting = training(batch_size, label_smoothing=smoothing)
    return Augmenter(config, setting, size, CLASSES, MEAN, STD, seed, "cpu")


def same_law(ours: Any, theirs: Any) -> bool:
    """Whether two samples may come from one distribution."""
    return cast(Any, stats.ks_2samp(ours, theirs)).pvalue > 1e-3


def has_law(sample: Any, law: Any) -> bool:
    """Whether a sample may come from a distribution."""
    return cast(Any, stats.kstest(sample, law)).pvalue > 1e-3


def as_channels(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)


def plain(pixels: Tensor) -> Tensor:
    return normalize(pixels, as_channels(MEAN), as_channels(STD))
