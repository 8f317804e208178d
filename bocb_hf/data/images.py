"""Loads a data set, splits it, and decides in which form its images are held.

What a network is trained on depends on the configuration and on the images alone:

- without ``crop_scale``, every training image becomes a square of ``image_size`` through the transform of evaluation;
- with ``crop_scale`` and images of one size, it stays at that size, and the random resized crop is made in batches on
  the training device;
- with ``crop_scale`` and images of different sizes, or a stream, the crop is made by the processes that decode.

Images of evaluation go through the transform that config.json describes, at ``test_image_size`` and
``test_crop_ratio``.

Neither memory nor cores change any of that. ``runtime.memory_budget_gb`` decides only where the same pixels come from:
a split whose decoded bytes fit is decoded once into a memory-mapped file (``bocb_hf.data.cache``; below 4 MiB: into
memory, anew in every process), and a larger one is decoded while it is read, by ``runtime.workers`` processes. So is a
split whose crops are random, which has no decoded form. A log line for each split says which.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bocb_hf.data.decode import Centre, Native, RandomCrop, SizeRule
from bocb_hf.data.facts import Statistics, count_shared, find_one_size, find_statistics
from bocb_hf.data.groups import count_similar, draw_apart, explain_apart, find_groups
from bocb_hf.data.hold import Limits, describe_pixels, find_limits, hash_rows, hold_split, keep_decoded
from bocb_hf.data.labels import (
    TEST_SEED,
    VALIDATION_SEED,
    find_empty_classes,
    name_classes,
    read_labels,
)
from bocb_hf.data.load import OpenData, find_columns, find_evaluation_split, open_data
from bocb_hf.data.splits import Images, TestImages, TrainImages
from bocb_hf.data.stream import stream_split, stream_to_decode
from bocb_hf.errors import InputError
from bocb_hf.runs.config import AugmentationConfig, DataConfig
from bocb_hf.runs.identity import DataIdentity
from bocb_hf.runs.preprocessing import Preprocessing
from bocb_hf.runs.record import DataNotes, note_data
from bocb_hf.runs.runtime_config import RuntimeConfig

log = logging.getLogger(__name__)

DEFAULT_FRACTION = 0.1


@dataclass(frozen=True)
class ImageData:
    """The splits of a run.

    Attributes:
        identity: Identity of the data: everything that decides the pixels and the labels.
        class_names: Names of the classes, in the order of the labels.
        train: The images that the weights are fitted to.
        validation: The validation images; None when a final run trains on all of train.
        test: The images that a final run is scored on.
        notes: Facts that a reader of a score on these images must know; None where there is none.
    """

    identity: DataIdentity
    class_names: tuple[str, ...]
    train: TrainImages
    validation: TestImages | None
    test: TestImages
    notes: DataNotes | None = None


def load_images(
    config: DataConfig,
    trial: bool,
    augmentation: AugmentationConfig | None = None,
    runtime: RuntimeConfig | None = None,
    checkpoint: Preprocessing | None = None,
) -> ImageData:
    """Loads, checks, splits and, where they fit, decodes the images of a run.

    Args:
        config: The data configuration as the user wrote it.
        trial: Whether the run is a trial, for which a part of train is held out where there is no validation split.
        augmentation: Augmentation, which decides the form of the training images; None crops nothing.
        runtime: Runtime configuration: memory budget, workers and the folder of the cache.
        checkpoint: Preprocessing of a checkpoint: its mean and standard deviation replace those of the data, and its
            interpolation replaces bicubic. Random crops stay bicubic.

    Raises:
        InputError: The data set, a split or a column is missing; an image cannot be read; a label is out of range; a
            stream does not say what it must; the cache cannot be written.
    """
    data = open_data(config.name, config.revision, config.streaming)
    columns, test_name = find_columns(data, config), find_evaluation_split(data, config)
    limits = find_limits(runtime or RuntimeConfig())
    own_validation = "validation" in data.splits and test_name != "validation"
    if config.validation_fraction is not None and own_validation:
        raise InputError(
            f"data.validation_fraction: {config.name!r} has a validation split of its own, so that a "
            "fraction of train is of no use; leave it out"
        )
    augmentation = augmentation or AugmentationConfig()
    asked = _Asked(config, augmentation, trial, data, columns, test_name, own_validation, limits, checkpoint)
    return _load_stream(asked) if config.streaming else _load_tables(asked)


@dataclass(frozen=True)
class _Asked:
    """The data that are to be loaded, and the splits of the data set that they come from.

    Attributes:
        config: The data configuration as the user wrote it.
        augmentation: Augmentation, which decides the form of the training images.
        trial: Whether the run is a trial.
        data: The open data set.
        columns: Columns of the images and of the labels.
        test_name: The split that counts as test; None when it is drawn from train.
        own_validation: Whether the data set has a validation split that does not count as test.
        limits: Limits of this machine.
        checkpoint: Preprocessing of a checkpoint, which replaces the data's own mean and standard deviation, and
            bicubic; None keeps those.
    """

    config: DataConfig
    augmentation: AugmentationConfig
    trial: bool
    data: OpenData
    columns: tuple[str, str]
    test_name: str | None
    own_validation: bool
    limits: Limits
    checkpoint: Preprocessing | None

    def centre(self, size: int, crop_ratio: float = 1.0) -> Centre:
        """Makes the rule by which an image becomes a square, with the interpolation of the starting weights, if any."""
        return Centre(size, crop_ratio, self.checkpoint.interpolation if self.checkpoint else "bicubic")

    @property
    def evaluated(self) -> Centre:
        """The rule by which images of evaluation become pixels."""
        return self.centre(self.config.test_image_size or self.config.image_size, self.config.test_crop_ratio)

    @property
    def given_statistics(self) -> Statistics | None:
        """Mean and standard deviation of the checkpoint or of the data set's row, without looking at the images."""
        known = self.checkpoint or self.data.row
        return (known.mean, known.std) if known else None

    def hold(self, split: str, rule: SizeRule, rows: bytes | None = None) -> TestImages:
        """Holds a split or some of its rows, decoded if that fits."""
        return hold_split(self.data, split, self.columns, rule, rows, self.limits)

    def identify(
        self,
        classes: int,
        statistics: Statistics,
        fraction: float | None = None,
        indices_hash: str | None = None,
        test_hash: str | None = None,
        grouped: bool = False,
    ) -> DataIdentity:
        """Makes the identity of the data; it holds no path, and the revision of a folder is the hash of its content."""
        config = self.config
        drawn = f"test drawn from train ({config.test_fraction})"
        return DataIdentity(
            name=self.data.public_name,
            revision=self.data.revision,
            image_column=self.columns[0],
            label_column=self.columns[1],
            image_size=config.image_size,
            num_classes=classes,
            validation_fraction=fraction,
            validation_indices_sha256=indices_hash,
            test_fraction=config.test_fraction,
            test_indices_sha256=test_hash,
            duplicates="group" if grouped and (indices_hash or test_hash) else "ignore",
            evaluation_split=self.test_name or drawn,
            test_image_size=config.test_image_size,
            test_crop_ratio=config.test_crop_ratio,
            streaming=config.streaming,
            mean=statistics[0],
            std=statistics[1],
            normalization="data" if self.checkpoint is None else "checkpoint",
            interpolation=self.evaluated.interpolation,
        )


