"""The loss of a predictor that knows only the class frequencies, against the losses of real targets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from builders import make_record

from bocb_hf.data.augment import Augmenter, loss
from bocb_hf.data.splits import Images, StreamedImages
from bocb_hf.engine.divergence import class_frequencies, constant_loss, make_rule, mean_targets
from bocb_hf.runs.config import AugmentationConfig, TrainingConfig
from bocb_hf.runs.identity import Identity

SHARES = [0.4, 0.3, 0.2, 0.1]


def identity(augmentation: dict[str, Any], **training: Any) -> Identity:
    """Of a run on four classes, 32 images a step."""
    whole = make_record().identity
    sizes: dict[str, Any] = {"epochs": 2, "batch_size": 32}
    update = {
        "training": TrainingConfig(**(sizes | training)),
        "augmentation": AugmentationConfig(**augmentation),
        "data": whole.data.model_copy(update={"num_classes": 4, "image_size": 8}),
    }
    return whole.model_copy(update=update)


CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({}, {"label_smoothing": 0.2}),
    ({"mixup_alpha": 0.8}, {"label_smoothing": 0.1}),
    ({"mixup_alpha": 0.8, "cutmix_alpha": 1.0}, {}),
    ({}, {"loss": "bce"}),
    ({"mixup_alpha": 0.8, "cutmix_alpha": 1.0}, {"loss": "bce", "label_smoothing": 0.1}),
    ({}, {"loss": "bce", "bce_target_threshold": 0.2, "label_smoothing": 0.1}),
    ({}, {"loss": "bce", "bce_target_threshold": 0.01, "label_smoothing": 0.1}),  # every target counts as 1
    ({"mixup_alpha": 0.8}, {"loss": "bce", "bce_target_threshold": 0.2}),
    ({"cutmix_alpha": 1.0}, {"loss": "bce", "bce_target_threshold": 0.2, "label_smoothing": 0.1}),
]


@pytest.mark.parametrize(("augmentation", "training"), CASES)
def test_the_best_constant_answer_has_the_reference_as_its_loss(
    augmentation: dict[str, Any], training: dict[str, Any]
) -> None:
    """The targets of many steps as the run makes them, and the loss of the logits that fit their mean."""
    run, steps = identity(augmentation, **training), 400
    frequencies = np.array(SHARES)
    targets = mean_targets(run, frequencies, seed=3, steps_per_epoch=steps)
    reference = constant_loss(targets, run.training.loss)
    augmenter = Augmenter(run.augmentation, run.training, 8, 4, (0.0,) * 3, (1.0,) * 3, 3, "cpu")
    chances = torch.tensor(targets, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
    logits = chances.log() if run.training.loss == "ce" else torch.logit(chances)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.zeros(32, 3, 8, 8, dtype=torch.uint8)
    losses, other = [], []
    for step in range(steps, 2 * steps):
        labels = torch.multinomial(torch.tensor(SHARES), 32, replacement=True, generator=generator)
        _, made = augmenter(pixels, labels, torch.arange(32), step)
        for answer, found in ((logits, losses), (logits + torch.tensor([0.3, 0.0, 0.0, 0.0]), other)):
            found.append(loss(answer.float().expand(32, 4), made, run.training).item())
    assert np.mean(losses) == pytest.approx(reference, abs=0.01)
    assert np.mean(other) > np.mean(losses) - 1e-6  # and no other answer is better
    rule = make_rule(run, "trial", frequencies, 3, steps)
    assert rule.reference == reference


def test_equal_classes_under_cross_entropy_give_the_logarithm_of_their_number() -> None:
    for smoothing in (0.0, 0.1):
        targets = mean_targets(identity({}, label_smoothing=smoothing), np.full(4, 0.25), 0, 1)
        assert constant_loss(targets, "ce") == pytest.approx(math.log(4))
        assert constant_loss(targets, "bce") == pytest.approx(-0.25 * math.log(0.25) - 0.75 * math.log(0.75))


def test_the_frequencies_of_the_training_images() -> None:
    labels = torch.tensor([0, 0, 2, 2, 2, 1])
    assert class_frequencies(Images(torch.zeros(6, 3, 1, 1, dtype=torch.uint8), labels), 4) == pytest.approx(
        [1 / 3, 1 / 6, 1 / 2, 0]
    )
    stream = StreamedImages(stream=None, decoder=None, count=6, classes=4)  # type: ignore[arg-type]
    assert class_frequencies(stream, 4) == pytest.approx([0.25] * 4)


def test_the_identity_names_the_rule() -> None:
    old = identity({}, divergence_epochs=3.0)
    new = identity({}, divergence_rule="end")
    assert make_rule(old, "trial", np.array(SHARES), 0, 7).stretch == 21
    assert not make_rule(old, "trial", np.array(SHARES), 0, 7).early
    assert [make_rule(new, role, np.array(SHARES), 0, 7).early for role in ("trial", "final")] == [True, False]
    assert make_rule(new, "trial", np.array(SHARES), 0, 7).stretch is None
