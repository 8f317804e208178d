"""Opens COCO-format data: a folder with ``annotations.json`` in each split, or a data set of the Hub.

A folder has the splits ``train``, ``test`` and, if there is one, ``validation``, each with its images and an
``annotations.json`` in COCO's format; or it is that of COCO as it is downloaded, with ``annotations``, ``train2017``
and ``val2017``. A data set of the Hub is read through ``datasets``; it has a column of images and
a column ``objects`` with the lists ``bbox`` and ``category``, and perhaps ``area`` and ``iscrowd``, of each image.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bocb_hf.data import content_revision
from bocb_hf.data.hold import hash_rows
from bocb_hf.data.load import OpenData, open_data, public_name
from bocb_hf.errors import InputError
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.identity import DataIdentity
from bocb_hf.runs.preprocessing import Preprocessing
from bocb_hf.runs.record import DataNotes
from bocb_hf.tasks.annotations import CocoSplit, decode_upright
from bocb_hf.tasks.coco import read_coco, read_file, read_folder

log = logging.getLogger(__name__)

DEFAULT_FRACTION = 0.1
_DRAW_SEED = 20_241_009  # of the validation images, the same for every run
_MEASURED = 200  # images whose mean and standard deviation stand for those of train


@dataclass(frozen=True)
class CocoData:
    """The splits of a run with the facts that its identity needs.

    Attributes:
        name: Public name of the data.
        revision: Commit on the Hub, or hash of the content.
        evaluation_split: Name of the split that counts as test.
        everything: All images of train, over which mean and standard deviation are taken, so that a trial and a final
            run have the same.
        train: What is trained on.
        validation: What tuning reads; None where a final run trains on all of train.
        test: What a final run is scored on.
        fraction: Share of train that was drawn for validation; None where there is such a split.
        indices_sha256: Hash of the images that were drawn.
        label_column: Where the labels were found.
    """

    name: str
    revision: str
    evaluation_split: str
    everything: CocoSplit
    train: CocoSplit
    validation: CocoSplit | None
    test: CocoSplit
    fraction: float | None
    indices_sha256: str | None
    label_column: str

    def identify(
        self, config: RunConfig, classes: int, checkpoint: Preprocessing | None, measured: Preprocessing
    ) -> DataIdentity:
        """The identity of the data.

        Args:
            config: Configuration of the run.
            classes: Number of outputs that the task has: categories, or keypoints.
            checkpoint: Preprocessing of the starting weights, or None.
            measured: Preprocessing by the data themselves.
        """
        used = checkpoint or measured
        return DataIdentity(
            name=self.name,
            revision=self.revision,
            image_column="image",
            label_column=self.label_column,
            image_size=config.data.image_size,
            num_classes=classes,
            validation_fraction=self.fraction,
            validation_indices_sha256=self.indices_sha256,
            evaluation_split=self.evaluation_split,
            mean=used.mean,
            std=used.std,
            normalization="data" if checkpoint is None else "checkpoint",
            interpolation="bilinear",
        )

    def notes(self) -> DataNotes | None:
        """How many annotations were mended or dropped; None where none was."""
        reports = {id(s.report): s.report for s in (self.train, self.validation, self.test) if s is not None}
        mended = sum(len(report.mended) for report in reports.values())
        dropped = sum(len(report.dropped) for report in reports.values())
        if not mended and not dropped:
            return None
        return DataNotes(mended_annotations=mended, dropped_annotations=dropped)


def load_coco(config: RunConfig, box_format: str = "xywh") -> CocoData:
    """Opens the splits of a run.

    A trial without a validation split draws a part of the training images, the same for every run.

    Args:
        config: Configuration of the run.
        box_format: What the numbers of a box mean in a data set of the Hub.

    Raises:
        InputError: A split is missing, or its annotations are refused (``bocb_hf.tasks.coco``).
    """
    asked, folder = config.data, Path(config.data.name)
    downloaded = _downloaded(folder, config.task.name)
    if downloaded:
        files = [path.relative_to(folder) for pair in downloaded.values() for path in _files_of(*pair)]
        revision = content_revision(folder, files)
        if asked.revision not in (None, revision):
            raise InputError(f"data.revision: the content of {asked.name!r} is {revision}, not {asked.revision}")
        splits: Mapping[str, Any] = downloaded
        read: Any = _read_downloaded
        column = "annotations"
    elif folder.is_dir() and any(folder.glob("*/annotations.json")):
        revision = content_revision(folder)
        if asked.revision not in (None, revision):
            raise InputError(f"data.revision: the content of {asked.name!r} is {revision}, not {asked.revision}")
        splits = {path.parent.name: path.parent for path in folder.glob("*/annotations.json")}
        read = read_folder
        column = "annotations.json"
    elif folder.is_dir() and not any(folder.rglob("*.parquet")):
        raise InputError(
            f"data.name: {folder} holds no <split>/annotations.json; put the images and annotations of each split "
            "into train/ and test/ (and validation/)"
        )
    else:
        opened = open_data(asked.name, asked.revision, False)
        revision, splits = opened.revision, dict.fromkeys(opened.splits)
        column = "objects"

        def read_split(name: str) -> CocoSplit:
            return read_table(opened, name, box_format)

        read, splits = read_split, {name: name for name in splits}
    test_name = _find_test(asked.name, asked.evaluation_split, tuple(splits))
    own = "validation" in splits and test_name != "validation"
    if asked.validation_fraction is not None and own:
        raise InputError(
            f"data.validation_fraction: {asked.name!r} has a validation split of its own, so that a fraction of train "
            "is of no use; leave it out"
        )
    everything, test = read(splits["train"]), read(splits[test_name])
    train = everything
    validation, fraction, drawn_hash = None, None, None
    if own:
        validation = read(splits["validation"])
    else:
        fraction = asked.validation_fraction or DEFAULT_FRACTION
        kept, held = _draw(len(train), fraction)
        if len(held) and len(kept):
            drawn_hash = hash_rows(held)
        if config.role == "trial":
            if drawn_hash is None:
                raise InputError(
                    f"data.validation_fraction: {len(train)} training image(s) are too few to draw {fraction:g} of "
                    "them for validation; give more images or a split validation"
                )
            train, validation = train.take(kept.tolist()), train.take(held.tolist())
    names = [c.name for c in train.categories]
    for split, what in ((validation, "validation"), (test, test_name)):
        if split is not None and [c.name for c in split.categories] != names:
            raise InputError(f"data.name: the categories of {what} are not those of train; list the same in each split")
    return CocoData(
        public_name(asked.name), revision, test_name, everything, train, validation, test, fraction, drawn_hash, column
    )


def _downloaded(folder: Path, task: str) -> dict[str, tuple[Path, Path]]:
    """Annotations and folder of the images of each split, where the folder is COCO's as it is downloaded."""
    found: dict[str, tuple[Path, Path]] = {}
    kind = "person_keypoints" if task == "pose" else "instances"
    for split, short in (("train", "train"), ("validation", "val"), ("test", "test")):
        for path in sorted((folder / "annotations").glob(f"{kind}_{short}*.json")):
            images = folder / path.stem.removeprefix(f"{kind}_")
            if images.is_dir():
                found[split] = (path, images)
    return found if "train" in found else {}


