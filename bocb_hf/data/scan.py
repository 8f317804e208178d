"""Looks at every image of a data set once: which are copies of each other, their sizes, and whether they are grey."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bocb_hf.data.cache import remember
from bocb_hf.data.decode import Centre
from bocb_hf.data.duplicates import Copies, find_copies
from bocb_hf.data.hold import Limits, describe_pixels
from bocb_hf.data.load import OpenData
from bocb_hf.data.sketches import Sketches, hash_pixels, sketch_images

log = logging.getLogger(__name__)

RULE = 1  # this number is raised when other images count as copies
_FEW = 200  # so many images are looked at anew by every process
_SLOW = 2000  # a log line announces that more images are looked at


@dataclass(frozen=True)
class Scan:
    """What was seen.

    Attributes:
        splits: The splits that were looked at, in their order.
        copies: Which images are copies of each other, over the rows of all splits, one after another.
        height: Median height of the images in pixels.
        width: Median width of the images in pixels.
        one_size: Whether all images have one size.
        grey: Whether no image has colours.
        starts: First row of each split, and the number of all rows.
    """

    splits: tuple[str, ...]
    copies: Copies
    height: int
    width: int
    one_size: bool
    grey: bool
    starts: tuple[int, ...]

    def groups_of(self, split: str) -> NDArray[np.int64]:
        """Numbers of the groups of a split's images, (rows of the split,)."""
        place = self.splits.index(split)
        return self.copies.groups[self.starts[place] : self.starts[place + 1]]

    def locate(self, row: int) -> tuple[str, int]:
        """The split of a row, and its number there."""
        place = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.splits[place], row - self.starts[place]


@functools.lru_cache(maxsize=4)
def scan_images(data: OpenData, columns: tuple[str, str], splits: tuple[str, ...], limits: Limits) -> Scan:
    """Looks at the images of some splits, or reads from the cache what was seen before.

    Args:
        data: The data set, which is not a stream.
        columns: Columns of the images and of the labels.
        splits: Names of the splits; train is the first.
        limits: Limits of this machine.

    Raises:
        InputError: An image is damaged, or the cache cannot be written.
    """
    starts = tuple(int(n) for n in np.cumsum([0, *(len(data.splits[name]) for name in splits)]))

    def look() -> dict[str, Any]:
        if starts[-1] > _SLOW:
            log.info("looking for copies among %d images of %s", starts[-1], data.name)
        return _look(data, columns[0], splits, starts, limits.workers)

    if starts[-1] <= _FEW:
        seen = look()
    else:
        asked = {**describe_pixels(data, splits[0], columns, Centre(1)), "fact": f"copies {RULE} in {splits}"}
        seen = remember(limits.folder, asked, look)
    groups = np.arange(starts[-1])
    for rows in seen["groups"]:
        groups[rows] = rows[0]
    copies = Copies(groups, seen["exact"], seen["encoded"], seen["mirrored"])
    return Scan(splits, copies, seen["height"], seen["width"], seen["one_size"], seen["grey"], starts)


def _look(data: OpenData, column: str, splits: Sequence[str], starts: Sequence[int], workers: int) -> dict[str, Any]:
    """What ``scan_images`` remembers, as plain JSON values."""
    parts = [sketch_images(f"split {name!r} of {data.name!r}", data.splits[name], column, workers) for name in splits]
    sketches = Sketches(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("grey", "colour", "size", "content"))
    )

    def hash_rows(rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        hashes = np.empty(len(rows), np.uint64)
        for place, name in enumerate(splits):
            chosen = (rows >= starts[place]) & (rows < starts[place + 1])
            if chosen.any():
                where, local = f"split {name!r} of {data.name!r}", rows[chosen] - starts[place]
                hashes[chosen] = hash_pixels(where, data.splits[name], column, local, workers)
        return hashes

    copies = find_copies(sketches, hash_rows)
    members: dict[int, list[int]] = {}
    for row in np.flatnonzero(copies.groups != np.arange(len(copies.groups))).tolist():
        group = int(copies.groups[row])
        members.setdefault(group, [group]).append(row)
    colour = sketches.colour.reshape(len(sketches), -1, 3)
    height, width = (int(value) for value in np.median(sketches.size, axis=0))
    return {
        "groups": list(members.values()),
        "exact": copies.exact,
        "encoded": copies.encoded,
        "mirrored": copies.mirrored,
        "height": height,
        "width": width,
        "one_size": bool((sketches.size == sketches.size[0]).all()),
        "grey": bool((colour.max(axis=2) == colour.min(axis=2)).all()),
    }


def name_image(data: OpenData, column: str, split: str, row: int) -> str:
    """The name of an image for people: its path in the folder, or else its split and row."""
    (encoded,) = data.splits[split].images(column)[[row]]
    path = (encoded or {}).get("path")
    if not path:
        return f"{split} row {row}"
    given = Path(str(path))
    if data.files is not None and given.is_relative_to(data.files.root):
        return given.relative_to(data.files.root).as_posix()
    return given.name
