"""Decides when a run has diverged.

A loss or a weight that is not finite is divergence at once. Otherwise a run is judged at its end, by two means of the
training loss:

- It has *not trained* if the mean of the last epoch lies above the loss of a predictor that knows only the frequencies
  of the classes among the training images. That predictor gives every image the same answer, the mean of the setting's
  own targets. Under cross-entropy its loss is the entropy of that mean; under binary cross-entropy it is the mean over
  the classes of the entropy of each class alone. Both losses include the entropy that soft targets have by themselves
  (label smoothing, mixup, cutmix).
- If it has not trained, and the mean of the last epoch lies also above the mean of the first epoch, it has diverged.

A run that has not trained but did not get worse is a completed run; its record says so by ``reference_loss``.

Only tuning trials may be ended before their last step, see ``is_hopeless``. Records that are older than this rule have
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

# A trial is hopeless when the loss of an epoch is above this multiple of the reference and has not fallen. The value
# was chosen on the curves in ``tests/engine/divergence_curves.json``. A ViT with LARS recovered from an epoch at 12
# times the reference, through epochs of falling loss; no run recovered whose loss rose in an epoch above 20 times the
# reference.
HOPELESS = 20
# Under the rule ``first_step``, a mean loss above this multiple of the loss of the first step is divergence.
DIVERGED_ABOVE = 1.05


@dataclass(frozen=True)
class DivergenceRule:
    """The rule by which the losses of one run are judged.

    Attributes:
        reference: Loss of a predictor that knows only the class frequencies, in nats; None for a task whose loss has no
            such reference.
        stretch: Steps over which a mean loss above the start is divergence; None where the run is judged at its end.
        early: Whether a hopeless run is ended at the end of an epoch; only trials may be ended so.
    """

    reference: float | None
    stretch: int | None = None
    early: bool = False


def make_rule(
    identity: Identity, role: Role, frequencies: NDArray[np.float64], seed: int, steps_per_epoch: int
) -> DivergenceRule:
    """Makes the divergence rule that the identity of a run names.

    Args:
        identity: Identity of the run.
        role: Role of the run; only trials may be ended early.
        frequencies: Share of each class among the training images, (K,), with the sum 1.
        seed: Seed of the run.
        steps_per_epoch: Number of optimizer steps in an epoch.
    """
    training = identity.training
    targets = mean_targets(identity, frequencies, seed, steps_per_epoch)
    reference = constant_loss(targets, training.loss)
    if training.divergence_rule == "first_step":
        return DivergenceRule(reference, stretch=max(10, round(training.divergence_epochs * steps_per_epoch)))
    return DivergenceRule(reference, early=role == "trial")


def rule_of_task(reference: float | None, role: Role) -> DivergenceRule:
    """Makes the rule of a task other than classification, which judges a run at its end.

    Args:
        reference: Loss of a predictor that sees no image; None where nobody can say it. Then a run has diverged whose
            last epoch has a higher mean loss than its first.
        role: Role of the run; trials may be ended early where there is a reference.
    """
    return DivergenceRule(reference, early=role == "trial" and reference is not None)


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

    Mixing does not move the mean of the targets, since both images of a pair are drawn from the same distribution. A
    threshold of binary cross-entropy is applied after mixing and does move the mean, so with a threshold the shares of
    the last epoch are drawn as the run draws them.

    Args:
        identity: Identity of the run.
        frequencies: Share of each class among the training images, (K,).
        seed: Seed of the run.
        steps_per_epoch: Number of optimizer steps in an epoch.
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
        loss: ``ce`` is cross-entropy, -Σ t log q, which is smallest at q = t, where it is the entropy of t. ``bce`` is
            the binary cross-entropy of each class, averaged over the classes; it is smallest at q = t as well, where it
            is the mean entropy of the single classes.
    """
    if loss == "ce":
        return float(entr(targets).sum())
    return float((entr(targets) + entr(1 - targets)).mean())


def judge_end(epoch_loss: Sequence[float], reference: float | None) -> str | None:
    """Says why a run that has done all of its steps counts as diverged, or returns None.

    Args:
        epoch_loss: Mean training loss of each epoch.
        reference: Loss of the predictor that knows only the class frequencies; None where there is none.
    """
    first, last = epoch_loss[0], epoch_loss[-1]
    if reference is None:
        if last <= first:
            return None
        return f"the mean training loss of the last epoch was {last:.4g}, above {first:.4g} of the first epoch"
    if last <= reference or last <= first:
        return None
    return (
        f"the mean training loss of the last epoch was {last:.4g} nats, above {first:.4g} of the first epoch and above "
        f"{reference:.4g} of a predictor that knows only the class frequencies"
    )


def is_hopeless(epoch_loss: Sequence[float], reference: float) -> str | None:
    """Says why a trial is ended at the end of an epoch, or returns None.

    A trial is ended by an epoch whose mean loss lies above ``HOPELESS`` times the reference and not below the mean loss
    of the epoch before.

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
