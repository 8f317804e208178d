"""Batched augmentation against torchvision and timm, one image at a time; targets and losses against timm's."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pytest
import timm.data.mixup
import timm.data.random_erasing
import timm.data.transforms
import torch
from PIL import Image
from scipy import stats
from timm.loss.binary_cross_entropy import BinaryCrossEntropy
from timm.loss.cross_entropy import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms import functional as vision

from bocb_hf.config import AugmentationConfig, TrainingConfig
from bocb_hf.data.augment import COLUMNS, Augmenter, check_micro_batch, crop_box, loss, normalize
from bocb_hf.data.augment.crop import resized_crop
from bocb_hf.data.augment.draws import BOXES, ERASED_BOXES, ERASED_PLACE, ERASES, FLIP, OPERATIONS, PLACE
from bocb_hf.data.augment.erasing import draw_noise, draw_rectangles, erase
from bocb_hf.data.augment.mix import Mix, cut_box, draw_mix, find_partners
from bocb_hf.data.augment.randaugment import apply_layer, choose_layers
from bocb_hf.data.augment.targets import soft_targets
from bocb_hf.data.sampling import step_uniforms
from bocb_hf.errors import InputError

MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
CLASSES = 7
EVERYTHING: dict[str, Any] = {
    "crop_padding": 4,
    "horizontal_flip": True,
    "randaugment_magnitude": 9,
    "random_erasing": 0.25,
    "mixup_alpha": 0.8,
    "cutmix_alpha": 1.0,
}
RESIZED: dict[str, Any] = {k: v for k, v in EVERYTHING.items() if k != "crop_padding"} | {"crop_scale": (0.08, 1.0)}


class Replay:
    """Stands in for the module ``random`` inside timm and answers with given uniform numbers."""

    def __init__(self, uniforms: Tensor, places: Tensor, chance: float = 0.0) -> None:
        self.uniforms: Iterator[float] = iter(uniforms.tolist())
        self.places: Iterator[float] = iter(places.tolist())
        self.chance = chance

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * next(self.uniforms)

    def randint(self, low: int, high: int) -> int:
        return low + math.floor(next(self.places) * (high - low + 1))

    def random(self) -> float:
        return self.chance


def images(count: int, height: int = 32, width: int | None = None, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width or height), dtype=torch.uint8, generator=generator)


def labels(count: int) -> Tensor:
    return torch.arange(count) % CLASSES


def training(batch_size: int = 16, **changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({"epochs": 1, "batch_size": batch_size} | changes)


def augmenter(batch_size: int = 16, size: int = 32, seed: int = 0, smoothing: float = 0.1, **changes: Any) -> Augmenter:
    config = AugmentationConfig(**changes)
    setting = training(batch_size, label_smoothing=smoothing)
    return Augmenter(config, setting, size, CLASSES, MEAN, STD, seed, "cpu")


def same_law(ours: Any, theirs: Any) -> bool:
    """Whether two samples may come from one distribution."""
    return cast(Any, stats.ks_2samp(ours, theirs)).pvalue > 1e-3


def has_law(sample: Any, law: Any) -> bool:
    """Whether a sample may come from a distribution."""
    return cast(Any, stats.kstest(sample, law)).pvalue > 1e-3


def as_channels(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(3, 1, 1)


def plain(pixels: Tensor) -> Tensor:
    return normalize(pixels, as_channels(MEAN), as_channels(STD))


# crops


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


# erasing


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


# mixing


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


# the whole


@pytest.mark.parametrize("config", [EVERYTHING, RESIZED], ids=["padded", "resized"])
def test_micro_batches_and_order_do_not_matter(config: dict[str, Any]) -> None:
    pixels, rows = images(16), torch.arange(16)
    whole, whole_targets = augmenter(**config)(pixels, labels(16), rows, step=7)
    assert whole.shape == (16, 3, 32, 32)
    assert whole.dtype == torch.float32
    assert whole_targets.shape == (16, CLASSES)
    assert torch.isfinite(whole).all()
    shuffled = torch.tensor([4, 1, 8, 5, 15, 0, 9, 14])  # four pairs
    for part in (*rows.split(2), *rows.split(8), shuffled):
        cut = augmenter(**config)  # as in another process
        cut(pixels[part], labels(16)[part], part, step=6)  # of which nothing stays behind
        inputs, targets = cut(pixels[part], labels(16)[part], part, step=7)
        assert torch.equal(inputs, whole[part])
        assert torch.equal(targets, whole_targets[part])
        again, _ = cut(pixels[part], labels(16)[part], part, step=7)
        assert torch.equal(again, inputs)


def test_blocks_of_a_cpu_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, rows = images(16), torch.arange(16)
    whole, _ = augmenter(**RESIZED)(pixels, labels(16), rows, step=7)
    monkeypatch.setattr("bocb_hf.data.augment.pipeline._BLOCK", 5 * 3 * 32**2)
    assert torch.equal(augmenter(**RESIZED)(pixels, labels(16), rows, step=7)[0], whole)


@pytest.mark.parametrize("config", [EVERYTHING, EVERYTHING | {"crop_padding_mode": "reflect"}, RESIZED])
def test_the_device_never_has_to_answer(monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]) -> None:
    """On torch's device without values, reading one back or mixing devices in one operation is an error."""
    monkeypatch.setattr(
        "bocb_hf.data.augment.pipeline.draw_noise", lambda *_: torch.zeros(4 * 3 * 32**2, device="meta")
    )
    setting = training(16, label_smoothing=0.1)
    augment = Augmenter(AugmentationConfig(**config), setting, 32, CLASSES, MEAN, STD, 0, "meta")
    for step in range(10):
        inputs, targets = augment(images(16), labels(16), torch.arange(16), step)
        assert inputs.device.type == targets.device.type == "meta"
        assert inputs.shape == (16, 3, 32, 32)
        assert loss(torch.zeros(16, CLASSES, device="meta"), targets, setting).shape == ()


