"""Converts any picture that Pillow opens to 8-bit RGB, by one rule for training, evaluation and prediction.

The rule, mode by mode:

- Exif: the picture is turned upright first.
- ``1``, ``L``, ``P``, ``PA``, ``LA``, ``RGB``, ``RGBA``, ``RGBX``, ``CMYK``, ``YCbCr``, ``LAB``, ``HSV``: Pillow's own
  ``convert("RGB")``. Transparency is dropped and the colours below it stay, as timm, torchvision and transformers do it
  (nothing is laid over a background). Premultiplied alpha (``La``, ``RGBa``) is divided out before.
- 16-bit grey (``I;16`` in every byte order; ``I`` where the file's format says that its values reach to 65535, which is
  true of PGM and PNG): the high byte of each value is taken, as Pillow does for 16-bit colour.
- ``I`` whose values lie in 0..255: these values are taken.
- Any other ``I`` and every ``F``: refused, since the file does not say which values are black and white.
- Several frames: the frame that Pillow stands at is taken, which is the first in a file that was just opened.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bocb_hf.errors import InputError
from bocb_hf.schema import one_line

Encoded = Mapping[str, Any]  # ``bytes`` of an image file, or None where ``path`` says where the file is

_WIDE_FORMATS = frozenset(("PPM", "PNG"))  # Pillow scales what it opens from these as ``I`` to 0..65535
_PREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}


def to_rgb(image: Image.Image, source: str) -> Image.Image:
    """Turns a picture upright and converts it to 8-bit RGB, by the rule of this module.

    Args:
        image: The picture as Pillow opened or made it; it is not changed.
        source: Name of the picture in an error.

    Raises:
        InputError: The range of the picture's values is not known.
        Exception: The file is damaged; Pillow raises its own errors for that.
    """
    kind = image.format  # kept now, since a copy loses the format
    image = ImageOps.exif_transpose(image)
    mode = image.mode
    if mode.startswith("I;16"):
        return _from_grey(np.asarray(image) >> 8)
    if mode == "I":
        values = np.asarray(image)
        low, high = int(values.min(initial=0)), int(values.max(initial=0))
        if kind in _WIDE_FORMATS and 0 <= low <= high <= 65535:
            return _from_grey(values >> 8)
        if 0 <= low <= high <= 255:
            return _from_grey(values)
        raise _unknown_range(source, mode, f"32-bit integers from {low} to {high}")
    if mode == "F":
        raise _unknown_range(source, mode, "floating-point numbers")
    if mode in _PREMULTIPLIED:
        image = image.convert(_PREMULTIPLIED[mode])
    elif mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # the same colours, without Pillow's warning
    return image.convert("RGB")


def _from_grey(values: Any) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")


def _unknown_range(source: str, mode: str, what: str) -> InputError:
    return InputError(
        f"{source}: Pillow opens it in mode {mode!r} ({what}), which does not say which value is black and which is "
        "white; save it with 8 or 16 bits a channel"
    )


def open_picture(encoded: Encoded | None) -> Image.Image:
    """Opens an encoded image without decoding it.

    Raises:
        Exception: The image cannot be opened; Pillow or the system raises a different error for each kind of damage.
    """
    if encoded is None or (not encoded.get("bytes") and not encoded.get("path")):
        raise ValueError("there is no image" if encoded is None or encoded.get("bytes") is None else "it has 0 bytes")
    if encoded.get("bytes") is not None:
        return Image.open(io.BytesIO(encoded["bytes"]))
    path = str(encoded["path"])
    if "://" in path or "::" in path:  # the path is that of a file in an archive or on a server
        from datasets.utils.file_utils import xopen

        with xopen(path, "rb") as file:
            return Image.open(io.BytesIO(file.read()))
    return Image.open(path)


def explain_damage(error: Exception, encoded: Encoded | None) -> str:
    """Says why a picture cannot be read and what helps, as text that follows "cannot be read: "."""
    if isinstance(error, Image.DecompressionBombError):
        size, _, _ = str(error).partition(", could be")
        return (
            f"{size[0].lower()}{size[1:]}, above which Pillow refuses to unpack a file that may be an attack; save a "
            "smaller copy in its place, or remove it"
        )
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError) and error.strerror:
        return f"{error.strerror[0].lower()}{error.strerror[1:]}; put it back, or load the folder again without it"
    if isinstance(error, MemoryError):
        return "there is not enough memory to decode it; save a smaller copy in its place"
    head = _first_bytes(encoded)
    if head == b"":
        return "it has 0 bytes; replace or remove it"
    if isinstance(error, UnidentifiedImageError):
        return f"it is of no image format that Pillow knows (it begins with {head!r}); replace or remove it"
    return f"{one_line(str(error)) or 'damaged'} ({type(error).__name__}); replace or remove it"


def _first_bytes(encoded: Encoded | None) -> bytes | None:
    """The first bytes of an encoded image, at most 12; None where they cannot be read."""
    if encoded is None:
        return None
    if encoded.get("bytes") is not None:
        return bytes(encoded["bytes"][:12])
    try:
        with Path(str(encoded.get("path"))).open("rb") as file:
            return file.read(12)
    except OSError:
        return None
