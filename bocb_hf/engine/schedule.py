"""The learning rate at each step."""

from __future__ import annotations

import math

from bocb_hf.runs.training_config import TrainingConfig


def learning_rate(step: int, total_steps: int, steps_per_epoch: int, lr: float, config: TrainingConfig) -> float:
    """Linear warm-up from lr/W over the first W steps, then the schedule of the setting.

    With ``cosine``, the rate falls to ``min_lr`` (Loshchilov & Hutter 2017); with ``step``, it is multiplied by
    ``step_factor`` at each of ``step_epochs``; with ``constant``, it stays; and with ``wsd``, it stays and then falls
    linearly to zero over the last ``decay_epochs`` (Hu et al. 2024, arXiv 2404.06395; the linear form of Haegele et al.
    2024, arXiv 2405.18392).

    Args:
        step: Number of the step, from 0 to ``total_steps`` - 1.
        total_steps: Number of steps in the whole run.
        steps_per_epoch: Number of steps in one epoch, by which settings that are given in epochs are converted.
        lr: Peak learning rate.
        config: Schedule, warm-up and final learning rate.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return lr * (step + 1) / warmup
    if config.schedule == "step":
        return lr * config.step_factor ** sum(step >= round(epoch * steps_per_epoch) for epoch in config.step_epochs)
    if config.schedule == "wsd":
        decay = max(1, round(config.decay_epochs * steps_per_epoch))
        return lr * min(1.0, (total_steps - step) / decay)
    if config.schedule == "constant":
        return lr
    low = min(config.min_lr, lr)
    done = (step - warmup) / max(1, total_steps - warmup)
    return low + (lr - low) * 0.5 * (1 + math.cos(math.pi * done))
