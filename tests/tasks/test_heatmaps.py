"""Heat maps: targets, decoding and crops by formulas and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from bocb_hf.errors import InputError
from bocb_hf.tasks.heatmaps import (
    crop_matrix,
    decode,
    draw_targets,
    fit_box,
    flip_maps,
    heatmap_loss,
    invert,
    mirror_pairs,
)
from bocb_hf.tasks.pose_samples import cut_out


def plain_target(x: float, y: float, height: int, width: int, sigma: float) -> np.ndarray:
    """One heat map, pixel by pixel."""
    column, row = math.floor(x / 4 + 0.5), math.floor(y / 4 + 0.5)
    found = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            if abs(i - row) <= 3 * sigma and abs(j - column) <= 3 * sigma:
                found[i, j] = math.exp(-((i - row) ** 2 + (j - column) ** 2) / (2 * sigma**2))
    return found


def test_a_target_is_a_gaussian_around_the_nearest_pixel() -> None:
    points = torch.tensor([[[30.0, 17.0, 2.0], [-1.9, 62.0, 1.0], [30.0, 17.0, 0.0], [300.0, 5.0, 2.0]]])
    maps, weight = draw_targets(points, 16, 12, 2.0)
    assert weight.tolist() == [[1, 1, 0, 0]]  # not labelled; nothing of its Gaussian is inside
    for place in (0, 1):
        x, y, _ = points[0, place].tolist()
        expected = plain_target(x, y, 16, 12, 2.0)
        assert np.allclose(maps[0, place].numpy(), expected, atol=1e-6)
    assert maps[0, 2:].abs().max() == 0


def test_the_loss_is_half_the_mean_squared_error_of_labelled_keypoints() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs, maps = torch.rand(2, 3, 5, 4, generator=generator), torch.rand(2, 3, 5, 4, generator=generator)
    weight = torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    by_hand = 0.5 * np.mean(
        [float(weight[b, k]) * float(((outputs[b, k] - maps[b, k]) ** 2).mean()) for b in range(2) for k in range(3)]
    )
    assert float(heatmap_loss(outputs, maps, weight)) == pytest.approx(by_hand, rel=1e-6)
    assert float(heatmap_loss(outputs, maps, torch.zeros(2, 3))) == 0


def test_decoding_moves_a_quarter_towards_the_higher_neighbour() -> None:
    maps = torch.zeros(1, 4, 8, 10)
    maps[0, 0, 4, 5], maps[0, 0, 4, 6], maps[0, 0, 3, 5] = 1.0, 0.6, 0.5  # higher to the right, and above
    maps[0, 1, 4, 5] = 1.0  # alike on all sides
    maps[0, 2, 1, 5], maps[0, 2, 1, 6] = 1.0, 0.5  # on the border of the paper's code: not moved
    maps[0, 3] = -1.0  # nothing found
    places, heights = decode(maps)
    assert places[0].tolist() == [[5.25, 3.75], [5.0, 4.0], [5.0, 1.0], [0.0, 0.0]]
    assert heights[0].tolist() == [1.0, 1.0, 1.0, -1.0]


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0])
def test_what_is_drawn_is_decoded_to_half_a_pixel_of_the_map(sigma: float) -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(20, 5, 3, generator=generator) * torch.tensor((180.0, 240.0, 0.0)) + torch.tensor((6, 8, 2.0))
    maps, _ = draw_targets(points, 64, 48, sigma)
    places, heights = decode(maps)
    assert (heights == 1).all()
    assert ((places * 4 - points[..., :2]).abs() <= 2).all()


def test_left_and_right_change_places_by_their_names() -> None:
    names = ("nose", "left_eye", "right_eye", "left_only", "tail")
    assert mirror_pairs(names) == [0, 2, 1, 3, 4]
    maps = torch.arange(2 * 1 * 4, dtype=torch.float32).view(1, 2, 1, 4)
    flipped = flip_maps(maps, mirror_pairs(("left_a", "right_a")))
    assert flipped[0, 0, 0].tolist() == [7, 7, 6, 5]  # the other map, mirrored, moved by one
    assert flipped[0, 1, 0].tolist() == [3, 3, 2, 1]


def test_a_box_is_widened_to_the_aspect_and_enlarged() -> None:
    assert fit_box((10, 20, 40, 100), 0.75, 1.25) == ((25.0, 60.0), (75.0, 100.0))
    assert fit_box((0, 0, 90, 30), 0.75, 1.0) == ((45.0, 15.0), (90.0, 120.0))


def test_the_crop_and_its_matrix_agree_with_its_inverse() -> None:
    matrix = crop_matrix((25.0, 60.0), (75.0, 100.0), 30.0, 48, 64)
    middle = matrix[:, :2] @ np.array([24, 32]) + matrix[:, 2]
    assert middle == pytest.approx([25, 60])
    back = invert(matrix)
    point = np.array([11.0, 7.0])
    assert back[:, :2] @ (matrix[:, :2] @ point + matrix[:, 2]) + back[:, 2] == pytest.approx(point)
    upright = crop_matrix((25.0, 60.0), (75.0, 100.0), 0.0, 48, 64)
    assert upright[:, :2] == pytest.approx(np.eye(2) * 75 / 48)


def test_pixels_are_cut_out_where_the_matrix_says() -> None:
    """A bright pixel lands at the place that the inverse of the matrix gives it, also when rotated."""
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[20:23, 30:33] = 255
    for degrees in (0.0, 35.0):
        matrix = crop_matrix((35.0, 25.0), (24.0, 32.0), degrees, 48, 64)
        found = cut_out(Image.fromarray(pixels), matrix, 48, 64).astype(float)[..., 0]
        rows, columns = np.mgrid[:64, :48]
        centre = np.array([(columns * found).sum(), (rows * found).sum()]) / found.sum()
        back = invert(matrix)
        expected = back[:, :2] @ np.array([31.0, 21.0]) + back[:, 2]
        assert centre == pytest.approx(expected, abs=0.05)


def test_a_reduction_that_deconvolutions_cannot_undo_is_refused() -> None:
    from torch import nn

    from bocb_hf.tasks.heatmaps import PoseNetwork

    maps = nn.Identity()
    maps.reductions, maps.channels = [14], [8]  # type: ignore[assignment] - a stand-in
    with pytest.raises(InputError, match="a reduction of 14"):
        PoseNetwork(maps, 4, 8)  # type: ignore[arg-type] - a stand-in
