"""Opens a data set: embedded, or through ``datasets`` a folder or one of the Hub, whole or as a stream."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bocb_hf.data import DATASETS, DatasetRow, content_revision
from bocb_hf.data.encoded import DatasetTable, read_parquet_splits
from bocb_hf.errors import InputError
from bocb_hf.runs.config import DataConfig

_SPLIT_SEED = 0


@dataclass(frozen=True, eq=False)
class OpenData:
    """A data set; equal to itself only, so that what is made of it can be cached by it.

    Attributes:
        name: As the user wrote it.
        revision: Commit sha on the Hub, or hash of the content of a folder.
        splits: ``Table``, or ``datasets.IterableDataset`` of a stream, by name.
    """

    name: str
    revision: str
    splits: dict[str, Any]

    @property
    def row(self) -> DatasetRow | None:
        """What is known of it."""
        return find_row(self.name)

    @property
    def public_name(self) -> str:
        """The name in records: of a folder only its last part, of what a name may hold."""
        if self.row is not None:
            return self.row.id
        if not Path(self.name).is_dir():
            return self.name
        return "local/" + (re.sub(r"[^A-Za-z0-9._-]+", "-", Path(self.name).resolve().name).strip("-.") or "data")

    @property
    def features(self) -> Mapping[str, Any]:
        """The columns and their types, as ``datasets.Features.to_dict`` describes them.

        Raises:
            InputError: A stream does not say.
        """
        features = next(iter(self.splits.values())).features
        if features is None:
            raise InputError(
                f"data.streaming: {self.name!r} does not say which columns it has before it is read; load it without "
                "streaming"
            )
        return features.to_dict() if hasattr(features, "to_dict") else features  # of a stream, as datasets has them


def find_row(name: str) -> DatasetRow | None:
    """The row of a data set, by its id or by its Hub id, if it has one."""
    if name in DATASETS:
        return DATASETS.get(name)
    return next((row for row in DATASETS if row.embedded is None and row.hub_id == name), None)


@functools.lru_cache(maxsize=2)
def open_data(name: str, revision: str | None, streaming: bool) -> OpenData:
    """Opens a data set. Cached, so that a warm worker opens it once.

    Raises:
        InputError: It is not there, cannot be read, or is not the revision that is asked for.
    """
    row = find_row(name)
    folder = row.embedded if row else Path(name)
    try:
        if folder is not None and folder.is_dir():
            found = content_revision(folder)
            if row and found != row.revision:
                raise InputError(f"data.name: the files in {folder} are not those of {name!r}; reinstall bocb-hf")
            if revision not in (None, found):
                raise InputError(f"data.revision: the content of {name!r} is {found}, not {revision}")
            if row and not streaming:
                return OpenData(name, found, dict(read_parquet_splits(folder)))
            return OpenData(name, found, _open(str(folder), None, streaming))
        if row is None and not _looks_like_hub_id(name):
            known = ", ".join(DATASETS.names())
            raise InputError(f"data.name: {name!r} is no folder, no Hub id (owner/name) and none of: {known}")
        revision = revision or (row.revision if row else None)
        if revision is None:
            raise InputError(f"data.revision: give the commit sha of {name!r}; a moving branch is not a data set")
        if row and revision != row.revision:
            raise InputError(f"data.revision: {name!r} is {row.revision}, not {revision}; leave the revision out")
        return OpenData(name, revision, _open(row.hub_id if row else name, revision, streaming))
    except InputError:
        raise
    except Exception as error:  # datasets raises its own, the Hub's, Arrow's and pandas' errors
        raise InputError(f"data.name: cannot load {name!r}: {type(error).__name__}: {error}") from error


def _open(path: str, revision: str | None, streaming: bool) -> dict[str, Any]:
    splits = _load(path, revision, streaming)
    return splits if streaming else {name: DatasetTable(split) for name, split in splits.items()}


def _load(path: str, revision: str | None, streaming: bool) -> dict[str, Any]:
    import datasets

    return dict(datasets.load_dataset(path, revision=revision, streaming=streaming))  # type: ignore[arg-type]


def _looks_like_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def find_evaluation_split(data: OpenData, config: DataConfig) -> str:
    """The split that counts as test: the row's, where the configuration leaves the default.

    Raises:
        InputError: The data set does not have it, or has no train split.
    """
    name = config.evaluation_split
    if name == "test" and data.row is not None:
        name = data.row.evaluation_split
    for split in ("train", name):
        if split not in data.splits:
            key = "data.evaluation_split" if split == name else "data.name"
            have = ", ".join(data.splits)
            raise InputError(f"{key}: {config.name!r} has no split {split!r}; it has: {have}")
    return name


def find_columns(data: OpenData, config: DataConfig) -> tuple[str, str]:
    """Names of the image and the label column: given, or the row's, or the only one of its type.

    Raises:
        InputError: There is none of that name, or not exactly one of that type.
    """
    features, row = data.features, data.row
    by_type = (
        ("image", config.image_column, row and row.image_column, "Image"),
        ("label", config.label_column, row and row.label_column, "ClassLabel"),
    )
    chosen: list[str] = []
    for kind, given, known, wanted in by_type:
        found = [name for name, feature in features.items() if _type_of(feature) == wanted]
        if given is not None and given not in features:
            raise InputError(f"data.{kind}_column: no column {given!r}; there are: {', '.join(features)}")
        if given is None and known is None and len(found) != 1:
            have = ", ".join(found) or "none"
            raise InputError(f"data.{kind}_column: name one; columns of that type: {have}; all: {', '.join(features)}")
        chosen.append(given or known or found[0])
    return chosen[0], chosen[1]


def _type_of(feature: Any) -> str | None:
    """The name of a column's type; a list of something has none."""
    return feature.get("_type") if isinstance(feature, dict) else None


