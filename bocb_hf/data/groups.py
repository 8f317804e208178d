"""Draws held-out images so that copies of an image stay together, and counts copies across given splits."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bocb_hf.data.hold import Limits
from bocb_hf.data.labels import draw_by_class, explain_draw
from bocb_hf.data.load import OpenData
from bocb_hf.data.scan import Scan, scan_images
from bocb_hf.errors import InputError
from bocb_hf.runs.config import DuplicateRule

log = logging.getLogger(__name__)


def find_groups(
    rule: DuplicateRule, data: OpenData, columns: tuple[str, str], splits: tuple[str, ...], limits: Limits
) -> Scan | None:
    """Looks for copies where ``data.duplicates`` asks for it.

    Raises:
        InputError: An image is damaged, or the cache cannot be written.
    """
    return None if rule == "ignore" else scan_images(data, columns, splits, limits)


def draw_apart(
    labels: NDArray[np.int64], groups: NDArray[np.int64] | None, fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draws held-out images by class: sorted indices of the kept and of the held-out images, the same for every call.

    Without copies this is ``draw_by_class``. With copies, whole groups are drawn, by the label that most of their
    images have, so that ``fraction`` is the share of different images. A group that holds more than half of its class
    is kept, as long as two others can be drawn from: a split with hundreds of copies would measure one picture.

    Args:
        labels: Labels of all images.
        groups: Number of each image's group; None where copies are of no interest.
        fraction: Share of the images that is held out.
        seed: Seed of the draw.

    Raises:
        ValueError: A class has only one image that is no copy, or there are fewer such images than classes.
    """
    if groups is None or len(np.unique(groups)) == len(groups):
        return draw_by_class(labels, fraction, seed)
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    theirs = label_groups(labels, groups)
    sizes = np.bincount(member)
    drawable = np.ones(len(first), np.bool_)
    for number in np.unique(theirs):
        of_class = np.flatnonzero(theirs == number)
        largest = of_class[sizes[of_class].argmax()]
        drawable[largest] = 2 * sizes[largest] <= sizes[of_class].sum() or len(of_class) < 3
    places = np.flatnonzero(drawable)
    _, held = draw_by_class(theirs[places], fraction, seed)
    chosen = np.isin(member, places[held])
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def label_groups(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The label that most images of each group have, the lowest of equals, in the order of the groups' numbers."""
    _, member = np.unique(groups, return_inverse=True)
    counts = np.zeros((int(member.max()) + 1, int(labels.max()) + 1), np.int64)
    np.add.at(counts, (member, labels), 1)
    return counts.argmax(axis=1)


def explain_apart(
    labels: NDArray[np.int64], groups: NDArray[np.int64] | None, fraction: float, names: Sequence[str], key: str
) -> InputError:
    """Makes the error for an impossible draw, see ``explain_draw``; copies of an image count once."""
    if groups is None or len(np.unique(groups)) == len(groups):
        return explain_draw(labels, fraction, names, key)
    error = explain_draw(label_groups(labels, groups), fraction, names, key)
    return InputError(
        f"{error} (of {len(labels)} images; copies of an image count once, as data.duplicates=group says)"
    )


def count_similar(scan: Scan, data: OpenData, test: str | None, shared: int) -> int:
    """Counts the images of a given test split that are copies of training images, but not byte for byte.

    The log warns of copies in every pair of given splits.

    Args:
        scan: What was seen of all splits.
        data: The data set.
        test: Name of the given test split; None where it is drawn.
        shared: Images of the test split that are training images byte for byte.
    """
    similar = 0
    for later, name in enumerate(scan.splits):
        for other in scan.splits[:later]:
            found = int(np.isin(scan.groups_of(name), scan.groups_of(other)).sum())
            found -= shared if (name, other) == (test, "train") else 0
            if found > 0:
                log.warning(
                    "%d of %d images of split %r of %s are copies of images of %r, encoded, resized or mirrored anew: "
                    "a score on them measures little generalisation; remove them from one of the two",
                    *(found, len(scan.groups_of(name)), name, data.name, other),
                )
            if (name, other) == (test, "train"):
                similar = max(found, 0)
    return similar
