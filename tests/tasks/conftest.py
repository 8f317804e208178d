"""Runs of these tests draw no picture for their card, and share one tiny data set."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from coco_scenes import write_folder

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(autouse=True)
def without_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pixel for the picture, except in tests that are marked with ``picture``."""
    if request.node.get_closest_marker("picture") is None:
        monkeypatch.setattr("bocb_hf.store.write.draw_curves", lambda finals: PIXEL)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight training and four test pictures with squares."""
    return write_folder(tmp_path_factory.mktemp("coco") / "scenes")


@pytest.fixture
def detection(scenes: Path, tmp_path: Path) -> dict[str, Any]:
    """The sections of a detection run of some seconds."""
    return {
        "setting": "tiny_boxes",
        "backbone": {"name": "tiny_resnet"},
        "optimizer": {"name": "adamw", "lr": 1e-3},
        "data": {"name": str(scenes), "image_size": 48},
        "training": {"epochs": 2, "batch_size": 4},
        "task": {"name": "detection", "options": {"channels": 16, "long_side": 64}},
        "seed": 1,
        "runtime": runtime(tmp_path),
    }


@pytest.fixture
def pose(detection: dict[str, Any]) -> dict[str, Any]:
    """The sections of a pose run of some seconds."""
    detection |= {"setting": "tiny_points", "data": detection["data"] | {"image_size": 32}}
    detection["training"] = {"epochs": 4, "batch_size": 2}
    detection["task"] = {"name": "pose", "options": {"width": 32, "channels": 16}}
    return detection


def runtime(folder: Path) -> dict[str, Any]:
    return {
        "store": str(folder / "store"),
        "state_dir": str(folder / "state"),
        "tracker": "none",
        "log_every": 1,
        "threads": 1,
        "workers": 0,
    }