def _load_tables(asked: _Asked) -> ImageData:
    """Loads a data set whose images can be read by row."""
    config, data = asked.config, asked.data
    held_out = (*(("validation",) if asked.own_validation else ()), *((asked.test_name,) if asked.test_name else ()))
    labels = {split: read_labels(data, split, asked.columns[1]) for split in ("train", *held_out)}
    classes = name_classes(data, asked.columns[1], labels)
    shared = count_shared(data, asked.columns, ("train", *held_out), asked.limits) if asked.test_name else 0
    scan = find_groups(config.duplicates, data, asked.columns, ("train", *held_out), asked.limits)
    groups = None if scan is None else scan.groups_of("train")
    similar = 0 if scan is None else count_similar(scan, data, asked.test_name, shared)
    # ``tested`` are the rows of train that are drawn for the test, and ``rest`` are the other rows, which are trained
    # on
    tested, test_hash, rest = None, None, np.arange(len(labels["train"]))
    if config.test_fraction is not None:
        try:
            rest, tested = draw_apart(labels["train"], groups, config.test_fraction, TEST_SEED)
        except ValueError:
            key = "data.test_fraction"
            raise explain_apart(labels["train"], groups, config.test_fraction, classes, key) from None
        test_hash = hash_rows(tested)
    chosen = None if tested is None else rest.tobytes()
    rule, evaluated = _find_training_rule(asked), asked.evaluated
    train = asked.hold("train", rule, chosen)
    fraction, indices_hash, validation = None, None, None
    if asked.own_validation:
        validation = asked.hold("validation", evaluated)
    else:
        fraction = config.validation_fraction or DEFAULT_FRACTION
        theirs = None if groups is None else groups[rest]
        drawn = _draw_validation(labels["train"][rest], theirs, fraction, classes, asked.trial)
        if drawn is not None:
            kept, held = drawn
            indices_hash = hash_rows(rest[held])
            if asked.trial:
                same = rule == evaluated
                validation = train.take(held) if same else asked.hold("train", evaluated, rest[held].tobytes())
                train = train.take(kept)
    if asked.test_name is None:
        assert tested is not None
        test, test_labels = asked.hold("train", evaluated, tested.tobytes()), labels["train"][tested]
    else:
        test, test_labels = asked.hold(asked.test_name, evaluated), labels[asked.test_name]
    statistics = asked.given_statistics or find_statistics(data, asked.columns, config.image_size, asked.limits, chosen)
    identity = asked.identify(len(classes), statistics, fraction, indices_hash, test_hash, scan is not None)
    untrained, untested = find_empty_classes(data, classes, labels["train"][rest], test_labels)
    notes = note_data(untrained, untested, shared, similar, 0 if scan is None else scan.copies.images)
    return ImageData(identity, classes, train, validation, test, notes)


