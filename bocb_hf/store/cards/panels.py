"""Draws panels of lines into one PNG with Pillow alone.

A sweep draws a picture with every final run, and matplotlib takes 160 ms for one: nearly all of it goes into measuring
and placing the labels of its axes. What a card needs of a plot is little, and takes a tenth of that here.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 480, 360  # pixels of a panel
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 34, 46  # margins of a panel in pixels, which hold title and labels
_FINE = 3  # the lines are drawn so many times as large and then made smaller, so that their edges are smooth
_MARGIN = 0.05  # share of the range that is left free on each side
_FEW = 15  # a line of fewer points has a dot on each
_INK, _GRID, _FRAME = "#262626", "#e4e4e4", "#666666"


@dataclass(frozen=True)
class Line:
    """One line of a panel.

    Attributes:
        x: Places in rising order.
        y: Finite values, as many as places.
        colour: Colour as ``#rrggbb``.
        label: Name in the legend.
        cross: Whether the line ends in a cross.
    """

    x: Sequence[float]
    y: Sequence[float]
    colour: str
    label: str
    cross: bool = False


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: Text above it.
        lines: Lines, of which at least one has a point.
        logarithmic: Whether the vertical axis is logarithmic; then every value must be above 0.
        legend: Whether the labels of the lines are shown.
    """

    title: str
    lines: Sequence[Line]
    logarithmic: bool = False
    legend: bool = False


def draw_panels(panels: Sequence[Panel], below: str) -> bytes:
    """Draws panels side by side.

    Args:
        panels: The panels; equal ones give equal bytes under one version of Pillow.
        below: The label of every horizontal axis.

    Returns:
        A PNG of ``WIDTH`` × ``HEIGHT`` pixels for each panel.
    """
    image = Image.new("RGB", (WIDTH * len(panels), HEIGHT), "white")
    for number, panel in enumerate(panels):
        _draw(image, WIDTH * number, panel, below)
    buffer = io.BytesIO()
    # a byte a pixel takes half of the time, and of the size, of three; a few hues and their shades are all there is
    image.quantize(128, method=Image.Quantize.FASTOCTREE).save(buffer, format="PNG", compress_level=4)
    return buffer.getvalue()


