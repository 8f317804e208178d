"""Streams: every image once over the processes, in an order that no worker changes, and what a stream cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from image_folders import CLASSES, encode, write_folder, write_split

from bocb_hf.data import DATASETS, DatasetRow, content_revision, hold
from bocb_hf.data.batches import open_source
from bocb_hf.data.images import ImageData, load_images
from bocb_hf.data.load import open_data
from bocb_hf.data.source import Batch, Order
from bocb_hf.errors import InputError
from bocb_hf.runs.config import AugmentationConfig, DataConfig
from bocb_hf.runs.runtime_config import RuntimeConfig

TRAIN = 48
CROPPED = AugmentationConfig(crop_scale=(0.3, 1.0))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    # datasets sleeps for 5 s at the end of every pass over shuffled Parquet, for Arrow's threads
    monkeypatch.setattr("datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)


def add_row(folder: Path, monkeypatch: pytest.MonkeyPatch, **sizes: int) -> None:
    """Registers a folder as the data set ``shards``, for the time of a test."""
    rows = {name: row for name, row in DATASETS._rows.items() if name != "shards"}
    monkeypatch.setattr(DATASETS, "_rows", rows)
    open_data.cache_clear()  # nobody changes a row but these tests
    DATASETS.add(
        DatasetRow(
            id="shards",
            hub_id="owner/shards",
            licence="mit",
            revision=content_revision(folder),
            embedded=folder,
            image_size=24,
            mean=(0.5, 0.4, 0.3),
            std=(0.2, 0.2, 0.2),
            sizes=sizes or {"train": TRAIN, "validation": 9, "test": 10},
        )
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sizes = [(20 + i % 3, 24) for i in range(TRAIN)]
    return write_folder(tmp_path_factory.mktemp("stream") / "shards", sizes, shards=4)


@pytest.fixture
def shards(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_row(folder, monkeypatch)


def load(augmentation: AugmentationConfig | None = None, streaming: bool = True, **changes: Any) -> ImageData:
    config = DataConfig(**({"name": "shards", "image_size": 16, "streaming": streaming} | changes))
    return load_images(config, trial=False, augmentation=augmentation)


def read(
    data: ImageData, processes: int = 1, epoch: int = 0, first: int = 0, batch: int = 8, workers: int = 0
) -> list[list[list[Batch]]]:
    """Steps of each process."""
    orders = [Order(len(data.train), batch, seed=5, process=p, processes=processes) for p in range(processes)]
    return [list(open_source(data.train, order, workers).steps(epoch, first)) for order in orders]


def pixels(steps: Iterator[list[Batch]] | list[list[Batch]]) -> torch.Tensor:
    return torch.cat([batch.pixels for batches in steps for batch in batches])


def names(steps: list[list[Batch]], data: ImageData) -> list[int]:
    """Number of each image that was read, by its pixels."""
    # its type allows None, which it is not here
    known = {image.numpy().tobytes(): i for i, image in enumerate(data.train.pixels)}  # type: ignore[union-attr]
    return [known[image.numpy().tobytes()] for image in pixels(steps)]


@pytest.mark.usefixtures("shards")
@pytest.mark.parametrize("processes", [1, 2, 4, 3])  # of three, none can have its own shards
def test_processes_share_every_image_once(processes: int) -> None:
    data, decoded = load(), load(streaming=False)
    batch = 8 if processes != 3 else 12
    shares = [names(steps, decoded) for steps in read(data, processes, batch=batch)]
    assert sorted(number for share in shares for number in share) == list(range(TRAIN))
    assert {len(share) for share in shares} == {TRAIN // processes}
    labels = [batch.labels for steps in read(data, processes, batch=batch) for step in steps for batch in step]
    assert torch.cat(labels).tolist() == [number % len(CLASSES) for share in shares for number in share]


@pytest.mark.usefixtures("shards")
def test_epochs_are_shuffled_and_workers_do_not_matter() -> None:
    data, decoded = load(), load(streaming=False)
    first, second = (names(read(data, epoch=epoch)[0], decoded) for epoch in (0, 1))
    assert first != second
    assert first != list(range(TRAIN))
    assert names(read(data, workers=2)[0], decoded) == first
    source = open_source(data.train, Order(TRAIN, 8, seed=5), workers=0)
    assert not source.exact_resume
    assert source.count == TRAIN
    # a stopped epoch is replayed: the rest of its steps begins where it began
    assert names(list(source.steps(0, 4)), decoded) == first[:16]


@pytest.mark.usefixtures("shards")
def test_crops_follow_the_place_in_the_step() -> None:
    data = load(CROPPED)
    one, two = read(data)[0], read(data, workers=2)[0]
    assert all(batch.cropped for step in one for batch in step)
    assert torch.equal(pixels(one), pixels(two))
    rows = [batch.rows.tolist() for step in read(data, processes=2)[1] for batch in step]
    assert rows == [[4, 5, 6, 7]] * 6


def test_a_process_begins_its_shards_again_until_the_epoch_ends(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uneven = tmp_path / "uneven"
    uneven.mkdir()
    for path in folder.glob("*.parquet"):
        (uneven / path.name).write_bytes(path.read_bytes())
    write_split(tmp_path / "few", "train", [encode(i, 20, 24) for i in range(2)])
    (few,) = (tmp_path / "few").glob("*.parquet")
    (uneven / "train-00003-of-00004.parquet").write_bytes(few.read_bytes())
    add_row(uneven, monkeypatch, train=38, validation=9, test=10)
    shares = read(load(), processes=2, batch=4)
    assert [len(steps) for steps in shares] == [9, 9]
    assert all(len(batch.labels) == 2 for steps in shares for step in steps for batch in step)


@pytest.mark.usefixtures("shards")
@pytest.mark.parametrize("mapped", [False, True])
def test_evaluation_of_a_stream_is_that_of_the_whole_set(
    mapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mapped:
        monkeypatch.setattr(hold, "SMALL", 0)
    runtime = RuntimeConfig(cache_dir=str(tmp_path / "cache"), workers=0)
    config = DataConfig(name="shards", image_size=16, streaming=True)
    data, whole = load_images(config, trial=True, runtime=runtime), load(streaming=False)
    assert torch.equal(data.test.pixels, whole.test.pixels)  # type: ignore[union-attr] - not None here
    assert torch.equal(data.test.labels, whole.test.labels)
    assert torch.equal(data.validation.pixels, whole.validation.pixels)  # type: ignore[union-attr] - not None here
    assert data.class_names == whole.class_names
    assert data.identity.streaming
    assert data.identity == whole.identity.model_copy(update={"streaming": True})
    assert len(list((tmp_path / "cache").glob("*.safetensors")) if mapped else [0, 0]) == 2


def test_what_a_stream_must_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "shards", [(20, 24)] * TRAIN)  # datasets knows the sizes of what it has prepared
    with pytest.raises(InputError, match=r"data.streaming: mean and standard deviation of .* add a row"):
        load(name=str(folder))
    add_row(folder, monkeypatch, train=TRAIN)
    with pytest.raises(InputError, match=r"data.streaming: 'shards' does not say how many images 'validation' has"):
        load()
    add_row(folder, monkeypatch, train=TRAIN, validation=9, test=11)
    with pytest.raises(InputError, match=r"split 'test' of 'shards' has 10 images where 11 were announced"):
        load()
    add_row(folder, monkeypatch)
    with pytest.raises(
        InputError,
        match=r"'validation', which counts as test.*not known before it is read; tune with data.streaming=false",
    ):
        load_images(DataConfig(name="shards", image_size=16, streaming=True, evaluation_split="validation"), trial=True)
    with pytest.raises(InputError, match=r"data.validation_fraction: .*; leave it out, or set data.streaming=false"):
        load_images(
            DataConfig(
                name="shards", image_size=16, streaming=True, validation_fraction=0.2, evaluation_split="validation"
            ),
            trial=False,
        )
    runtime = RuntimeConfig(memory_budget_gb=1e-9)
    with pytest.raises(InputError, match=r"runtime.memory_budget_gb: 'validation' takes"):
        load_images(DataConfig(name="shards", image_size=16, streaming=True), trial=False, runtime=runtime)


def test_damage_in_a_stream_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "broken", [(20, 20)] * 12)
    images = [encode(i, 20, 20) for i in range(12)]
    write_split(folder, "train", [*images[:5], images[5][:40], *images[6:]])
    add_row(folder, monkeypatch, train=12, validation=9, test=10)
    with pytest.raises(InputError, match="of split 'train' of 'shards' cannot be read"):
        read(load(), batch=6)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    rows = {"image": [{"bytes": image, "path": None} for image in images], "label": [0, 1, -1] * 4}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(folder / "train-00000-of-00001.parquet")
    add_row(folder, monkeypatch, train=12, validation=9, test=10)
    with pytest.raises(InputError, match=r"label -1 of image \d+ of split 'train' is out of range"):
        read(load(), batch=6)
