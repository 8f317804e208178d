"""Images with annotated objects, as detection and pose read, evaluate and decode them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bocb_hf.data.pictures import Encoded, explain_damage, open_picture, to_rgb
from bocb_hf.errors import InputError

log = logging.getLogger(__name__)

_SHOWN = 10  # lines of a report that are logged

Id = int | str


@dataclass(frozen=True)
class Category:
    """A category, with the names of its keypoints, if it has any."""

    id: Id
    name: str
    keypoints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Annotation:
    """One object.

    Attributes:
        box: Left, top, right and bottom in pixels of the image's file.
        label: Position of the category in ``CocoSplit.categories``.
        area: Area of the object in square pixels, by which the sizes of COCO go.
        crowd: Whether the box holds a crowd rather than one object.
        keypoints: x, y and visibility (0 not labelled, 1 hidden, 2 visible) of each keypoint, (K, 3) float32; None
            where the annotation has none.
    """

    box: tuple[float, float, float, float]
    label: int
    area: float
    crowd: bool = False
    keypoints: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Photograph:
    """One image with its objects; ``encoded`` names or holds its file, ``width`` and ``height`` are of the file."""

    id: Id
    encoded: Encoded
    width: int
    height: int
    annotations: tuple[Annotation, ...] = ()


@dataclass
class Report:
    """What was mended or dropped, a line each.

    Attributes:
        where: Name of the split, with which each line begins.
    """

    where: str
    mended: list[str] = field(default_factory=list[str])
    dropped: list[str] = field(default_factory=list[str])

    def say(self) -> None:
        """Logs the first lines and the number of the others."""
        for what, lines in (("mended", self.mended), ("dropped", self.dropped)):
            for line in lines[:_SHOWN]:
                log.warning("%s: %s: %s", self.where, what, line)
            if len(lines) > _SHOWN:
                log.warning("%s: %s: %d more", self.where, what, len(lines) - _SHOWN)


@dataclass(frozen=True)
class CocoSplit:
    """The images of one split, in the order of their file."""

    photographs: tuple[Photograph, ...]
    categories: tuple[Category, ...]
    report: Report = field(default_factory=lambda: Report("split"))

    def __len__(self) -> int:
        return len(self.photographs)

    def take(self, indices: Sequence[int]) -> CocoSplit:
        """The images at these positions."""
        return CocoSplit(tuple(self.photographs[i] for i in indices), self.categories, self.report)


def write_ground_truth(split: CocoSplit, keypoints: bool = False) -> dict[str, Any]:
    """The split in COCO's format, as the evaluators take it: numbers as ids, from 1 in the order of the split.

    Args:
        split: The split.
        keypoints: Whether only objects with keypoints are listed, with these.
    """
    annotations: list[dict[str, Any]] = []
    for place, photograph in enumerate(split.photographs, start=1):
        for one in photograph.annotations:
            if keypoints and one.keypoints is None:
                continue
            left, top, right, bottom = one.box
            entry: dict[str, Any] = {
                "id": len(annotations) + 1,
                "image_id": place,
                "category_id": one.label + 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": one.area,
                "iscrowd": int(one.crowd),
                "ignore": 0,
            }
            if keypoints and one.keypoints is not None:
                entry["keypoints"] = one.keypoints.astype(float).ravel().tolist()
                entry["num_keypoints"] = int((one.keypoints[:, 2] > 0).sum())
            annotations.append(entry)
    images = [
        {"id": place, "width": p.width, "height": p.height, "file_name": f"{place}"}
        for place, p in enumerate(split.photographs, start=1)
    ]
    categories = [
        {"id": place, "name": c.name} | ({"keypoints": list(c.keypoints), "skeleton": []} if keypoints else {})
        for place, c in enumerate(split.categories, start=1)
    ]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def decode_upright(photograph: Photograph, where: str) -> Image.Image:
    """The pixels of an image as 8-bit RGB, upright.

    Raises:
        InputError: The file is damaged.
    """
    try:
        with open_picture(photograph.encoded) as opened:
            return to_rgb(opened, f"{where}: image {photograph.id!r}")
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{where}: image {photograph.id!r} cannot be read: {explain_damage(error, photograph.encoded)}"
        ) from None
