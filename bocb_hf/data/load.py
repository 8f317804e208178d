"""Opens a data set: the embedded one, or, through ``datasets``, a local folder or a data set on the Hub."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bocb_hf.data import DATASETS, DatasetRow, content_revision, first_revision
from bocb_hf.data.encoded import DatasetTable, read_parquet_splits
from bocb_hf.data.folder import FolderFiles, describe_unread, explain_missing_labels, find_files
from bocb_hf.data.local_copy import find_local_copy, open_local_copy
from bocb_hf.errors import InputError
from bocb_hf.runs.config import DataConfig
from bocb_hf.schema import one_line

log = logging.getLogger(__name__)


def public_name(name: str) -> str:
    """The name that records have for a data set that a user named.

    For a folder it is the last part of its path, without characters that a name may not hold.
    """
    row = find_row(name)
    if row is not None:
        return row.id
    if not Path(name).is_dir():
        return name
    return "local/" + (re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name).resolve().name)[:150].strip("-.") or "data")


@dataclass(frozen=True, eq=False)
class OpenData:
    """An open data set. It equals only itself, so that it can be the key of cached results.

    Attributes:
        name: Name of the data set as the user wrote it.
        revision: Commit sha on the Hub, or hash of the content of a folder.
        splits: Each split by its name, as a ``Table``, or as a ``datasets.IterableDataset`` where it is a stream.
        files: Files of a local folder that are read; None for other data sets.
    """

    name: str
    revision: str
    splits: dict[str, Any]
    files: FolderFiles | None = None

    @property
    def row(self) -> DatasetRow | None:
        """The row of the data set in the registry, if it has one."""
        return find_row(self.name)

    @property
    def public_name(self) -> str:
        """The name in records, see ``public_name``."""
        return public_name(self.name)

    @property
    def features(self) -> Mapping[str, Any]:
        """The columns and their types, as ``datasets.Features.to_dict`` describes them.

        Raises:
            InputError: A stream does not say what its columns are.
        """
        features = next(iter(self.splits.values())).features
        if features is None:
            raise InputError(
                f"data.streaming: {self.name!r} does not say which columns it has before it is read; load it without "
                "streaming"
            )
        return features.to_dict() if hasattr(features, "to_dict") else features  # a stream has datasets' object


def find_row(name: str) -> DatasetRow | None:
    """Finds the row of a data set by its id or by its Hub id; None if it has no row."""
    if name in DATASETS:
        return DATASETS.get(name)
    return next((row for row in DATASETS if row.embedded is None and row.hub_id == name), None)


@functools.lru_cache(maxsize=2)
def open_data(name: str, revision: str | None, streaming: bool) -> OpenData:
    """Opens a data set. The result is cached, so that a warm worker opens it once.

    Raises:
        InputError: The data set is not there, cannot be read, or is not the revision that is asked for.
    """
    row = find_row(name)
    folder = row.embedded if row else Path(name)
    try:
        if row is None and folder is not None and folder.is_dir():
            return _open_folder(name, folder, revision, streaming)
        if row is not None and folder is not None and folder.is_dir():
            found = content_revision(folder)
            if found != row.revision:
                raise InputError(f"data.name: the files in {folder} are not those of {name!r}; reinstall bocb-hf")
            _check_revision(name, revision, found)
            if not streaming:
                return OpenData(name, found, dict(read_parquet_splits(folder)))
            return OpenData(name, found, _open(str(folder), None, streaming))
        if row is None and not looks_like_hub_id(name):
            known = ", ".join(DATASETS.names())
            raise InputError(f"data.name: {name!r} is no folder, no Hub id (owner/name) and none of: {known}")
        revision = revision or (row.revision if row else None)
        if revision is None:
            raise InputError(f"data.revision: give the commit sha of {name!r}; a moving branch is not a data set")
        if row and revision != row.revision:
            raise InputError(f"data.revision: {name!r} is {row.revision}, not {revision}; leave the revision out")
        copy = find_local_copy(row) if row is not None else None
        if row is None or copy is None:
            return OpenData(name, revision, _open(row.hub_id if row else name, revision, streaming))
        log.info("data.name: %s is read from its local copy in %s", name, copy)
        splits = open_local_copy(row, copy)
        return OpenData(name, revision, _open(str(copy), None, streaming=True) if streaming else splits)
    except InputError:
        raise
    except Exception as error:  # datasets raises its own, the Hub's, Arrow's and pandas' errors
        raise _explain(name, error) from error


def _explain(name: str, error: BaseException) -> InputError:
    """Makes the error for a data set that cannot be loaded; it names Hugging Face's cache if that cannot be written."""
    while error.__cause__ is not None:  # datasets says that it cannot generate a data set, and its cause says why
        error = error.__cause__
    said = f"{type(error).__name__}: {one_line(str(error))}"
    found = _explain_cache(error) if isinstance(error, OSError) else None
    layout = "; give a folder of Parquet files, or of <split>/<class>/<image>" if Path(name).is_dir() else ""
    return found or InputError(f"data.name: cannot load {name!r}: {said}{layout}")


