"""The persons of a split, cut out of their images as the network of pose estimation sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.special import ndtri
from torch import Tensor

from bocb_hf.data.augment.draws import BOXES, FLIP, OPERATIONS
from bocb_hf.runs.tasks import PoseOptions
from bocb_hf.tasks.annotations import CocoSplit, decode_upright
from bocb_hf.tasks.heatmaps import crop_matrix, fit_box, invert, mirror_pairs

_ROTATED = 0.6  # share of the persons that are rotated in training
_DRAWS = (BOXES.start, OPERATIONS.start, OPERATIONS.start + 1)  # of size, rotation, and whether there is one

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Person:
    """One object whose keypoints are learned: the position of its image, its box, and (K, 3) keypoints."""

    photograph: int
    box: Box
    keypoints: NDArray[np.float32]


@dataclass(frozen=True)
class Crop:
    """One person as the network sees it.

    Attributes:
        pixels: Pixels, (H, W, 3) uint8.
        keypoints: x, y in these pixels, and visibility, (K, 3) float32.
        matrix: Affine map from these pixels to those of the image, (2, 3).
    """

    pixels: NDArray[np.uint8]
    keypoints: NDArray[np.float32]
    matrix: NDArray[np.float64]


def cut_out(picture: Image.Image, matrix: NDArray[np.float64], width: int, height: int) -> NDArray[np.uint8]:
    """Bilinear pixels (height, width, 3) at the places that the affine map names; black outside of the image.

    The map goes between centres of pixels; Pillow counts from their corners.
    """
    (a, b, c), (d, e, f) = matrix.tolist()
    corner = (a, b, c + 0.5 - (a + b) / 2, d, e, f + 0.5 - (d + e) / 2)
    return np.asarray(picture.transform((width, height), Image.Transform.AFFINE, corner, Image.Resampling.BILINEAR))


class PoseSamples:
    """The persons of a split with labelled keypoints.

    Args:
        split: The split.
        label: Position of the category.
        options: Options of the task.
        height: Height of the input in pixels.
        flips: Whether half of the persons are mirrored, where there are draws.
    """

    def __init__(self, split: CocoSplit, label: int, options: PoseOptions, height: int, flips: bool) -> None:
        self.split, self.label, self._options, self._height = split, label, options, height
        self._flips, self._held = flips, dict[int, Image.Image]()
        self.holds = False
        self._pairs = mirror_pairs(split.categories[label].keypoints)
        self.persons = tuple(
            Person(place, one.box, one.keypoints)
            for place, photograph in enumerate(split.photographs)
            for one in photograph.annotations
            if one.label == label and not one.crowd and one.keypoints is not None and (one.keypoints[:, 2] > 0).any()
        )

    def __len__(self) -> int:
        return len(self.persons)

    @property
    def bytes(self) -> int:
        """Bytes of all images that hold a person, decoded."""
        places = {person.photograph for person in self.persons}
        return sum(3 * self.split.photographs[k].width * self.split.photographs[k].height for k in places)

    def _picture(self, place: int) -> Image.Image:
        found = self._held.get(place)
        if found is None:
            found = decode_upright(self.split.photographs[place], self.split.report.where)
            if self.holds:
                self._held[place] = found
        return found

    def make(self, index: int, draws: NDArray[np.float32] | None) -> Crop:
        """One person, changed in size, rotated and mirrored by its draws."""
        person, options, height = self.persons[index], self._options, self._height
        width = options.width
        centre, size = fit_box(person.box, width / height, options.padding)
        degrees = 0.0
        if draws is not None:
            resized, turned, whether = (float(draws[k]) for k in _DRAWS)
            factor = float(np.clip(1 + options.scale * _normal(resized), 1 - options.scale, 1 + options.scale))
            size = (size[0] * factor, size[1] * factor)
            if whether < _ROTATED:
                degrees = float(np.clip(_normal(turned), -2, 2)) * options.rotation
        matrix = crop_matrix(centre, size, degrees, width, height)
        pixels = cut_out(self._picture(person.photograph), matrix, width, height)
        points = person.keypoints.copy()
        back = invert(matrix)
        points[:, :2] = points[:, :2] @ back[:, :2].T + back[:, 2]
        if self._flips and draws is not None and draws[FLIP] < 0.5:
            pixels = pixels[:, ::-1]
            points[:, 0] = width - 1 - points[:, 0]
            points = points[self._pairs]
        return Crop(pixels, points, matrix)


def _normal(uniform: float) -> float:
    """A standard normal number from one in [0, 1)."""
    return float(ndtri(min(max(uniform, 1e-6), 1 - 1e-6)))


def collate(crops: Sequence[Crop]) -> tuple[Tensor, Any]:
    """Pixels (B, 3, H, W) uint8, and keypoints (B, K, 3) with the affine maps (B, 2, 3)."""
    pixels = np.stack([crop.pixels for crop in crops]).transpose(0, 3, 1, 2)
    points = torch.from_numpy(np.stack([crop.keypoints for crop in crops]))
    return torch.from_numpy(np.ascontiguousarray(pixels)), (points, [crop.matrix for crop in crops])
