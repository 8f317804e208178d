"""Reads annotations in COCO's format, and mends, drops or refuses what is wrong with them by stated rules.

Refused, since nobody can say what was meant:

- a file without the lists ``images``, ``annotations`` and ``categories``;
- two images, or two categories, of one id; an id that is neither a whole number nor a text;
- an annotation of a category that is not listed; an image whose file is missing or cannot be opened;
- an image that its Exif turns on its side while the annotations give the size before turning;
- keypoints that are not three numbers for each name of the category;
- a split of which more than half of the annotations would be dropped.

Mended, with a line in the report:

- numbers that are written as text (``"12.5"``) count as numbers, and ids that are whole numbers in a text (``"7"``) as
  these numbers;
- a box that reaches out of its image is cut off at the edge;
- where the stated size of an image is not that of its file, the file counts;
- a keypoint that is no finite number, or lies outside of its image, counts as not labelled;
- a box without ``area`` has the area of the box.

Dropped, with a line in the report:

- a box that holds a NaN, an infinity or no four numbers; a side that is zero or negative; a box outside of its image;
- an annotation of an image that is not listed;
- an annotation that repeats another one: same image, category and box. (Ids of annotations are used for nothing, so
  that two of one id are both kept.)

Crowds (``iscrowd``) are never trained on; in evaluation, what lies in them counts neither for nor against.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bocb_hf.data.pictures import Encoded, explain_damage, open_picture
from bocb_hf.errors import InputError
from bocb_hf.schema import one_line
from bocb_hf.tasks.annotations import Annotation, Category, CocoSplit, Id, Photograph, Report

_MOST_DROPPED = 0.5  # share of the annotations of a split above which it is refused
_ORIENTATION = 0x0112  # Exif's tag of the orientation
_ON_ITS_SIDE = frozenset((5, 6, 7, 8))


def read_folder(folder: Path) -> CocoSplit:
    """Reads ``annotations.json`` in a folder; ``file_name`` is relative to it, or to ``images`` below it.

    Raises:
        InputError: The file is missing, or refused by the rules of this module.
    """
    path = folder / "annotations.json"
    if not path.is_file():
        raise InputError(f"data.name: {folder} holds no annotations.json; put the annotations there")
    return read_file(path, *(root for root in (folder, folder / "images") if root.is_dir()))


def read_file(path: Path, *roots: Path) -> CocoSplit:
    """Reads a file of annotations.

    Args:
        path: The file.
        roots: Folders that ``file_name`` is relative to; the first that has the file counts.

    Raises:
        InputError: The file cannot be read, or is refused by the rules of this module.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"data.name: {path} cannot be read as JSON: {one_line(str(error))}") from None

    def find(name: str) -> Encoded:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{path}: file_name {one_line(name, 200)!r} leads out of the folder; give a plain name")
        found = [root / name for root in roots if (root / name).is_file()]
        return {"path": str((found or [roots[0] / name])[0]), "bytes": None}

    return read_coco(document, str(path), find)


