"""Targets and losses against timm."""

from __future__ import annotations

import pytest
import timm.data.mixup
import timm.data.random_erasing
import timm.data.transforms
import torch
from augment_cases import (
    CLASSES,
    MEAN,
    STD,
    augmenter,
    images,
    labels,
    training,
)
from timm.loss.binary_cross_entropy import BinaryCrossEntropy
from timm.loss.cross_entropy import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy

from bocb_hf.data.augment import Augmenter, loss
from bocb_hf.data.augment.mix import draw_mix
from bocb_hf.data.augment.targets import soft_targets
from bocb_hf.errors import InputError
from bocb_hf.runs.config import AugmentationConfig


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_targets(smoothing: float) -> None:
    """Labels for plain cross-entropy; else timm's rows, mixed by the share that the step draws."""
    config, rows = AugmentationConfig(mixup_alpha=0.8), torch.tensor([0, 2, 3, 1])
    _, found = augmenter(4, smoothing=smoothing, mixup_alpha=0.8)(images(4), labels(4), rows, step=1)
    share = draw_mix(config, 32, 0, 1).share
    assert torch.allclose(found, timm.data.mixup.mixup_target(labels(4), CLASSES, share, smoothing), atol=1e-7)
    bce = Augmenter(
        AugmentationConfig(), training(4, loss="bce", label_smoothing=smoothing), 32, CLASSES, MEAN, STD, 0, "cpu"
    )
    _, found = bce(images(4), labels(4), rows, step=1)
    assert torch.allclose(found, timm.data.mixup.mixup_target(labels(4), CLASSES, 1.0, smoothing), atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("threshold", [None, 0.0, 0.2])
def test_losses_equal_timms(smoothing: float, threshold: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, CLASSES, generator=generator)
    target = labels(9)
    hard = loss(logits, target, training(label_smoothing=smoothing))
    assert torch.allclose(hard, LabelSmoothingCrossEntropy(smoothing)(logits, target), atol=1e-6)
    mixed = timm.data.mixup.mixup_target(target, CLASSES, 0.3, smoothing)
    soft = loss(logits, mixed, training(label_smoothing=smoothing))  # not smoothed again
    assert torch.allclose(soft, SoftTargetCrossEntropy()(logits, mixed), atol=1e-6)
    binary = training(loss="bce", bce_target_threshold=threshold, label_smoothing=smoothing)
    reference = BinaryCrossEntropy(smoothing, target_threshold=threshold)
    assert torch.allclose(loss(logits, mixed, binary), reference(logits, mixed), atol=1e-6)
    rows = soft_targets(target, CLASSES, smoothing)
    assert torch.allclose(loss(logits, rows, binary), reference(logits, target), atol=1e-6)


def test_binary_loss_of_labels_is_refused() -> None:
    with pytest.raises(InputError, match="a row of targets an image"):
        loss(torch.zeros(3, CLASSES), labels(3), training(loss="bce"))
