"""Loads a data set through ``datasets`` and decodes it once into memory."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.model_selection import train_test_split
from timm.data.transforms_factory import transforms_imagenet_eval
from torch import Tensor

from bocb_hf.config import DataConfig
from bocb_hf.data import DATASETS, content_revision
from bocb_hf.data.splits import Images
from bocb_hf.errors import InputError
from bocb_hf.identity import DataIdentity

MEMORY_BUDGET = 8 * 2**30  # decoded bytes; what does not fit needs a streaming path, which is not there yet
DEFAULT_FRACTION = 0.1
_SPLIT_SEED = 0


@dataclass(frozen=True)
class ImageData:
    """The splits of a run. ``validation`` is None when a final run trains on all of train."""

    identity: DataIdentity
    class_names: tuple[str, ...]
    train: Images
    validation: Images | None
    test: Images


def load_images(config: DataConfig, trial: bool) -> ImageData:
    """Loads, checks, decodes and splits a data set.

    Args:
        config: The data as the user wrote it.
        trial: Whether the run tunes: then a data set without validation split gives up a part of train.

    Raises:
        InputError: The data set, a split or a column is missing; an image cannot be read; a label is out of range.
    """
    row = DATASETS.get(config.name) if config.name in DATASETS else None
    source = _load(config.name, config.revision)
    columns = _columns(source, config)
    test_name = config.evaluation_split
    for split in ("train", test_name):
        if split not in source.splits:
            key = "data.evaluation_split" if split == test_name else "data.name"
            have = ", ".join(source.splits)
            raise InputError(f"{key}: {config.name!r} has no split {split!r}; it has: {have}")
    decoded = {
        name: _decode(source, name, *columns, config.image_size)
        for name in ("train", "validation", test_name)
        if name in source.splits
    }
    classes = _class_names(source, columns[1], decoded)
    train, fraction, indices_hash = decoded["train"], None, None
    if "validation" in decoded and test_name != "validation":
        if config.validation_fraction is not None:
            raise InputError(
                f"data.validation_fraction: {config.name!r} has a validation split of its own, so that a "
                "fraction of train is of no use; leave it out"
            )
        validation = decoded["validation"]
    else:
        fraction = config.validation_fraction or DEFAULT_FRACTION
        kept, held = _draw_validation(train.labels.numpy(), fraction)
        indices_hash = hashlib.sha256(held.astype("<i8").tobytes()).hexdigest()
        validation = train.take(held) if trial else None
        train = train.take(kept) if trial else train
    mean, std = (row.mean, row.std) if row else _statistics(decoded["train"].pixels)
    identity = DataIdentity(
        # a path stays out of the record; the revision is the hash of the content
        name=_public_name(config.name),
        revision=source.revision,
        image_column=columns[0],
        label_column=columns[1],
        image_size=config.image_size,
        num_classes=len(classes),
        validation_fraction=fraction,
        validation_indices_sha256=indices_hash,
        evaluation_split=test_name,
        test_image_size=config.test_image_size,
        test_crop_ratio=config.test_crop_ratio,
        streaming=config.streaming,
        mean=mean,
        std=std,
    )
    return ImageData(identity, classes, train, validation, decoded[test_name])


def _public_name(name: str) -> str:
    """The name in records: of a folder only its last part, of what a name may hold."""
    if name in DATASETS or not Path(name).is_dir():
        return name
    return "local/" + (re.sub(r"[^A-Za-z0-9._-]+", "-", Path(name).resolve().name).strip("-.") or "data")


@dataclass(frozen=True)
class _Source:
    name: str
    revision: str
    splits: dict[str, Any]  # datasets.Dataset by split


@functools.lru_cache(maxsize=2)
def _load(name: str, revision: str | None) -> _Source:
    """Opens the data set as ``datasets`` sees it. Cached, so that a warm worker opens it once."""
    row = DATASETS.get(name) if name in DATASETS else None
    folder = row.embedded if row else Path(name)
    try:
        if folder is not None and folder.is_dir():
            found = content_revision(folder)
            if row and found != row.revision:
                raise InputError(f"data.name: the files in {folder} are not those of {name!r}; reinstall bocb-hf")
            if revision not in (None, found):
                raise InputError(f"data.revision: the content of {name!r} is {found}, not {revision}")
            return _Source(name, found, dict(datasets.load_dataset(str(folder))))  # type: ignore[arg-type]
        if row is None and not _looks_like_hub_id(name):
            known = ", ".join(DATASETS.names())
            raise InputError(f"data.name: {name!r} is no folder, no Hub id (owner/name) and none of: {known}")
        revision = revision or (row.revision if row else None)
        if revision is None:
            raise InputError(f"data.revision: give the commit sha of {name!r}; a moving branch is not a data set")
        hub_id = row.hub_id if row else name
        return _Source(name, revision, dict(datasets.load_dataset(hub_id, revision=revision)))  # type: ignore[arg-type]
    except InputError:
        raise
    except Exception as error:  # datasets raises its own, the Hub's, Arrow's and pandas' errors
        raise InputError(f"data.name: cannot load {name!r}: {type(error).__name__}: {error}") from error


def _looks_like_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def _columns(source: _Source, config: DataConfig) -> tuple[str, str]:
    """Names of the image and the label column, found by type unless they are given."""
    features = next(iter(source.splits.values())).features
    by_type = (
        ("image", config.image_column, [n for n, f in features.items() if isinstance(f, datasets.Image)]),
        ("label", config.label_column, [n for n, f in features.items() if isinstance(f, datasets.ClassLabel)]),
    )
    chosen: list[str] = []
    for kind, given, found in by_type:
        if given is not None and given not in features:
            raise InputError(f"data.{kind}_column: no column {given!r}; there are: {', '.join(features)}")
        if given is None and len(found) != 1:
            have = ", ".join(found) or "none"
            raise InputError(f"data.{kind}_column: name one; columns of that type: {have}; all: {', '.join(features)}")
        chosen.append(given if given is not None else found[0])
    return chosen[0], chosen[1]


@functools.lru_cache(maxsize=8)
def _decode_cached(name: str, revision: str, split: str, image_column: str, label_column: str, size: int) -> Images:
    source = _load(name, revision)
    table = source.splits[split].cast_column(image_column, datasets.Image(decode=True))
    if len(table) == 0:
        raise InputError(f"data.name: split {split!r} of {name!r} is empty")
    needed = len(table) * 3 * size * size
    if needed > MEMORY_BUDGET:
        raise InputError(
            f"data.image_size: split {split!r} of {name!r} needs {needed / 2**30:.0f} GiB decoded at {size} px, more "
            f"than the budget of {MEMORY_BUDGET / 2**30:.0f} GiB; choose a smaller image_size"
        )
    # the very transform that config.json describes to timm and transformers, up to where it leaves uint8
    resize = transforms_imagenet_eval(size, crop_pct=1.0, interpolation="bicubic").transforms[:-2]
    pixels = np.empty((len(table), 3, size, size), np.uint8)
    labels = np.asarray(table[label_column])
    for index in range(len(table)):
        try:
            image: Image.Image = table[index][image_column].convert("RGB")
            for step in resize:
                image = step(image)
            pixels[index] = np.asarray(image).transpose(2, 0, 1)
        except Exception as error:  # Pillow raises a different error for each kind of damage
            raise InputError(
                f"data.name: image {index} of split {split!r} of {name!r} cannot be read ({type(error).__name__}); "
                "repair or remove it"
            ) from error
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"data.label_column: {label_column!r} of split {split!r} does not hold integers")
    return Images(torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64)))


def _decode(source: _Source, split: str, image_column: str, label_column: str, size: int) -> Images:
    return _decode_cached(source.name, source.revision, split, image_column, label_column, size)


def _class_names(source: _Source, label_column: str, decoded: dict[str, Images]) -> tuple[str, ...]:
    """Names of the classes, after checking that every label has one."""
    feature = next(iter(source.splits.values())).features[label_column]
    if isinstance(feature, datasets.ClassLabel):
        names = tuple(feature.names)
    else:
        names = tuple(str(i) for i in range(int(decoded["train"].labels.max()) + 1))
    if len(names) < 2:
        raise InputError(f"data.label_column: {label_column!r} has {len(names)} class; a classifier needs at least 2")
    for split, images in decoded.items():
        bad = ((images.labels < 0) | (images.labels >= len(names))).nonzero().flatten()
        if len(bad):
            index = int(bad[0])
            raise InputError(
                f"data.label_column: label {int(images.labels[index])} of image {index} of split {split!r} is out of "
                f"range 0..{len(names) - 1}; correct it or name another column"
            )
    return names


def _draw_validation(labels: NDArray[np.int64], fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorted indices of the kept and of the held-out part of train: stratified and always the same."""
    try:
        kept, held = train_test_split(
            np.arange(len(labels)), test_size=fraction, stratify=labels, random_state=_SPLIT_SEED
        )
    except ValueError as error:
        raise InputError(f"data.validation_fraction: cannot draw {fraction:.0%} of train: {error}") from error
    return np.sort(kept), np.sort(held)


def _statistics(pixels: Tensor) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of each channel in 0..1, to four digits."""
    sums = pixels.sum(dim=(0, 2, 3), dtype=torch.float64) / 255
    squares = torch.stack([(p.double() / 255).square().sum(dim=(1, 2)) for p in pixels]).sum(dim=0)
    count = pixels[:, 0].numel()
    mean = sums / count
    std = (squares / count - mean.square()).clamp_min(1e-8).sqrt()
    m, s = ([round(float(v), 4) for v in values] for values in (mean, std))
    return (m[0], m[1], m[2]), (max(s[0], 1e-4), max(s[1], 1e-4), max(s[2], 1e-4))