def _draw(image: Image.Image, left: int, panel: Panel, below: str) -> None:
    """Draws one panel at a horizontal place of the image."""
    pen = ImageDraw.Draw(image)
    x0, y0, x1, y1 = left + _LEFT, _TOP, left + WIDTH - _RIGHT, HEIGHT - _BOTTOM
    across = _Axis([v for line in panel.lines for v in line.x], False, x1 - x0)
    up = _Axis([v for line in panel.lines for v in line.y], panel.logarithmic, y1 - y0)
    plot = Image.new("RGB", ((x1 - x0) * _FINE, (y1 - y0) * _FINE), "white")
    fine = ImageDraw.Draw(plot)
    for value, text in across.ticks(5):
        place = min(round(across(value)), x1 - x0 - 1)
        fine.rectangle((place * _FINE, 0, place * _FINE + _FINE - 1, plot.height), fill=_GRID)
        pen.line((x0 + place, y1, x0 + place, y1 + 4), fill=_FRAME)
        pen.text((x0 + place, y1 + 7), text, fill=_INK, font=_font(12), anchor="mt")
    for value, text in up.ticks(6):
        place = min(round(y1 - y0 - up(value)), y1 - y0 - 1)
        fine.rectangle((0, place * _FINE, plot.width, place * _FINE + _FINE - 1), fill=_GRID)
        pen.line((x0 - 4, y0 + place, x0, y0 + place), fill=_FRAME)
        pen.text((x0 - 7, y0 + place), text, fill=_INK, font=_font(12), anchor="rm")
    traces = [
        _thin([(_FINE * across(x), plot.height - _FINE * up(y)) for x, y in zip(line.x, line.y, strict=True)])
        for line in panel.lines
    ]
    for points, line in zip(traces, panel.lines, strict=True):
        _trace(fine, points, line)
    image.paste(plot.reduce(_FINE), (x0, y0))
    pen.line((x0, y0, x0, y1, x1, y1), fill=_FRAME)
    pen.text((x0, y0 - 12), panel.title, fill=_INK, font=_font(15), anchor="ls")
    pen.text(((x0 + x1) // 2, HEIGHT - 6), below, fill=_INK, font=_font(13), anchor="mb")
    if panel.legend:
        _legend(pen, panel.lines, [(x0 + x / _FINE, y0 + y / _FINE) for points in traces for x, y in points], x0, x1)


def _thin(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leaves the lowest and the highest point of each of ``WIDTH`` stretches, where there are many more points."""
    if len(points) < 4 * WIDTH:
        return points
    found: list[tuple[float, float]] = []
    for number in range(WIDTH):
        stretch = points[number * len(points) // WIDTH : (number + 1) * len(points) // WIDTH]
        found += sorted({min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])})
    return found


def _trace(pen: ImageDraw.ImageDraw, points: Sequence[tuple[float, float]], line: Line) -> None:
    """Draws a line through points, which count in fine pixels."""
    if len(points) > 1:
        pen.line(points, fill=line.colour, width=2 * _FINE, joint="curve" if len(points) < 200 else None)
    if len(points) < _FEW:
        for x, y in points:
            pen.ellipse((x - 3 * _FINE, y - 3 * _FINE, x + 3 * _FINE, y + 3 * _FINE), fill=line.colour)
    if line.cross and points:
        (x, y), arm = points[-1], 5 * _FINE
        pen.line((x - arm, y - arm, x + arm, y + arm), fill=line.colour, width=2 * _FINE)
        pen.line((x - arm, y + arm, x + arm, y - arm), fill=line.colour, width=2 * _FINE)


def _legend(
    pen: ImageDraw.ImageDraw, lines: Sequence[Line], points: Sequence[tuple[float, float]], left: int, right: int
) -> None:
    """Writes the labels of the lines below each other, in the corner of the panel that holds the fewest points."""
    font, shown = _font(12), lines[: (HEIGHT - _TOP - _BOTTOM) // 17]
    width, height = max(font.getlength(line.label) for line in shown) + 34, 17 * len(shown) + 4
    corners = [(x, y) for y in (_TOP, HEIGHT - _BOTTOM - height) for x in (right - width, left + 6)]
    inside = [sum(x <= px <= x + width and y <= py <= y + height for px, py in points) for x, y in corners]
    start, top = corners[inside.index(min(inside))]
    for number, line in enumerate(shown):
        middle = top + 10 + 17 * number
        pen.line((start, middle, start + 22, middle), fill=line.colour, width=2)
        pen.text((start + 28, middle), line.label, fill=_INK, font=font, anchor="lm")


class _Axis:
    """Maps values to pixels.

    Args:
        values: All values that are shown.
        logarithmic: Whether the scale is logarithmic.
        length: Length in pixels.
    """

    def __init__(self, values: Sequence[float], logarithmic: bool, length: int) -> None:
        self._scale: Callable[[float], float] = math.log10 if logarithmic else float
        self._logarithmic, self._length = logarithmic, length
        low, high = self._scale(min(values)), self._scale(max(values))
        room = _MARGIN * (high - low) or max(abs(high) / 20, 0.02)
        self._low, self._high = low - room, high + room

    def __call__(self, value: float) -> float:
        return (self._scale(value) - self._low) / (self._high - self._low) * self._length

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Round values on the axis, at most about so many, each with its text."""
        if not self._logarithmic:
            return _linear_ticks(self._low, self._high, most)
        inside = range(math.ceil(self._low), math.floor(self._high) + 1)
        if len(inside) >= 3:
            return [(10.0**p, f"{10.0**p:g}") for p in inside[:: -(-len(inside) // most)]]
        around = range(math.floor(self._low), math.ceil(self._high) + 1)
        for factors in ((1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
            found = [f * 10.0**p for p in around for f in factors]
            found = [v for v in found if self._low <= math.log10(v) <= self._high]
            if len(found) >= 3:
                return [(v, f"{v:g}") for v in found]
        return _linear_ticks(10**self._low, 10**self._high, most)


def _linear_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Multiples of 1, 2 or 5 times a power of ten between two values, each with its text."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough)
    values = [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(v, _number(v, digits)) for v in values]


def _number(value: float, digits: int) -> str:
    if abs(value) >= 100_000:
        return f"{value / 1e6:g}M" if abs(value) >= 1e6 else f"{value / 1e3:g}k"
    return f"{value:.{digits}f}"


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings, found without importing matplotlib."""
    found = importlib.util.find_spec("matplotlib")
    assert found is not None and found.origin is not None  # a requirement of this package
    path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
