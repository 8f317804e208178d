"""The progress of a run: everything beside weights and optimizer state that an exact resume needs."""

from __future__ import annotations

import base64
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bocb_hf.engine.divergence import DIVERGED_ABOVE, DivergenceRule, is_hopeless, judge_end
from bocb_hf.runs.measurements import Correctness, Curve, Measurement


@dataclass
class Progress:
    """Mutable state of the loop in plain values; ``accelerate`` saves it beside weights and optimizer.

    Attributes:
        step: Number of steps done.
        recent: Losses of the last steps, at most the stretch of the rule ``first_step``; empty under any other rule.
        window: (loss, top-1 in percent) of the steps since the last logged point.
        epoch: Losses of the steps of this epoch.
        epoch_loss: Mean loss of each finished epoch.
        start_loss: Loss of the first step.
        diverged_at: Step of divergence, with its reason in ``reason``.
        validation_n: Number of images in the validation split, 0 without one.
        score: Name of the metric of a task other than classification; then ``val_top1`` holds its values and
            ``train_top1`` nothing of meaning.
        validation_packed: Which validation images the last evaluation classified correctly, packed as in
            ``Correctness``; None before the first.
        train_seconds: Time in the loop, over all sessions.
        seconds: The share of ``train_seconds`` that each part of a step took, over all sessions.
        waited_seconds: Time in which the loop waited for images, over all sessions.
        energy_joules: Energy that the device used, over all sessions; None where it reports none.
        replayed_epochs: How often a stream had to begin an epoch anew, over all sessions.
        resumed: Number of sessions before this one.
        inspections: What the weights were like at the steps that were asked for, as plain values of ``Inspection``.
    """

    step: int = 0
    recent: list[float] = field(default_factory=list)
    window: list[tuple[float, float]] = field(default_factory=list)
    epoch: list[float] = field(default_factory=list)
    epoch_loss: list[float] = field(default_factory=list)
    start_loss: float | None = None
    diverged_at: int | None = None
    reason: str | None = None
    logged_step: list[int] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    train_top1: list[float] = field(default_factory=list)
    grad_norm: list[float | None] = field(default_factory=list)
    update_ratio: list[float | None] = field(default_factory=list)
    val_step: list[int] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_top1: list[float] = field(default_factory=list)
    val_top5: list[float | None] = field(default_factory=list)
    validation_n: int = 0
    validation_packed: str | None = None
    score: str | None = None
    wall_seconds: float = 0.0
    train_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    waited_seconds: float = 0.0
    energy_joules: float | None = None
    replayed_epochs: int = 0
    peak_memory_bytes: int = 0
    resumed: int = 0
    inspections: list[dict[str, Any]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        """Returns all fields as plain values; ``accelerate`` calls this to save."""
        return asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the fields from what ``state_dict`` returned; ``accelerate`` calls this to load."""
        for name, value in state.items():
            setattr(self, name, value)

    def log_point(self, lr: float, grad_norm: float, update_ratio: float) -> None:
        """Adds a point to the curve: this step and the means over the window; then empties the window."""
        losses, top1 = zip(*self.window, strict=True)
        self.logged_step.append(self.step)
        self.lr.append(lr)
        self.train_loss.append(sum(losses) / len(losses))
        self.train_top1.append(sum(top1) / len(top1))
        self.grad_norm.append(grad_norm if math.isfinite(grad_norm) else None)
        self.update_ratio.append(update_ratio if math.isfinite(update_ratio) else None)
        self.window = []

    def end_epoch(self, rule: DivergenceRule, last: bool) -> None:
        """Keeps the mean loss of the epoch that ended, and judges it where the rule judges at the end of epochs.

        Args:
            rule: Divergence rule of the run.
            last: Whether the run has done all of its steps.
        """
        self.epoch_loss.append(sum(self.epoch) / len(self.epoch))
        self.epoch = []
        reason = None
        if rule.stretch is None and last:
            reason = judge_end(self.epoch_loss, rule.reference)
        elif rule.early and rule.reference is not None:
            reason = is_hopeless(self.epoch_loss, rule.reference)
        if reason is not None:
            self.diverged_at, self.reason = self.step, reason

    def watch(self, losses: list[float], rule: DivergenceRule) -> bool:
        """Checks the losses of the steps since the last call, one by one.

        Since each loss is checked by itself, the verdict does not depend on how often this is called.

        Args:
            losses: Losses of the steps up to and including ``self.step``.
            rule: Divergence rule of the run.

        Returns:
            Whether the run has diverged; ``diverged_at`` and ``reason`` then say when and why.
        """
        first = self.step - len(losses)
        for offset, loss in enumerate(losses):
            if not math.isfinite(loss):
                self.diverged_at = first + offset + 1
                self.reason = f"the loss was {loss} at step {self.diverged_at}"
                return True
            if self.start_loss is None:
                self.start_loss = loss
            self.epoch.append(loss)
            if (stretch := rule.stretch) is None:
                continue
            self.recent.append(loss)
            del self.recent[:-stretch]
            if len(self.recent) == stretch and (mean := sum(self.recent) / stretch) > DIVERGED_ABOVE * self.start_loss:
                self.diverged_at = first + offset + 1
                self.reason = (
                    f"the mean loss of {stretch} steps up to step {self.diverged_at} was {mean:.4g}, "
                    f"above {DIVERGED_ABOVE} times its start of {self.start_loss:.4g}"
                )
                return True
        return False

    def validate(self, loss: float, top1: float, top5: float | None, correct: NDArray[np.bool_] | None) -> None:
        """Adds an evaluation of the validation split to the curve.

        Args:
            loss: Mean loss in nats.
            top1: Top-1 in percent, or the score of another task.
            top5: Top-5 in percent; None with fewer than 6 classes.
            correct: Which images are classified correctly, shape (N,); None for another task.
        """
        self.val_step.append(self.step)
        self.val_loss.append(loss)
        self.val_top1.append(top1)
        self.val_top5.append(top5)
        if correct is not None:
            self.validation_packed = Correctness.from_bits(correct).packed

    def validation_correctness(self) -> Correctness | None:
        """Which validation images the last evaluation classified correctly; None where a saved state holds none."""
        if self.validation_packed is None:
            return None
        bits = np.unpackbits(np.frombuffer(base64.b64decode(self.validation_packed), np.uint8))
        return Correctness(n=self.validation_n, k=int(bits.sum()), packed=self.validation_packed)

    def curve(self) -> Curve:
        """The logged points."""
        return Curve(
            step=self.logged_step,
            lr=self.lr,
            train_loss=self.train_loss,
            train_top1=self.train_top1 if self.score is None else [],
            val_step=self.val_step,
            val_loss=self.val_loss,
            val_top1=self.val_top1 if self.score is None else [],
            val_score=None if self.score is None else self.val_top1,
            grad_norm=self.grad_norm,
            update_ratio=self.update_ratio,
        )

    @property
    def loss_unit(self) -> Literal["nats", "loss"]:
        """Unit of the losses."""
        return "nats" if self.score is None else "loss"

    def train_measurement(self, n: int) -> Measurement | None:
        """Training loss of the first step, and its mean in the best and the last epoch; None before the first step."""
        if self.start_loss is None:
            return None
        ended = self.diverged_at is not None or not self.epoch_loss
        best = min(self.epoch_loss, default=None)
        last = None if ended else self.epoch_loss[-1]
        return Measurement(unit=self.loss_unit, n=n, initial=self.start_loss, best=best, last=last)

    def validation_measurements(self) -> dict[str, Measurement]:
        """Validation loss, top-1 and top-5: before training, at their best, and with the last weights."""
        ended = self.diverged_at is not None
        found: dict[str, Measurement] = {}
        for name, values, best in (
            ("loss", self.val_loss, min),
            ("top1", self.val_top1, max),
            ("top5", self.val_top5, max),
        ):
            known = [v for v in values if v is not None]
            if known:
                unit = self.loss_unit if name == "loss" else "percent"
                key = "score" if name == "top1" and self.score is not None else name
                found[f"val_{key}"] = Measurement(
                    unit=unit,
                    n=self.validation_n,
                    initial=known[0],
                    best=best(known),
                    last=None if ended else known[-1],
                )
        return found
