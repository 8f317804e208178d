"""What counts as a copy of an image: what is found, what is taken for one on real images, and how long it takes.

    python benchmarks/own_images.py own/ --fashion ... --aerial ...
    python benchmarks/copies.py own/fashion own/digits own/aerial > benchmarks/copies.txt

For each folder of class folders: how many of its images count as copies of another as they stand, for some limits
(``bocb_hf.data.duplicates.LIMIT``), and how many of these groups hold several labels, which can hardly be copies; then
the share of 300 images that is found again after each kind of encoding. At last the time and memory of a search among
100,000 images, each of them the noise of another seed, with 1,000 exact and 1,000 encoded copies.

``--pictures FILE`` writes a sheet of the groups that were found: the first image of each and its copy, to be looked at.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bocb_hf.data import duplicates
from bocb_hf.data.duplicates import compare, example_pairs, find_copies
from bocb_hf.data.sketches import COLOURS, SIDE, Sketches, sketch_images

LIMITS = (0.04, 0.06, 0.08, 0.1, 0.12)
SAMPLE, MANY, COPIED = 300, 100_000, 1_000


class Files:
    """A table of encoded images, as ``sketch_images`` reads it."""

    def __init__(self, contents: list[bytes]) -> None:
        self.contents = contents

    def __len__(self) -> int:
        return len(self.contents)

    def images(self, column: str) -> Files:
        """The only column."""
        return self

    def __getitem__(self, rows: list[int]) -> list[dict[str, bytes | None]]:
        return [{"bytes": self.contents[row], "path": None} for row in rows]


def sketch(contents: list[bytes]) -> Sketches:
    """Sketches of encoded images."""
    # read as an encoded data set is
    return sketch_images("these images", Files(contents), "image", workers=0)  # type: ignore[arg-type]


def encode(image: Image.Image, kind: str, **options: int) -> bytes:
    """An image file in memory."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def scaled(image: Image.Image, factor: float) -> Image.Image:
    """The image with its sides multiplied by a factor."""
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC)


ENCODINGS: dict[str, Callable[[Image.Image], bytes]] = {
    "BMP": lambda image: encode(image, "BMP"),
    "JPEG 95": lambda image: encode(image, "JPEG", quality=95),
    "JPEG 75": lambda image: encode(image, "JPEG", quality=75),
    "JPEG 50": lambda image: encode(image, "JPEG", quality=50),
    "JPEG 30": lambda image: encode(image, "JPEG", quality=30),
    "WebP 80": lambda image: encode(image, "WEBP", quality=80),
    "GIF": lambda image: encode(image, "GIF"),
    "0.9 × size": lambda image: encode(scaled(image, 0.9), "PNG"),
    "1.1 × size": lambda image: encode(scaled(image, 1.1), "PNG"),
    "0.5 × size": lambda image: encode(scaled(image, 0.5), "PNG"),
    "2 × size, JPEG 75": lambda image: encode(scaled(image, 2), "JPEG", quality=75),
    "mirrored": lambda image: encode(ImageOps.mirror(image), "PNG"),
    "mirrored, JPEG 75": lambda image: encode(ImageOps.mirror(image), "JPEG", quality=75),
}


