"""Heat maps of top-down pose estimation (Xiao et al. 2018, arXiv 1804.06208): network, targets, loss, decoding."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bocb_hf.errors import InputError
from bocb_hf.tasks.features import Maps

STRIDE = 4  # pixels of the input for a pixel of a heat map
_DECONVOLUTIONS = 3
_CUT = 3  # standard deviations at which the Gaussian of a target is cut off

# standard deviations of COCO's 17 keypoints, from nose to right ankle (cocodataset.org/#keypoints-eval); an OKS
# constant is twice such a number
COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
    *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
OTHER_SIGMA = 0.05


class PoseNetwork(nn.Module):
    """A backbone, three deconvolutions with batch norm and ReLU, and a 1×1 convolution to one heat map a keypoint.

    Each deconvolution doubles the side, as in the paper, where the backbone's last reduction is 32. Of a backbone whose
    last reduction is smaller, the first ones keep the side, so that heat maps always have a quarter of the input's.

    Args:
        maps: The backbone.
        keypoints: Number of keypoints K.
        channels: Channels of each deconvolution.

    Raises:
        InputError: The last reduction of the backbone is none of 4, 8, 16 and 32.
    """

    def __init__(self, maps: Maps, keypoints: int, channels: int) -> None:
        super().__init__()
        doublings = math.log2(maps.reductions[-1] / STRIDE)
        if doublings not in range(_DECONVOLUTIONS + 1):
            raise InputError(
                f"backbone.name: the last map of this backbone has a reduction of {maps.reductions[-1]}; three "
                "deconvolutions take one of 4, 8, 16 or 32"
            )
        self.backbone = maps
        layers: list[nn.Module] = []
        width = maps.channels[-1]
        for place in range(_DECONVOLUTIONS):
            doubles = place >= _DECONVOLUTIONS - int(doublings)
            kernel, stride = (4, 2) if doubles else (3, 1)
            layers += [
                nn.ConvTranspose2d(width, channels, kernel, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
            ]
            width = channels
        self.deconvolutions = nn.Sequential(*layers)
        self.final = nn.Conv2d(width, keypoints, kernel_size=1)
        for module in (*self.deconvolutions.modules(), self.final):
            if isinstance(module, nn.ConvTranspose2d | nn.Conv2d):
                nn.init.normal_(module.weight, std=0.001)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.starting_weights = getattr(maps, "starting_weights", None)
        # where optimizers of matrices look for the last layer (``optim.param_groups.hidden_matrices``)
        self.pretrained_cfg = {"classifier": "final"}

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that the backbone itself exempts from weight decay."""
        return {f"backbone.{name}" for name in self.backbone.no_weight_decay()}

    def forward(self, x: Tensor) -> Tensor:
        """Heat maps (B, K, H/4, W/4) of normalised crops (B, 3, H, W)."""
        return self.final(self.deconvolutions(self.backbone(x)[-1]))


