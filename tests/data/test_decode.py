"""How many processes decode, and what a worker is for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from image_folders import encode, write_split

from bocb_hf.data import decode as module
from bocb_hf.data.decode import Centre, Chunk, Decoder, Native, RandomCrop, count_workers, decode_all, describe_rule
from bocb_hf.data.encoded import DatasetTable


def test_workers_share_the_cores_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert count_workers(None) == 6
    assert count_workers(0) == 0
    assert count_workers(40) == 40
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert count_workers(None) == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert count_workers(None) == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(512)), raising=False)
    assert count_workers(None) == 8


def test_workers_begin_where_this_process_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_split(tmp_path / "set", "train", [encode(i, 12, 12) for i in range(20)])
    table = datasets.load_dataset(str(tmp_path / "set"))["train"]  # type: ignore[index] - a dictionary of splits
    decoder = Decoder("split 'train' of 'set'", Centre(8), DatasetTable(table), "image")
    rows = np.arange(20)[::-1].copy()
    whole = decoder[Chunk(rows.tolist())]
    assert isinstance(whole, torch.Tensor)
    used: list[tuple[int, int]] = []
    decode = module.decode

    def note(decoder: Decoder, chunks: Iterator[Chunk], workers: int) -> Iterator[torch.Tensor]:
        for pixels in decode(decoder, chunks, workers):
            used.append((workers, len(pixels)))
            yield pixels

    monkeypatch.setattr(module, "decode", note)
    monkeypatch.setattr(module, "_BULK", 6)
    for seconds, expected in ((60.0, [(0, 6), (0, 6), (0, 6), (0, 2)]), (0.0, [(2, 6), (2, 6), (2, 6), (2, 2)])):
        monkeypatch.setattr(module, "_ALONE_SECONDS", seconds)
        used.clear()
        assert torch.equal(torch.cat(list(decode_all(decoder, rows, workers=2))), whole)
        assert used == expected


def test_a_rule_is_described_by_all_that_decides_the_pixels() -> None:
    rules = [Centre(32), Centre(32, 0.875), Centre(28), Native(32, 32), RandomCrop(32, (0.3, 1.0), (0.75, 1.3))]
    assert len({describe_rule(rule) for rule in rules}) == len(rules)
    assert "bicubic" in describe_rule(Centre(32))
