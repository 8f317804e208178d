"""A configuration that names only what it must."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def minimal() -> dict[str, Any]:
    return {
        "setting": "short",
        "backbone": {"name": "tiny_vit"},
        "optimizer": {"name": "adamw"},
        "data": {"name": "fashion_mnist_subset", "image_size": 32},
        "training": {"epochs": 2, "batch_size": 25},
    }
