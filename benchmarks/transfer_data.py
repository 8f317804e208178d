"""Writes the images of the transfer plans: five classes of the full Fashion-MNIST to pre-train on, five held out.

The files are in Debian's package ``dataset-fashion-mnist`` (no root needed)::

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb unpacked
    python benchmarks/transfer_data.py unpacked/usr/share/datasets/fashion-mnist

Pre-training gets all training images of its classes: 29,000 to train on, 1,000 to validate on; and 2,000 of the
official test images. Fine-tuning gets few images of the others: 200 to train on, 300 to validate on, and 1,500 of the
official test images. No image is in two splits, and no class in both sets.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import datasets
import numpy as np
from numpy.typing import NDArray

from bocb_hf.data.build_embedded import NAMES, png, read_idx, stratified

PRETRAINED = (0, 1, 3, 5, 8)  # T-shirt/top, Trouser, Dress, Sandal, Bag
HELD_OUT = (2, 4, 6, 7, 9)  # Pullover, Coat, Shirt, Sneaker, Ankle boot
SEED = 0


def write_split(path: Path, images: NDArray[np.uint8], labels: NDArray[np.uint8], classes: tuple[int, ...]) -> None:
    """Writes one split as Parquet; labels count the classes of the set from 0."""
    names = [NAMES[number] for number in classes]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=names)})
    rows = {
        "image": [{"bytes": png(image), "path": None} for image in images],
        "label": [classes.index(int(label)) for label in labels],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(rows, features=features).to_parquet(path)
    print(f"{path}: {len(labels):,} images, {path.stat().st_size:,} bytes")


def draw(labels: NDArray[np.uint8], classes: tuple[int, ...], sizes: tuple[int, ...]) -> list[NDArray[np.int64]]:
    """Draws disjoint stratified samples of these sizes from the images of some classes; 0 takes all that are left."""
    left = np.nonzero(np.isin(labels, classes))[0]
    found: list[NDArray[np.int64]] = []
    for size in sizes:
        chosen = left if size in (0, len(left)) else left[stratified(labels[left], size, SEED)]
        found.append(chosen)
        left = np.setdiff1d(left, chosen)
    return found


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with the four *-ubyte.gz files")
    parser.add_argument("--out", type=Path, default=Path("outputs/transfer"))
    arguments = parser.parse_args()
    source: Path = arguments.source
    images, labels = (read_idx(source / f"train-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    test_images, test_labels = (read_idx(source / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    for name, classes, sizes, tested in (
        ("fashion_pretraining", PRETRAINED, (1000, 0), 2000),
        ("fashion_held_out", HELD_OUT, (300, 200), 1500),
    ):
        validation, train = draw(labels, classes, sizes)
        (test,) = draw(test_labels, classes, (tested,))
        folder = arguments.out / name
        write_split(folder / "train.parquet", images[train], labels[train], classes)
        write_split(folder / "validation.parquet", images[validation], labels[validation], classes)
        write_split(folder / "test.parquet", test_images[test], test_labels[test], classes)


if __name__ == "__main__":
    main()
