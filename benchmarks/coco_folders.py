"""Makes COCO folders from what packages ship: tiles of aerial photographs with tree crowns, and generated keypoints.

    pip download --no-deps deepforest==2.1.0
    python benchmarks/coco_folders.py aerial deepforest-2.1.0-py3-none-any.whl own/aerial
    python benchmarks/coco_folders.py scenes own/scenes        # in an environment that has kwcoco==0.9.1

- ``own/aerial/<photograph>/{train,test}``: ``test`` holds the tiles of that photograph, ``train`` those of the other
  three, so that no pixel of a photograph is on both sides. Tiles of 256 px cover a photograph; where it is no multiple
  of 256, they overlap. A crown belongs to every tile that holds at least half of its area, cut off at the edge.
  Photographs and boxes: deepforest, MIT.
- ``own/scenes/{train,test}``: 400 and 100 generated scenes of 256 px of kwcoco (Apache-2.0), with the keypoints of its
  categories ``superstar`` (2) and ``eff`` (3).

No code of deepforest is run; its wheel is read as an archive.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from PIL import Image

TILE = 256
KEPT = 0.5  # share of a crown's area that a tile must hold
SCENES = {"train": 400, "test": 100}

Box = tuple[float, float, float, float]


def photographs(wheel: Path) -> Iterator[tuple[str, Image.Image, list[Box]]]:
    """Name, picture and boxes (left, top, right, bottom) of each photograph that has boxes."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        for name in sorted(names):
            picture = str(PurePosixPath(name).with_suffix(".png"))
            if not name.endswith(".xml") or picture not in names:
                continue
            boxes = [
                tuple(float(box.findtext(key) or "nan") for key in ("xmin", "ymin", "xmax", "ymax"))
                for box in ElementTree.fromstring(archive.read(name)).iter("bndbox")
            ]
            opened = Image.open(io.BytesIO(archive.read(picture))).convert("RGB")
            yield PurePosixPath(name).stem, opened, boxes  # type: ignore[misc] - strings and boxes of the file


def offsets(length: int) -> list[int]:
    """Where tiles begin along a side, so that they cover it evenly."""
    count = max(1, math.ceil(length / TILE))
    return [round(k * (length - TILE) / max(1, count - 1)) for k in range(count)]


def tiles(picture: Image.Image, boxes: list[Box]) -> Iterator[tuple[str, Image.Image, list[Box]]]:
    """Place, pixels and boxes of each tile."""
    for top in offsets(picture.height):
        for left in offsets(picture.width):
            found: list[Box] = []
            for box in boxes:
                inside = (
                    max(box[0] - left, 0.0),
                    max(box[1] - top, 0.0),
                    min(box[2] - left, float(TILE)),
                    min(box[3] - top, float(TILE)),
                )
                width, height = inside[2] - inside[0], inside[3] - inside[1]
                whole = (box[2] - box[0]) * (box[3] - box[1])
                if width > 0 and height > 0 and width * height >= KEPT * whole:
                    found.append(inside)
            yield f"{top:04d}-{left:04d}", picture.crop((left, top, left + TILE, top + TILE)), found


class Writer:
    """Collects a split and writes it."""

    def __init__(self, folder: Path, categories: list[dict[str, Any]]) -> None:
        self._folder = folder
        self._document: dict[str, Any] = {"images": [], "annotations": [], "categories": categories}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, picture: Image.Image, annotations: list[dict[str, Any]]) -> None:
        """Adds a picture; ``annotations`` lack their ids and that of the image."""
        picture.save(self._folder / f"{name}.png")
        images, listed = self._document["images"], self._document["annotations"]
        images.append(
            {"id": len(images) + 1, "file_name": f"{name}.png", "width": picture.width, "height": picture.height}
        )
        for one in annotations:
            listed.append({"id": len(listed) + 1, "image_id": len(images), "iscrowd": 0} | one)

    def close(self) -> None:
        """Writes ``annotations.json``."""
        text = json.dumps(self._document)
        (self._folder / "annotations.json").write_text(text, encoding="utf-8")
        print(f"{self._folder}: {len(self._document['images'])} images, {len(self._document['annotations'])} objects")


def write_aerial(wheel: Path, folder: Path) -> None:
    """Writes one data set for each photograph that is left out."""
    cut = {name: list(tiles(picture, boxes)) for name, picture, boxes in photographs(wheel)}
    for left_out in cut:
        writers = {split: Writer(folder / left_out / split, [{"id": 1, "name": "tree"}]) for split in ("train", "test")}
        for name, parts in cut.items():
            for place, picture, boxes in parts:
                annotations = [
                    {"category_id": 1, "bbox": [a, b, c - a, d - b], "area": (c - a) * (d - b)} for a, b, c, d in boxes
                ]
                writers["test" if name == left_out else "train"].add(f"{name}-{place}", picture, annotations)
        for writer in writers.values():
            writer.close()


def write_scenes(folder: Path) -> None:
    """Writes generated scenes; each split has a seed of its own."""
    import kwcoco  # type: ignore[import-not-found] - not a dependency

    for seed, (split, count) in enumerate(SCENES.items()):
        made = kwcoco.CocoDataset.demo(f"shapes{count}", image_size=(TILE, TILE), rng=seed, verbose=0, use_cache=False)
        categories = [
            {"id": c["id"], "name": c["name"], "keypoints": c.get("keypoints") or []}
            for c in made.dataset["categories"]
        ]
        names = {one["id"]: one["name"] for one in made.dataset["keypoint_categories"]}
        points = {c["id"]: c["keypoints"] for c in categories}
        writer = Writer(folder / split, [c for c in categories if c["name"] != "background"])
        by_image: dict[int, list[dict[str, Any]]] = {}
        for one in made.dataset["annotations"]:
            placed = {names[p["keypoint_category_id"]]: p["xy"] for p in one["keypoints"]}
            flat = [v for name in points[one["category_id"]] for v in (*placed[name], 2)] if placed else []
            kept = {key: one[key] for key in ("category_id", "bbox", "area")}
            by_image.setdefault(one["image_id"], []).append(kept | {"keypoints": flat})
        for image in made.dataset["images"]:
            picture = Image.open(image["file_name"]).convert("RGB")
            writer.add(f"{image['id']:05d}", picture, by_image.get(image["id"], []))
        writer.close()


def main() -> None:
    """Makes what the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    aerial = kinds.add_parser("aerial")
    aerial.add_argument("wheel", type=Path)
    aerial.add_argument("folder", type=Path)
    kinds.add_parser("scenes").add_argument("folder", type=Path)
    asked = parser.parse_args()
    if asked.kind == "aerial":
        write_aerial(asked.wheel, asked.folder)
    else:
        write_scenes(asked.folder)


if __name__ == "__main__":
    main()