def _draw_validation(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64] | None,
    fraction: float,
    classes: tuple[str, ...],
    trial: bool,
) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """Positions of the kept and the held-out training images; None for a final run where no draw is possible.

    Raises:
        InputError: No validation images can be drawn, and the run is a trial, which needs them.
    """
    try:
        return draw_apart(labels, groups, fraction, VALIDATION_SEED)
    except ValueError:
        error = explain_apart(labels, groups, fraction, classes, "data.validation_fraction")
        if trial:
            raise error from None
        log.info("a final run needs no validation images, but tuning with these data would fail: %s", error)
        return None


def _load_stream(asked: _Asked) -> ImageData:
    """Loads a data set whose train split is read as a stream; the splits of evaluation are decoded once."""
    config, data, columns, limits = asked.config, asked.data, asked.columns, asked.limits
    if config.duplicates != "ignore":
        raise InputError(
            "data.duplicates: copies are found among images that can be read by row, and those of a stream are not "
            "known before it is read; leave the key out, or set data.streaming=false"
        )
    if config.test_fraction is not None:
        raise InputError(
            "data.test_fraction: it draws test images from train by their labels, and those of a stream are not known "
            "before it is read; set data.streaming=false"
        )
    assert asked.test_name is not None
    statistics = asked.given_statistics
    if statistics is None:
        raise InputError(
            f"data.streaming: mean and standard deviation of {config.name!r} are not known before it is read; add a "
            "row for it to bocb_hf.data.DATASETS, or load it without streaming"
        )
    why = "which are drawn from train by their labels, and those of a stream are not known before it is read"
    if config.validation_fraction is not None:
        raise InputError(
            f"data.validation_fraction: it asks for validation images, {why}; leave it out, or set data.streaming=false"
        )
    if asked.trial and not asked.own_validation:
        raise InputError(
            f"data.streaming: {config.name!r} has no validation split beside {asked.test_name!r}, which counts as "
            f"test, so that tuning needs validation images of its own, {why}; tune with data.streaming=false, and "
            "stream the final runs with the values that it finds"
        )
    classes = name_classes(data, columns[1], {})
    cropped = asked.augmentation.crop_scale is not None
    train = stream_split(
        data, "train", columns, _random_crop(asked) if cropped else asked.centre(config.image_size), len(classes)
    )
    log.info("train: a stream of %d images, read by %d worker(s)", len(train), limits.workers)

    def hold(split: str) -> Images:
        parameters = describe_pixels(data, split, columns, asked.evaluated)
        wanted = stream_to_decode(data, split, columns, asked.evaluated, len(classes), parameters, limits.workers)
        if wanted.size > limits.budget:
            raise InputError(
                f"runtime.memory_budget_gb: {split!r} takes {wanted.size / 1e9:.1f} GB decoded, and of a stream it has "
                "to be kept; raise the budget (it is a file, not memory) or load the data without streaming"
            )
        return keep_decoded(wanted, limits.folder)

    validation = hold("validation") if asked.own_validation else None
    test = hold(asked.test_name)
    return ImageData(asked.identify(len(classes), statistics), classes, train, validation, test)


def _find_training_rule(asked: _Asked) -> SizeRule:
    """The rule by which a training image becomes pixels before it is augmented."""
    if asked.augmentation.crop_scale is None:
        return asked.centre(asked.config.image_size)
    size = find_one_size(asked.data, asked.columns, asked.limits)
    return _random_crop(asked) if size is None else Native(*size)


def _random_crop(asked: _Asked) -> RandomCrop:
    scale = asked.augmentation.crop_scale
    assert scale is not None
    return RandomCrop(asked.config.image_size, scale, asked.augmentation.crop_aspect)
