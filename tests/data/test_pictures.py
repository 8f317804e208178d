"""Pictures of every mode become 8-bit RGB by one rule, whether they come as a file, as bytes or as a Pillow image."""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bocb_hf.data.decode import Chunk, Decoder, Native, SizeReader
from bocb_hf.data.pictures import explain_damage, open_picture, to_rgb
from bocb_hf.errors import InputError

HEIGHT, WIDTH = 6, 10
FORMATS = ("PNG", "TIFF", "JPEG", "WEBP", "GIF", "BMP", "PPM", "JPEG2000", "TGA", "IM", "AVIF")
RAMP = np.linspace(0, 65535, HEIGHT * WIDTH).round().astype(np.uint16).reshape(HEIGHT, WIDTH)
BYTES = (RAMP >> 8).astype(np.uint8)


def colours() -> Image.Image:
    return Image.fromarray(np.dstack([BYTES, BYTES[::-1], BYTES[:, ::-1]]))


def picture(mode: str) -> Image.Image:
    """A picture of this mode, not of one colour."""
    if mode.startswith("I;16"):
        order = {"I;16B": ">u2", "I;16N": "=u2"}.get(mode, "<u2")
        return Image.frombytes(mode, (WIDTH, HEIGHT), RAMP.astype(order).tobytes())
    if mode in ("I", "F"):
        return Image.fromarray(BYTES.astype(np.int32 if mode == "I" else np.float32))
    if mode in ("La", "PA"):
        return Image.frombytes(mode, (WIDTH, HEIGHT), np.dstack([BYTES // 2, np.full_like(BYTES, 200)]).tobytes())
    if mode == "RGBa":
        return colours().convert("RGBA").convert("RGBa")
    return colours().convert(mode)


def saved() -> list[tuple[str, str, bytes]]:
    """Every mode in every format that can hold it."""
    found: list[tuple[str, str, bytes]] = []
    for mode in Image.MODES:
        for kind in FORMATS:
            buffer = io.BytesIO()
            try:
                with warnings.catch_warnings(action="ignore"):
                    picture(mode).save(buffer, kind)
                Image.open(buffer).load()  # Pillow writes TIFF of YCbCr that it cannot read
            except (OSError, ValueError, KeyError):
                continue
            found.append((mode, kind, buffer.getvalue()))
    return found


SAVED = saved()


class Column:
    """A table of encoded images without labels."""

    def __init__(self, encoded: list[dict[str, Any]]) -> None:
        self._encoded = encoded

    def images(self, column: str) -> Any:
        return self

    def __getitem__(self, rows: list[int]) -> list[dict[str, Any]]:
        return [self._encoded[row] for row in rows]


def decode(encoded: list[dict[str, Any]], height: int = HEIGHT, width: int = WIDTH) -> Any:
    table: Any = Column(encoded)
    return Decoder("split 'test' of 'set'", Native(height, width), table, "image")[Chunk(list(range(len(encoded))))]


def test_all_modes_and_formats_are_there() -> None:
    """What the next tests run over: nothing that Pillow can save may go missing."""
    modes = {mode for mode, _, _ in SAVED}
    assert modes >= {
        *["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "LA", "PA", "RGBX"],
        "I;16",
        "I;16B",
    }
    assert {kind for _, kind, _ in SAVED} >= {"PNG", "TIFF", "JPEG", "GIF", "BMP"}
    assert len(SAVED) >= 60


@pytest.mark.parametrize(("mode", "kind", "content"), SAVED, ids=[f"{mode}-{kind}" for mode, kind, _ in SAVED])
def test_a_file_its_bytes_and_the_opened_image_are_one(mode: str, kind: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(content)
    opened = Image.open(path)
    from_files = decode([{"bytes": None, "path": str(path)}, {"bytes": content, "path": None}])
    if opened.mode == "F":
        assert f"({path}): Pillow opens it in mode 'F'" in from_files
        with pytest.raises(InputError, match=r"^image 3: Pillow opens it in mode 'F'"):
            to_rgb(opened, "image 3")
        return
    ours = to_rgb(opened, "image 3")
    assert (ours.mode, ours.size) == ("RGB", (WIDTH, HEIGHT))
    pixels = np.asarray(ours).transpose(2, 0, 1)
    assert np.array_equal(from_files[0].numpy(), pixels)
    assert np.array_equal(from_files[1].numpy(), pixels)
    if opened.mode.startswith("I;16"):
        if kind in ("PNG", "TIFF", "IM") and mode != "I":
            assert np.array_equal(pixels, np.broadcast_to(BYTES, (3, HEIGHT, WIDTH)))
    elif opened.mode != "I":
        with Image.open(path) as again:
            assert np.array_equal(np.asarray(ours), np.asarray(again.convert("RGB")))


@pytest.mark.parametrize("mode", Image.MODES)
def test_an_image_that_was_never_a_file(mode: str) -> None:
    """Every mode of Pillow has its value or its refusal; none is clipped in silence."""
    image = picture(mode)
    before = image.tobytes()
    if mode == "F":
        with pytest.raises(InputError, match="mode 'F'"):
            to_rgb(image, "image 0")
        return
    ours = np.asarray(to_rgb(image, "image 0"))
    assert image.tobytes() == before
    if mode.startswith("I") or mode == "L":
        grey = np.asarray(colours().convert("L")) if mode == "L" else BYTES
        assert np.array_equal(ours, np.dstack([grey] * 3))
    elif mode == "La":  # premultiplied by 200 / 255
        expected = np.minimum(255, (BYTES // 2).astype(int) * 255 // 200)
        assert np.abs(ours[..., 0].astype(int) - expected).max() <= 1
    elif mode in ("RGB", "RGBA", "RGBX", "RGBa"):
        assert np.array_equal(ours, np.asarray(colours()))
    elif mode in ("YCbCr", "HSV", "LAB"):
        assert np.abs(ours.astype(int) - np.asarray(colours()).astype(int)).max() <= (40 if mode == "LAB" else 6)


def test_values_of_known_range_in_32_bits() -> None:
    wide = io.BytesIO(b"P5 10 6 65535\n" + RAMP.astype(">u2").tobytes())  # PGM: Pillow opens it in mode I
    opened = Image.open(wide)
    assert opened.mode == "I"
    assert np.array_equal(np.asarray(to_rgb(opened, "x"))[..., 0], BYTES)
    for beyond in (-1, 256, 65535, 2**31 - 1):
        values = BYTES.astype(np.int32)
        values[2, 3] = beyond
        with pytest.raises(InputError, match=rf"x: .*mode 'I' \(32-bit integers from .*{beyond}.*8 or 16 bits"):
            to_rgb(Image.fromarray(values), "x")


def test_transparency_is_dropped_and_the_colours_stay() -> None:
    image = colours().convert("RGBA")
    image.putalpha(Image.fromarray(BYTES))
    assert np.array_equal(np.asarray(to_rgb(image, "x")), np.asarray(colours()))
    palette = colours().quantize(16)
    plain = np.asarray(palette.convert("RGB"))
    for transparent in (3, bytes(range(16))):
        palette.info["transparency"] = transparent
        with warnings.catch_warnings(action="error"):
            assert np.array_equal(np.asarray(to_rgb(palette, "x")), plain)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind: str, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / "moving"
    frames[0].save(
        path, kind, save_all=True, append_images=frames[1:], **({"lossless": True} if kind == "WEBP" else {})
    )
    pixels = decode([{"bytes": None, "path": str(path)}])
    assert np.array_equal(pixels[0].numpy().transpose(1, 2, 0), np.asarray(frames[0]))
    assert np.array_equal(np.asarray(to_rgb(Image.open(path), "x")), np.asarray(frames[0]))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("turn", [None, *range(1, 9)])
def test_a_picture_is_turned_upright_once(kind: str, turn: int | None, tmp_path: Path) -> None:
    exif = Image.Exif()
    if turn is not None:
        exif[0x0112] = turn  # orientation
    path = tmp_path / "turned"
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    colours().save(path, kind, exif=exif, **options)
    steps = {2: [0], 3: [3], 4: [1], 5: [5], 6: [4], 7: [6], 8: [2]}  # Pillow's transpositions that undo it
    upright = colours()
    for step in steps.get(turn or 1, []):
        upright = upright.transpose(Image.Transpose(step))
    encoded: dict[str, Any] = {"bytes": None, "path": str(path)}
    pixels = decode([encoded], upright.height, upright.width)[0].numpy().transpose(1, 2, 0).astype(int)
    assert np.abs(pixels - np.asarray(upright).astype(int)).max() <= (8 if kind == "JPEG" else 0)
    opened = Image.open(path)
    assert np.array_equal(np.asarray(to_rgb(opened, "x")), pixels)
    assert np.array_equal(np.asarray(to_rgb(to_rgb(Image.open(path), "x"), "x")), pixels)
    table: Any = Column([encoded])
    sizes: Any = SizeReader("split", Native(1, 1), table, "image")[Chunk([0])]
    assert sizes.tolist() == [[upright.height, upright.width]]


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header announces this size, with next to nothing behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png_of_size(20_000, 20_000), r"size \(400000000 pixels\) exceeds limit of 178956970 pixels.* smaller copy"),
        (png()[:80], r"truncated.*replace or remove it"),
        (b"", "it has 0 bytes"),
        (b"<html>not found</html>", r"no image format that Pillow knows \(it begins with b'<html>not fo'\)"),
        (png()[:20] + b"\xff" * 60, "replace or remove it"),
        (None, "no such file or directory"),
    ],
    ids=["bomb", "truncated", "empty", "text", "garbled", "missing"],
)
def test_a_damaged_picture_is_named_with_its_path_and_the_reason(
    content: bytes | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "007.jpg"
    if content is not None:
        path.write_bytes(content)
    table: Any = Column([{"bytes": None, "path": str(path)}])
    for reader in (Decoder, SizeReader):
        found = reader("split 'train' of 'set'", Native(HEIGHT, WIDTH), table, "image")[Chunk([0])]
        if reader is SizeReader and not isinstance(found, str):
            continue  # the header alone is whole
        assert isinstance(found, str)
        assert re.match(rf"data.name: image 0 of split 'train' of 'set' \({path}\) cannot be read: ", found)
        assert re.search(reason, found)
        assert ("repair" in found) is False
    if content:  # the same inside Parquet
        assert re.search(reason, decode([{"bytes": content, "path": "007.jpg"}]))


def test_a_row_without_an_image_is_said() -> None:
    for encoded in (None, {"bytes": None, "path": None}):
        assert "cannot be read: there is no image" in decode([encoded])  # type: ignore[list-item] - wrong on purpose
    assert "it has 0 bytes" in decode([{"bytes": b"", "path": None}])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(png())
    path.chmod(0)
    assert "permission denied" in decode([{"bytes": None, "path": str(path)}])


def test_an_error_holds_nothing_that_a_terminal_obeys() -> None:
    encoded = {"bytes": b"text", "path": "a\x1b[31m\u202e.png"}
    assert "\x1b" not in decode([encoded])
    assert "\u202e" not in decode([encoded])
    assert "\x1b" not in explain_damage(OSError("bad \x1b[31m"), encoded)


def test_a_file_in_an_archive_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a/1.png", png())
    opened = open_picture({"bytes": None, "path": f"zip://a/1.png::{tmp_path / 'images.zip'}"})
    assert np.array_equal(np.asarray(to_rgb(opened, "x")), np.asarray(Image.open(io.BytesIO(png()))))
