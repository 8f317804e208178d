"""The images of the laptop study's replication: letters as a font draws them, and splits by typeface."""

from __future__ import annotations

import string
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import letters  # pyright: ignore[reportMissingImports] - of the benchmarks

    return letters


def test_every_capital_is_drawn_in_the_middle_and_at_one_size(script: ModuleType) -> None:
    import matplotlib

    font = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    drawn = script.draw(font.read_bytes())
    assert "".join(drawn) == string.ascii_uppercase
    assert len({image.tobytes() for image in drawn.values()}) == 26
    for letter, image in drawn.items():
        rows, columns = np.nonzero(np.asarray(image))
        sides = [int(places.max() - places.min()) + 1 for places in (rows, columns)]
        assert image.size == (32, 32) and 22 <= max(sides) <= 24, letter
        assert all(abs(places.max() + places.min() - 31) <= 2 for places in (rows, columns)), letter


def test_a_typeface_is_in_one_split_whatever_the_order_of_the_list(script: ModuleType) -> None:
    names = [line.split()[0] for line in script.FAMILIES.read_text().splitlines()]
    assert len(set(names)) == len(names) > 800
    found = dict(script.splits(names))
    assert found == dict(script.splits(names[::-1]))
    counts = Counter(found.values())
    assert counts["test"] / len(names) == pytest.approx(0.2, abs=0.002)
    assert counts["validation"] / len(names) == pytest.approx(0.1, abs=0.002)
