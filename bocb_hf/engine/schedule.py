"""The learning rate at each step."""

from __future__ import annotations

import math

from bocb_hf.config import TrainingConfig


def learning_rate(step: int, total_steps: int, steps_per_epoch: int, lr: float, config: TrainingConfig) -> float:
    """Linear warm-up from lr/W over the first W steps, then cosine to ``min_lr`` or constant.

    Args:
        step: From 0 to ``total_steps`` - 1.
        total_steps: Steps of the whole run.
        steps_per_epoch: Steps of one epoch, for the warm-up that is given in epochs.
        lr: Peak learning rate.
        config: Schedule, warm-up and final learning rate.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return lr * (step + 1) / warmup
    if config.schedule == "constant":
        return lr
    low = min(config.min_lr, lr)
    done = (step - warmup) / max(1, total_steps - warmup)
    return low + (lr - low) * 0.5 * (1 + math.cos(math.pi * done))
