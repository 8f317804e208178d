"""The picture of a card: its size, what is drawn where, and that equal records give equal bytes."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from builders import make_record
from PIL import Image

from bocb_hf.runs.measurements import Curve
from bocb_hf.runs.record import RunRecord
from bocb_hf.store.cards.curves import draw_curves
from bocb_hf.store.cards.panels import HEIGHT, WIDTH, Line, Panel, _Axis, draw_panels

BLUE, RED = (0, 114, 178), (213, 94, 0)  # of the first and the second seed


def curve(losses: list[float], validated: bool = False) -> Curve:
    steps = list(range(1, len(losses) + 1))
    return Curve(
        step=steps,
        lr=[0.1] * len(losses),
        train_loss=losses,
        train_top1=[50.0] * len(losses),
        val_step=steps[-1:] if validated else [],
        val_loss=[1.0] if validated else [],
        val_top1=[40.0] if validated else [],
    )


def final(seed: int, losses: list[float], validated: bool = False, **changes: object) -> RunRecord:
    return make_record(seed=seed).model_copy(update={"curve": curve(losses, validated), **changes})


def pixels(png: bytes | None) -> np.ndarray:
    assert png is not None
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)  # (height, width, 3)


def near(image: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a panel holds a colour, as (rows, columns) of the image."""
    return np.argwhere(np.abs(image - np.array(colour)).max(axis=2) < 12)


def test_the_picture_has_a_panel_for_all_that_there_is() -> None:
    plain = pixels(draw_curves([final(1, [2.0, 1.0])]))
    assert plain.shape == (HEIGHT, 2 * WIDTH, 3)
    assert pixels(draw_curves([final(1, [2.0, 1.0], validated=True)])).shape == (HEIGHT, 3 * WIDTH, 3)
    assert draw_curves([final(1, [])]) is None


def test_lines_lie_where_their_values_are() -> None:
    """A falling loss goes from the upper left to the lower right, and the seed with the higher loss lies above."""
    image = pixels(draw_curves([final(1, [1.0] * 20), final(2, [100.0] * 20)]))[:, :WIDTH]
    low, high = near(image, BLUE)[:, 0], near(image, RED)[:, 0]
    assert np.median(high) < np.median(low), "rows count from the top"
    falling = pixels(draw_curves([final(1, [math.exp(-k / 9) for k in range(40)])]))[:, :WIDTH]
    points = near(falling, BLUE)
    points = points[points[:, 1] < WIDTH - 120]  # without the legend
    assert np.corrcoef(points[:, 0], points[:, 1])[0, 1] > 0.98, "a straight line on the logarithmic axis"


def test_a_diverged_seed_is_named_and_ends_in_a_cross() -> None:
    losses = [1.0] * 20
    whole = draw_curves([final(1, losses)])
    diverged = draw_curves([final(1, losses, status="diverged", stopped_step=20)])
    assert whole != diverged
    assert len(near(pixels(diverged)[:, :WIDTH], BLUE)) > len(near(pixels(whole)[:, :WIDTH], BLUE))


@pytest.mark.parametrize(
    "losses",
    [[0.7], [2.0, 2.0], [0.0, 0.0], [1e6, 1e-6], [5e5, 1e6], [0.0, 3.0], [1.0, 1.0001], [1e-300, 1.0]],
    ids=str,
)
def test_whatever_a_curve_holds_can_be_drawn(losses: list[float]) -> None:
    image = pixels(draw_curves([final(1, losses, validated=True)]))
    assert len(near(image[:, :WIDTH], BLUE)) > 20


def test_equal_records_give_equal_bytes_in_any_order() -> None:
    records = [final(seed, [2.0 / seed, 1.0 / seed]) for seed in range(1, 9)]
    assert draw_curves(records) == draw_curves(records[::-1])


def test_many_points_keep_their_extremes() -> None:
    values = [1.0] * 30_000
    values[17_345] = 50.0
    line = Line(list(range(len(values))), values, "#0072B2", "seed 1")
    image = pixels(draw_panels([Panel("loss", [line])], "step"))
    rows = near(image, BLUE)[:, 0]
    assert rows.min() < 80 and np.median(rows) > 200


@pytest.mark.parametrize(
    ("values", "logarithmic", "expected"),
    [
        ([0.0, 97.0], False, ["0", "20", "40", "60", "80", "100"]),
        ([0.0, 0.5], False, ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]),
        ([0.0, 400_000.0], False, ["0", "100k", "200k", "300k", "400k"]),
        ([0.01, 100.0], True, ["0.01", "0.1", "1", "10", "100"]),
        ([0.3, 3.5], True, ["0.3", "1", "3"]),
        ([2.01, 2.04], True, ["2.01", "2.02", "2.03", "2.04"]),
    ],
)
def test_ticks_are_round_and_few(values: list[float], logarithmic: bool, expected: list[str]) -> None:
    axis = _Axis(values, logarithmic, 300)
    found = axis.ticks(6)
    assert [text for _, text in found] == expected
    assert all(0 <= axis(value) <= 300 for value, _ in found)
