"""A local copy of a data set of the Hub, so that a machine that does not reach the Hub trains the same cells.

The copy counts as the data set, at the row's revision, only while it decodes to the pixels and labels whose hash is in
the row; so a cell that was trained on it is the cell of the Hub's copy. For Fashion-MNIST, from the files of its
authors, which Debian's package ``dataset-fashion-mnist`` holds as well (no root needed)::

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb unpacked
    python -m bocb_hf.data.local_copy fashion_mnist unpacked/usr/share/datasets/fashion-mnist

and ``python -m bocb_hf.data.local_copy fashion_mnist --check-hub`` says whether the Hub's copy decodes to the same.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from bocb_hf.data import DATASETS, DatasetRow, content_revision
from bocb_hf.data.encoded import Table, read_parquet_splits
from bocb_hf.data.pictures import open_picture
from bocb_hf.errors import InputError
from bocb_hf.resources import cache_folder

VARIABLE = "BOCB_HF_DATA"
_BULK = 1000  # number of images that are read at a time


def copies_folder() -> Path:
    """Folder of all local copies: ``$BOCB_HF_DATA``, or ``data`` in the folder of decoded images."""
    given = os.environ.get(VARIABLE)
    return Path(given).expanduser() if given else cache_folder(None) / "data"


def find_local_copy(row: DatasetRow) -> Path | None:
    """The folder of the local copy of a data set, or None where there is none."""
    folder = copies_folder() / row.id
    return folder if row.decoded_sha256 is not None and folder.is_dir() else None


def open_local_copy(row: DatasetRow, folder: Path) -> dict[str, Table]:
    """Opens the local copy of a data set.

    It is decoded once to be checked; the cache remembers the files that passed.

    Raises:
        InputError: The copy is damaged, or holds other images or labels than the row says.
    """
    from bocb_hf.data.cache import remember

    splits = read_parquet_splits(folder)
    parameters = {"name": row.id, "decoded": content_revision(folder)}
    found: str | None = None
    with suppress(InputError):  # where the cache cannot be written, the copy is decoded each time
        found = remember(cache_folder(None), parameters, lambda: hash_decoded(splits))
    found = found or hash_decoded(splits)
    if found != row.decoded_sha256:
        raise InputError(
            f"data.name: the local copy in {folder} does not decode to {row.id!r} (its hash is {found[:12]}, not "
            f"{str(row.decoded_sha256)[:12]}); make it again with python -m bocb_hf.data.local_copy {row.id}, or "
            "remove it"
        )
    return dict(splits)


def hash_decoded(splits: Mapping[str, Any]) -> str:
    """SHA-256 of the decoded pixels and labels of all splits, in the order of their rows.

    Splits come in the order of their names. Of each: name, number of images, and for every image its height, width and
    label, then its pixels as they were encoded (grey or RGB, uint8).

    Args:
        splits: Tables with the columns ``image`` and ``label`` by the names of the splits.
    """
    digest = hashlib.sha256()
    for name in sorted(splits):
        table = splits[name]
        labels = np.asarray(table.values("label").to_pylist(), np.int64)
        digest.update(f"{name} {len(labels)}\n".encode())
        images = table.images("image")
        for first in range(0, len(labels), _BULK):
            rows = list(range(first, min(first + _BULK, len(labels))))
            for label, encoded in zip(labels[rows], images[rows], strict=True):
                pixels = np.asarray(open_picture(encoded))
                digest.update(np.asarray([*pixels.shape[:2], label], "<i8").tobytes())
                digest.update(np.ascontiguousarray(pixels).tobytes())
    return digest.hexdigest()


def convert(row: DatasetRow, source: Path) -> Path:
    """Writes the local copy of Fashion-MNIST from the four gzipped IDX files of its authors.

    Args:
        row: Row of the data set.
        source: Folder of ``train-images-idx3-ubyte.gz`` and the other three.

    Raises:
        InputError: The data set has no converter, a file is missing or damaged, or the images are others than those of
            the row; then nothing is left behind.
    """
    from bocb_hf.data.build_embedded import NAMES, read_idx, write_split

    if row.id != "fashion_mnist":
        raise InputError(f"there is a converter for fashion_mnist only, not for {row.id!r}; see docs/data.md")
    # the Hub's copy writes the first class so, and a checkpoint keeps the names of what it tells apart
    classes = ("T - shirt / top", *NAMES[1:])
    target = copies_folder() / row.id
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        folder = Path(place) / row.id
        folder.mkdir()
        try:
            for name, prefix in (("train", "train"), ("test", "t10k")):
                kinds = ("images-idx3", "labels-idx1")
                images, labels = (read_idx(source / f"{prefix}-{kind}-ubyte.gz") for kind in kinds)
                write_split(name, images, labels, folder, classes)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{source}: {error}; give the folder of the four *-ubyte.gz files") from error
        open_local_copy(row, folder)
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)
    return target


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[row.id for row in DATASETS if row.decoded_sha256], help="the data set")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("source", nargs="?", type=Path, help="folder of the authors' files")
    what.add_argument("--check-hub", action="store_true", help="compare the Hub's copy with the hash of the row")
    given = parser.parse_args(arguments)
    row = DATASETS.get(given.name)
    try:
        if given.check_hub:
            import datasets

            from bocb_hf.data.encoded import DatasetTable

            splits: Any = datasets.load_dataset(row.hub_id, revision=row.revision)
            found = hash_decoded({name: DatasetTable(split) for name, split in splits.items()})
            same = found == row.decoded_sha256
            print(f"{row.hub_id} at {row.revision[:12]} {'is' if same else 'is not'} the data set of the row: {found}")
            return 0 if same else 1
        print(f"{convert(row, given.source)}: {row.id} at revision {row.revision[:12]}")
    except InputError as error:
        parser.exit(2, f"{error}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
