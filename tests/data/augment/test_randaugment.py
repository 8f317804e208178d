"""RandAugment in batches against timm and Pillow, one image at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import special, stats
from timm.data import auto_augment
from timm.data.transforms_factory import transforms_imagenet_train
from torch import Tensor
from torch.nn import functional

from bocb_hf.data.augment.draws import COLUMNS, OPERATIONS
from bocb_hf.data.augment.operations import equalize_tables, look_up, stretch_tables
from bocb_hf.data.augment.randaugment import OPERATIONS as NAMES
from bocb_hf.data.augment.randaugment import Layer, apply_layer, choose_layers
from bocb_hf.data.sampling import step_uniforms

MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
FILL = torch.tensor([129, 124, 112], dtype=torch.uint8)
# what Pillow's floats leave open: everything else is equal in every value
ROUNDED = ("AutoContrast", "ShearX", "TranslateXRel", "ShearY", "TranslateYRel", "Rotate")


def timm_operations(magnitude: float = 9, std: float = 0.5, size: int = 32) -> dict[str, auto_augment.AugmentOp]:
    """timm's own operations by name, as its factory of transforms makes them."""
    text = f"rand-m{magnitude}-mstd{std}-inc1"
    steps: Any = transforms_imagenet_train(size, auto_augment=text, interpolation="bicubic", mean=MEAN, std=STD)
    (found,) = (step for step in steps.transforms if isinstance(step, auto_augment.RandAugment))
    assert found.num_layers == 2
    assert found.choice_weights is None  # with replacement, equally often
    return {op.name: op for op in found.ops}


class Replay:
    """Stands in for the module ``random`` inside timm and answers with what it is given."""

    def __init__(self, applied: float, negative: bool, normal: float = 0.0) -> None:
        self.normal = normal
        self.answers: Iterator[float] = iter((applied, 1.0 if negative else 0.0))

    def random(self) -> float:
        return next(self.answers)

    def gauss(self, mean: float, std: float) -> float:
        return mean + std * self.normal


def pictures(size: int) -> Tensor:
    """Smooth, noisy, flat, of few grey levels and of one channel only, (7, 3, S, S)."""
    generator = torch.Generator().manual_seed(size)
    coarse = 255 * torch.rand(2, 3, 6, 6, generator=generator)
    smooth = functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 255).to(torch.uint8)
    noise = torch.randint(0, 256, (1, 3, size, size), dtype=torch.uint8, generator=generator)
    narrow = torch.randint(60, 121, (1, 3, size, size), dtype=torch.uint8, generator=generator)
    flat = torch.full((1, 3, size, size), 77, dtype=torch.uint8)
    dark = (noise > 250).byte() * 3
    one = noise * torch.tensor([1, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    return torch.cat((smooth, noise, narrow, flat, dark, one))


def each_by_timm(images: Tensor, operation: Any) -> Tensor:
    changed = [operation(Image.fromarray(image.permute(1, 2, 0).numpy())) for image in images]
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in changed])


def everywhere(count: int, name: str, level: float, negative: bool) -> Layer:
    return Layer(np.full(count, NAMES.index(name)), np.full(count, level), np.full(count, negative))


def test_the_operations_are_those_of_timm() -> None:
    assert sorted(NAMES) == sorted(timm_operations())
    assert all(op.prob == 0.5 for op in timm_operations().values())


@pytest.mark.parametrize("size", [28, 32, 224])
@pytest.mark.parametrize("name", NAMES)
def test_every_operation_has_the_values_of_pillow(monkeypatch: pytest.MonkeyPatch, name: str, size: int) -> None:
    """Through timm's own level arithmetic, at the ends of the scale, in its middle and at the study's magnitudes."""
    images = pictures(size)[1:] if size < 100 else pictures(size)[1:4]
    for level in (0.0, 2.3, 7.0, 9.0, 10.0):
        for negative in (False, True):
            operation: Any = timm_operations(size=size)[name]
            operation.magnitude, operation.magnitude_std = level, 0
            answers = partial(Replay, 0.0, negative)
            expected = each_by_timm(images, partial(with_answers, monkeypatch, operation, answers))
            found = apply_layer(images, everywhere(len(images), name, level, negative), FILL)
            off = (found.int() - expected.int()).abs()
            assert found.dtype == torch.uint8
            assert int(off.max()) <= (name in ROUNDED), (level, negative)
            assert float((off > 0).double().mean()) < 0.01, (level, negative)