def _files_of(annotations: Path, images: Path) -> list[Path]:
    return [annotations, *(path for path in images.iterdir() if path.is_file())]


def _read_downloaded(pair: tuple[Path, Path]) -> CocoSplit:
    return read_file(*pair)


def _find_test(name: str, asked: str, splits: Sequence[str]) -> str:
    have = ", ".join(sorted(splits)) or "none"
    if "train" not in splits:
        raise InputError(f"data.name: {name!r} has no split 'train'; it has: {have}")
    if asked == "train" or asked not in splits:
        why = "holds the training images" if asked == "train" else "is not there"
        raise InputError(
            f"data.evaluation_split: the split {asked!r} of {name!r} {why}; it has: {have}; name one that is not "
            "trained on"
        )
    return asked


def _draw(count: int, fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the kept and of the held-out images, each in rising order."""
    order = np.random.default_rng(_DRAW_SEED).permutation(count)
    held = max(1, round(fraction * count)) if count > 1 else 0
    return np.sort(order[held:]).astype(np.int64), np.sort(order[:held]).astype(np.int64)


def read_table(data: OpenData, split: str, box_format: str) -> CocoSplit:
    """Reads a split of a data set of the Hub, by the rules of ``bocb_hf.tasks.coco``.

    Raises:
        InputError: A column is missing, or the annotations are refused.
    """
    features, table = data.features, data.splits[split]
    images = [
        name for name, feature in features.items() if isinstance(feature, dict) and feature.get("_type") == "Image"
    ]
    if len(images) != 1 or "objects" not in features:
        raise InputError(
            f"data.name: {data.name!r} has the columns {', '.join(features)}; detection needs one column of images and "
            "a column objects with the lists bbox and category"
        )
    described: Any = features["objects"]
    described = described.get("feature", described) if isinstance(described, dict) else described[0]
    names = _category_names(described)
    objects = table.values("objects").to_pylist()
    ids = table.values("image_id").to_pylist() if "image_id" in features else list(range(len(objects)))
    column = table.images(images[0])
    rows = [{"id": i, "encoded": _Stored(column, k)} for k, i in enumerate(ids)]
    annotations: list[dict[str, Any]] = []
    for image_id, row in zip(ids, objects, strict=True):
        for one in _objects(row):
            box = list(one.get("bbox") or [])
            if box_format == "xyxy" and len(box) == 4:
                box = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            kept = {key: one[key] for key in ("area", "iscrowd") if key in one}
            annotations.append({"image_id": image_id, "bbox": box, "category_id": one.get("category")} | kept)
    count = len(names) or 1 + max((int(a["category_id"]) for a in annotations), default=0)
    categories = [{"id": k, "name": names[k] if names else str(k)} for k in range(count)]
    document = {"images": rows, "annotations": annotations, "categories": categories}
    return read_coco(document, f"{data.name}, split {split}", lambda name: {"path": name, "bytes": None})


class _Stored(Mapping[str, Any]):
    """An encoded image that stays in its table until it is asked for, since a split may be larger than the memory."""

    def __init__(self, column: Any, row: int) -> None:
        self._column, self._row = column, row

    def __getitem__(self, key: str) -> Any:
        return self._column[[self._row]][0][key]

    def __iter__(self) -> Iterator[str]:
        return iter(("bytes", "path"))

    def __len__(self) -> int:
        return 2


def _objects(row: Any) -> list[dict[str, Any]]:
    """The objects of an image, which ``datasets`` keeps as a list of structs or as a struct of lists."""
    if isinstance(row, list):
        return [dict(item) for item in row]
    keys = [key for key in (row or {}) if isinstance(row[key], list)]
    return [dict(zip(keys, values, strict=True)) for values in zip(*(row[key] for key in keys), strict=True)]


def _category_names(described: Any) -> list[str]:
    category = described.get("category") if isinstance(described, dict) else None
    for feature in (category, category.get("feature") if isinstance(category, dict) else None):
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            return list(feature["names"])
    return []


def measure(split: CocoSplit) -> Preprocessing:
    """Mean and standard deviation of the channels over the first images of a split, rounded to 4 decimals."""
    sums, squares, count = np.zeros(3), np.zeros(3), 0
    for photograph in split.photographs[:_MEASURED]:
        pixels = np.asarray(decode_upright(photograph, split.report.where), np.float64).reshape(-1, 3) / 255
        sums, squares, count = sums + pixels.sum(0), squares + (pixels**2).sum(0), count + len(pixels)
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    means, stds = ([round(float(v), 4) for v in values] for values in (mean, np.maximum(std, 1e-3)))
    return Preprocessing((means[0], means[1], means[2]), (stds[0], stds[1], stds[2]), "bilinear")


def channel_tensor(values: Sequence[float], device: torch.device | str) -> torch.Tensor:
    """Mean or standard deviation as a tensor (3, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32, device=device).view(3, 1, 1)
