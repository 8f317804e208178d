"""Targets of mixed images, and the losses that take them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bocb_hf.errors import InputError
from bocb_hf.runs.training_config import TrainingConfig


def soft_targets(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    """One-hot rows, (B, K) float32, of which the share ``smoothing`` is spread evenly over all classes."""
    off = smoothing / classes
    rows = torch.full((len(labels), classes), off, device=labels.device)
    return rows.scatter_(1, labels[:, None], 1 - smoothing + off)


def loss(logits: Tensor, targets: Tensor, training: TrainingConfig) -> Tensor:
    """Mean loss of a micro-batch.

    For cross-entropy, labels are smoothed here; soft targets are smoothed already. Binary cross-entropy is the
    mean over all images and classes; with ``bce_target_threshold`` every target above it counts as 1, every other as 0,
    as in Wightman et al. (2021), which undoes smoothing.

    Args:
        logits: Logits, (B, K) float32.
        targets: Labels (B,) int64, for cross-entropy only, or soft targets (B, K).
        training: Training configuration: ``loss``, ``label_smoothing`` and ``bce_target_threshold``.

    Raises:
        InputError: The loss is binary cross-entropy, and the targets are labels.
    """
    if training.loss == "ce":
        smoothing = training.label_smoothing if targets.ndim == 1 else 0.0
        return functional.cross_entropy(logits, targets, label_smoothing=smoothing)
    if targets.ndim == 1:
        raise InputError("targets: binary cross-entropy needs a row of targets an image; pass what Augmenter returns")
    if training.bce_target_threshold is not None:
        targets = targets.gt(training.bce_target_threshold).to(targets.dtype)
    return functional.binary_cross_entropy_with_logits(logits, targets)
