"""What the tests of backbones share: inputs, and what resolves and identifies a row."""

from __future__ import annotations

from typing import Any

import torch
from builders import make_data
from torch import Tensor

from bocb_hf.backbones import BackboneRow
from bocb_hf.backbones.build import BackboneSource, resolve_backbone
from bocb_hf.runs.config import AugmentationConfig, BackboneConfig
from bocb_hf.runs.identity import Identity, OptimizerIdentity
from bocb_hf.runs.training_config import TrainingConfig

META = torch.device("meta")  # shapes and counts without memory or arithmetic


def resolve(row: BackboneRow, image_size: int, **args: Any) -> BackboneSource:
    return resolve_backbone(BackboneConfig(name=row.id, args=args), 0.0, image_size)


def images(size: int, device: torch.device | str = "cpu") -> Tensor:
    return torch.randn(2, 3, size, size, device=device)


def identity_of(source: BackboneSource, image_size: int) -> Identity:
    return Identity(
        random_scheme=1,
        setting="demo",
        backbone=source.identity,
        optimizer=OptimizerIdentity(name="sgdm", lr=0.1, weight_decay=0.0, hyperparameters={}),
        training=TrainingConfig(epochs=1, batch_size=2),
        augmentation=AugmentationConfig(),
        data=make_data(image_size=image_size),
    )
