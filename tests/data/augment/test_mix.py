"""Mixup and cutmix against timm."""

from __future__ import annotations

import numpy as np
import pytest
import timm.data.mixup
import timm.data.random_erasing
import timm.data.transforms
import torch
from augment_cases import (
    CLASSES,
    augmenter,
    has_law,
    images,
    labels,
    plain,
    same_law,
)
from scipy import stats

from bocb_hf.data.augment import check_micro_batch
from bocb_hf.data.augment.mix import Mix, cut_box, draw_mix, find_partners
from bocb_hf.errors import InputError
from bocb_hf.runs.config import AugmentationConfig


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 1.0), (0.1, 1.0), (0.2, 0.0), (0.0, 1.0)])
def test_shares_are_distributed_as_timms(mixup: float, cutmix: float) -> None:
    config = AugmentationConfig(mixup_alpha=mixup, cutmix_alpha=cutmix)
    mixes = [draw_mix(config, 32, 0, step) for step in range(3000)]
    cuts = [m for m in mixes if m.box is not None]
    if mixup and cutmix:
        assert stats.binomtest(len(cuts), 3000).pvalue > 1e-3
    else:
        assert len(cuts) == (3000 if cutmix else 0)
    if mixup:
        shares = [m.share for m in mixes if m.box is None]
        assert has_law(shares, stats.beta(mixup, mixup).cdf)
    if cutmix:
        np.random.seed(0)  # noqa: NPY002 (timm draws from it)
        theirs = timm.data.mixup.Mixup(0.0, cutmix)
        drawn = [timm.data.mixup.cutmix_bbox_and_lam((3, 32, 32), theirs._params_per_batch()[0]) for _ in range(3000)]
        assert same_law([m.share for m in cuts], [share for _, share in drawn])
        for edge in range(4):  # top, bottom, left, right
            ours = [m.box[edge] for m in cuts if m.box is not None]
            assert same_law(ours, [int(box[edge]) for box, _ in drawn])


@pytest.mark.parametrize("mix", [Mix(0.3, None), Mix(1 - 6 * 20 / 32**2, (2, 8, 12, 32))])
def test_mixing_equals_timms(monkeypatch: pytest.MonkeyPatch, mix: Mix) -> None:
    """timm pairs image i with B-1-i: rows are given so that these are neighbours."""
    pixels, rows = images(8), torch.tensor([0, 2, 4, 7, 6, 5, 3, 1])
    monkeypatch.setattr("bocb_hf.data.augment.pipeline.draw_mix", lambda *_: mix)
    found, targets = augmenter(8, mixup_alpha=1.0)(pixels, labels(8), rows, step=0)
    reference = timm.data.mixup.Mixup(1.0, 1.0, label_smoothing=0.1, num_classes=CLASSES)
    monkeypatch.setattr(reference, "_params_per_batch", lambda: (mix.share, mix.box is not None))
    monkeypatch.setattr(timm.data.mixup, "rand_bbox", lambda *_, **__: mix.box)
    expected, expected_targets = reference(plain(pixels), labels(8))
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(targets, expected_targets, atol=1e-7)


def test_cutmix_box_is_timms_for_the_same_share_and_centre(monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(300):
        share, centre = k / 299, (5 * k % 32, 7 * k % 32)
        answers = iter(centre)
        monkeypatch.setattr(np.random, "randint", lambda *_, answers=answers, **__: next(answers))
        assert cut_box(share, 32, *centre) == tuple(map(int, timm.data.mixup.rand_bbox((3, 32, 32), share)))


def test_partners_are_neighbours_in_any_order() -> None:
    rows = torch.tensor([9, 4, 2, 8, 3, 5])
    assert find_partners(rows).tolist() == [3, 5, 4, 0, 2, 1]


@pytest.mark.parametrize("rows", [[0, 1, 2], [1, 2], [0, 2], [0, 1, 3, 4], [0, 1, 2, 4]])
def test_torn_pairs_are_refused(rows: list[int]) -> None:
    with pytest.raises(InputError, match="2j and 2j\\+1"):
        augmenter(mixup_alpha=0.8)(images(len(rows)), labels(len(rows)), torch.tensor(rows), step=0)


def test_odd_micro_batches_are_refused_only_when_mixing() -> None:
    with pytest.raises(InputError, match="holds 25; change the batch"):
        check_micro_batch(AugmentationConfig(cutmix_alpha=1.0), 25)
    check_micro_batch(AugmentationConfig(cutmix_alpha=1.0), 24)
    check_micro_batch(AugmentationConfig(random_erasing=0.5), 25)
