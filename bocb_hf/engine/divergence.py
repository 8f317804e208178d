"""When a run has diverged.

A loss or a weight that is not finite is divergence at once. Otherwise a run is judged at its end, by two means of the
training loss:

- It has *not trained* if the mean of the last epoch lies above the loss of a predictor that knows only the frequencies
  of the classes among the training images. That predictor gives every image the same answer, the mean of the setting's
  own targets. Under cross-entropy its loss is the entropy of that mean; under binary cross-entropy it is the mean over
  the classes of the entropy of each class alone. Both hold the entropy that soft targets have by themselves (label
  smoothing, mixup, cutmix).
- If it has not trained, and the mean of the last epoch lies also above the mean of the first epoch, it has diverged.

A run that has not trained but did not get worse is a completed run; its record says so by ``reference_loss``.

Only tuning trials may be ended before that, see ``is_hopeless``. Records that were made before this rule existed have
``divergence_rule: first_step`` in their identity: a mean loss over ``divergence_epochs`` above ``DIVERGED_ABOVE`` times
the loss of the first step ended those runs at once. A run of such a record is repeated under the rule that it names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import entr

from bocb_hf.data.augment.mix import draw_mix, mix_targets
from bocb_hf.data.augment.pipeline import mixes
from bocb_hf.data.augment.targets import soft_targets
from bocb_hf.data.splits import StreamedImages, TrainImages
from bocb_hf.runs.identity import Identity
from bocb_hf.schema import Role

# Chosen on the curves in ``tests/engine/divergence_curves.json``. A ViT with LARS came back from an epoch at 12 times
# the reference, by way of falling epochs; of the runs with a rising epoch above 20 times, none came back.
HOPELESS = 20
# Under the rule ``first_step``, a mean loss this much above the loss of the first step is divergence.
DIVERGED_ABOVE = 1.05


@dataclass(frozen=True)
class DivergenceRule:
    """How the losses of one run are judged.

    Attributes:
        reference: Loss of a predictor that knows only the class frequencies, in nats.
        stretch: Steps over which a mean loss above the start is divergence; None where the run is judged at its end.
        early: Whether a hopeless run is ended at the end of an epoch, which only trials may be.
    """

    reference: float
    stretch: int | None = None
    early: bool = False


def make_rule(
    identity: Identity, role: Role, frequencies: NDArray[np.float64], seed: int, steps_per_epoch: int
) -> DivergenceRule:
    """The rule that the identity of a run names.

    Args:
        identity: Of the run.
        role: Trials may be ended early.
        frequencies: Of the classes among the training images, (K,), with the sum 1.
        seed: Of the run.
        steps_per_epoch: Optimizer steps.
    """
    training = identity.training
    targets = mean_targets(identity, frequencies, seed, steps_per_epoch)
    reference = constant_loss(targets, training.loss)
    if training.divergence_rule == "first_step":
        return DivergenceRule(reference, stretch=max(10, round(training.divergence_epochs * steps_per_epoch)))
    return DivergenceRule(reference, early=role == "trial")


def class_frequencies(images: TrainImages, classes: int) -> NDArray[np.float64]:
    """Share of each class among the training images, (K,).

    The labels of a stream are not known before they are read, so its classes count as equally frequent. No other
    frequencies have a higher reference, so this calls no run diverged that the true ones would not.
    """
    if isinstance(images, StreamedImages):
        return np.full(classes, 1 / classes)
    return np.bincount(images.labels.numpy(), minlength=classes) / len(images)


def mean_targets(
    identity: Identity, frequencies: NDArray[np.float64], seed: int, steps_per_epoch: int
) -> NDArray[np.float64]:
    """Mean of the targets that the loss gets in the last epoch, (K,).

    Mixing does not move the mean of the targets, since both images of a pair are drawn alike. A threshold of binary
    cross-entropy comes after mixing and does, so the shares of the last epoch are drawn as the run draws them.

    Args:
        identity: Of the run.
        frequencies: Of the classes, (K,).
        seed: Of the run.
        steps_per_epoch: Optimizer steps.
    """
    training, classes = identity.training, len(frequencies)
    smoothing, threshold = training.label_smoothing, training.bce_target_threshold
    if threshold is None:
        return (1 - smoothing) * frequencies + smoothing / classes
    pair = soft_targets(torch.tensor([0, 1]), classes, smoothing)  # rows of two images of different classes
    alike = frequencies * (pair[0, 0] > threshold).item()
    other = (1 - frequencies) * (pair[0, 1] > threshold).item()
    if not mixes(identity.augmentation):
        return alike + other
    last = range((training.epochs - 1) * steps_per_epoch, training.epochs * steps_per_epoch)
    both, none = frequencies**2, (1 - frequencies) ** 2
    one = frequencies * (1 - frequencies)
    total = np.zeros(classes)
    for step in last:
        mix = draw_mix(identity.augmentation, identity.data.image_size, seed, step)
        mixed = mix_targets(pair, torch.tensor([1, 0]), mix) > threshold
        total += one * (int(mixed[0, 0]) + int(mixed[0, 1]))
    total = total / len(last)
    return total + both * (pair[0, 0] > threshold).item() + none * (pair[0, 1] > threshold).item()


def constant_loss(targets: NDArray[np.float64], loss: str) -> float:
    """Smallest mean loss in nats of a predictor that gives every image the same answer.

    Args:
        targets: Mean of the targets, (K,).
        loss: ``ce``: cross-entropy, -Σ t log q, smallest at q = t with the value of the entropy of t. ``bce``: binary
            cross-entropy of each class, averaged over the classes, likewise.
    """
    if loss == "ce":
        return float(entr(targets).sum())
    return float((entr(targets) + entr(1 - targets)).mean())


def judge_end(epoch_loss: Sequence[float], reference: float) -> str | None:
    """Why a run that has done all of its steps counts as diverged, or None.

    Args:
        epoch_loss: Mean training loss of each epoch.
        reference: Loss of the predictor that knows only the class frequencies.
    """
    first, last = epoch_loss[0], epoch_loss[-1]
    if last <= reference or last <= first:
        return None
    return (
        f"the mean training loss of the last epoch was {last:.4g} nats, above {first:.4g} of the first epoch and above "
        f"{reference:.4g} of a predictor that knows only the class frequencies"
    )


def is_hopeless(epoch_loss: Sequence[float], reference: float) -> str | None:
    """Why a trial is ended at the end of an epoch, or None.

    It is ended by an epoch whose mean loss lies above ``HOPELESS`` times the reference and not below that of the epoch
    before it.

    Args:
        epoch_loss: Mean training loss of each epoch so far.
        reference: Loss of the predictor that knows only the class frequencies.
    """
    if len(epoch_loss) < 2:
        return None
    before, last = epoch_loss[-2:]
    if last <= HOPELESS * reference or last < before:
        return None
    return (
        f"the mean training loss of an epoch was {last:.4g} nats, after {before:.4g} of the epoch before it, and above "
        f"{HOPELESS} times the {reference:.4g} of a predictor that knows only the class frequencies"
    )
