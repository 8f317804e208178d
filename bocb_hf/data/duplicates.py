"""Finds copies of an image: exact ones, and ones that were encoded, resized or mirrored anew.

Two images are copies when their decoded pixels are equal, or when their sketches (``bocb_hf.data.sketches``) agree:
the root mean square of the difference of the two sketches in grey is at most ``LIMIT`` of the smaller contrast (the
standard deviation of a sketch), the same in colour at most ``LIMIT`` of it or ``COLOUR`` levels, and the shapes
differ by at most 5 %. So another format, JPEG of usual quality, or a slightly different size make a copy; a crop, a
border or other colours do not. An image of less contrast than ``PLAIN`` levels, such as a black one, has only exact
copies. ``benchmarks/copies.txt`` says what is found on real images, and what is taken for a copy.

No pair of copies is missed by the search, though it does not compare all pairs: divided by their norms, two such
sketches lie within ``LIMIT`` of each other (‖x/‖x‖ − y/‖y‖‖ ≤ 2‖x − y‖ / (‖x‖ + ‖y‖)), a projection onto some
directions brings them no further apart, and a k-d tree of projections gives all pairs within that distance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.data.sketches import COLOURS, SIDE, Sketches

LIMIT = 0.08
COLOUR = 8.0  # levels of 255
PLAIN = 6.0  # levels of 255
_SHAPE = 0.05
_DIRECTIONS = 16  # dimensions of the tree: more of them leave fewer pairs to compare, and take longer to search
_SAMPLE = 2000  # images that the directions are found from
_BULK = 2048  # images that are projected or searched at a time

PixelHashes = Callable[[NDArray[np.int64]], NDArray[np.uint64]]


@dataclass(frozen=True)
class Copies:
    """Which images are copies of each other.

    Attributes:
        groups: Number of the group of each image, (N,) int64: the row of its first image.
        exact: Images whose pixels are those of an earlier image.
        encoded: Further images that are an earlier one, encoded or resized anew.
        mirrored: Further images that are an earlier one, mirrored.
    """

    groups: NDArray[np.int64]
    exact: int
    encoded: int
    mirrored: int

    @property
    def images(self) -> int:
        """Number of images that are a copy of an earlier one."""
        return self.exact + self.encoded + self.mirrored


def find_copies(sketches: Sketches, hash_pixels: PixelHashes) -> Copies:
    """Finds which images are copies of each other.

    Args:
        sketches: Sketches of all images.
        hash_pixels: Function that returns a hash of the decoded pixels of the images in some rows; it is asked only for
            images that may be copies.
    """
    joined = _Joined(len(sketches))
    _, first, content = np.unique(sketches.content, return_index=True, return_inverse=True)
    for row in np.flatnonzero(first[content] != np.arange(len(sketches))).tolist():
        joined.join(int(first[content[row]]), row)
    first = np.sort(first).astype(np.int64)  # one image for each content
    contrast = sketches.grey[first].std(axis=1, dtype=np.float32)
    _join_plain(joined, sketches, first[contrast < PLAIN], hash_pixels)
    mirrored = _join_similar(joined, sketches, first[contrast >= PLAIN])
    exact = _count_exact(joined, sketches, hash_pixels)
    total = len(sketches) - len(np.unique(joined.groups))
    return Copies(joined.groups, exact, total - exact - mirrored, mirrored)


class _Joined:
    """Groups of rows that are joined pair by pair; the number of a group is its smallest row."""

    def __init__(self, count: int) -> None:
        self.groups = np.arange(count)
        self._members: dict[int, list[int]] = {}

    def join(self, one: int, other: int) -> bool:
        """Joins the groups of two rows, and says whether they were two."""
        low, high = sorted((int(self.groups[one]), int(self.groups[other])))
        if low == high:
            return False
        moved = self._members.pop(high, [high])
        self._members.setdefault(low, [low]).extend(moved)
        self.groups[moved] = low
        return True


def _join_plain(joined: _Joined, sketches: Sketches, rows: NDArray[np.int64], hash_pixels: PixelHashes) -> None:
    """Joins images without contrast whose pixels are equal."""
    keys: dict[bytes, list[int]] = {}
    for row in rows.tolist():
        key = sketches.grey[row].tobytes() + sketches.colour[row].tobytes() + sketches.size[row].tobytes()
        keys.setdefault(key, []).append(row)
    alike = np.array([row for same in keys.values() if len(same) > 1 for row in same], np.int64)
    if not len(alike):
        return
    seen: dict[int, int] = {}
    for row, pixels in zip(alike.tolist(), hash_pixels(alike).tolist(), strict=True):
        joined.join(seen.setdefault(pixels, row), row)


def _join_similar(joined: _Joined, sketches: Sketches, rows: NDArray[np.int64]) -> int:
    """Joins images whose sketches agree, then those that agree when one is mirrored; returns how often the latter."""
    if len(rows) < 2:
        return 0
    from scipy.spatial import KDTree

    directions = _find_directions(sketches, rows)
    tree = KDTree(_project(sketches, rows, directions, mirror=False))
    found = 0
    for mirror in (False, True):
        points = _project(sketches, rows, directions, mirror)
        for begin in range(0, len(rows), _BULK):
            some = points[begin : begin + _BULK]
            counts = tree.query_ball_point(some, LIMIT * (1 + 1e-4), return_length=True)
            for place in np.flatnonzero(counts > (0 if mirror else 1)):
                near = np.asarray(tree.query_ball_point(some[place], LIMIT * (1 + 1e-4)), np.int64)
                found += mirror * _join_near(joined, sketches, int(rows[begin + place]), rows[near], mirror)
    return found


def _join_near(joined: _Joined, sketches: Sketches, row: int, others: NDArray[np.int64], mirror: bool) -> int:
    """Joins a row with those of the others that are copies of it; returns how many groups it was joined with."""
    others = others[(joined.groups[others] != joined.groups[row]) & (others < row if not mirror else others != row)]
    if not len(others):
        return 0
    same = others[compare(sketches, row, others, mirror)]
    return sum(joined.join(row, other) for other in same.tolist())


def compare(sketches: Sketches, row: int, others: NDArray[np.int64], mirror: bool = False) -> NDArray[np.bool_]:
    """Whether the sketch of one image, or its mirror image, agrees with each of the others, (len(others),)."""
    one, tint = sketches.grey[row].reshape(SIDE, SIDE), sketches.colour[row].reshape(COLOURS, COLOURS, 3)
    if mirror:
        one, tint = one[:, ::-1], tint[:, ::-1]
    grey = sketches.grey[others].astype(np.float32)
    contrast = np.minimum(grey.std(axis=1), one.std(dtype=np.float32))
    apart = np.sqrt(np.square(grey - one.reshape(1, -1)).mean(axis=1))
    colours = sketches.colour[others].astype(np.float32) - tint.reshape(1, -1)
    shapes = np.log(sketches.size[others, 0] / sketches.size[others, 1] / sketches.size[row, 0] * sketches.size[row, 1])
    return (
        (apart <= LIMIT * contrast)
        & (np.sqrt(np.square(colours).mean(axis=1)) <= np.maximum(COLOUR, LIMIT * contrast))
        & (np.abs(shapes) <= _SHAPE)
    )


def _unit(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Sketches less their mean, divided by their norm, (n, 1024)."""
    centred = grey - grey.mean(axis=1, keepdims=True, dtype=np.float32)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def _find_directions(sketches: Sketches, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Orthonormal directions in which the sketches differ most, (1024, directions)."""
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).round().astype(np.int64)]
    unit = _unit(sketches.grey[sample])
    if len(unit) < unit.shape[1]:  # then there are fewer directions than images, and they are found faster
        _, _, vectors = np.linalg.svd(unit, full_matrices=False)
        return np.ascontiguousarray(vectors[:_DIRECTIONS].T)
    _, vectors = np.linalg.eigh(unit.T @ unit)
    return np.ascontiguousarray(vectors[:, -_DIRECTIONS:])


def _project(
    sketches: Sketches, rows: NDArray[np.int64], directions: NDArray[np.float32], mirror: bool
) -> NDArray[np.float32]:
    """Projections of the sketches of some rows, (len(rows), directions)."""
    points = np.empty((len(rows), directions.shape[1]), np.float32)
    for begin in range(0, len(rows), _BULK):
        grey = sketches.grey[rows[begin : begin + _BULK]]
        if mirror:
            grey = grey.reshape(-1, SIDE, SIDE)[:, :, ::-1].reshape(len(grey), -1)
        points[begin : begin + _BULK] = _unit(grey) @ directions
    return points


def _count_exact(joined: _Joined, sketches: Sketches, hash_pixels: PixelHashes) -> int:
    """Counts the images whose pixels are those of an earlier image of their group."""
    groups = joined.groups
    numbers, sizes = np.unique(groups, return_counts=True)
    rows = np.flatnonzero(np.isin(groups, numbers[sizes > 1]))
    contents: dict[int, dict[int, int]] = {}  # of each group, the first row of each content
    for row in rows.tolist():
        contents.setdefault(int(groups[row]), {}).setdefault(int(sketches.content[row]), row)
    same_bytes = len(rows) - sum(len(found) for found in contents.values())
    asked = np.array([row for found in contents.values() if len(found) > 1 for row in found.values()], np.int64)
    if not len(asked):
        return same_bytes
    hashes = hash_pixels(asked)
    kinds = {(int(groups[row]), int(pixels)) for row, pixels in zip(asked.tolist(), hashes.tolist(), strict=True)}
    return same_bytes + len(asked) - len(kinds)


def example_pairs(groups: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """Some pairs of rows that are copies: the first and the second image of each of the first groups."""
    later = np.flatnonzero(groups != np.arange(len(groups)))
    numbers, places = np.unique(groups[later], return_index=True)
    return [(int(number), int(later[place])) for number, place in zip(numbers[:most], places[:most], strict=True)]
