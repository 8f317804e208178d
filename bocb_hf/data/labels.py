"""Checks labels and names classes, and draws by class the images that are held out."""

from __future__ import annotations

import functools
import logging
import unicodedata
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bocb_hf.data.load import OpenData, type_of
from bocb_hf.errors import InputError
from bocb_hf.schema import one_line

log = logging.getLogger(__name__)

VALIDATION_SEED, TEST_SEED = 0, 1  # seeds of the draws, which are the same for every run
_SHOWN = 10  # number of classes that a message names
_ENCODE = 'dataset.class_encode_column("{column}") of the library datasets, saved with to_parquet'


@functools.lru_cache(maxsize=8)
def read_labels(data: OpenData, split: str, column: str) -> NDArray[np.int64]:
    """Reads the labels of a split that is not a stream; texts become the numbers of their classes in sorted order.

    Raises:
        InputError: The split is empty, or a label is neither an integer nor a text; the message says its value, its row
            and how to convert it.
    """
    table = data.splits[split]
    if len(table) == 0:
        raise InputError(f"data.name: split {split!r} of {data.name!r} is empty")
    values: pa.ChunkedArray = table.values(column)
    kind = values.type
    start = f"data.label_column: {column!r} of split {split!r} of {data.name!r}"
    if values.null_count:
        row = next(row for row, value in enumerate(values) if not value.is_valid)
        raise InputError(
            f"{start} has no label (null) in row {row}, and in {values.null_count} of {len(values)} rows; remove these "
            "rows or label them"
        )
    if is_text(kind):
        number = {name: place for place, name in enumerate(name_texts(data, column))}
        return np.array([number[text] for text in values.to_pylist()], np.int64)
    if pa.types.is_integer(kind):
        return np.array(values.to_pylist(), np.int64)  # pyarrow's own conversion imports pandas
    value = one_line(repr(values[0].as_py()), 80)
    if pa.types.is_boolean(kind):
        how = f"make them classes (False is 0, True is 1) with {_ENCODE.format(column=column)}"
    elif pa.types.is_floating(kind):
        odd = next(((r, v) for r, v in enumerate(values.to_pylist()) if not float(v).is_integer()), None)
        if odd is None:
            how = f'make them integers with dataset.cast_column("{column}", datasets.Value("int64"))'
        else:
            how = f"row {odd[0]} holds {odd[1]}, which is the number of no class; name another column"
    else:
        how = "name a column of one integer for each image"
    raise InputError(f"{start} does not hold integers but {kind}: {value} in row 0; {how}")


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds texts."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


@functools.lru_cache(maxsize=8)
def name_texts(data: OpenData, column: str) -> tuple[str, ...]:
    """The different texts of a column in train, sorted, which are the names of its classes.

    Raises:
        InputError: Another split holds a text that train does not.
    """
    names = sorted({text for text in data.splits["train"].values(column).to_pylist() if text is not None})
    for split, table in data.splits.items():
        for row, text in enumerate(table.values(column).to_pylist()):
            if text is not None and text not in names:
                raise InputError(
                    f"data.label_column: {column!r} holds {one_line(repr(text), 80)} in row {row} of split {split!r} "
                    f"of {data.name!r}, and no image of train has that label; correct it, or remove the row"
                )
    return tuple(names)


def convert_labels(values: Sequence[Any], split: str) -> NDArray[np.int64]:
    """Converts the labels that a stream gave into an array.

    Raises:
        InputError: A label is no integer; the message says its value and its place.
    """
    for place, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise InputError(
                f"data.label_column: label {place} of {len(values)} that were read from split {split!r} is "
                f"{one_line(repr(value), 80)}, not an integer; name a column of type ClassLabel or of integers"
            )
    return np.array(values, np.int64)


def name_classes(data: OpenData, column: str, labels: Mapping[str, NDArray[np.int64]]) -> tuple[str, ...]:
    """Names the classes, after checking that every label has a class.

    Args:
        data: The data set.
        column: Column of the labels.
        labels: Labels of each split that is in use; empty for a stream.

    Raises:
        InputError: There are fewer than two classes, a label is out of range, a column without names skips numbers, or
            a stream has no class names.
    """
    feature = data.features[column]
    if type_of(feature) == "ClassLabel":
        names = tuple(feature["names"])
    elif "train" in labels and is_text(data.splits["train"].values(column).type):
        names = name_texts(data, column)
    elif "train" in labels:
        names = _count_classes(labels["train"], column)
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


