"""What every source of training images promises: the same images in the same rows, however a step is shared out."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
from image_folders import encode, write_split
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as pillow

from bocb_hf.data import source as source_module
from bocb_hf.data.augment import COLUMNS, crop_box
from bocb_hf.data.decode import Centre, Chunk, Decoder, RandomCrop, SizeRule
from bocb_hf.data.encoded import DatasetTable
from bocb_hf.data.sampling import epoch_order, step_uniforms
from bocb_hf.data.source import Batch, LoaderSource, MemorySource, Order, read_ahead
from bocb_hf.data.splits import EncodedImages, Images
from bocb_hf.errors import InputError


def images(n: int = 50) -> Images:
    """The first pixel of an image is its number, and so is its label."""
    pixels = torch.randint(0, 256, (n, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    pixels[:, 0, 0, 0] = torch.arange(n, dtype=torch.uint8)
    return Images(pixels, torch.arange(n))


def test_a_step_holds_the_images_of_the_order() -> None:
    split = images()
    source = MemorySource(split, Order(50, batch_size=12, seed=3, accumulation=3))
    steps = list(source.steps(epoch=1, first_step=0))
    assert len(steps) == 4  # the incomplete batch is left out
    expected = epoch_order(50, 3, 1)[:48].view(4, 12)
    for batches, indices in zip(steps, expected, strict=True):
        assert [len(b.labels) for b in batches] == [4, 4, 4]
        assert torch.equal(torch.cat([b.labels for b in batches]), indices)
        assert torch.equal(torch.cat([b.pixels for b in batches]), split.stored[indices])
        assert torch.cat([b.rows for b in batches]).tolist() == list(range(12))
        assert not any(b.cropped for b in batches)
    assert source.count == 50
    assert source.exact_resume


@pytest.mark.parametrize(("processes", "accumulation"), [(2, 1), (3, 2), (1, 6)])
@pytest.mark.parametrize("repeats", [1, 3])
def test_processes_and_micro_batches_share_out_the_same_rows(processes: int, accumulation: int, repeats: int) -> None:
    split = images()
    (whole,) = zip(*MemorySource(split, Order(50, 12, seed=0, repeats=repeats)).steps(0, 0), strict=True)
    orders = [Order(50, 12, 0, repeats, process, processes, accumulation) for process in range(processes)]
    shares = zip(*(MemorySource(split, order).steps(0, 0) for order in orders), strict=True)
    for step, share in zip(whole, shares, strict=True):
        batches = [batch for mine in share for batch in mine]
        assert len(batches) == processes * accumulation
        for field in ("pixels", "labels", "rows"):
            assert torch.equal(torch.cat([getattr(b, field) for b in batches]), getattr(step, field))
        if repeats > 1:
            assert len(step.labels.unique()) < 12


def test_steps_start_anywhere_in_an_epoch() -> None:
    source = MemorySource(images(), Order(50, 10, seed=0))
    all_steps = list(source.steps(2, 0))
    later = list(source.steps(2, 3))
    assert len(later) == 2
    for (first,), (second,) in zip(all_steps[3:], later, strict=True):
        assert torch.equal(first.pixels, second.pixels)
        assert torch.equal(first.rows, second.rows)
    assert source.waited_seconds > 0


def test_a_part_of_a_split_shares_its_pixels() -> None:
    split = images()
    part = split.take(np.array([4, 9, 30, 31])).take(np.array([1, 3]))
    assert part.stored.data_ptr() == split.stored.data_ptr()
    assert part.labels.tolist() == [9, 31]
    assert torch.equal(part.pixels, split.stored[[9, 31]])
    assert torch.equal(part.gather(torch.tensor([1, 1, 0])), split.stored[[31, 31, 9]])
    assert len(part) == 2


def test_reading_ahead_keeps_the_order_and_raises_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise OSError("the disk is gone")

    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        for item in read_ahead(items()):
            seen.append(item)
    assert seen == list(range(5))
    assert list(read_ahead(iter(range(3)))) == [0, 1, 2]


def test_reading_ahead_stops_with_its_reader() -> None:
    made = []

    def endless() -> Iterator[int]:
        while True:
            made.append(0)
            yield 0

    reader = read_ahead(endless(), depth=2)
    next(reader)
    reader.close()
    count = len(made)
    assert count <= 4
    time.sleep(0.2)
    assert len(made) == count


def test_waiting_is_the_time_in_next() -> None:
    class Slow(MemorySource):
        # narrower than in the base class, as it is called here
        def _gather(self, epoch: int, first_step: int) -> Iterator[list]:  # type: ignore[override]
            for batches in super()._gather(epoch, first_step):
                time.sleep(0.02)
                yield batches

    source = Slow(images(), Order(50, 10, seed=0))
    started = time.perf_counter()
    for _ in source.steps(0, 0):
        time.sleep(0.01)  # not waiting
    assert 0.1 <= source.waited_seconds <= time.perf_counter() - started - 0.05


SIZES = [(20 + i % 5, 30 - i % 7) for i in range(50)]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """50 pictures of many sizes."""
    folder = tmp_path_factory.mktemp("photographs") / "set"
    write_split(folder, "train", [encode(i, *size) for i, size in enumerate(SIZES)])
    return datasets.load_dataset(str(folder))["train"]  # type: ignore[index] - a dictionary of splits


def encoded(table: Any, rule: SizeRule) -> EncodedImages:
    return EncodedImages(
        Decoder("split 'train' of 'set'", rule, DatasetTable(table), "image"), torch.arange(50), torch.arange(50)
    )


def assert_same(ours: list[list[Batch]], theirs: list[list[Batch]]) -> None:
    assert len(ours) == len(theirs) > 0
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a.pixels, b.pixels)
            assert torch.equal(a.labels, b.labels)
            assert torch.equal(a.rows, b.rows)
            assert a.cropped == b.cropped


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_give_what_memory_gives(photographs: Any, workers: int) -> None:
    rule = Centre(16)
    transform = [np.asarray(rule.make(row["image"].convert("RGB"), None)) for row in photographs]
    decoded = Images(torch.from_numpy(np.stack(transform)).permute(0, 3, 1, 2), torch.arange(50))
    order = Order(50, 12, seed=4, repeats=2, process=1, processes=2, accumulation=3)
    held = decoded.take(np.arange(50)[::-1].copy())
    memory, loader = (
        MemorySource(held, order),
        LoaderSource(encoded(photographs, rule).take(np.arange(50)[::-1].copy()), order, workers),
    )
    for epoch, first in ((0, 0), (1, 0), (3, 2)):
        assert_same(list(loader.steps(epoch, first)), list(memory.steps(epoch, first)))
    assert loader.exact_resume
    assert loader.count == 50


def test_workers_crop_by_the_place_in_the_step(photographs: Any) -> None:
    scale, aspect = (0.2, 1.0), (0.75, 4 / 3)
    rule = RandomCrop(16, scale, aspect)
    order = Order(50, 10, seed=2)
    here = LoaderSource(encoded(photographs, rule), order, workers=0)
    steps = list(here.steps(1, 0))
    assert all(batch.cropped for batches in steps for batch in batches)
    with_workers = LoaderSource(encoded(photographs, rule), order, workers=2)
    assert_same(list(with_workers.steps(1, 0)), steps)
    assert_same(list(with_workers.steps(1, 3)), steps[3:])  # exact resume
    with_workers.close()
    shares = [LoaderSource(encoded(photographs, rule), Order(50, 10, 2, 1, p, 2), 0) for p in range(2)]
    both = [
        [
            Batch(
                *(
                    torch.cat(parts)
                    for parts in zip(*((b.pixels, b.labels, b.rows) for b in (*one, *two)), strict=True)
                ),
                cropped=True,
            )
        ]
        for one, two in zip(*(share.steps(1, 0) for share in shares), strict=True)
    ]
    assert_same(both, steps)
    for step, indices in enumerate(epoch_order(50, 2, 1).view(5, 10)):
        draws = step_uniforms(10, COLUMNS, 2, 5 + step)
        for row, index in enumerate(indices.tolist()):
            height, width = SIZES[index]
            top, left, h, w = crop_box(draws[row : row + 1], height, width, scale, aspect)[0].tolist()
            image: Image.Image = photographs[index]["image"]
            assert (image.height, image.width) == (height, width)
            crop = image.crop((left, top, left + w, top + h)).resize((16, 16), Image.Resampling.BICUBIC)
            assert np.array_equal(steps[step][0].pixels[row].permute(1, 2, 0), np.asarray(crop))
    whole = pillow.resized_crop(photographs[0]["image"], 0, 0, 20, 30, [16, 16], InterpolationMode.BICUBIC)
    assert not np.array_equal(steps[0][0].pixels[0].permute(1, 2, 0), np.asarray(whole))


def test_workers_go_on_into_the_next_epoch(photographs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    decode = source_module.decode

    def count(*arguments: Any) -> Any:
        started.append(1)
        return decode(*arguments)

    monkeypatch.setattr(source_module, "decode", count)
    order = Order(50, 10, seed=0)
    source = LoaderSource(encoded(photographs, Centre(8)), order, workers=1)
    reference = LoaderSource(encoded(photographs, Centre(8)), order, workers=0)
    expected = [list(reference.steps(epoch, 0)) for epoch in range(3)]
    started.clear()
    seen = list(source.steps(0, 0))
    assert_same(seen, expected[0])
    second = source.steps(1, 0)
    seen = [next(second)]
    peek = source.steps(0, 0)  # in the middle of another epoch, as a calibration does
    assert_same([next(peek), next(peek)], expected[0][:2])
    assert_same(seen + list(second), expected[1])
    assert_same(list(source.steps(2, 0)), expected[2])
    assert len(started) == 2  # one for the epochs, one for the peek
    source.close()


def test_a_damaged_image_is_named_by_a_worker(tmp_path: Path) -> None:
    images = [encode(i, 20, 20) for i in range(50)]
    images[17] = images[17][:60]
    write_split(tmp_path / "set", "train", images)
    table = datasets.load_dataset(str(tmp_path / "set"))["train"]  # type: ignore[index] - a dictionary of splits
    for workers in (0, 2):
        source = LoaderSource(encoded(table, Centre(16)), Order(50, 10, seed=0), workers)
        with pytest.raises(InputError, match=r"^data.name: image 17 of split 'train' of 'set' cannot be read"):
            list(source.steps(0, 0))


@pytest.mark.parametrize(("batch", "processes"), [(10, 1), (96, 3), (4096, 1), (8192, 2)])
def test_pieces_cover_a_share_and_are_few(batch: int, processes: int) -> None:
    order = Order(10_000, batch, seed=0, processes=processes)
    covered = [row for piece in order.pieces for row in range(piece.start, piece.stop)]
    assert covered == list(range(batch // processes))
    assert len(order.pieces) <= 64


def test_a_decoder_travels_to_a_new_process(photographs: Any) -> None:
    """Where processes are not forked, as on macOS."""
    decoder = Decoder("split 'train' of 'set'", Centre(16), DatasetTable(photographs), "image")
    here, there = decoder[Chunk([3, 9, 9])], pickle.loads(pickle.dumps(decoder))[Chunk([3, 9, 9])]  # noqa: S301 - ours
    assert isinstance(here, torch.Tensor)
    assert torch.equal(here, there)


def test_workers_that_are_killed_are_said(photographs: Any) -> None:
    source = LoaderSource(encoded(photographs, Centre(16)), Order(50, 10, seed=0), workers=1)
    steps = source.steps(0, 0)
    next(steps)
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGTERM)  # of a scheduler, to the whole group: the process that trains saves first
    assert len([next(steps), next(steps)]) == 2
    # torch raises in whatever runs when the system reports the end; where that is our reading, we say what to do
    with pytest.raises(
        (InputError, RuntimeError), match=r"runtime.workers: a process that decodes|is killed by signal"
    ):
        os.kill(worker.pid, signal.SIGKILL)
        try:
            for epoch in range(1, 100):
                list(steps)
                steps = source.steps(epoch, 0)
        finally:  # the report may come a second time, in the middle of pytest
            torchs = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    del steps, source
    signal.signal(signal.SIGCHLD, torchs)


@pytest.mark.parametrize("how", [RuntimeError("worker"), ConnectionResetError(104, "reset"), EOFError()])
def test_a_worker_may_die_while_it_hands_over_a_tensor(
    photographs: Any, monkeypatch: pytest.MonkeyPatch, how: Exception
) -> None:
    def died(*_: Any, **__: Any) -> Any:
        raise how
        yield

    monkeypatch.setattr("bocb_hf.data.decode.DataLoader", died)
    source = LoaderSource(encoded(photographs, Centre(16)), Order(50, 10, seed=0), workers=1)
    with pytest.raises(InputError, match=rf"runtime.workers: .* has ended \({type(how).__name__}"):
        next(source.steps(0, 0))


def test_workers_end_with_their_source(photographs: Any) -> None:
    source = LoaderSource(encoded(photographs, Centre(16)), Order(50, 10, seed=0), workers=2)
    list(source.steps(0, 0))
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    source.close()
    for worker in workers:
        worker.join(20)
        assert not worker.is_alive()
