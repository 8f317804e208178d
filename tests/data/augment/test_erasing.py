"""Random erasing against timm."""

from __future__ import annotations

import random

import numpy as np
import pytest
import timm.data.mixup
import timm.data.random_erasing
import timm.data.transforms
import torch
from augment_cases import (
    Replay,
    has_law,
    same_law,
)
from scipy import stats

from bocb_hf.data.augment import COLUMNS
from bocb_hf.data.augment.draws import ERASED_BOXES, ERASED_PLACE, ERASES
from bocb_hf.data.augment.erasing import draw_noise, draw_rectangles, erase
from bocb_hf.data.sampling import step_uniforms


def test_rectangles_are_those_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers give the same rectangles; sizes at which a rectangle often does not fit are among them."""
    for size in (8, 32, 224):
        draws = step_uniforms(400, COLUMNS, size, 0).double()
        rectangles = draw_rectangles(draws, size, 0.25)
        eraser = timm.data.random_erasing.RandomErasing(0.25, mode="const", device="cpu")
        for draw, (top, left, height, width) in zip(draws, rectangles.tolist(), strict=True):
            answers = Replay(draw[ERASED_BOXES], draw[ERASED_PLACE], chance=float(draw[ERASES]))
            monkeypatch.setattr(timm.data.random_erasing, "random", answers)
            expected = torch.ones(3, size, size)
            found = expected.clone()
            eraser(expected)
            found[:, top : top + height, left : left + width] = 0
            assert torch.equal(found, expected)


def test_rectangles_are_distributed_as_timms() -> None:
    rectangles = draw_rectangles(step_uniforms(6000, COLUMNS, 0, 0).double(), 64, 0.5)
    erased = rectangles[rectangles[:, 2] > 0]
    random.seed(0)
    eraser = timm.data.random_erasing.RandomErasing(0.5, mode="const", device="cpu")
    sides = [(int(i.any(1).sum()), int(i.any(0).sum())) for i in 1 - eraser(torch.ones(6000, 1, 64, 64))[:, 0]]
    theirs = np.array([pair for pair in sides if pair[0]])
    assert stats.binomtest(len(erased), 6000).pvalue > 1e-3
    ours = erased[:, 2:].numpy()
    assert same_law(ours.prod(axis=1), theirs.prod(axis=1))
    assert same_law(ours[:, 0] / ours[:, 1], theirs[:, 0] / theirs[:, 1])


def test_erased_pixels_are_normal_noise_and_others_stay() -> None:
    draws = step_uniforms(64, COLUMNS, 0, 0).double()
    inputs = torch.full((64, 3, 32, 32), 9.0)
    found = erase(inputs.clone(), draws, 1.0, draw_noise(32, seed=0, step=0, device=torch.device("cpu")))
    values = []
    for image, (top, left, height, width) in zip(found, draw_rectangles(draws, 32, 1.0).tolist(), strict=True):
        inside = torch.zeros(3, 32, 32, dtype=torch.bool)
        inside[:, top : top + height, left : left + width] = True
        assert (image[~inside] == 9).all()
        values.append(image[inside])
        assert len(values[-1].unique()) > 0.99 * len(values[-1])  # a number of its own for every pixel and channel
    assert len({v[0].item() for v in values}) > 60  # and other ones for every image
    noise = draw_noise(64, seed=0, step=0, device=torch.device("cpu")).numpy()
    assert has_law(noise, stats.norm.cdf)
    assert abs(float(torch.cat(values).mean())) < 0.05
    assert abs(float(torch.cat(values).std()) - 1) < 0.05
    assert not torch.equal(draw_noise(8, 0, 0, torch.device("cpu")), draw_noise(8, 0, 1, torch.device("cpu")))