@functools.lru_cache(maxsize=8)
def read_labels(data: OpenData, split: str, column: str) -> NDArray[np.int64]:
    """Labels of a split that is not a stream.

    Raises:
        InputError: The split is empty, or its labels are no integers.
    """
    table = data.splits[split]
    if len(table) == 0:
        raise InputError(f"data.name: split {split!r} of {data.name!r} is empty")
    labels = table.values(column)
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"data.label_column: {column!r} of split {split!r} does not hold integers")
    return labels.astype(np.int64)


def name_classes(data: OpenData, column: str, labels: Mapping[str, NDArray[np.int64]]) -> tuple[str, ...]:
    """Names of the classes, after checking that every label has one.

    Args:
        data: The data set.
        column: Its labels.
        labels: Of the splits that are in use; of a stream, none.

    Raises:
        InputError: Fewer than two classes, a label out of range, or a stream without names.
    """
    feature = data.features[column]
    if _type_of(feature) == "ClassLabel":
        names = tuple(feature["names"])
    elif "train" in labels:
        names = tuple(str(i) for i in range(int(labels["train"].max()) + 1))
    else:
        raise InputError(
            f"data.label_column: {column!r} of {data.name!r} does not name its classes, and a stream cannot be "
            "counted; name a column of type ClassLabel or load it without streaming"
        )
    if len(names) < 2:
        raise InputError(f"data.label_column: {column!r} has {len(names)} class; a classifier needs at least 2")
    for split, theirs in labels.items():
        check_labels(theirs, len(names), split)
    return names


def check_labels(labels: NDArray[np.int64], classes: int, split: str) -> None:
    """Raises InputError for a label that no class has."""
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(bad):
        raise InputError(
            f"data.label_column: label {labels[bad[0]]} of image {bad[0]} of split {split!r} is out of range "
            f"0..{classes - 1}; correct it or name another column"
        )


def draw_validation(labels: NDArray[np.int64], fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorted indices of the kept and of the held-out part of train: stratified and always the same.

    Raises:
        InputError: A class is too small for it.
    """
    # scikit-learn takes a second to import, and a data set with a validation split of its own never comes here
    from sklearn.model_selection import train_test_split

    try:
        kept, held = train_test_split(
            np.arange(len(labels)), test_size=fraction, stratify=labels, random_state=_SPLIT_SEED
        )
    except ValueError as error:
        raise InputError(f"data.validation_fraction: cannot draw {fraction:.0%} of train: {error}") from error
    return np.sort(kept), np.sort(held)
