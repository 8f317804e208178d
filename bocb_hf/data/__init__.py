"""Data: data sets as rows, their images, splits and augmentation; may import ``runs`` and what lies below it.

Importing this needs no torch; ``bocb_hf.data.images`` loads and decodes the images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bocb_hf.errors import InputError
from bocb_hf.registry import Registry

EMBEDDED = Path(__file__).resolve().parent / "embedded"


@dataclass(frozen=True)
class DatasetRow:
    """One data set whose facts are known, so that a run needs nothing but its name.

    Attributes:
        id: Name of the data set in this project.
        hub_id: Id on the Hub of the data set, or of the one that it is taken from.
        licence: SPDX id of the licence of the images.
        revision: Commit sha on the Hub; for an embedded set, the start of its content hash.
        embedded: Folder inside the package, or None when the data set is downloaded from the Hub.
        image_size: Native side of the images in pixels; for photographs of many sizes, the side of the study's input.
        mean: Mean of each channel of the train split, in 0..1.
        std: Standard deviation of each channel of the train split, in 0..1.
        image_column: Column of the images; None where only one column can be meant.
        label_column: Column of the labels; None where only one column can be meant.
        evaluation_split: Split that counts as test unless a run names another.
        sizes: Number of images in each split, which a stream does not always say.
        decoded_sha256: Hash of all decoded images and labels (``local_copy.hash_decoded``), by which a local copy is
            known to be this data set; None where none is accepted.
    """

    id: str
    hub_id: str
    licence: str
    revision: str
    embedded: Path | None
    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_column: str | None = None
    label_column: str | None = None
    evaluation_split: str = "test"
    sizes: Mapping[str, int] = field(default_factory=dict)
    decoded_sha256: str | None = None


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

DATASETS.add(
    DatasetRow(
        id="fashion_mnist",
        hub_id="zalando-datasets/fashion_mnist",
        licence="mit",
        revision="531be5e2ccc9dba0c201ad3ae567a4f3d16ecdd2",
        embedded=None,
        image_size=28,
        mean=(0.2860, 0.2860, 0.2860),
        std=(0.3530, 0.3530, 0.3530),
        sizes={"train": 60_000, "test": 10_000},
        decoded_sha256="07a2d4a1a16d1741ba840295a58bcab40f77152fcf5521f4f89261eecc06e811",
    )
)

DATASETS.add(
    DatasetRow(
        id="cifar100",
        hub_id="uoft-cs/cifar100",
        licence="unknown",  # the Hub says so, and the authors state no licence
        revision="aadb3af77e9048adbea6b47c21a81e47dd092ae5",
        embedded=None,
        image_size=32,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        image_column="img",
        label_column="fine_label",
        sizes={"train": 50_000, "test": 10_000},
    )
)

DATASETS.add(
    DatasetRow(
        id="imagenet1k",
        hub_id="ILSVRC/imagenet-1k",
        licence="other",  # ImageNet has its own terms, for research
        revision="49e2ee26f3810fb5a7536bbf732a7b07389a47b5",
        embedded=None,
        image_size=224,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        image_column="image",
        label_column="label",
        evaluation_split="validation",  # the labels of test are not published
        sizes={"train": 1_281_167, "validation": 50_000, "test": 100_000},
    )
)


def content_revision(folder: Path, files: Iterable[Path] | None = None) -> str:
    """Revision of a data set in a folder: a hash of its data files' names and bytes, 40 hexadecimal digits.

    Args:
        folder: Folder of the data set.
        files: Files that are read, relative to the folder; None takes all files that are neither hidden, nor of the
            operating system, nor README.md or LICENSE.

    Raises:
        InputError: The folder holds no data files, or one of them cannot be read.
    """
    chosen = sorted(_data_files(folder) if files is None else files)
    if not chosen:
        raise InputError(f"data.name: {folder} holds no data files; give a folder of Parquet files or of class folders")
    return _hash_files(folder, chosen)


def first_revision(folder: Path) -> str:
    """The revision as older releases computed it: every file counted, even files that are never read."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in {"README.md", "LICENSE"})
    return _hash_files(folder, [path.relative_to(folder) for path in files])


def _data_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        hidden = any(part.startswith((".", "__")) for part in relative.parts)
        if path.is_file() and not hidden and path.name not in {"README.md", "LICENSE", "Thumbs.db", "desktop.ini"}:
            yield relative


def _hash_files(folder: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        try:
            with (folder / path).open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"data.name: {folder / path} cannot be read: {error.strerror}") from error
        digest.update(f"{path.as_posix()}\0{content}\n".encode())
    return digest.hexdigest()[:40]