def test_steps_and_seeds_differ_and_global_streams_play_no_part() -> None:
    pixels, rows = images(16), torch.arange(16)

    def inputs(seed: int, step: int) -> Tensor:
        return augmenter(seed=seed, **EVERYTHING)(pixels, labels(16), rows, step)[0]

    torch.manual_seed(1)
    first, state = inputs(0, 0), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(inputs(0, 0), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(inputs(0, 1), first)
    assert not torch.equal(inputs(1, 0), first)


def test_the_order_is_timms() -> None:
    """Crop, flip, RandAugment, normalise, erase, mix, each from its own columns, whatever else is on."""
    pixels, rows, step = images(16), torch.arange(16), 2
    draws = step_uniforms(16, COLUMNS, 0, step).double()
    cropped, _ = augmenter(crop_padding=4, horizontal_flip=True)(pixels, labels(16), rows, step)
    expected = (cropped * as_channels(STD) + as_channels(MEAN)).mul(255).round().to(torch.uint8)
    fill = (255 * torch.tensor(MEAN)).round().to(torch.uint8)
    for layer in choose_layers(draws[:, OPERATIONS], 9, 0.5):
        expected = apply_layer(expected, layer, fill)
    expected = erase(plain(expected), draws, 0.25, draw_noise(32, 0, step, torch.device("cpu")))
    mix = draw_mix(AugmentationConfig(**EVERYTHING), 32, 0, step)
    others = expected.unflatten(0, (8, 2)).flip(1).flatten(0, 1)
    if mix.box is None:
        expected = mix.share * expected + (1 - mix.share) * others
    else:
        top, bottom, left, right = mix.box
        expected[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    found, _ = augmenter(**EVERYTHING)(pixels, labels(16), rows, step)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("config", [{}, EVERYTHING, RESIZED])
def test_the_data_are_left_alone(config: dict[str, Any]) -> None:
    pixels, targets = images(16), labels(16)
    augmenter(**config)(pixels, targets, torch.arange(16), step=0)
    assert torch.equal(pixels, images(16))
    assert torch.equal(targets, labels(16))


def test_nothing_is_drawn_when_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bocb_hf.data.augment.pipeline.step_uniforms", None)
    monkeypatch.setattr("bocb_hf.data.augment.pipeline.draw_mix", None)
    monkeypatch.setattr("bocb_hf.data.augment.pipeline.draw_noise", None)
    pixels = images(5)
    inputs, targets = augmenter(repeats=3)(pixels, labels(5), torch.arange(5), step=0)
    assert torch.equal(inputs, plain(pixels))
    assert torch.equal(targets, labels(5))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (torch.zeros(2, 3, 32, 32), "give \\(B, 3, H, W\\) uint8"),
        (torch.zeros(2, 1, 32, 32, dtype=torch.uint8), "give \\(B, 3, H, W\\) uint8"),
        (torch.zeros(2, 3, 28, 28, dtype=torch.uint8), "28×28, but nothing resizes them to 32"),
    ],
)
def test_wrong_images_are_refused(pixels: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        augmenter(crop_padding=4)(pixels, labels(2), torch.arange(2), step=0)


def test_cropped_images_must_have_the_size() -> None:
    with pytest.raises(InputError, match="40×40, but nothing resizes them to 32"):
        augmenter(crop_scale=(0.5, 1.0))(images(2, 40), labels(2), torch.arange(2), step=0, cropped=True)


def test_reflection_needs_pixels() -> None:
    with pytest.raises(InputError, match="cannot be reflected from an image of 8"):
        augmenter(size=8, crop_padding=8, crop_padding_mode="reflect")
    augmenter(size=8, crop_padding=7, crop_padding_mode="reflect")(images(4, 8), labels(4), torch.arange(4), 0)


# targets and losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_targets(smoothing: float) -> None:
    """Labels for plain cross-entropy; else timm's rows, mixed by the share that the step draws."""
    config, rows = AugmentationConfig(mixup_alpha=0.8), torch.tensor([0, 2, 3, 1])
    _, found = augmenter(4, smoothing=smoothing, mixup_alpha=0.8)(images(4), labels(4), rows, step=1)
    share = draw_mix(config, 32, 0, 1).share
    assert torch.allclose(found, timm.data.mixup.mixup_target(labels(4), CLASSES, share, smoothing), atol=1e-7)
    bce = Augmenter(
        AugmentationConfig(), training(4, loss="bce", label_smoothing=smoothing), 32, CLASSES, MEAN, STD, 0, "cpu"
    )
    _, found = bce(images(4), labels(4), rows, step=1)
    assert torch.allclose(found, timm.data.mixup.mixup_target(labels(4), CLASSES, 1.0, smoothing), atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("threshold", [None, 0.0, 0.2])
def test_losses_equal_timms(smoothing: float, threshold: float | None) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(9, CLASSES, generator=generator)
    target = labels(9)
    hard = loss(logits, target, training(label_smoothing=smoothing))
    assert torch.allclose(hard, LabelSmoothingCrossEntropy(smoothing)(logits, target), atol=1e-6)
    mixed = timm.data.mixup.mixup_target(target, CLASSES, 0.3, smoothing)
    soft = loss(logits, mixed, training(label_smoothing=smoothing))  # not smoothed again
    assert torch.allclose(soft, SoftTargetCrossEntropy()(logits, mixed), atol=1e-6)
    binary = training(loss="bce", bce_target_threshold=threshold, label_smoothing=smoothing)
    reference = BinaryCrossEntropy(smoothing, target_threshold=threshold)
    assert torch.allclose(loss(logits, mixed, binary), reference(logits, mixed), atol=1e-6)
    rows = soft_targets(target, CLASSES, smoothing)
    assert torch.allclose(loss(logits, rows, binary), reference(logits, target), atol=1e-6)


def test_binary_loss_of_labels_is_refused() -> None:
    with pytest.raises(InputError, match="a row of targets an image"):
        loss(torch.zeros(3, CLASSES), labels(3), training(loss="bce"))
