"""Batched crops against torchvision and timm, one image at a time."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
import timm.data.mixup
import timm.data.random_erasing
import timm.data.transforms
import torch
from augment_cases import (
    Replay,
    augmenter,
    images,
    labels,
    plain,
    same_law,
)
from PIL import Image
from scipy import stats
from torch.nn import functional
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as vision

from bocb_hf.data.augment import COLUMNS, crop, crop_box
from bocb_hf.data.augment.crop import resize_weights, resized_crop
from bocb_hf.data.augment.draws import BOXES, FLIP, PLACE
from bocb_hf.data.sampling import step_uniforms


@pytest.mark.parametrize("mode", ["zeros", "reflect"])
@pytest.mark.parametrize("flip", [True, False])
def test_padded_crop_equals_torchvision(mode: str, flip: bool) -> None:
    count, padding = 50, 3
    pixels = images(count, 12)
    augment = augmenter(count, 12, crop_padding=padding, crop_padding_mode=mode, horizontal_flip=flip)
    inputs, _ = augment(pixels, labels(count), torch.arange(count), step=4)
    uniforms = step_uniforms(count, COLUMNS, 0, 4).tolist()
    vision_mode = "constant" if mode == "zeros" else mode
    for image, draw, result in zip(pixels, uniforms, inputs, strict=True):
        top, left = (math.floor(u * (2 * padding + 1)) for u in draw[PLACE])
        expected = vision.crop(vision.pad(image, [padding], padding_mode=vision_mode), top, left, 12, 12)
        if flip and draw[FLIP] < 0.5:
            expected = vision.hflip(expected)
        assert torch.equal(result, plain(expected[None])[0])


def test_every_place_of_a_crop_is_equally_likely() -> None:
    uniforms = step_uniforms(60_000, COLUMNS, seed=0, step=0)
    assert stats.chisquare(torch.bincount((uniforms[:, 0] * 5).long()).numpy()).pvalue > 1e-3
    assert stats.binomtest(int((uniforms[:, FLIP] < 0.5).sum()), 60_000).pvalue > 1e-3


@pytest.mark.parametrize(("height", "width"), [(32, 32), (40, 100), (300, 40)])
def test_boxes_are_those_of_torchvision_and_timm(monkeypatch: pytest.MonkeyPatch, height: int, width: int) -> None:
    """The same numbers give the same boxes, also where ten tries fail: timm's code is torchvision's."""
    uniforms = step_uniforms(500, COLUMNS, 1, 0)
    boxes = crop_box(uniforms, height, width, (0.08, 1.0), (3 / 4, 4 / 3))
    together = crop_box(uniforms, torch.full((500,), height), torch.full((500,), width), (0.08, 1.0), (3 / 4, 4 / 3))
    assert torch.equal(boxes, together)
    assert torch.equal(boxes[7:8], crop_box(uniforms[7:8], height, width, (0.08, 1.0), (3 / 4, 4 / 3)))
    crop = timm.data.transforms.RandomResizedCropAndInterpolation
    picture = Image.new("RGB", (width, height))
    for draw, box in zip(uniforms, boxes.tolist(), strict=True):
        monkeypatch.setattr(timm.data.transforms, "random", Replay(draw[BOXES], draw[PLACE]))
        assert crop.get_params(picture, (0.08, 1.0), (3 / 4, 4 / 3)) == tuple(box)


def test_boxes_are_distributed_as_torchvisions() -> None:
    boxes = crop_box(step_uniforms(4000, COLUMNS, 2, 0), 60, 80, (0.08, 1.0), (0.75, 1.33)).numpy()
    torch.manual_seed(0)
    blank = torch.zeros(3, 60, 80)
    drawn = np.array([RandomResizedCrop.get_params(blank, [0.08, 1.0], [0.75, 1.33]) for _ in range(4000)])
    for ours, theirs in zip(boxes.T, drawn.T, strict=True):
        assert same_law(ours, theirs)
    assert same_law(boxes[:, 2] * boxes[:, 3], drawn[:, 2] * drawn[:, 3])


@pytest.mark.parametrize("size", [8, 28, 32, 224])
def test_resized_crop_equals_torch_and_torchvision(size: int) -> None:
    pixels = images(24, 32, 48)
    boxes = crop_box(step_uniforms(24, COLUMNS, 0, 0), 32, 48, (0.08, 1.0), (3 / 4, 4 / 3))
    flips = torch.arange(24) % 3 == 0
    found = resized_crop(pixels, boxes, flips, size)
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    smooth = functional.avg_pool2d(functional.pad(pixels.float(), (4,) * 4, mode="reflect"), 9, 1).to(torch.uint8)
    found_smooth = resized_crop(smooth, boxes, flips, size)
    for k, (top, left, height, width) in enumerate(boxes.tolist()):
        crop = pixels[k : k + 1, :, top : top + height, left : left + width].float()
        expected = functional.interpolate(crop, (size, size), mode="bicubic", antialias=True)
        picture = Image.fromarray(smooth[k].permute(1, 2, 0).numpy())
        resized = vision.resized_crop(
            cast(Any, picture), top, left, height, width, [size] * 2, InterpolationMode.BICUBIC
        )
        by_pillow = torch.from_numpy(np.array(resized)).permute(2, 0, 1)
        if flips[k]:
            expected, by_pillow = expected.flip(3), by_pillow.flip(2)
        # half a level is rounding
        assert float((found[k : k + 1] - expected.clamp(0, 255)).abs().max()) < 0.501
        assert int((found_smooth[k].int() - by_pillow.int()).abs().max()) <= 1


def test_decoders_may_crop() -> None:
    """With ``cropped``, images that were cropped to ``crop_box`` by who decoded them get the same flip and the rest."""
    pixels, rows, config = images(16, 40), torch.arange(16), {"crop_scale": (0.3, 1.0), "horizontal_flip": True}
    boxes = crop_box(step_uniforms(16, COLUMNS, 0, 3), 40, 40, (0.3, 1.0), (3 / 4, 4 / 3))
    decoded = resized_crop(pixels, boxes, torch.zeros(16, dtype=torch.bool), 32)
    here, _ = augmenter(**config)(pixels, labels(16), rows, step=3)
    there, _ = augmenter(**config)(decoded, labels(16), rows, step=3, cropped=True)
    assert torch.equal(here, there)


@pytest.mark.parametrize(("pixels", "size"), [(6, 9), (9, 6)])
def test_weights_from_the_table_are_those_of_each_crop(pixels: int, size: int) -> None:
    """Of every crop that there is, as it is and mirrored, and where there are too many for a table."""
    crops = torch.tensor([(a, n) for n in range(1, pixels + 1) for a in range(pixels - n + 1)])
    shuffled = crops[torch.randperm(len(crops), generator=torch.Generator().manual_seed(0))].repeat(2, 1)
    flips = torch.arange(len(shuffled)) < len(crops)
    start, length = shuffled.T
    expected = resize_weights(start, length, pixels, size)
    mirrored = torch.where(flips[:, None, None], expected.flip(1), expected)
    for largest in (crop._TABLE, 0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(crop, "_TABLE", largest)
            assert torch.equal(crop._look_up_weights(start, length, None, pixels, size), expected)
            assert torch.equal(crop._look_up_weights(start, length, flips, pixels, size), mirrored)
