"""Images a second of our batched augmentation and of timm's transforms, one image at a time, in one process.

    python benchmarks/augmentation.py > benchmarks/augmentation.txt

Both start from decoded images in memory and end with normalised batches and their targets. Ours takes several steps of
small images together, as in training. timm's chain is that of its factory of training transforms, where it says so with
the random crop that DeiT puts in place of the resized one at 32 px, then its ``Mixup``. The two alternate, so that
whatever else the machine does meets both; a ratio is the median over the rounds. Per core: a data loader multiplies
timm's figure by its workers, threads multiply ours.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib import metadata
from itertools import count
from typing import Any

import torch
from PIL import Image
from timm.data.mixup import Mixup
from timm.data.transforms_factory import transforms_imagenet_train
from torch import Tensor
from torch.nn import functional
from torchvision import transforms

from bocb_hf.data.augment import Augmenter, Part
from bocb_hf.engine.feed import count_together
from bocb_hf.runs.config import AugmentationConfig
from bocb_hf.runs.training_config import TrainingConfig

CLASSES, SMOOTHING = 100, 0.1
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
CROPS: dict[str, tuple[int, dict[str, Any]]] = {
    "32 px, padded crop": (32, {"crop_padding": 4}),
    "32 px, resized crop": (32, {"crop_scale": (0.08, 1.0)}),
    "32 to 224 px, resized crop": (224, {"crop_scale": (0.08, 1.0)}),
}
SETS: dict[str, dict[str, Any]] = {
    "crop, flip": {},
    "and RandAugment": {"randaugment_magnitude": 9},
    "and erasing, mixup, cutmix": {
        "randaugment_magnitude": 9,
        "random_erasing": 0.25,
        "mixup_alpha": 0.8,
        "cutmix_alpha": 1.0,
    },
}


def by_timm(config: AugmentationConfig, size: int, pictures: list[Image.Image], labels: Tensor) -> Callable[[], object]:
    """One batch through timm."""
    steps: Any = transforms_imagenet_train(
        size,
        scale=config.crop_scale,
        color_jitter=0.0,
        auto_augment="rand-m9-mstd0.5-inc1" if config.randaugment_magnitude is not None else None,
        interpolation="bicubic",
        mean=MEAN,
        std=STD,
        re_prob=config.random_erasing,
        re_mode="pixel",
    )
    if config.crop_padding:
        steps.transforms[0] = transforms.RandomCrop(size, padding=config.crop_padding)
    mixing = config.mixup_alpha > 0
    mix = Mixup(config.mixup_alpha, config.cutmix_alpha, label_smoothing=SMOOTHING, num_classes=CLASSES)

    def batch() -> object:
        inputs = torch.stack([steps(picture) for picture in pictures])
        return mix(inputs, labels) if mixing else (inputs, labels)

    return batch


def by_us(
    config: AugmentationConfig, size: int, pixels: Tensor, labels: Tensor, device: torch.device
) -> tuple[Callable[[], object], int]:
    """Batches of the next steps through ``Augmenter``, and how many they are."""
    training = TrainingConfig(epochs=1, batch_size=len(pixels), label_smoothing=SMOOTHING)
    augmenter = Augmenter(config, training, size, CLASSES, MEAN, STD, 0, device)
    rows, steps, together = torch.arange(len(pixels)), count(), count_together(len(pixels), size)

    def batches() -> object:
        found = augmenter.augment([Part(pixels, labels, rows, next(steps)) for _ in range(together)])
        if device.type == "cuda":
            torch.cuda.synchronize()
        return found

    return batches, together


def seconds(batch: Callable[[], object], calls: int) -> float:
    """Of one call."""
    started = time.perf_counter()
    for _ in range(calls):
        batch()
    return (time.perf_counter() - started) / calls


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="ours; timm's is the CPU")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    device, images = torch.device(arguments.device), arguments.batch
    kind = torch.cuda.get_device_name() if device.type == "cuda" else "the CPU"
    generator = torch.Generator().manual_seed(0)
    coarse = functional.interpolate(torch.rand(images, 3, 6, 6, generator=generator) * 255, (32, 32), mode="bicubic")
    pixels = coarse.clamp(0, 255).to(torch.uint8)
    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in pixels]
    labels = torch.arange(images) % CLASSES
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "torchvision", "timm", "pillow"))
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, one thread each; ours on {kind}")
    print(f"Python {platform.python_version()}, {versions}")
    print(f"batch {images}, median of {arguments.rounds} rounds; images/s, range of the ratio in brackets")
    for crop, (size, own) in CROPS.items():
        print(f"\n{crop:<28}{'timm':>10}{'ours':>10}{'ratio':>8}    ({count_together(images, size)} steps together)")
        for name, more in SETS.items():
            config = AugmentationConfig(horizontal_flip=True, **own, **more)
            theirs = by_timm(config, size, pictures, labels)
            ours, together = by_us(config, size, pixels, labels, device)
            theirs()
            ours()
            calls = 3 if size == 32 else 2  # of ours in a round: they are short
            pairs = [(seconds(theirs, 1), seconds(ours, calls) / together) for _ in range(arguments.rounds)]
            ratios = sorted(a / b for a, b in pairs)
            rates = (images / statistics.median(column) for column in zip(*pairs, strict=True))
            print("{:<28}{:>10,.0f}{:>10,.0f}".format(name, *rates), end="")
            print(f"{statistics.median(ratios):>8.1f}  ({ratios[0]:.1f} to {ratios[-1]:.1f})")


if __name__ == "__main__":
    sys.exit(main())
