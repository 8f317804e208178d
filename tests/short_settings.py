"""A setting that trains in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def short_run(data: Path, folder: Path) -> dict[str, Any]:
    """A configuration of 16 steps on the small data, with its store and state in a folder."""
    return {
        "setting": "short",
        "backbone": {"name": "tiny_vit"},
        "optimizer": {"name": "adamw"},
        "data": {"name": str(data), "image_size": 32},
        "training": {"epochs": 2, "batch_size": 25, "warmup_epochs": 0.25, "no_decay": "norms_biases_embeddings"},
        "augmentation": {"crop_padding": 2, "horizontal_flip": True},
        "seed": 1,
        "runtime": {"store": str(folder / "store"), "state_dir": str(folder / "state"), "threads": 1, "log_every": 3}
        | {"tracker": "none"},
    }
