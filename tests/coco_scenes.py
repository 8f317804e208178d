"""Tiny COCO folders: coloured squares with a keypoint in each corner, on grey noise."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CORNERS = ("left_top", "right_top", "left_bottom", "right_bottom")
CATEGORIES = [
    {"id": 3, "name": "red", "keypoints": list(CORNERS), "skeleton": []},
    {"id": 7, "name": "blue"},
]
COLOURS = {3: (230, 40, 40), 7: (40, 40, 230)}


def scene(generator: np.random.Generator, width: int, height: int) -> tuple[Image.Image, list[dict[str, Any]]]:
    """One picture and its annotations without ids; the squares do not overlap."""
    pixels = generator.integers(90, 150, (height, width, 3), np.uint8)
    annotations: list[dict[str, Any]] = []
    for column in range(2):
        side = int(generator.integers(height // 4, height // 2))
        left = column * width // 2 + int(generator.integers(2, max(3, width // 2 - side - 2)))
        top = int(generator.integers(2, height - side - 2))
        category = int(generator.choice((3, 7)))
        pixels[top : top + side, left : left + side] = COLOURS[category]
        one: dict[str, Any] = {"category_id": category, "bbox": [left, top, side, side], "iscrowd": 0}
        one["area"] = side * side
        if category == 3:
            xs, ys = (left, left + side), (top, top + side)
            one["keypoints"] = [v for y in ys for x in xs for v in (x, y, 2)]
            one["num_keypoints"] = 4
        annotations.append(one)
    return Image.fromarray(pixels), annotations


def write_split(folder: Path, count: int, seed: int = 0, width: int = 64, height: int = 48) -> dict[str, Any]:
    """Writes a split of so many pictures, and returns its document."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for place in range(count):
        picture, found = scene(generator, width, height)
        picture.save(folder / f"{place}.png")
        images.append({"id": 10 + place, "file_name": f"{place}.png", "width": width, "height": height})
        for one in found:
            annotations.append(one | {"id": len(annotations) + 1, "image_id": 10 + place})
    document = {"images": images, "annotations": annotations, "categories": copy.deepcopy(CATEGORIES)}
    write_document(folder, document)
    return document


def write_document(folder: Path, document: Any) -> None:
    """Writes ``annotations.json``; Python's NaN becomes the NaN that many tools write."""
    (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")


def write_folder(folder: Path, train: int = 8, test: int = 4, **size: int) -> Path:
    """Writes a data set with the splits train and test."""
    write_split(folder / "train", train, 0, **size)
    write_split(folder / "test", test, 1, **size)
    return folder