def _explain_cache(error: OSError) -> InputError | None:
    from datasets import config as settings
    from huggingface_hub import constants

    said = error.strerror or type(error).__name__
    where = str(error.filename or error)
    caches = (
        ("HF_DATASETS_CACHE", settings.HF_DATASETS_CACHE),
        ("HF_HUB_CACHE", constants.HF_HUB_CACHE),
        ("HF_HOME", settings.HF_CACHE_HOME),
    )
    for variable, folder in caches:
        if str(folder) in where or Path(where) in Path(folder).parents:
            given = variable if os.environ.get(variable) else "HF_HOME"
            return InputError(
                f"{given}: the library datasets cannot write its cache in {folder} ({said}: {where}); set HF_HOME (or "
                f"{variable}) to a folder that can be written and has space"
            )
    return None


def _open_folder(name: str, folder: Path, revision: str | None, streaming: bool) -> OpenData:
    """Opens a local folder, of which only the files that are read count.

    Raises:
        InputError: The content is not the revision that is asked for, or the layout of the files cannot be meant.
    """
    import datasets

    builder = datasets.load_dataset_builder(str(folder))
    files = find_files(builder, folder)
    found = content_revision(folder, files.read)
    if revision is not None and revision != found and revision == first_revision(folder):
        found = revision  # an older record's revision also counted files that are not read
    _check_revision(name, revision, found)
    unread = describe_unread(files)
    if unread:
        log.log(logging.WARNING if files.misses_data() else logging.INFO, "data.name: %s%s", name, unread)
    if streaming:
        # the keys are names of splits
        return OpenData(name, found, dict(builder.as_streaming_dataset()), files)  # type: ignore[arg-type]
    builder.download_and_prepare()
    splits: Any = builder.as_dataset()
    return OpenData(name, found, {split: DatasetTable(table) for split, table in splits.items()}, files)


def _check_revision(name: str, asked: str | None, found: str) -> None:
    if asked not in (None, found):
        raise InputError(f"data.revision: the content of {name!r} is {found}, not {asked}")


def _open(path: str, revision: str | None, streaming: bool) -> dict[str, Any]:
    splits = _load(path, revision, streaming)
    return splits if streaming else {name: DatasetTable(split) for name, split in splits.items()}


def _load(path: str, revision: str | None, streaming: bool) -> dict[str, Any]:
    import datasets

    # the keys are names of splits
    return dict(datasets.load_dataset(path, revision=revision, streaming=streaming))  # type: ignore[arg-type]


