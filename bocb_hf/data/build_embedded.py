"""Rebuilds the embedded data set from the original Fashion-MNIST files.

The files are in Debian's package ``dataset-fashion-mnist`` (no root needed) and on the data set's own page::

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb unpacked
    python -m bocb_hf.data.build_embedded unpacked/usr/share/datasets/fashion-mnist
"""

from __future__ import annotations

import argparse
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.model_selection import train_test_split

from bocb_hf.data import EMBEDDED

NAMES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
SEED = 0
TRAIN, VALIDATION, TEST = 6000, 1000, 2000


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Reads one gzipped IDX file of unsigned bytes into an array of the shape in its header."""
    with gzip.open(path, "rb") as file:
        data = file.read()
    if data[:3] != b"\x00\x00\x08":
        raise ValueError(f"{path}: not an IDX file of unsigned bytes")
    rank = data[3]
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", count=rank, offset=4))
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def stratified(labels: NDArray[np.uint8], size: int, seed: int) -> NDArray[np.int64]:
    """Draws a stratified sample of ``size`` images, and returns its indices in rising order."""
    chosen, _ = train_test_split(np.arange(len(labels)), train_size=size, stratify=labels, random_state=seed)
    return np.sort(chosen)


def png(image: NDArray[np.uint8]) -> bytes:
    """Encodes one grey image (H, W) losslessly."""
    buffer = io.BytesIO()
    Image.fromarray(image, mode="L").save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def write_split(
    name: str,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    target: Path,
    classes: Sequence[str] = NAMES,
) -> Path:
    """Writes one split as Parquet with the features ``image`` and ``label``."""
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=list(classes))})
    rows = {
        "image": [{"bytes": png(image), "path": None} for image in images],
        "label": [int(label) for label in labels],
    }
    path = target / f"{name}-00000-of-00001.parquet"
    datasets.Dataset.from_dict(rows, features=features).to_parquet(path)
    return path


def main() -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with the four *-ubyte.gz files")
    parser.add_argument("--target", type=Path, default=EMBEDDED / "fashion_mnist_subset")
    arguments = parser.parse_args()

    source: Path = arguments.source
    images, labels = (read_idx(source / f"train-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    both = stratified(labels, TRAIN + VALIDATION, SEED)
    inner = stratified(labels[both], TRAIN, SEED)
    train = both[inner]
    validation = np.setdiff1d(both, train)
    test_images, test_labels = (read_idx(source / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    test = stratified(test_labels, TEST, SEED)

    arguments.target.mkdir(parents=True, exist_ok=True)
    for name, pixels, classes in (
        ("train", images[train], labels[train]),
        ("validation", images[validation], labels[validation]),
        ("test", test_images[test], test_labels[test]),
    ):
        path = write_split(name, pixels, classes, arguments.target)
        print(f"{path}: {len(classes)} images, {path.stat().st_size:,} bytes")
    scaled = images[train].astype(np.float64) / 255
    print(f"train mean {scaled.mean():.4f} std {scaled.std():.4f}")


if __name__ == "__main__":
    main()