def read_coco(document: Any, where: str, find: Callable[[str], Encoded]) -> CocoSplit:
    """Reads annotations, by the rules of this module.

    Args:
        document: The parsed JSON.
        where: Name of the file, for errors and the report.
        find: Function from ``file_name`` to the encoded image.

    Raises:
        InputError: The annotations are refused.
    """
    given = cast(dict[str, Any], document) if isinstance(document, dict) else {}
    lists = [given.get(key) for key in ("images", "annotations", "categories")]
    if not all(isinstance(part, list) and all(isinstance(item, dict) for item in part) for part in lists):
        raise InputError(f"{where}: not in COCO's format, which has the lists images, annotations and categories")
    images, annotations, listed = (cast(list[dict[str, Any]], part) for part in lists)
    report = Report(where)
    categories = _read_categories(listed, where)
    labels = {category.id: place for place, category in enumerate(categories)}
    by_image: dict[Id, list[dict[str, Any]]] = {}
    known = {_read_id(image.get("id"), f"{where}: an image"): image for image in images}
    if len(known) < len(images):
        ids = [_read_id(image.get("id"), where) for image in images]
        twice = next(i for i in ids if ids.count(i) > 1)
        raise InputError(f"{where}: two images have the id {twice!r}, so that nobody can say whose the boxes are")
    if not known:
        raise InputError(f"{where}: there is no image in it; list the images")
    for annotation in annotations:
        image_id = _read_id(annotation.get("image_id"), f"{where}: annotation {annotation.get('id')!r}")
        if image_id not in known:
            report.dropped.append(f"image {image_id!r}: an annotation of an image that is not listed")
            continue
        by_image.setdefault(image_id, []).append(annotation)
    photographs = tuple(
        _read_image(image_id, image, by_image.get(image_id, []), categories, labels, report, find)
        for image_id, image in known.items()
    )
    if len(report.dropped) > _MOST_DROPPED * max(1, len(annotations)):
        raise InputError(
            f"{where}: {len(report.dropped)} of {len(annotations)} annotations cannot be used, first: "
            f"{report.dropped[0]}; mend the file"
        )
    report.say()
    return CocoSplit(photographs, categories, report)


def _read_id(value: Any, what: str) -> Id:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InputError(f"{what} has the id {value!r}; give a whole number or a text")
    if isinstance(value, float):
        if not value.is_integer():
            raise InputError(f"{what} has the id {value!r}; give a whole number or a text")
        return int(value)
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return int(value)
    return value


def _read_categories(listed: Sequence[dict[str, Any]], where: str) -> tuple[Category, ...]:
    found: list[Category] = []
    for place, item in enumerate(listed):
        name, points = item.get("name"), item.get("keypoints") or []
        if not isinstance(name, str) or not name:
            raise InputError(f"{where}: category {item.get('id')!r} has no name")
        if not isinstance(points, list) or not all(isinstance(point, str) for point in cast(list[Any], points)):
            raise InputError(f"{where}: the keypoints of category {name!r} are no list of names")
        given = _read_id(item.get("id"), f"{where}: category {place}")
        found.append(Category(given, one_line(name, 200), tuple(cast(list[str], points))))
    ids = [category.id for category in found]
    twice = [i for i in ids if ids.count(i) > 1]
    if twice:
        raise InputError(f"{where}: two categories have the id {twice[0]!r}; give each its own")
    if not found:
        raise InputError(f"{where}: there is no category in it; list the categories")
    return tuple(found)


def _read_image(
    image_id: Id,
    image: Mapping[str, Any],
    annotations: Sequence[dict[str, Any]],
    categories: Sequence[Category],
    labels: Mapping[Id, int],
    report: Report,
    find: Callable[[str], Encoded],
) -> Photograph:
    """Opens the header of an image's file, and reads the annotations of the image."""
    where, name = f"{report.where}: image {image_id!r}", image.get("file_name")
    encoded = cast(Encoded, image["encoded"]) if "encoded" in image else None
    if encoded is None:
        if not isinstance(name, str) or not name:
            raise InputError(f"{where} has no file_name")
        encoded = find(name)
    try:
        with open_picture(encoded) as opened:
            width, height = opened.size
            turned = opened.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    except Exception as error:  # Pillow and the system raise a different error for each kind of damage
        raise InputError(f"{where}: {name!r} cannot be read: {explain_damage(error, encoded)}") from None
    stated = (_number(image.get("width")), _number(image.get("height")))
    if turned:
        if stated == (width, height) and width != height:
            raise InputError(
                f"{where}: Exif turns {name!r} on its side, and the annotations give the size before that; save the "
                "image upright"
            )
        width, height = height, width
    if None not in stated and stated != (width, height):
        report.mended.append(
            f"image {image_id!r}: its size is {width} × {height}, not {stated[0]:g} × {stated[1]:g} as stated"
        )
    found: list[Annotation] = []
    seen: set[tuple[Any, ...]] = set()
    for given in annotations:
        read = _read_annotation(image_id, given, categories, labels, report, (width, height))
        if read is None:
            continue
        key = (read.label, *read.box, read.crowd)
        if key in seen:
            report.dropped.append(f"image {image_id!r}: box {_shown(given.get('bbox'))} stands there twice")
            continue
        seen.add(key)
        found.append(read)
    return Photograph(image_id, encoded, width, height, tuple(found))


