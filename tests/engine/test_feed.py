"""What the network is fed: the same inputs whether steps are augmented together or one by one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor

from bocb_hf.data.augment import Augmenter
from bocb_hf.data.source import Batch, MemorySource, Order
from bocb_hf.data.splits import Images
from bocb_hf.engine import feed as module
from bocb_hf.engine.feed import Feed
from bocb_hf.runs.config import AugmentationConfig
from bocb_hf.runs.training_config import TrainingConfig

EVERYTHING: dict[str, Any] = {
    "horizontal_flip": True,
    "randaugment_magnitude": 9,
    "random_erasing": 0.5,
    "mixup_alpha": 0.8,
    "cutmix_alpha": 1.0,
}
SETS = {
    "nothing": {},
    "padded": EVERYTHING | {"crop_padding": 4},
    "resized": EVERYTHING | {"crop_scale": (0.1, 1.0)},
}
PER_EPOCH, SIZE = 5, 8


class Source(MemorySource):
    """Images in memory; notes which steps were read."""

    def __init__(self, accumulation: int = 1) -> None:
        pixels = torch.randint(0, 256, (44, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        super().__init__(Images(pixels, torch.arange(44) % 7), Order(44, SIZE, seed=3, accumulation=accumulation))
        self.read: list[tuple[int, int]] = []

    def steps(self, epoch: int, first_step: int) -> Iterator[list[Batch]]:
        for step, batches in enumerate(super().steps(epoch, first_step), first_step):
            self.read.append((epoch, step))
            yield batches


def make_feed(source: Source, **augmentation: Any) -> tuple[Feed, Augmenter]:
    training = TrainingConfig(epochs=1, batch_size=SIZE, label_smoothing=0.1)
    augmenter = Augmenter(AugmentationConfig(**augmentation), training, 16, 7, (0.5,) * 3, (0.2,) * 3, 3, "cpu")
    return Feed(source, augmenter, PER_EPOCH, SIZE, torch.contiguous_format), augmenter


def one_by_one(first: int, count: int, accumulation: int, **augmentation: Any) -> list[tuple[Tensor, Tensor]]:
    source = Source(accumulation)
    _, augmenter = make_feed(source, **augmentation)
    found: list[tuple[Tensor, Tensor]] = []
    for step in range(first, first + count):
        for batch in next(source.steps(*divmod(step, PER_EPOCH))):
            found.append(augmenter(batch.pixels, batch.labels, batch.rows, step))
    return found


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("augmentation", SETS.values(), ids=SETS)
def test_steps_together_equal_steps_one_by_one(augmentation: dict[str, Any], first: int, accumulation: int) -> None:
    feed, _ = make_feed(Source(accumulation), **augmentation)
    expected = iter(one_by_one(first, 12, accumulation, **augmentation))
    for step, batches in zip(range(first, first + 12), feed.steps(first), strict=False):
        assert len(batches) == accumulation
        for batch in batches:
            inputs, targets = feed.inputs(batch, step)
            same_inputs, same_targets = next(expected)
            assert torch.equal(inputs, same_inputs)
            assert torch.equal(targets, same_targets)
            assert torch.equal(feed.inputs(batch, step)[0], inputs)  # for a second pass
    assert next(expected, None) is None


def test_no_step_is_read_before_its_epoch_begins_or_augmented_when_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[int]] = []
    real = Augmenter.augment
    monkeypatch.setattr(
        Augmenter, "augment", lambda self, parts, *a: (asked.append([p.step for p in parts]), real(self, parts, *a))[1]
    )
    monkeypatch.setattr(module, "MOST_STEPS", 3)
    source = Source()
    feed, _ = make_feed(source, crop_padding=4)
    read = []
    for step, (batch,) in zip(range(12), feed.steps(0), strict=False):
        read.append(len(source.read))
        if step != 4:
            feed.inputs(batch, step)
    assert read == [3, 3, 3, 5, 5, 8, 8, 8, 10, 10, 13, 13]
    assert source.read[:5] == [(0, step) for step in range(5)]
    assert asked == [[0, 1, 2], [3, 4], [5, 6, 7], [8, 9], [10, 11, 12]]


@pytest.mark.parametrize("reason", ["large images", "images that are still to be decoded"])
def test_steps_are_taken_singly_where_it_would_not_pay(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    source = Source()
    if reason == "large images":
        monkeypatch.setattr(module, "TOGETHER", 2 * SIZE * 3 * 16**2 - 1)
    else:
        source.at_hand = False
    feed, _ = make_feed(source, **SETS["padded"])
    expected = one_by_one(0, 7, 1, **SETS["padded"])
    for step, (batch,) in zip(range(7), feed.steps(0), strict=False):
        assert len(source.read) == step + 1
        assert torch.equal(feed.inputs(batch, step)[0], expected[step][0])


def test_other_batches_are_augmented_alone() -> None:
    """Those that recalibrate batch norm come in between, by a way of their own."""
    source = Source()
    feed, augmenter = make_feed(source, **SETS["padded"])
    steps = feed.steps(0)
    (first,) = next(steps)
    feed.inputs(first, 0)
    for (other,) in islice(source.steps(0, 0), 2):
        expected = augmenter(other.pixels, other.labels, other.rows, 2)[0]
        assert torch.equal(feed.inputs(other, 2)[0], expected)
    assert torch.equal(feed.inputs(first, 0)[0], one_by_one(0, 1, 1, **SETS["padded"])[0][0])
