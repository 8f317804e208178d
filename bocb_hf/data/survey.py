"""Surveys a data set before any run: what it holds, how it is split, and which of its images are copies of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bocb_hf.data.facts import count_shared
from bocb_hf.data.groups import draw_apart, explain_apart
from bocb_hf.data.hold import find_limits
from bocb_hf.data.images import DEFAULT_FRACTION
from bocb_hf.data.labels import TEST_SEED, VALIDATION_SEED, find_empty_classes, name_classes, read_labels
from bocb_hf.data.load import OpenData, find_columns, find_evaluation_split, find_row, looks_like_hub_id, open_data
from bocb_hf.data.scan import Scan, name_image, scan_images
from bocb_hf.errors import InputError
from bocb_hf.runs.config import DataConfig
from bocb_hf.runs.facts import DataFacts, DuplicateFacts
from bocb_hf.runs.load_config import write_override
from bocb_hf.runs.runtime_config import RuntimeConfig

TEST_FRACTION = 0.2
_EXAMPLES = 5  # pairs of copies that are named


def survey(
    name: str,
    *,
    revision: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    test_fraction: float | None = None,
    validation_fraction: float | None = None,
    evaluation_split: str | None = None,
    runtime: RuntimeConfig | None = None,
) -> DataFacts:
    """Surveys a data set, for which every image is looked at once.

    Splits that the data set lacks are drawn from train by class, so that copies of an image stay on one side: a test
    split first, then validation images of the rest.

    Args:
        name: A folder of class folders or of Parquet files, an id on the Hub, or a row.
        revision: Commit of an id on the Hub; None looks up the newest.
        image_column: Column of the images; found by its type when None.
        label_column: Column of the labels; found by its type when None.
        test_fraction: Share of train that is drawn as test split where there is none; None takes 0.2.
        validation_fraction: Share of what is left that tuning reads where there is no validation split; None takes 0.1.
        evaluation_split: Split that counts as test; None takes ``test`` or that of the row, or draws one.
        runtime: Runtime configuration: workers and the folder of the cache.

    Raises:
        InputError: The data cannot be read, or cannot be split.
    """
    on_hub = find_row(name) is None and looks_like_hub_id(name) and not Path(name).is_dir()
    revision = find_revision(name) if on_hub and revision is None else revision
    data = open_data(name, revision, False)
    config = DataConfig(
        name=name,
        revision=revision,
        image_size=32,  # of no matter here
        image_column=image_column,
        label_column=label_column,
        test_fraction=_fraction_to_draw(data, test_fraction, evaluation_split),
        validation_fraction=validation_fraction,
        evaluation_split=evaluation_split or "test",
    )
    columns, test_name = find_columns(data, config), find_evaluation_split(data, config)
    own_validation = "validation" in data.splits and test_name != "validation"
    if own_validation and validation_fraction is not None:
        raise InputError(f"data.validation_fraction: {name!r} has a validation split of its own; leave the key out")
    limits = find_limits(runtime or RuntimeConfig())
    held_out = (*(("validation",) if own_validation else ()), *((test_name,) if test_name else ()))
    labels = {split: read_labels(data, split, columns[1]) for split in ("train", *held_out)}
    classes = name_classes(data, columns[1], labels)
    scan = scan_images(data, columns, ("train", *held_out), limits)
    if test_name is not None:
        count_shared(data, columns, ("train", *held_out), limits)  # refuses splits that hold the same images
    groups, rows = scan.groups_of("train"), np.arange(len(labels["train"]))
    test = labels[test_name] if test_name is not None else np.empty(0, np.int64)
    if config.test_fraction is not None:
        rows, tested = _draw(labels["train"], groups, config.test_fraction, TEST_SEED, classes, "data.test_fraction")
        test = labels["train"][tested]
    validation = len(labels["validation"]) if own_validation else 0
    if not own_validation:
        fraction, key = validation_fraction or DEFAULT_FRACTION, "data.validation_fraction"
        _, held = _draw(labels["train"][rows], groups[rows], fraction, VALIDATION_SEED, classes, key)
        validation = len(held)
    find_empty_classes(data, classes, labels["train"][rows], test)
    return DataFacts(
        name=name,
        revision=data.revision,
        classes=classes,
        counts=tuple(int(n) for n in np.bincount(labels["train"][rows], minlength=len(classes))),
        train=len(rows) - (0 if own_validation else validation),
        validation=validation,
        test=len(test),
        given=("train", *(("validation",) if own_validation else ()), *(("test",) if test_name else ())),
        height=scan.height,
        width=scan.width,
        one_size=scan.one_size,
        grey=scan.grey,
        duplicates=_describe_copies(data, columns[0], scan, labels, test_name),
        overrides=_overrides(config, on_hub),
    )


def find_revision(name: str) -> str:
    """Looks up the newest commit of a data set on the Hub.

    Raises:
        InputError: The Hub cannot be asked, or does not know the data set.
    """
    from huggingface_hub import HfApi

    try:
        found = HfApi().dataset_info(name, timeout=10).sha
    except Exception as error:  # the Hub's, the network's and the client's own errors
        raise InputError(
            f"data.name: {name!r} is no folder here, and the Hub cannot be asked for the newest commit of a data set "
            f"of that id ({type(error).__name__}); check the name and the network, or give data.revision of a data set "
            "that was loaded before"
        ) from error
    if found is None:
        raise InputError(f"data.revision: the Hub does not say the newest commit of {name!r}; give one")
    return found


def _fraction_to_draw(data: OpenData, asked: float | None, evaluation_split: str | None) -> float | None:
    """The share of train to draw as test split; None where the data set has one, or one was named."""
    known = data.row.evaluation_split if data.row is not None else "test"
    if asked is None and (evaluation_split is not None or known in data.splits):
        return None
    return TEST_FRACTION if asked is None else asked


def _draw(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    fraction: float,
    seed: int,
    classes: tuple[str, ...],
    key: str,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    try:
        return draw_apart(labels, groups, fraction, seed)
    except ValueError:
        raise explain_apart(labels, groups, fraction, classes, key) from None


def _describe_copies(
    data: OpenData, column: str, scan: Scan, labels: dict[str, NDArray[np.int64]], test_name: str | None
) -> DuplicateFacts:
    copies = scan.copies
    theirs, groups = np.concatenate([labels[split] for split in scan.splits]), copies.groups
    odd = np.flatnonzero(theirs != theirs[groups])  # another label than the first image of the group
    _, places = np.unique(groups[odd], return_index=True)
    across = 0
    if test_name is not None:
        across = int(np.isin(scan.groups_of(test_name), scan.groups_of("train")).sum())

    def name(row: int) -> str:
        return name_image(data, column, *scan.locate(row))

    later = np.flatnonzero(groups != np.arange(len(groups)))
    _, firsts = np.unique(groups[later], return_index=True)
    return DuplicateFacts(
        images=len(groups),
        exact=copies.exact,
        encoded=copies.encoded,
        mirrored=copies.mirrored,
        groups=len(firsts),
        conflicting=len(places),
        across=across,
        examples=tuple((name(int(groups[row])), name(int(row))) for row in later[firsts[:_EXAMPLES]]),
        conflicts=tuple((name(int(groups[row])), name(int(row))) for row in odd[places[:_EXAMPLES]]),
    )


def _overrides(config: DataConfig, on_hub: bool) -> tuple[str, ...]:
    """What a configuration must say to use the data as it was surveyed."""
    given: dict[str, object] = {"name": config.name, "revision": config.revision if on_hub else None}
    given |= {"image_column": config.image_column, "label_column": config.label_column}
    given |= {"test_fraction": config.test_fraction, "validation_fraction": config.validation_fraction}
    given |= {"evaluation_split": None if config.evaluation_split == "test" else config.evaluation_split}
    kept = [write_override(f"data.{key}", value) for key, value in given.items() if value is not None]
    return (*kept, "data.duplicates=group")
