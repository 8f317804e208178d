"""The whole augmentation: its order, and that nothing depends on batches, blocks, devices or global streams."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from augment_cases import (
    CLASSES,
    EVERYTHING,
    MEAN,
    RESIZED,
    STD,
    as_channels,
    augmenter,
    images,
    labels,
    plain,
    training,
)
from torch import Tensor

from bocb_hf.data.augment import COLUMNS, Augmenter, loss
from bocb_hf.data.augment.draws import OPERATIONS
from bocb_hf.data.augment.erasing import draw_noise, erase
from bocb_hf.data.augment.mix import draw_mix
from bocb_hf.data.augment.randaugment import apply_layer, choose_layers
from bocb_hf.data.sampling import step_uniforms
from bocb_hf.errors import InputError
from bocb_hf.runs.config import AugmentationConfig


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
