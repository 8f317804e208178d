"""Classification as a task: every part of it lies in ``bocb_hf.data`` and in this room."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, cast

import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

from bocb_hf.backbones.build import BackboneSource, build_backbone
from bocb_hf.data.augment import Augmenter
from bocb_hf.data.batches import open_source
from bocb_hf.data.images import ImageData, load_images
from bocb_hf.data.source import Order, TrainSource
from bocb_hf.data.splits import TestImages
from bocb_hf.engine.evaluation import evaluate
from bocb_hf.errors import InputError
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.identity import DataIdentity, Identity
from bocb_hf.runs.preprocessing import Preprocessing
from bocb_hf.runs.runtime_config import RuntimeConfig
from bocb_hf.runs.tasks import TaskOptions
from bocb_hf.tasks.task import Evaluated, MakeInputs


class Classification:
    """The task; see ``bocb_hf.tasks.task.Task``.

    The loop computes loss and hits of classifiers by itself, since it also counts top-1 while training.
    """

    def __init__(self, options: TaskOptions) -> None:
        self.options = options

    def load(self, config: RunConfig, checkpoint: Preprocessing | None) -> ImageData:
        """Loads labelled images."""
        return load_images(config.data, config.role == "trial", config.augmentation, config.runtime, checkpoint)

    def build(self, source: BackboneSource, data: DataIdentity, seed: int) -> nn.Module:
        """Builds the classifier."""
        return build_backbone(source, data.num_classes, data.image_size, seed, data.test_image_size)

    def open_source(self, images: Any, order: Order, runtime: RuntimeConfig, pin: bool) -> TrainSource:
        """Opens the training images of one process."""
        return open_source(images, order, runtime.workers, pin)

    def make_inputs(self, identity: Identity, seed: int, device: torch.device) -> MakeInputs:
        """Augments images on the device."""
        data = identity.data
        return Augmenter(
            *(identity.augmentation, identity.training, data.image_size, data.num_classes, data.mean, data.std, seed),
            device,
        )

    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """Cross-entropy against labels; the loop takes the loss of the setting instead."""
        return nn.functional.cross_entropy(outputs.float(), targets)

    def evaluate(
        self, model: nn.Module, images: Sized, identity: Identity, accelerator: Accelerator, runtime: RuntimeConfig
    ) -> Evaluated:
        """Top-1 of a split."""
        device = accelerator.device
        mean, std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (identity.data.mean, identity.data.std))
        found = evaluate(model, cast(TestImages, images), mean, std, accelerator, runtime.workers)
        details = {} if found.top5 is None else {"top-5": found.top5}
        return Evaluated(found.n, found.top1, found.loss, details, found.correct)

    def reference_loss(self, data: Any) -> float | None:
        """None: the rule of divergence computes it from the setting's own targets (``bocb_hf.engine.divergence``)."""
        return None

    def predict(self, network: nn.Module, identity: Identity, images: Sequence[Image.Image], **more: Any) -> list[Any]:
        """Refused: ``TrainedClassifier.logits`` does it."""
        raise InputError("a classifier predicts by model.logits(images)")
