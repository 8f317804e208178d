"""The loss of a predictor that knows only the class frequencies, against the losses of real targets."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import make_record

from bocb_hf.data.augment import Augmenter, loss
from bocb_hf.data.splits import Images, StreamedImages
from bocb_hf.engine.divergence import (
    DivergenceRule,
    class_frequencies,
    constant_loss,
    is_hopeless,
    judge_end,
    make_rule,
    mean_targets,
    rule_of_task,
)
from bocb_hf.engine.progress import Progress
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.resources import find_config
from bocb_hf.runs.config import AugmentationConfig
from bocb_hf.runs.identity import Identity
from bocb_hf.runs.training_config import TrainingConfig
from bocb_hf.sweep.plan import load_plan
from bocb_hf.sweep.protocols import grid

SHARES = [0.4, 0.3, 0.2, 0.1]


def identity(augmentation: dict[str, Any], **training: Any) -> Identity:
    """Of a run on four classes, 32 images a step."""
    whole = make_record().identity
    update = {
        "training": TrainingConfig(epochs=2, batch_size=32, **training),
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
    # neither stream nor decoder is used
    stream = StreamedImages(stream=None, decoder=None, count=6, classes=4)  # type: ignore[arg-type]
    assert class_frequencies(stream, 4) == pytest.approx([0.25] * 4)


def test_the_identity_names_the_rule() -> None:
    old = identity({}, divergence_epochs=3.0)
    new = identity({}, divergence_rule="end")
    assert make_rule(old, "trial", np.array(SHARES), 0, 7).stretch == 21
    assert not make_rule(old, "trial", np.array(SHARES), 0, 7).early
    assert [make_rule(new, role, np.array(SHARES), 0, 7).early for role in ("trial", "final")] == [True, False]
    assert make_rule(new, "trial", np.array(SHARES), 0, 7).stretch is None


# the trials of the demo, trained without ever ending one early (benchmarks/divergence_curves.py)

CURVES = json.loads(Path(__file__).with_name("divergence_curves.json").read_text(encoding="utf-8"))
THIN = 3  # steps of a point
CHANCE = math.log(10)  # ten equally frequent classes, no smoothing


def epoch_means(curve: dict[str, Any]) -> list[float]:
    """Mean loss of each whole epoch."""
    parts = curve["steps_per_epoch"] // THIN
    return [sum(curve["loss"][i * parts : (i + 1) * parts]) / parts for i in range(len(curve["loss"]) // parts)]


def ended_early(curve: dict[str, Any]) -> bool:
    """Whether a trial is ended before its last epoch, at a loss that is finite."""
    means = epoch_means(curve)[: curve["epochs"] - 1]
    return any(is_hopeless(means[:i], CHANCE) for i in range(1, len(means) + 1))


def test_the_curves_cover_the_grid_of_the_demo() -> None:
    plan = load_plan(Path(find_config("demo", "recipes/sweeps")))
    found = {(c["backbone"], c["optimizer"], c["lr"]) for c in CURVES}
    for backbone, optimizer in itertools.product(plan.backbones, plan.optimizers):
        centre = OPTIMIZERS.get(optimizer).centre("demo").lr
        assert {(backbone, optimizer, lr) for lr in grid(centre, plan.tuning)} <= found
    assert all(c["steps_per_epoch"] % THIN == 0 for c in CURVES)


def test_no_trial_that_recovers_is_ended_early_and_some_that_do_not_are() -> None:
    whole = [c for c in CURVES if c["not_finite_at"] is None]
    trained = [c for c in whole if epoch_means(c)[-1] <= CHANCE]
    lost = [c for c in whole if c not in trained]
    assert not any(map(ended_early, trained))
    assert sum(map(ended_early, lost)) >= 2
    # one of those that recover began with an epoch at ten times the reference and more
    assert max(epoch_means(c)[0] for c in trained) > 10 * CHANCE
    # the verdict at the end: none that trained is called diverged, as the rule of the first step did
    assert not any(judge_end(epoch_means(c), CHANCE) for c in trained)
    old = DivergenceRule(CHANCE, stretch=93)
    wrong = 0
    for curve in trained:
        losses = np.repeat(curve["loss"], THIN).tolist()
        wrong += Progress(step=len(losses)).watch(losses, old)
    assert wrong > 0


def test_losses_that_stop_being_finite_end_a_trial_before_its_second_epoch_does() -> None:
    broken = [c for c in CURVES if c["not_finite_at"] is not None]
    assert broken
    assert all(c["not_finite_at"] < 2 * c["steps_per_epoch"] for c in broken)


@pytest.mark.parametrize(
    ("means", "hopeless"),
    [([50.0], False), ([50.0, 49.0], False), ([50.0, 50.0], True), ([1.0, 46.1], True), ([1.0, 46.0], False)],
)
def test_when_a_trial_is_hopeless(means: list[float], hopeless: bool) -> None:
    reason = is_hopeless(means, 2.302)
    assert (reason is not None) is hopeless
    if reason is not None:
        assert "above 20 times the 2.302 of a predictor" in reason


def test_a_task_without_a_reference_diverges_by_its_first_epoch() -> None:
    rule = rule_of_task(None, "trial")
    assert (rule.reference, rule.early, rule.stretch) == (None, False, None)
    assert judge_end([2.0, 1.5], None) is None
    assert judge_end([2.0, 2.5], None) == "the mean training loss of the last epoch was 2.5, above 2 of the first epoch"
    assert rule_of_task(0.7, "trial").early and not rule_of_task(0.7, "final").early
