"""Copies of an image: what counts as one, that none is missed, and how they are counted."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from image_folders import encode
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bocb_hf.data.duplicates import COLOUR, LIMIT, Copies, compare, example_pairs, find_copies
from bocb_hf.data.sketches import Sketches, hash_pixels, sketch_images
from bocb_hf.errors import InputError

SIDE = 64


class Files:
    """A table of encoded images; its column is the table."""

    features: Mapping[str, Any] = {}

    def __init__(self, contents: list[bytes]) -> None:
        self.contents = contents

    def __len__(self) -> int:
        return len(self.contents)

    def values(self, column: str) -> pa.ChunkedArray:
        return pa.chunked_array([self.contents])

    def images(self, column: str) -> Files:
        return self

    def __getitem__(self, rows: list[int]) -> list[dict[str, bytes | None]]:
        return [{"bytes": self.contents[row], "path": None} for row in rows]


def sketch(contents: list[bytes]) -> Sketches:
    return sketch_images("the split", Files(contents), "image", workers=0)


def search(contents: list[bytes]) -> Copies:
    files = Files(contents)
    return find_copies(sketch(contents), lambda rows: hash_pixels("the split", files, "image", rows, workers=0))


def picture(number: int) -> Image.Image:
    return Image.open(io.BytesIO(encode(number, SIDE, SIDE)))


def save(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def resized(image: Image.Image, width: int, height: int) -> bytes:
    return save(image.resize((width, height), Image.Resampling.BICUBIC), "PNG")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda image: save(image, "PNG", compress_level=1), "exact"),
        (lambda image: save(image, "BMP"), "exact"),
        (lambda image: save(image, "JPEG", quality=90), "encoded"),
        (lambda image: save(image, "JPEG", quality=30), "encoded"),
        (lambda image: save(image, "WEBP", quality=70), "encoded"),
        (lambda image: resized(image, 60, 60), "encoded"),
        (lambda image: resized(image, 128, 128), "encoded"),
        (lambda image: save(ImageOps.mirror(image), "PNG"), "mirrored"),
        (lambda image: save(ImageOps.mirror(image), "JPEG", quality=60), "mirrored"),
        (lambda image: resized(image, 64, 44), "none"),
        (lambda image: save(ImageOps.flip(image), "PNG"), "none"),
        (lambda image: save(image.crop((12, 12, 64, 64)), "PNG"), "none"),
        (lambda image: save(ImageOps.invert(image), "PNG"), "none"),
        (lambda image: save(Image.merge("RGB", image.split()[::-1]), "PNG"), "none"),
    ],
)
def test_what_counts_as_a_copy(change: Callable[[Image.Image], bytes], kind: str) -> None:
    contents = [save(picture(number), "PNG") for number in range(4)]
    found = search([*contents, change(picture(2))])
    assert found.groups.tolist() == [0, 1, 2, 3, 4 if kind == "none" else 2]
    assert (found.exact, found.encoded, found.mirrored) == tuple(kind == k for k in ("exact", "encoded", "mirrored"))


def test_a_turned_photograph_is_read_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    wide = picture(1).resize((96, 64))
    turned = io.BytesIO()
    wide.transpose(Image.Transpose.ROTATE_90).save(turned, format="JPEG", quality=95, exif=exif)
    sketches = sketch([save(wide, "PNG"), turned.getvalue()])
    assert sketches.size.tolist() == [[64, 96], [64, 96]]
    assert search([save(wide, "PNG"), turned.getvalue()]).encoded == 1


def test_images_without_contrast_have_exact_copies_only() -> None:
    shades = [Image.new("RGB", (SIDE, SIDE), (value, value, value)) for value in (0, 1, 0)]
    dotted = Image.new("RGB", (SIDE, SIDE))
    dotted.putpixel((5, 5), (9, 0, 0))  # lost in the sketch
    found = search([save(shades[0], "PNG"), save(shades[1], "PNG"), save(shades[2], "BMP"), save(dotted, "PNG")])
    assert found.groups.tolist() == [0, 1, 0, 3]
    assert (found.exact, found.encoded) == (1, 0)


def test_kinds_are_counted_within_one_group() -> None:
    png, mirror = save(picture(3), "PNG"), save(ImageOps.mirror(picture(3)), "PNG")
    jpeg = save(picture(3), "JPEG", quality=80)
    contents = [png, save(picture(4), "PNG"), png, jpeg, jpeg, mirror, save(picture(3), "BMP"), mirror]
    found = search(contents)
    assert found.groups.tolist() == [0, 1, 0, 0, 0, 0, 0, 0]
    assert (found.exact, found.encoded, found.mirrored, found.images) == (4, 1, 1, 6)
    assert example_pairs(found.groups, 5) == [(0, 2)]


def test_the_search_finds_what_a_comparison_of_all_pairs_finds() -> None:
    """Noise around few pictures, so that many pairs lie on either side of the limit."""
    generator = np.random.default_rng(0)
    base = sketch([save(picture(number), "PNG") for number in range(6)])
    chosen = generator.integers(0, 6, 160)
    scale = generator.uniform(0, 7, (160, 1))
    grey = np.clip(base.grey[chosen] + scale * generator.standard_normal((160, 1024)), 0, 255).astype(np.uint8)
    flipped = generator.random(160) < 0.3
    grey[flipped] = grey[flipped].reshape(-1, 32, 32)[:, :, ::-1].reshape(-1, 1024)
    colour = base.colour[chosen]
    colour[flipped] = colour[flipped].reshape(-1, 8, 8, 3)[:, :, ::-1].reshape(-1, 192)
    sketches = Sketches(grey, colour, np.full((160, 2), SIDE), np.arange(160, dtype=np.uint64))
    groups, rows, alike = np.arange(160), np.arange(160), 0
    for row in range(160):
        for mirror in (False, True):
            agree = compare(sketches, row, rows, mirror)
            alike += int(agree.sum()) - (not mirror)
            for other in np.flatnonzero(agree):
                groups[groups == groups[other]] = groups[row]
    found = find_copies(sketches, lambda some: some.astype(np.uint64)).groups
    assert 300 < alike < 160 * 160 / 3, "pairs on both sides of the limit"
    assert np.array_equal(found[:, None] == found, groups[:, None] == groups)
    assert np.array_equal(found, [np.flatnonzero(groups == group)[0] for group in groups])


def test_ten_thousand_copies_of_one_image_are_one_group() -> None:
    one = sketch([save(picture(1), "PNG"), save(picture(2), "PNG")])
    rows = np.array([0] * 10_000 + [1])
    many = Sketches(one.grey[rows], one.colour[rows], one.size[rows], one.content[rows])

    def refuse(rows: NDArray[np.int64]) -> NDArray[np.uint64]:
        raise AssertionError("equal bytes need no decoding")

    found = find_copies(many, refuse)
    assert (found.exact, found.images, len(np.unique(found.groups))) == (9_999, 9_999, 2)


def test_different_digits_are_no_copies() -> None:
    """Small, alike and blurred: pictures for which a loose limit would join whole classes."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    # scikit-learn's bunches have attributes by name
    contents = [save(Image.fromarray(np.uint8(d * 15)), "PNG") for d in digits.images[:300]]  # type: ignore[attr-defined]
    assert search(contents).images == 0
    assert LIMIT == 0.08 and COLOUR == 8.0  # benchmarks/copies.txt says what these find


def test_a_damaged_image_is_named() -> None:
    with pytest.raises(InputError, match="image 1 of the split cannot be read: it is of no image format"):
        sketch([save(picture(1), "PNG"), b"no image at all"])