def _read_annotation(
    image_id: Id,
    given: Mapping[str, Any],
    categories: Sequence[Category],
    labels: Mapping[Id, int],
    report: Report,
    size: tuple[int, int],
) -> Annotation | None:
    what = f"image {image_id!r}"
    category = _read_id(given.get("category_id"), f"{report.where}: an annotation of {what}")
    if category not in labels:
        raise InputError(f"{report.where}: {what} has an annotation of category {category!r}, which is not listed")
    box = _read_box(given.get("bbox"), what, report, size)
    if box is None:
        return None
    label = labels[category]
    area = _number(given.get("area"))
    if area is None or not area > 0:
        area = (box[2] - box[0]) * (box[3] - box[1])
    crowd = given.get("iscrowd", 0) in (1, True, "1", 1.0)
    points = given.get("keypoints") or None  # an empty list is how many tools write that there are none
    read = None if points is None else _read_keypoints(points, categories[label], what, report, size)
    return Annotation(box, label, area, crowd, read)


def _number(value: Any) -> float | None:
    """A finite number, also from a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _shown(value: Any) -> str:
    return one_line(repr(value), 80)


def _read_box(value: Any, what: str, report: Report, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    items = cast(list[Any], value) if isinstance(value, list | tuple) else []
    numbers = [_number(item) for item in items]
    if len(numbers) != 4 or None in numbers:
        report.dropped.append(f"{what}: box {_shown(value)} is not four finite numbers")
        return None
    left, top, width, height = cast(list[float], numbers)
    if width <= 0 or height <= 0:
        report.dropped.append(f"{what}: box {_shown(value)} has no area")
        return None
    if any(isinstance(item, str) for item in items):
        report.mended.append(f"{what}: box {_shown(value)} is written as text")
    right, bottom = left + width, top + height
    inside = (max(left, 0.0), max(top, 0.0), min(right, float(size[0])), min(bottom, float(size[1])))
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        report.dropped.append(f"{what}: box {_shown(value)} lies outside of the image of {size[0]} × {size[1]}")
        return None
    # sums of rounded numbers reach out by less than a thousandth of a pixel
    if max(abs(a - b) for a, b in zip(inside, (left, top, right, bottom), strict=True)) > 1e-3:
        report.mended.append(f"{what}: box {_shown(value)} is cut off at the edge of the image")
    return inside


def _read_keypoints(
    value: Any, category: Category, what: str, report: Report, size: tuple[int, int]
) -> NDArray[np.float32]:
    items = cast(list[Any], value) if isinstance(value, list | tuple) else []
    count = len(category.keypoints)
    if len(items) != 3 * count or count == 0:
        raise InputError(
            f"{report.where}: {what} has {len(items)} numbers of keypoints, but the category {category.name!r} has "
            f"{count} keypoints of 3 numbers each"
        )
    numbers = [_number(item) for item in items]
    points = np.zeros((count, 3), np.float32)
    for k in range(count):
        x, y, seen = numbers[3 * k : 3 * k + 3]
        labelled = seen is not None and seen > 0
        if x is None or y is None or seen is None:
            report.mended.append(f"{what}: keypoint {category.keypoints[k]!r} is no finite number")
        elif labelled and not (0 <= x <= size[0] and 0 <= y <= size[1]):
            report.mended.append(f"{what}: keypoint {category.keypoints[k]!r} lies outside of the image")
        elif labelled:
            points[k] = (x, y, min(seen, 2.0))
    return points