def draw_targets(points: Tensor, height: int, width: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Heat maps of labelled keypoints: a Gaussian of height 1 around the nearest pixel, cut off at 3σ.

    Args:
        points: x, y in pixels of the input and visibility, (B, K, 3).
        height: Height of a heat map.
        width: Width of a heat map.
        sigma: Standard deviation in pixels of a heat map.

    Returns:
        The heat maps (B, K, height, width), and the weight of each (B, K): 0 where the keypoint is not labelled, or so
        far outside that nothing of its Gaussian is inside.
    """
    centre = (points[..., :2] / STRIDE + 0.5).floor()  # (B, K, 2)
    reach = sigma * _CUT
    down = torch.arange(height, device=points.device) - centre[..., 1, None]  # (B, K, height)
    across = torch.arange(width, device=points.device) - centre[..., 0, None]
    gaussian = [torch.exp(-(d.square()) / (2 * sigma**2)) * (d.abs() <= reach) for d in (down, across)]
    maps = gaussian[0][..., :, None] * gaussian[1][..., None, :]
    size = torch.tensor((width, height), device=points.device)
    inside = ((centre + reach >= 0) & (centre - reach < size)).all(dim=-1)
    weight = ((points[..., 2] > 0) & inside).float()
    return maps * weight[..., None, None], weight


def heatmap_loss(outputs: Tensor, maps: Tensor, weight: Tensor) -> Tensor:
    """Half of the mean squared error of the heat maps of labelled keypoints, a scalar.

    Args:
        outputs: Predicted heat maps, (B, K, h, w).
        maps: Heat maps of ``draw_targets``.
        weight: Their weights, (B, K); the mean is over all keypoints, as in the paper's code.
    """
    error = (outputs.float() - maps).square() * weight[..., None, None]
    return 0.5 * error.mean()


def decode(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Keypoints from heat maps: the highest pixel, moved by a quarter towards its higher neighbour on each axis.

    Args:
        maps: Heat maps, (B, K, h, w).

    Returns:
        x and y in pixels of the heat map, (B, K, 2), and the height of each maximum, (B, K).
    """
    batch, keypoints, height, width = maps.shape
    scores, index = maps.flatten(2).max(dim=2)  # (B, K)
    x, y = index % width, index // width
    flat = maps.reshape(batch * keypoints, height, width)
    row = torch.arange(len(flat), device=maps.device)
    px, py = x.flatten(), y.flatten()
    inner = (px > 1) & (px < width - 1) & (py > 1) & (py < height - 1)  # the border of the paper's code
    cx, cy = px.clamp(1, width - 2), py.clamp(1, height - 2)
    slope_x = flat[row, cy, cx + 1] - flat[row, cy, cx - 1]
    slope_y = flat[row, cy + 1, cx] - flat[row, cy - 1, cx]
    move = torch.stack((slope_x.sign(), slope_y.sign()), dim=1) * 0.25 * inner[:, None]
    places = torch.stack((px, py), dim=1).to(maps.dtype) + move
    places = torch.where(scores.flatten()[:, None] > 0, places, torch.zeros_like(places))
    return places.view(batch, keypoints, 2), scores


def mirror_pairs(names: Sequence[str]) -> list[int]:
    """For each keypoint the one that it becomes in a mirrored image: left and right change places by their names."""
    swap = {"left": "right", "right": "left", "Left": "Right", "Right": "Left"}
    found: list[int] = []
    for place, name in enumerate(names):
        other = next((name.replace(a, b, 1) for a, b in swap.items() if a in name), name)
        found.append(names.index(other) if other in names else place)
    return found


def flip_maps(maps: Tensor, pairs: Sequence[int]) -> Tensor:
    """Heat maps of a mirrored image, mirrored back, with left and right exchanged and moved by one pixel.

    The move makes up for the strides of the network, which start at the left edge of either image.
    """
    back = maps.flip(3)[:, list(pairs)]
    moved = back.clone()
    moved[..., 1:] = back[..., :-1]
    return moved


def crop_matrix(
    centre: tuple[float, float], size: tuple[float, float], degrees: float, width: int, height: int
) -> NDArray[np.float64]:
    """The affine map from pixels of the input to pixels of the image, (2, 3).

    Args:
        centre: Centre of what is cut out, in pixels of the image.
        size: Width and height of what is cut out; their ratio is that of the input.
        degrees: Rotation.
        width: Width of the input.
        height: Height of the input.
    """
    scale = size[0] / width
    angle = math.radians(degrees)
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    linear = np.array([[cos, -sin], [sin, cos]])
    offset = np.array(centre) - linear @ np.array([width / 2, height / 2])
    return np.concatenate((linear, offset[:, None]), axis=1)


def invert(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of an affine map, (2, 3)."""
    linear: NDArray[np.float64] = np.linalg.inv(matrix[:, :2]).astype(np.float64)
    return np.concatenate((linear, -(linear @ matrix[:, 2:])), axis=1)


def fit_box(
    box: tuple[float, float, float, float], aspect: float, padding: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Centre and size of what is cut out for a box: widened to the aspect of the input, then enlarged.

    Args:
        box: Left, top, right, bottom.
        aspect: Width over height of the input.
        padding: Factor on both sides.
    """
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    if width > aspect * height:
        height = width / aspect
    else:
        width = height * aspect
    return ((left + right) / 2, (top + bottom) / 2), (width * padding, height * padding)
