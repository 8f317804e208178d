"""Training as a tutorial writes it: timm's transforms of one image, a DataLoader, timm's mixup, and a plain loop."""

from __future__ import annotations

import os
import time
from typing import Any

import torch
from PIL import Image
from timm.data.mixup import Mixup
from timm.data.transforms_factory import create_transform
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from bocb_hf.data.splits import Images
from bocb_hf.engine.prepare import PreparedRun


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Decoded images, augmented one after the other.

    Args:
        images: The images.
        size: Side of the input in pixels.
    """

    def __init__(self, images: Images, size: int) -> None:
        self.pixels, self.labels = images.pixels.permute(0, 2, 3, 1).numpy(), images.labels.tolist()
        self.transform: Any = create_transform(
            size, is_training=True, auto_augment="rand-m9-mstd0.5-inc1", re_prob=0.25, re_mode="pixel"
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[place])), self.labels[place]


def plain_images_per_second(prepared: PreparedRun, device: torch.device, epochs: int) -> float:
    """Training images a second over whole epochs, after one that warms up, with the network and batch of a run."""
    identity, images = prepared.identity, prepared.data.train
    assert isinstance(images, Images)
    batch, amp = identity.training.batch_size, identity.training.precision == "bf16"
    loader = DataLoader(
        Pictures(images, identity.data.image_size),
        batch,
        shuffle=True,
        num_workers=min(os.cpu_count() or 1, 16) if device.type == "cuda" else 0,
        pin_memory=device.type == "cuda",
        drop_last=True,
        persistent_workers=device.type == "cuda",
    )
    mixup = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, label_smoothing=0.1, num_classes=identity.data.num_classes)
    model = prepared.build_model().to(device).train()
    optimizer = prepared.build_optimizer(model)
    started = 0.0
    for epoch in range(1 + epochs):
        if epoch == 1:
            started = read_clock(device)
        for inputs, labels in loader:
            mixed, targets = mixup(inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True))
            with torch.autocast(device.type, torch.bfloat16, enabled=amp):
                logits = model(mixed)
            functional.cross_entropy(logits.float(), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
    return epochs * len(loader) * batch / (read_clock(device) - started)


def read_clock(device: torch.device) -> float:
    """The time, when a GPU has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