def looks_like_hub_id(name: str) -> bool:
    """Whether a name may be ``<owner>/<name>`` on the Hub."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def find_evaluation_split(data: OpenData, config: DataConfig) -> str | None:
    """Finds the split that counts as test: the configured one, or by default the row's; None if drawn from train.

    Raises:
        InputError: The data set does not have that split, it is the training split, or there is no train split.
    """
    have = ", ".join(data.splits)
    hint = describe_unread(data.files) if data.files else ""
    name = config.evaluation_split
    if name == "test" and data.row is not None:
        name = data.row.evaluation_split
    if name == "train" or name.startswith(("train[", "train+")) or "+train" in name:
        raise InputError(
            f"data.evaluation_split: {name!r} holds training images, and a score on them measures no generalisation; "
            "name a split that is not trained on, or leave the key out and set data.test_fraction=0.2, which draws a "
            "test split from train and trains on the rest"
        )
    if "train" not in data.splits:
        raise InputError(f"data.name: {config.name!r} has no split 'train'; it has: {have}{hint}")
    if config.test_fraction is not None:
        if name in data.splits:
            raise InputError(
                f"data.test_fraction: {config.name!r} has a split {name!r} of its own, so that no part of train is "
                "needed to test on; leave it out"
            )
        if name != "test":
            raise InputError(f"data.test_fraction: it draws the test images, so that {name!r} is of no use; give one")
        return None
    if name not in data.splits:
        others = [split for split in data.splits if split != "train"]
        choice = f"name one of the others that is not trained on ({', '.join(others)}), or " if others else ""
        raise InputError(
            f"data.evaluation_split: {config.name!r} has no split {name!r}; it has: {have}; {choice}set "
            f"data.test_fraction=0.2, which draws a test split from train and trains on the rest{hint}"
        )
    return name


def find_columns(data: OpenData, config: DataConfig) -> tuple[str, str]:
    """Finds the image and the label column: the given ones, or the row's, or the only ones of their type.

    Raises:
        InputError: There is no column of that name, or not exactly one of that type.
    """
    features, row = data.features, data.row
    by_type = (
        ("image", config.image_column, row and row.image_column, "Image"),
        ("label", config.label_column, row and row.label_column, "ClassLabel"),
    )
    chosen: list[str] = []
    for kind, given, known, wanted in by_type:
        found = [name for name, feature in features.items() if type_of(feature) == wanted]
        if given is not None and given not in features:
            if kind == "label" and list(features) == ["image"] and data.files is not None and data.files.pictures:
                raise InputError(explain_missing_labels(data.files, data.name, list(features)))
            raise InputError(f"data.{kind}_column: no column {given!r}; there are: {', '.join(features)}")
        if given is None and known is None and len(found) != 1:
            if kind == "label" and not found and data.files is not None and data.files.pictures:
                raise InputError(explain_missing_labels(data.files, data.name, list(features)))
            have = ", ".join(found) or "none"
            types = ", ".join(f"{name} ({describe_type(feature)})" for name, feature in features.items())
            raise InputError(
                f"data.{kind}_column: name the column of the {kind}s; of type {wanted}: {have}; all columns: {types}"
            )
        column = given or known or found[0]
        if kind == "image" and not _may_hold_images(features[column]):
            raise InputError(
                f"data.image_column: {column!r} is of type {describe_type(features[column])}, not Image; convert it "
                f'with dataset.cast_column("{column}", datasets.Image()), which takes the bytes or the path of a file'
            )
        chosen.append(column)
    return chosen[0], chosen[1]


def _may_hold_images(feature: Any) -> bool:
    """Whether ``datasets.Image`` takes a column: images, bytes, paths, or a struct of bytes and path."""
    if type_of(feature) == "Value":
        return feature["dtype"] in ("binary", "large_binary", "string", "large_string")
    return type_of(feature) == "Image" or (isinstance(feature, dict) and bool({"bytes", "path"} & feature.keys()))


def describe_type(feature: Any) -> str:
    """A column's type in one word, for messages."""
    if not isinstance(feature, dict):
        return "a list" if isinstance(feature, list) else type(feature).__name__
    described: dict[str, Any] = feature
    kind = described.get("_type", "a struct")
    return str(described.get("dtype")) if kind == "Value" else str(kind)


def type_of(feature: Any) -> str | None:
    """The name of a column's type; None for a list of something."""
    return feature.get("_type") if isinstance(feature, dict) else None
