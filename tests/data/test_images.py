"""In which form the images of a run are held, and that memory and cores change nothing but where they come from."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from image_folders import encode, write_folder, write_split
from timm.data.transforms_factory import transforms_imagenet_eval

from bocb_hf.data import DATASETS, hold, load
from bocb_hf.data.batches import evaluation_batches, open_source
from bocb_hf.data.images import load_images
from bocb_hf.data.source import LoaderSource, MemorySource, Order
from bocb_hf.data.splits import EncodedImages, Images
from bocb_hf.errors import InputError
from bocb_hf.runs.config import AugmentationConfig, DataConfig
from bocb_hf.runs.runtime_config import RuntimeConfig

ONE_SIZE = [(24, 20)] * 30
MIXED = [(24 + i % 3, 20) for i in range(30)]
CROPPED = AugmentationConfig(crop_scale=(0.3, 1.0))


@pytest.fixture(scope="module")
def one_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("one") / "size", ONE_SIZE)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("mixed") / "sizes", MIXED)


@pytest.fixture(params=["memory", "mapped", "workers"])
def runtime(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RuntimeConfig:
    """Three machines: all fits in memory, all fits in a file, nothing fits."""
    if request.param == "mapped":
        monkeypatch.setattr(hold, "SMALL", 0)
    hold.hold_split.cache_clear()
    budget = 1e-9 if request.param == "workers" else 1.0
    return RuntimeConfig(memory_budget_gb=budget, workers=0, cache_dir=str(tmp_path / "cache"))


def config(folder: Path, **changes: Any) -> DataConfig:
    return DataConfig(**({"name": str(folder), "image_size": 16} | changes))


def train_pixels(images: Any) -> torch.Tensor:
    order = Order(len(images), 5, seed=1)
    return torch.cat([b.pixels for step in open_source(images, order, workers=0).steps(0, 0) for b in step])


def test_limits_change_neither_pixels_nor_identity(one_size: Path, runtime: RuntimeConfig) -> None:
    for augmentation, shape in ((AugmentationConfig(), (16, 16)), (CROPPED, (24, 20))):
        expected = load_images(config(one_size), trial=False, augmentation=augmentation)
        data = load_images(config(one_size), False, augmentation, runtime)
        assert isinstance(expected.train, Images)
        assert isinstance(data.train, EncodedImages if runtime.memory_budget_gb < 1 else Images)
        assert data.identity == expected.identity
        assert train_pixels(data.train).shape[2:] == shape
        assert torch.equal(train_pixels(data.train), train_pixels(expected.train))
        for ours, theirs in ((data.test, expected.test), (data.validation, expected.validation)):
            assert ours is not None
            assert theirs is not None
            for one, other in zip(evaluation_batches(ours, 4), evaluation_batches(theirs, 4), strict=True):
                assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_images_of_many_sizes_are_cropped_by_workers(mixed: Path, runtime: RuntimeConfig) -> None:
    data = load_images(config(mixed), False, CROPPED, runtime)
    assert isinstance(data.train, EncodedImages)
    batches = [b for step in open_source(data.train, Order(30, 5, seed=1), 0).steps(0, 0) for b in step]
    assert all(batch.cropped and batch.pixels.shape == (5, 3, 16, 16) for batch in batches)
    plain = load_images(config(mixed), False, AugmentationConfig(), runtime)
    assert plain.identity == data.identity
    assert isinstance(open_source(plain.train, Order(30, 5, 1), 0), MemorySource | LoaderSource)


def test_evaluation_is_the_transform_that_the_model_card_describes(mixed: Path, runtime: RuntimeConfig) -> None:
    data = load_images(config(mixed, test_image_size=12, test_crop_ratio=0.75), False, None, runtime)
    transform: Any = transforms_imagenet_eval(12, crop_pct=0.75, interpolation="bicubic", mean=(0,) * 3, std=(1,) * 3)
    table: Any = datasets.load_dataset(str(mixed))["test"]  # type: ignore[index] - a dictionary of splits
    seen: dict[int, int] = {}
    for process in range(3):
        for indices, pixels, labels in evaluation_batches(data.test, 2, process, 3, workers=0):
            for index, image, label in zip(indices.tolist(), pixels, labels.tolist(), strict=True):
                assert torch.equal(image.float() / 255, transform(table[index]["image"].convert("RGB")))
                seen[index] = label
    assert seen == dict(enumerate(table["label"]))


def test_tuning_with_crops_evaluates_held_out_images_whole(mixed: Path, one_size: Path, tmp_path: Path) -> None:
    for folder in (mixed, one_size):
        (tmp_path / folder.name).mkdir()
        for file in folder.glob("t*.parquet"):
            (tmp_path / folder.name / file.name).write_bytes(file.read_bytes())
        trial = load_images(config(tmp_path / folder.name, validation_fraction=0.2), True, CROPPED)
        whole = load_images(config(tmp_path / folder.name, validation_fraction=0.2), False)
        uncropped = load_images(config(tmp_path / folder.name, validation_fraction=0.2), True)
        assert trial.identity == whole.identity == uncropped.identity
        assert (len(trial.train), len(trial.validation or ()), len(whole.train)) == (24, 6, 30)
        assert isinstance(trial.validation, Images)
        assert isinstance(uncropped.validation, Images)
        assert torch.equal(trial.validation.pixels, uncropped.validation.pixels)
        assert torch.equal(trial.validation.labels, uncropped.validation.labels)


def test_statistics_are_those_of_the_squares(mixed: Path) -> None:
    for augmentation in (None, CROPPED):
        data = load_images(config(mixed), False, augmentation)
        pixels = load_images(config(mixed), False).train.pixels.double() / 255  # type: ignore[union-attr] - not None here
        assert np.allclose(data.identity.mean, pixels.mean(dim=(0, 2, 3)), atol=1e-4)
        assert np.allclose(data.identity.std, pixels.std(dim=(0, 2, 3), correction=0), atol=1e-4)


def test_a_photograph_on_its_side_counts_as_it_is_shown(tmp_path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn
    path = tmp_path / "turned.jpg"
    Image.new("RGB", (24, 20), (200, 30, 30)).save(path, exif=exif)
    folder = tmp_path / "turned"
    for first, split in ((0, "train"), (100, "test")):
        write_split(folder, split, [*(encode(first + i, 24, 20, "JPEG") for i in range(20)), path.read_bytes()])
    cropped = load_images(config(folder), False, CROPPED)
    assert isinstance(cropped.train, Images)  # all 24 high and 20 wide
    assert cropped.train.stored.shape == (21, 3, 24, 20)


def test_the_log_says_how_each_split_is_held(
    mixed: Path, runtime: RuntimeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bocb_hf")
    load_images(config(mixed), False, CROPPED, runtime)
    assert "train: 30 images, cropped at random: read by 0 worker(s)" in caplog.text
    assert "test: 10 images" in caplog.text


def test_a_damaged_image_is_named_whatever_reads_it(tmp_path: Path, runtime: RuntimeConfig) -> None:
    for first, split in ((0, "train"), (100, "validation"), (200, "test")):
        images = [encode(first + i, 24, 20) for i in range(12)]
        if split == "test":
            images[7] = images[7][:50]
        write_split(tmp_path / "broken", split, images)
    with pytest.raises(InputError, match=r"image 7 of split 'test' .*cannot be read"):
        list(evaluation_batches(load_images(config(tmp_path / "broken"), False, None, runtime).test, 5, workers=0))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, one_size: Path) -> Iterator[list[tuple[Any, ...]]]:
    """Answers for the Hub with the images of a folder, and notes what was asked of it."""
    asked: list[tuple[Any, ...]] = []
    fetch = load._load

    def answer(path: str, revision: str | None, streaming: bool) -> dict[str, Any]:
        asked.append((path, revision, streaming))
        splits = fetch(str(one_size), None, streaming)
        if path == "uoft-cs/cifar100":
            splits = {k: v.rename_columns({"image": "img", "label": "fine_label"}) for k, v in splits.items()}
            splits = {k: v.add_column("coarse_label", [0] * len(v)) for k, v in splits.items()}
            del splits["validation"]
        return splits

    monkeypatch.setattr(load, "_load", answer)
    load.open_data.cache_clear()
    yield asked
    load.open_data.cache_clear()


@pytest.mark.parametrize("name", ["cifar100", "uoft-cs/cifar100"])
def test_a_row_needs_nothing_but_its_name(hub: list[tuple[Any, ...]], name: str) -> None:
    data = load_images(DataConfig(name=name, image_size=16), trial=False)
    row = DATASETS.get("cifar100")
    assert hub == [("uoft-cs/cifar100", row.revision, False)]
    identity = data.identity
    assert (identity.name, identity.revision, identity.mean) == ("cifar100", row.revision, row.mean)
    assert (identity.image_column, identity.label_column) == ("img", "fine_label")
    assert identity.validation_fraction == 0.1
    with pytest.raises(InputError, match=r"data.revision: .* leave the revision out"):
        load_images(DataConfig(name=name, revision="0" * 40, image_size=16), trial=False)


def test_imagenet_is_tested_on_its_validation_split(hub: list[tuple[Any, ...]]) -> None:
    data = load_images(DataConfig(name="imagenet1k", image_size=16), trial=True)
    assert data.identity.evaluation_split == "validation"
    assert (len(data.train), len(data.validation or ()), len(data.test)) == (27, 3, 9)


def test_a_hub_id_is_pinned_by_a_revision(hub: list[tuple[Any, ...]]) -> None:
    data = load_images(DataConfig(name="owner/set", revision="a" * 40, image_size=16), trial=False)
    assert hub == [("owner/set", "a" * 40, False)]
    assert (data.identity.name, data.identity.revision) == ("owner/set", "a" * 40)
    with pytest.raises(InputError, match="give the commit sha"):
        load_images(DataConfig(name="owner/set", image_size=16), trial=False)
