"""Preprocessing of images beside their size: mean, standard deviation and interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# the names that timm and Pillow share
Interpolation = Literal["bicubic", "bilinear", "nearest", "lanczos", "hamming", "box"]

# whether mean, standard deviation and interpolation are those of the data or of the weights that a run starts from
Normalization = Literal["data", "checkpoint"]


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing that a checkpoint was trained with.

    Attributes:
        mean: Mean of each channel that is subtracted, where pixels are in 0..1.
        std: Standard deviation of each channel that is divided by.
        interpolation: How images are resized.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: Interpolation = "bicubic"
