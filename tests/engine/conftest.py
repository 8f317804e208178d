"""Runs of these tests draw no picture for their card, which takes longer than their training.

``test_engine`` draws it, the recipes and sweeps do in processes of their own, and ``tests/store`` looks at what is
drawn.
"""

from __future__ import annotations

import base64

import pytest

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(autouse=True)
def without_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pixel for the picture, except in tests that are marked with ``picture``."""
    if request.node.get_closest_marker("picture") is None:
        monkeypatch.setattr("bocb_hf.store.write.draw_curves", lambda finals: PIXEL)