def _count_classes(labels: NDArray[np.int64], column: str) -> tuple[str, ...]:
    """Names the classes of a column without names by their numbers, which must be 0, 1, 2, … without a gap."""
    present = np.unique(labels[labels >= 0])
    if len(present) and int(present[-1]) >= len(present):
        missing = int(np.flatnonzero(present != np.arange(len(present)))[0])
        row = int(np.flatnonzero(labels == present[-1])[0])
        raise InputError(
            f"data.label_column: {column!r} holds {len(present)} different numbers in train, up to {present[-1]} (row "
            f"{row}), but none is {missing}: counted from 0, a class would have no image. Number the classes from 0 "
            f"without a gap, or name them with {_ENCODE.format(column=column)}, or, where a class without images is "
            "meant, with a column of type ClassLabel"
        )
    return tuple(str(number) for number in range(len(present)))


def check_labels(labels: NDArray[np.int64], classes: int, split: str) -> None:
    """Raises InputError for a label that is the number of no class."""
    bad = np.flatnonzero((labels < 0) | (labels >= classes))
    if not len(bad):
        return
    value = int(labels[bad[0]])
    if value == -1:
        why = "-1 stands for a label that is not published; remove these rows or choose a split with labels"
    elif value < 0:
        why = "number the classes from 0"
    else:
        why = "no image of train has it, or the column does not name it; correct it or name another column"
    raise InputError(
        f"data.label_column: label {value} of image {bad[0]} of split {split!r} is out of range 0..{classes - 1}, as "
        f"{len(bad)} of its {len(labels)} labels are: {why}"
    )


def find_empty_classes(
    data: OpenData, names: Sequence[str], train: NDArray[np.int64], test: NDArray[np.int64]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Finds the names of classes without training images and of classes without test images; the log warns of both.

    Args:
        data: The data set.
        names: Names of all classes.
        train: Labels of the training images.
        test: Labels of the test images.

    Raises:
        InputError: One of these classes has the name of another class, written in another way.
    """
    untrained, untested = (
        tuple(names[int(k)] for k in np.flatnonzero(np.bincount(labels, minlength=len(names)) == 0))
        for labels in (train, test)
    )
    for name in (*untrained, *untested):
        for other in names:
            if other != name and _folded(other) == _folded(name):
                raise InputError(
                    f"data.name: the classes {name!r} and {other!r} of {data.name!r} are counted as two, and "
                    f"{name!r} has no {'training' if name in untrained else 'test'} images; if one class is meant, "
                    "which is written in upper and lower case, or with accents in two Unicode forms (macOS and Linux), "
                    "give its folders one name"
                )
    for empty, lack in (
        (untrained, "training images and cannot be learnt"),
        (untested, "test images"),
    ):
        if empty:
            log.warning("%d class(es) of %s have no %s: %s", len(empty), data.name, lack, _show(empty))
    return untrained, untested


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _show(names: Sequence[Any]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more


def draw_by_class(labels: NDArray[np.int64], fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draws held-out images by class: sorted indices of the kept and of the held-out images, the same for every call.

    Args:
        labels: Labels of all images.
        fraction: Share of the images that is held out.
        seed: Seed of the draw.

    Raises:
        ValueError: A class has only one image, or there are fewer kept or held-out images than classes.
    """
    # scikit-learn takes a second to import, and a data set with splits of its own never comes here
    from sklearn.model_selection import train_test_split

    kept, held = train_test_split(np.arange(len(labels)), test_size=fraction, stratify=labels, random_state=seed)
    return np.sort(kept), np.sort(held)


def explain_draw(labels: NDArray[np.int64], fraction: float, names: Sequence[str], key: str) -> InputError:
    """Makes the error for an impossible draw; it names the classes that are too small, or a fraction that works.

    Args:
        labels: Labels of all images that would be drawn from.
        fraction: The fraction that failed.
        names: Names of the classes.
        key: Configuration key of the fraction.
    """
    counts = np.bincount(labels, minlength=len(names))
    single = [names[int(number)] for number in np.flatnonzero(counts == 1)]
    start = f"{key}: cannot draw {fraction:.4g} of {len(labels)} images of train by class"
    if single:
        return InputError(
            f"{start}: a class needs 2 images, one to train on and one to hold out, and only one has {_show(single)}; "
            "add images to these classes or remove them"
        )
    classes = int((counts > 0).sum())
    # scikit-learn rounds the held-out share up, and needs at least as many images on either side as there are classes
    smallest = (10_000 * (classes - 1) // len(labels) + 1) / 10_000
    return InputError(
        f"{start}: {classes} classes need at least {classes} images; the smallest fraction that works is {smallest}"
    )
