"""Finds arguments with which an architecture of timm takes images of another size."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import timm
import torch
from torch import nn

from bocb_hf.backbones.definition import TRANSFORMERS
from bocb_hf.backbones.row import SMALL_IMAGE
from bocb_hf.runs.identity import BackboneIdentity

_PATCHES_A_SIDE = 8  # patches along a side of a small image, as in the rows that cut 32 px into patches of 4


def suggest_size(model: nn.Module, identity: BackboneIdentity, num_classes: int, side: int) -> str:
    """The end of an error message: arguments with which this architecture takes the size, tried on torch's meta device.

    Args:
        model: The network that does not take the size.
        identity: Identity that the network was built from.
        num_classes: Number of classes of the head.
        side: Side of the input in pixels.
    """
    if identity.architecture.startswith(TRANSFORMERS):
        return ""
    for args in _candidates(model, identity.args, side):
        try:
            with torch.device("meta"), torch.no_grad():
                other = timm.create_model(identity.architecture, num_classes=num_classes, **(identity.args | args))
                if other.eval()(torch.zeros(1, 3, side, side)).shape == (1, num_classes):
                    written = ", ".join(f'"{key}": {value}' for key, value in args.items())
                    return f"; it does with backbone.args={{{written}}}"
        except Exception:  # each architecture has its own way of refusing
            continue
    cfg: Any = timm.get_pretrained_cfg(identity.architecture)
    size = getattr(cfg, "min_input_size", None) or getattr(cfg, "input_size", None)
    return f"; it is made for images of {size[-1]} px, so choose that as data.image_size" if size else ""


def _candidates(model: nn.Module, known: dict[str, Any], side: int) -> Iterator[dict[str, Any]]:
    """Yields arguments to try: the image size, for small images with smaller patches first, and smaller windows."""
    parameters = inspect.signature(type(model).__init__).parameters
    sized = {"img_size": side} if "img_size" in parameters else {}
    if not sized:
        return
    patches: list[int] = []
    if "patch_size" in parameters and "patch_size" not in known and side <= SMALL_IMAGE:
        patches = [size for size in (16, 8, 4, 2, 1) if size * _PATCHES_A_SIDE <= side and side % size == 0]
    windows = [7, 4, 2, 1] if "window_size" in parameters else []
    yield from (sized | {"patch_size": patch} for patch in patches)
    yield sized
    yield from (sized | {"patch_size": patch, "window_size": window} for patch in patches for window in windows)
    yield from (sized | {"window_size": window} for window in windows)
