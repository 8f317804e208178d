"""Writes small data sets that tests read as folders of Parquet."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
from PIL import Image

CLASSES = ["a", "b", "c"]


def encode(number: int, height: int, width: int, kind: str = "PNG") -> bytes:
    """A colour picture of this size that no other number has."""
    generator = np.random.default_rng(number)
    coarse = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR).save(buffer, format=kind)
    return buffer.getvalue()


def write_split(folder: Path, split: str, images: Sequence[bytes], shards: int = 1) -> None:
    """One split; the label of an image is its number modulo three."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES)})
    labels = [i % len(CLASSES) for i in range(len(images))]
    rows = {"image": [{"bytes": b, "path": None} for b in images], "label": labels}
    table = datasets.Dataset.from_dict(rows, features=features)
    folder.mkdir(exist_ok=True)
    for shard in range(shards):
        part = table.shard(shards, shard, contiguous=True)
        part.to_parquet(folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet")


def write_folder(folder: Path, sizes: Sequence[tuple[int, int]], shards: int = 1) -> Path:
    """A data set whose training images have these heights and widths, with 9 validation and 10 test images."""
    write_split(folder, "train", [encode(i, h, w) for i, (h, w) in enumerate(sizes)], shards)
    write_split(folder, "validation", [encode(1000 + i, 20, 24) for i in range(9)])
    write_split(folder, "test", [encode(2000 + i, 24, 20 + i % 2) for i in range(10)])
    return folder


def draw_files(folder: Path, paths: Sequence[str], first: int = 0) -> Path:
    """Small pictures under these names, each another one."""
    for number, path in enumerate(paths, first):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(encode(number, 8, 8))
    return folder
