"""The section ``training`` of a run: how its network is trained."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from bocb_hf.schema import Frozen, later


class TrainingConfig(Frozen):
    """How the network is trained. Epochs count passes over the training images; learning rates change every step.

    Attributes:
        warmup_epochs: Epochs of linear warm-up, which begins with a first step's share of the learning rate.
        min_lr: Learning rate at which a cosine schedule ends.
        step_epochs: Epochs at which a step schedule multiplies the learning rate by ``step_factor``.
        decay_epochs: Number of last epochs of a ``wsd`` (warm-up, stable, decay) schedule, in which the learning rate
            falls linearly to zero.
        loss: Cross-entropy, or binary cross-entropy of every class, averaged over them.
        bce_target_threshold: Target of a mixed image above which it becomes a full positive (Wightman et al. 2021).
        drop_path: Probability of stochastic depth.
        clip_grad_norm: Largest global gradient norm.
        ema_decay: Decay a step of the averaged weights, which are then the ones that count; None averages nothing.
        no_decay: Rule for the parameters that weight decay leaves alone.
        layer_decay: Factor on the learning rate from each block to the one before it, for fine-tuning.
        linear_probe: Train the head only; the rest stays as it was and is in evaluation mode.
        cached_features: Compute the inputs of the head once, without augmentation, and train a linear probe on them.
        precision: Number format of the forward pass. It decides the result and so belongs to the hash: no machine
            chooses it. ``--dry-run`` measures which precision is faster for this network on this machine.
        divergence_epochs: Under the rule ``first_step``, a mean loss above its start over so many epochs ends the run
            as diverged. The rule ``end`` does not use it.
        divergence_rule: Rule by which a run counts as diverged (see ``bocb_hf.engine.divergence``). ``end`` judges a
            run by its last epoch. ``first_step`` judges it against the loss of its first step, as all runs were judged
            whose records name no rule.
    """

    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(ge=1, le=1_000_000)
    schedule: Literal["cosine", "step", "constant", "wsd"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0)
    min_lr: float = Field(default=0.0, ge=0)
    step_epochs: tuple[float, ...] = later(())
    step_factor: float = later(0.1, gt=0, lt=1)
    decay_epochs: float = later(0.0, ge=0)
    loss: Literal["ce", "bce"] = later("ce")
    bce_target_threshold: float | None = later(None, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    clip_grad_norm: float | None = Field(default=None, gt=0)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    no_decay: Literal["nothing", "norms_biases_embeddings"] = "nothing"
    layer_decay: float | None = later(None, gt=0, le=1)
    linear_probe: bool = later(False)
    cached_features: bool = later(False)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    divergence_epochs: float = Field(default=1.0, gt=0)
    divergence_rule: Literal["first_step", "end"] = later("first_step")

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} must be less than epochs {self.epochs}")
        for name, kind in (("min_lr", "cosine"), ("step_epochs", "step"), ("decay_epochs", "wsd")):
            if getattr(self, name) and self.schedule != kind:
                raise ValueError(f"{name} belongs to the schedule {kind!r}; {self.schedule!r} cannot use it")
        if self.schedule == "step":
            ends = (self.warmup_epochs, *self.step_epochs, self.epochs)
            if not self.step_epochs or any(b <= a for a, b in pairwise(ends)):
                raise ValueError("step_epochs must rise between warmup_epochs and epochs, and hold at least one")
        if self.schedule == "wsd" and not 0 < self.decay_epochs <= self.epochs - self.warmup_epochs:
            raise ValueError("decay_epochs: a wsd schedule needs them, at most epochs - warmup_epochs")
        if self.bce_target_threshold is not None and self.loss != "bce":
            raise ValueError("bce_target_threshold needs loss: bce")
        if self.linear_probe and self.layer_decay is not None:
            raise ValueError("layer_decay is of no use when linear_probe trains the head only")
        if self.cached_features and not self.linear_probe:
            raise ValueError("cached_features are those of a frozen backbone; set linear_probe: true")
        if self.divergence_epochs != 1 and self.divergence_rule != "first_step":
            raise ValueError("divergence_epochs belongs to divergence_rule: first_step; leave it out")
        return self


class TrainingSection(TrainingConfig):
    """The section ``training`` as a user writes it.

    A stored identity that names no rule of divergence is older than the second rule, so there the default is the first
    one. A user who names none gets the newest.
    """

    divergence_rule: Literal["first_step", "end"] = "end"

    def resolved(self) -> TrainingConfig:
        """Returns the section ``training`` with the same values, as an identity holds it."""
        return TrainingConfig(**{name: getattr(self, name) for name in TrainingConfig.model_fields})