def no_pixels(rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Hashes by which no two images have the same pixels."""
    return rows.astype(np.uint64)


def join(one: Sketches, other: Sketches) -> Sketches:
    """Both sketches, one after the other."""
    return Sketches(
        *(np.concatenate((getattr(one, n), getattr(other, n))) for n in ("grey", "colour", "size", "content"))
    )


def report(folder: Path, sheet: Path | None) -> None:
    """Prints what is found in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    contents = [path.read_bytes() for path in files]
    started = time.perf_counter()
    sketches = sketch(contents)
    plain = int((sketches.grey.std(axis=1) < duplicates.PLAIN).sum())
    seconds = time.perf_counter() - started
    print(f"\n{folder.name}: {len(files):,} images, {plain:,} of them plain, sketched in {seconds:.1f} s")
    labels = np.unique([path.parent.name for path in files], return_inverse=True)[1]
    kept = duplicates.LIMIT
    for limit in LIMITS:
        duplicates.LIMIT = limit
        started = time.perf_counter()
        found = find_copies(sketches, no_pixels)
        seconds = time.perf_counter() - started
        members: dict[int, set[int]] = {}
        for group, label in zip(found.groups.tolist(), labels.tolist(), strict=True):
            members.setdefault(group, set()).add(label)
        mixed = sum(len(of_group) > 1 for of_group in members.values())
        print(
            f"  limit {limit:.2f}: {found.images:6,} copies ({found.exact:,} of equal bytes, {found.encoded:,} alike, "
            f"{found.mirrored:,} mirrored), largest group {np.bincount(found.groups).max():,}, {mixed:,} groups with "
            f"several labels, {seconds:.1f} s"
        )
        if limit == kept and sheet is not None:
            draw_sheet(files, found.groups, sheet)
    duplicates.LIMIT = kept
    chosen = np.random.RandomState(0).permutation(len(files))[:SAMPLE]
    originals = [Image.open(io.BytesIO(contents[row])) for row in chosen]
    for name, make in ENCODINGS.items():
        both = join(sketches, sketch([make(image.convert("RGB")) for image in originals]))
        hits = [
            bool(compare(both, len(files) + place, np.array([row]), mirror)[0])
            for place, row in enumerate(chosen.tolist())
            for mirror in (name.startswith("mirrored"),)
        ]
        print(f"  {name:18} found {100 * np.mean(hits):5.1f} %")


def draw_sheet(files: list[Path], groups: NDArray[np.int64], sheet: Path, side: int = 64) -> None:
    """Draws pairs of copies, one beside the other, 8 pairs a row."""
    pairs = example_pairs(groups, 96)
    page = Image.new("RGB", (8 * (2 * side + 8), max(1, -(-len(pairs) // 8)) * (side + 4)), "white")
    for place, pair in enumerate(pairs):
        for which, row in enumerate(pair):
            picture = Image.open(files[row]).convert("RGB").resize((side, side))
            page.paste(picture, ((place % 8) * (2 * side + 8) + which * side, (place // 8) * (side + 4)))
    page.save(sheet)


def time_many() -> None:
    """Prints the time and memory of a search among many images."""
    generator = np.random.RandomState(0)
    grey = np.empty((MANY, SIDE * SIDE), np.uint8)
    colour = np.empty((MANY, 3 * COLOURS**2), np.uint8)
    for begin in range(0, MANY, 1000):
        coarse = generator.randint(0, 256, (1000, 6, 6), np.uint8)
        for place, values in enumerate(coarse):
            picture = Image.fromarray(values).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            grey[begin + place] = np.asarray(picture).ravel()
            small = np.asarray(picture.resize((COLOURS, COLOURS), Image.Resampling.BOX))
            colour[begin + place] = np.repeat(small.ravel(), 3)
    content = np.arange(MANY, dtype=np.uint64)
    content[-COPIED:] = content[:COPIED]
    grey[-COPIED:], colour[-COPIED:] = grey[:COPIED], colour[:COPIED]
    again = slice(-2 * COPIED, -COPIED)
    noise = generator.randint(-2, 3, (COPIED, SIDE * SIDE))
    grey[again] = np.clip(grey[2 * COPIED : 3 * COPIED] + noise, 0, 255).astype(np.uint8)
    colour[again] = colour[2 * COPIED : 3 * COPIED]
    sketches = Sketches(grey, colour, np.full((MANY, 2), 224), content)
    started = time.perf_counter()
    found = find_copies(sketches, no_pixels)
    print(
        f"\n{MANY:,} images of noise, {COPIED:,} copied exactly and {COPIED:,} with noise: {found.exact:,} exact, "
        f"{found.encoded:,} alike, {found.mirrored:,} mirrored in {time.perf_counter() - started:.1f} s; at most "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB"
    )


def main() -> None:
    """Prints the report on each folder, and the time of a large search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="write a sheet of pairs for each folder")
    asked = parser.parse_args()
    print(f"limit in use {duplicates.LIMIT}, colour {duplicates.COLOUR}, plain below {duplicates.PLAIN}")
    for folder in asked.folders:
        report(folder, None if asked.pictures is None else asked.pictures / f"{folder.name}.png")
    time_many()


if __name__ == "__main__":
    main()
