"""What every source of training images promises: the same images in the same rows, however a step is shared out."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from bocb_hf.data.sampling import epoch_order
from bocb_hf.data.source import MemorySource, Order, read_ahead
from bocb_hf.data.splits import Images


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
    assert source.images == 50
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
        def _gather(self, epoch: int, first_step: int) -> Iterator[list]:  # type: ignore[override]
            for batches in super()._gather(epoch, first_step):
                time.sleep(0.02)
                yield batches

    source = Slow(images(), Order(50, 10, seed=0))
    started = time.perf_counter()
    for _ in source.steps(0, 0):
        time.sleep(0.01)  # not waiting
    assert 0.1 <= source.waited_seconds <= time.perf_counter() - started - 0.05
