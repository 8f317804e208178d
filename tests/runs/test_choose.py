"""The choice of a setting, a pure function of what is known of data and backbone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.resources import find_config
from bocb_hf.runs.choose import SETTINGS, choose_setting
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.facts import BackboneFacts, DataFacts, DuplicateFacts
from bocb_hf.runs.load_config import load_run_config

PHOTOS = DataFacts(
    name="photos",
    revision="0" * 40,
    classes=("cat", "dog"),
    counts=(500, 400),
    train=810,
    validation=90,
    test=225,
    given=("train",),
    height=480,
    width=640,
    one_size=False,
    grey=False,
    duplicates=DuplicateFacts(1125),
    overrides=("data.name=photos", "data.test_fraction=0.2", "data.duplicates=group"),
)
DIGITS = replace(PHOTOS, height=8, width=8, one_size=True, grey=True, train=1293)
MANY = replace(PHOTOS, train=90_000, counts=(50_000, 50_000))
ROW, GIVEN = BackboneFacts("tiny_resnet", image_size=32), BackboneFacts("convnext_tiny", "fb_in1k", 224)


def configured(facts: DataFacts, backbone: BackboneFacts, setting: str | None = None, *more: str) -> RunConfig:
    """The configuration that a choice makes; it must be valid with no further values than an optimizer."""
    choice = choose_setting(facts, backbone, setting)
    path = find_config(choice.name, "recipes/configs")
    return load_run_config(path, [*choice.overrides, "optimizer.name=adamw", *more])


@pytest.mark.parametrize(
    ("facts", "backbone", "name", "size", "batch"),
    [
        (PHOTOS, ROW, "scratch_small", 224, 32),
        (DIGITS, ROW, "scratch_small", 32, 64),
        (replace(DIGITS, height=28, width=28), ROW, "scratch_small", 32, 64),
        (replace(PHOTOS, height=50, width=60), ROW, "scratch_small", 64, 32),
        (replace(PHOTOS, height=150, width=100), ROW, "scratch_small", 96, 32),
        (MANY, ROW, "scratch_large", 224, 256),
        (replace(MANY, height=32, width=32), ROW, "scratch_small", 32, 128),
        (PHOTOS, GIVEN, "finetune", 224, 32),
        (replace(PHOTOS, train=15), GIVEN, "linear_probe", 224, 8),
        (DIGITS, BackboneFacts("vit_tiny_patch16_224", None, 224, fixed_size=True), "scratch_small", 224, 64),
    ],
)
def test_what_is_chosen(facts: DataFacts, backbone: BackboneFacts, name: str, size: int, batch: int) -> None:
    choice, config = choose_setting(facts, backbone), configured(facts, backbone)
    assert choice.name == f"generic/{name}"
    assert config.setting == f"generic_{name}"
    assert (config.data.image_size, config.training.batch_size) == (size, batch)
    assert config.data.name == "photos" and config.data.duplicates == "group"
    assert config.backbone.pretrained == backbone.pretrained
    assert config.training.cached_features == (name == "linear_probe")
    assert all(reason.endswith((".", ")")) for reason in choice.reasons)
    assert f"Size {size} px" in " ".join(choice.reasons) and f"Batch {batch}" in " ".join(choice.reasons)


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("train", [1, 2, 7, 40, 1000, 3_000_000])
def test_every_setting_is_usable_with_any_number_of_images(setting: str, train: int) -> None:
    facts = replace(PHOTOS, train=train)
    config = configured(facts, GIVEN, setting)
    assert config.training.batch_size <= max(train, 1)
    assert config.training.epochs > config.training.warmup_epochs


def test_small_grey_images_are_not_mirrored() -> None:
    assert not configured(DIGITS, ROW).augmentation.horizontal_flip
    assert configured(PHOTOS, ROW).augmentation.horizontal_flip
    assert configured(DIGITS, ROW, None, "augmentation.horizontal_flip=true").augmentation.horizontal_flip
    configured(DIGITS, GIVEN, "linear_probe")  # which augments nothing


def test_what_cannot_be_chosen() -> None:
    with pytest.raises(InputError, match=r"setting 'finetune' starts from given weights, and 'tiny_resnet' names none"):
        choose_setting(PHOTOS, ROW, "generic/finetune")
    with pytest.raises(InputError, match="setting 'large' is none of scratch_small, scratch_large"):
        choose_setting(PHOTOS, ROW, "large")


def test_given_weights_begin_at_a_tenth_of_the_rate() -> None:
    for name, factor in (("sgdm", 0.1), ("adamw", 0.1), ("prodigy", 1.0)):
        row = OPTIMIZERS.get(name)
        default = row.centres["default"]
        found = row.centre("generic_finetune", "photos", row.source_batch)
        assert found.lr == pytest.approx(factor * default.lr)
        assert found.weight_decay == default.weight_decay
        assert row.centre("generic_linear_probe", "photos", row.source_batch) == default
        assert row.lr_grid("generic_finetune")[2] == pytest.approx(factor * default.lr)


def test_the_sentences_of_a_skewed_data_set() -> None:
    said = " ".join(replace(PHOTOS, counts=(880, 20)).sentences())
    assert "'cat' has 880 images and 'dog' 20; always naming the former scores 97.8 %" in said
    assert "Duplicates: none among 1,125 images" in said
    assert "Classes:" not in " ".join(PHOTOS.sentences())


def test_facts_say_what_they_are_of() -> None:
    facts: Any = DuplicateFacts(10, exact=2, encoded=1, groups=2, conflicting=1, across=3, examples=(("a", "b"),))
    assert facts.copies == 3
    assert [line.partition(":")[0] for line in facts.sentences()] == ["Duplicates", "Labels", "Test"]