def with_answers(
    monkeypatch: pytest.MonkeyPatch, operation: Any, answers: Callable[[], Replay], image: Image.Image
) -> Image.Image:
    monkeypatch.setattr(auto_augment, "random", answers())
    return operation(image)


def test_two_layers_are_those_of_timm_with_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operation, whether, level and direction of every image; a level off before Equalize may be more after it."""
    count, by_name = 400, timm_operations()
    images = pictures(32).repeat(60, 1, 1, 1)[:count]
    draws = step_uniforms(count, COLUMNS, seed=3, step=5)[:, OPERATIONS]
    found = images
    for layer in choose_layers(draws, 9, 0.5):
        found = apply_layer(found, layer, FILL)
    expected = []
    for image, row in zip(images, draws.double().numpy(), strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        for which, whether, level, direction in (row[:4], row[4:]):
            normal = special.ndtri(level + 2.0**-25)
            monkeypatch.setattr(auto_augment, "random", Replay(whether, bool(direction < 0.5), normal))
            picture = by_name[NAMES[int(which * 15)]](picture)
        expected.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
    off = (found.int() - torch.stack(expected).int()).abs()
    assert float((off > 1).double().mean()) < 1e-4
    assert float((off > 0).double().mean()) < 1e-3
    unchanged = (found == images).flatten(1).all(dim=1).double().mean()
    assert 0.2 < float(unchanged) < 0.5  # a quarter draws nothing; some operations leave some pictures alone


def test_draws_are_distributed_as_timm_says() -> None:
    """15 equally likely operations, half of them applied, in either direction, at a clipped normal level."""
    draws = torch.rand(20_000, 8, generator=torch.Generator().manual_seed(0))
    first, second = choose_layers(draws, magnitude=9, std=0.5)
    for layer in (first, second):
        applied = layer.operation >= 0
        assert stats.binomtest(int(applied.sum()), len(applied)).pvalue > 1e-3
        assert stats.chisquare(np.bincount(layer.operation[applied], minlength=15)).pvalue > 1e-3
        assert stats.binomtest(int(layer.negative.sum()), len(applied)).pvalue > 1e-3
        assert stats.binomtest(int((layer.level == 10).sum()), len(applied), float(stats.norm.sf(2))).pvalue > 1e-3
        inner = layer.level[layer.level < 10]
        law = stats.truncnorm(-18, 2, loc=9, scale=0.5)
        assert cast(Any, stats.kstest(inner, law.cdf)).pvalue > 1e-3
    together = np.histogram2d(first.operation, second.operation, bins=16)[0]
    assert cast(Any, stats.chi2_contingency(together)).pvalue > 1e-3


def test_level_without_noise_and_at_the_ends() -> None:
    draws = torch.rand(100, 8, generator=torch.Generator().manual_seed(0))
    draws[0, 2] = 0.0  # the smallest number that is drawn
    draws[1, 2] = 1 - 2.0**-24
    assert all((layer.level == 7).all() for layer in choose_layers(draws, magnitude=7, std=0))
    wide = choose_layers(draws, magnitude=5, std=10)[0].level
    assert wide.min() == 0
    assert wide.max() == 10


def test_images_that_draw_nothing_are_left_alone() -> None:
    images = pictures(32)
    before = images.clone()
    layer = everywhere(len(images), "Invert", 9, False)
    layer.operation[[0, 3]] = -1
    found = apply_layer(images, layer, FILL)
    assert torch.equal(images, before)  # they may be the data set's own
    assert torch.equal(found[[0, 3]], before[[0, 3]])
    assert torch.equal(found[[1, 2]], 255 - before[[1, 2]])
    layer.operation[:] = -1
    assert apply_layer(images, layer, FILL) is images


def test_tables_of_small_images() -> None:
    """Fewer than 256 pixels: Equalize has no step and leaves the image alone; one level has nothing to stretch."""
    images = torch.arange(3 * 64, dtype=torch.uint8).view(1, 3, 8, 8)
    assert torch.equal(look_up(images, equalize_tables(images)), images)
    stretched = look_up(images, stretch_tables(images))
    assert stretched[0, 1].min() == 0
    assert stretched[0, 1].max() == 255
