"""Labels: what is wrong with them is said with value, row and remedy; draws hold out images by class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from image_folders import draw_files, encode, write_split
from plain_loop import decoded

from bocb_hf.data.batches import evaluation_batches
from bocb_hf.data.hold import hash_rows
from bocb_hf.data.images import ImageData, load_images
from bocb_hf.data.labels import convert_labels, draw_by_class, explain_draw
from bocb_hf.errors import InputError
from bocb_hf.runs.config import AugmentationConfig, DataConfig
from bocb_hf.runs.runtime_config import RuntimeConfig

INTEGER = datasets.Value("int64")


def load(folder: Path, /, trial: Any = False, **changes: Any) -> ImageData:
    return load_images(DataConfig(**({"name": str(folder), "image_size": 8} | changes)), trial)


def write(folder: Path, labels: list[Any], kind: Any, image: Any = None, test: list[Any] | None = None) -> Path:
    """A data set with these training labels, and the same test labels unless others are given."""
    folder.mkdir()
    for first, split, given in ((0, "train", labels), (500, "test", labels if test is None else test)):
        encoded: list[Any] = [{"bytes": encode(first + i, 8, 8), "path": None} for i in range(len(given))]
        if isinstance(image, datasets.Value):
            encoded = [row["bytes"] for row in encoded]
        features = datasets.Features({"image": image or datasets.Image(), "label": kind})
        table = datasets.Dataset.from_dict({"image": encoded, "label": given}, features=features)
        table.to_parquet(folder / f"{split}.parquet")
    return folder


@pytest.mark.parametrize(
    ("labels", "kind", "message"),
    [
        (["cat", None, "dog"] * 4, "string", r"has no label \(null\) in row 1, and in 4 of 12 rows"),
        ([True, False] * 6, "bool", r"but bool: True in row 0; .*False is 0, True is 1.*class_encode_column"),
        (
            [0.0, 1.0] * 6,
            "float64",
            r"but double: 0.0 in row 0; .*cast_column\(\"label\", datasets.Value\(\"int64\"\)\)",
        ),
        ([0.0, 1.0, 0.25] * 4, "float32", r"but float: 0.0 in row 0; row 2 holds 0.25, .* name another column"),
        ([0, 1, None, 1] * 3, "int64", r"has no label \(null\) in row 2, and in 3 of 12 rows; remove these rows"),
        (
            [1, 2] * 6,
            "int64",
            r"holds 2 different numbers in train, up to 2 \(row 1\), but none is 0: .* without a gap",
        ),
        ([0, 1, 5] * 4, "int64", r"holds 3 different numbers in train, up to 5 \(row 2\), but none is 2"),
        (
            [0, 1, -1] * 4,
            "int64",
            r"label -1 of image 2 .* as 4 of its 12 labels are: -1 stands for a label that",
        ),
        ([0, 1, -7] * 4, "int64", r"label -7 of image 2 .*: number the classes from 0"),
        ([0] * 12, "int64", r"has 1 class; a classifier needs at least 2"),
    ],
)
def test_labels_that_are_no_classes_are_explained(tmp_path: Path, labels: list[Any], kind: str, message: str) -> None:
    folder = write(tmp_path / "set", labels, datasets.Value(kind))
    with pytest.raises(InputError, match=r"^data.label_column: .*" + message):
        load(folder, label_column="label")


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint16", "int64"])
def test_integers_of_every_width_are_labels(tmp_path: Path, kind: str) -> None:
    data = load(write(tmp_path / "set", [0, 1, 2, 1] * 3, datasets.Value(kind)), label_column="label")
    assert data.class_names == ("0", "1", "2")
    assert data.test.labels.tolist() == [0, 1, 2, 1] * 3


def test_a_label_that_train_lacks_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", [0, 1] * 6, INTEGER, test=[0, 1, 2])
    with pytest.raises(
        InputError, match=r"label 2 of image 2 of split 'test' is out of range 0\.\.1, .* no image of train"
    ):
        load(folder, label_column="label")


def test_a_named_class_without_images_is_a_class(tmp_path: Path) -> None:
    data = load(write(tmp_path / "set", [1, 2] * 6, datasets.ClassLabel(names=["a", "b", "c"])))
    assert data.class_names == ("a", "b", "c")
    assert data.notes is not None
    assert data.notes.untrained_classes == data.notes.untested_classes == ("a",)


@pytest.mark.parametrize("kind", ["binary", "struct"])
def test_images_may_be_bytes_without_their_type(tmp_path: Path, kind: str) -> None:
    image = datasets.Value("binary")
    plain = image if kind == "binary" else {"bytes": image, "path": datasets.Value("string")}
    typed = load(write(tmp_path / "typed", [0, 1] * 6, datasets.ClassLabel(names=["a", "b"])))
    folder = write(tmp_path / "plain", [0, 1] * 6, datasets.ClassLabel(names=["a", "b"]), plain)
    with pytest.raises(
        InputError, match=r"data.image_column: name the column of the images; .* image \(.*label \(Class"
    ):
        load(folder)
    with pytest.raises(InputError, match=r"data.image_column: 'label' is of type ClassLabel, not Image; convert it"):
        load(folder, image_column="label")
    data = load(folder, image_column="image")
    assert torch.equal(decoded(data.train).pixels, decoded(typed.train).pixels)


@pytest.mark.parametrize("wrong", [None, "cat", True, 1.0])
def test_a_label_of_a_stream_that_is_no_integer_is_said(wrong: Any) -> None:
    assert convert_labels([0, np.int32(2), 1], "train").tolist() == [0, 2, 1]
    with pytest.raises(InputError, match=rf"label 1 of 3 that were read from split 'train' is {wrong!r}, not an int"):
        convert_labels([0, wrong, 1], "train")


# draws


def test_a_draw_takes_of_every_class_and_is_pinned() -> None:
    labels = np.repeat(np.arange(4), [40, 20, 10, 10])
    kept, held = draw_by_class(labels, 0.2, 1)
    assert sorted([*kept, *held]) == list(range(80))
    assert np.bincount(labels[held]).tolist() == [8, 4, 2, 2]
    assert hash_rows(held)[:16] == "65e577e1f4a1dc41"
    assert not np.array_equal(held, draw_by_class(labels, 0.2, 0)[1])


SMALL_CLASSES = [((30, 30, 30), 0.02), ((5, 5, 5, 5), 0.1), ((9, 2), 0.05), ((2, 2), 0.1)]


@pytest.mark.parametrize(("counts", "fraction"), SMALL_CLASSES)
def test_the_smallest_fraction_that_works_does(counts: tuple[int, ...], fraction: float) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    with pytest.raises(ValueError, match="should be greater or equal to the number of classes"):
        draw_by_class(labels, fraction, 0)
    message = str(explain_draw(labels, fraction, [f"c{i}" for i in range(len(counts))], "data.test_fraction"))
    smallest = float(message.rsplit(" ", 1)[1])
    assert message.startswith(f"data.test_fraction: cannot draw {fraction} of {len(labels)} images of train by class")
    assert len(draw_by_class(labels, smallest, 0)[1]) == len(counts)
    with pytest.raises(ValueError, match="should be greater or equal to the number of classes"):
        draw_by_class(labels, round(smallest - 1e-4, 4), 0)


def test_classes_that_are_too_small_for_a_draw_are_named(tmp_path: Path) -> None:
    labels = np.array([0] * 12 + [1, 2])
    assert "only one has 'owl', 'yak'; add images" in str(explain_draw(labels, 0.1, ["ant", "owl", "yak"], "key"))
    files = [f"train/{name}/{i}.png" for name, count in (("a", 16), ("b", 1)) for i in range(count)]
    folder = draw_files(tmp_path / "one", [*files, "test/a/1.png", "test/b/1.png"])
    with pytest.raises(InputError, match=r"data.validation_fraction: cannot draw 0.1 of 17 .* only one has 'b'"):
        load(folder, trial=True)
    final = load(folder)  # which needs no validation images
    assert final.validation is None
    assert len(final.train) == 17
    assert (final.identity.validation_fraction, final.identity.validation_indices_sha256) == (0.1, None)


# a drawn test split


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return draw_files(tmp_path / "flat", [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(20)])


def test_class_folders_alone_are_not_tested_on_what_they_train_on(flat: Path) -> None:
    with pytest.raises(
        InputError, match=r"has no split 'test'; it has: train; set data.test_fraction=0.2, which draws"
    ):
        load(flat)
    for split in ("train", "train[:10%]", "train+test"):
        with pytest.raises(
            InputError, match=r"data.evaluation_split: '.*' holds training images, .*data.test_fraction="
        ):
            load(flat, evaluation_split=split)


def rows_of(images: Any, folder: Path) -> set[int]:
    """Which training images these are, by their pixels."""
    whole = load(folder, test_fraction=0.2)
    table = {decoded(whole.train).pixels[i].numpy().tobytes() for i in range(len(whole.train))}
    assert len(table) == len(whole.train)
    return {hash(pixels.numpy().tobytes()) for pixels in decoded(images).pixels}


def test_a_test_split_is_drawn_by_class_from_what_is_not_trained_on(flat: Path) -> None:
    final, trial, again = (
        load(flat, test_fraction=0.2),
        load(flat, True, test_fraction=0.2),
        load(flat, test_fraction=0.2),
    )
    assert (len(final.train), final.validation, len(final.test)) == (32, None, 8)
    assert trial.validation is not None
    assert (len(trial.train), len(trial.validation), len(trial.test)) == (28, 4, 8)
    parts = [rows_of(part, flat) for part in (trial.train, trial.validation, trial.test)]
    assert len(set.union(*parts)) == sum(map(len, parts)) == 40
    assert rows_of(final.train, flat) == parts[0] | parts[1]
    assert np.bincount(final.test.labels.numpy()).tolist() == [4, 4]
    assert torch.equal(decoded(final.test).pixels, decoded(again.test).pixels)
    assert final.identity == trial.identity
    identity = final.identity
    assert identity.test_fraction == 0.2
    assert identity.test_indices_sha256 == hash_rows(draw_by_class(np.repeat([0, 1], 20), 0.2, 1)[1])
    assert identity.evaluation_split == "test drawn from train (0.2)"
    pixels = decoded(final.train).pixels.double() / 255  # not those of the test images
    assert np.allclose(identity.mean, pixels.mean(dim=(0, 2, 3)), atol=1e-4)


@pytest.mark.parametrize("crop", [None, (0.3, 1.0)])
@pytest.mark.parametrize("budget", [1.0, 1e-9])
def test_a_drawn_test_split_is_the_same_in_every_form(flat: Path, crop: Any, budget: float, tmp_path: Path) -> None:
    expected = load(flat, trial=True, test_fraction=0.25)
    data = load_images(
        DataConfig(name=str(flat), image_size=8, test_fraction=0.25),
        True,
        AugmentationConfig(crop_scale=crop),
        RuntimeConfig(memory_budget_gb=budget, workers=0, cache_dir=str(tmp_path / "cache")),
    )
    assert data.identity == expected.identity
    for ours, theirs in (
        (data.train, expected.train),
        (data.validation, expected.validation),
        (data.test, expected.test),
    ):
        for one, other in zip(batches(ours), batches(theirs), strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def batches(images: Any) -> list[tuple[torch.Tensor, ...]]:
    return list(evaluation_batches(images, 7, workers=0))


def test_another_validation_split_stays_what_it_is(tmp_path: Path) -> None:
    write_split(tmp_path / "set", "train", [encode(i, 8, 8) for i in range(30)])
    write_split(tmp_path / "set", "validation", [encode(100 + i, 8, 8) for i in range(9)])
    data = load(tmp_path / "set", test_fraction=0.2)
    assert data.validation is not None
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 9, 6)
    assert data.identity.validation_fraction is None
    assert "the data set's own split" in data.identity.split_rule


def test_a_test_split_is_drawn_only_where_there_is_none(small_data: Path, flat: Path) -> None:
    for changes, message in (
        ({"name": str(small_data)}, "has a split 'test' of its own"),
        ({"name": "fashion_mnist_subset"}, "has a split 'test' of its own"),
        ({"evaluation_split": "held"}, "so that 'held' is of no use; give one"),
        ({"test_fraction": 0.01}, "2 classes need at least 2 images; the smallest fraction that works is 0.0251"),
    ):
        with pytest.raises(InputError, match=rf"^data.test_fraction: .*{message}"):
            load(flat, **({"test_fraction": 0.2} | changes))
    with pytest.raises(InputError, match=r"^data.test_fraction: it draws .* set data.streaming=false"):
        load(flat, test_fraction=0.2, streaming=True)
