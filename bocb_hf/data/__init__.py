"""The data sets as rows. Importing this needs no torch; ``bocb_hf.data.images`` loads and decodes them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bocb_hf.errors import InputError
from bocb_hf.registry import Registry

EMBEDDED = Path(__file__).resolve().parent / "embedded"


@dataclass(frozen=True)
class DatasetRow:
    """One data set whose facts are known, so that a run needs nothing but its name.

    Attributes:
        id: Its name here.
        hub_id: The data set on the Hub that it is, or that it is taken from.
        licence: SPDX id of the licence of the images.
        revision: Commit sha on the Hub; for an embedded set, the start of its content hash.
        embedded: Folder inside the package, or None when it is downloaded from the Hub.
        image_size: Native side of the images in pixels.
        mean: Mean of each channel of the train split, in 0..1.
        std: Standard deviation likewise.
    """

    id: str
    hub_id: str
    licence: str
    revision: str
    embedded: Path | None
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


DATASETS: Registry[DatasetRow] = Registry("dataset", "datasets")

DATASETS.add(
    DatasetRow(
        id="fashion_mnist_subset",
        hub_id="zalando-datasets/fashion_mnist",
        licence="mit",
        revision="2337f0bebb5963476df77a1aaafb5ca23570a538",
        embedded=EMBEDDED / "fashion_mnist_subset",
        image_size=28,
        mean=(0.2852, 0.2852, 0.2852),
        std=(0.3528, 0.3528, 0.3528),
    )
)


def content_revision(folder: Path) -> str:
    """Revision of a data set in a folder: a hash of its data files' names and bytes, 40 hexadecimal digits.

    Raises:
        InputError: The folder holds no data files.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in {"README.md", "LICENSE"})
    if not files:
        raise InputError(f"data.name: {folder} holds no files; give a folder of Parquet files or of class folders")
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()[:40]
