"""The study's published tables as data. ``README.md`` beside this file states their source, licence and corrections."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bocb_hf.backbones import BACKBONES
from bocb_hf.coupling.scores import SIBLINGS, ScoreTable, make_scores
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS

SOURCE = "Li et al. 2024, arXiv 2410.06373"
REVISION = "arXiv 2410.06373"
TRIALS = 3  # runs that are averaged in each printed value

Published = Literal["cifar100", "imagenet1k", "coco_pose", "coco_detection"]
PUBLISHED: tuple[Published, ...] = ("cifar100", "imagenet1k", "coco_pose", "coco_detection")

_FOLDER = Path(__file__).resolve().parent
_NO_SEEDS = (
    "Each published value is the mean of 3 trials whose spread is not published: n = 1 here, so noise cannot be "
    "separated from interaction."
)
_CONFOUNDED = "A backbone comes with its own recipe and resolution: 'backbone' here means all of them."
_EPOCHS = "The pre-training optimizer is confounded with epochs (100: SGD, LARS, A3; 300: A2, Adan; 600: A1)."
_TUNED = "Tuning apparently read the test images; no hyper-parameter table was published."
# the short name of a backbone in the columns of the other tables, and the id of its row here
_TRANSFER = {"VGG": "vgg13_bn", "R-50": "resnet50", "Swin-T": "swin_tiny_patch4_window7_224", "CX-T": "convnext_tiny"}
_BACKBONES = {row.short: row.id for row in BACKBONES} | _TRANSFER
_OPTIMIZERS = {row.short: row.id for row in OPTIMIZERS}


@dataclass(frozen=True)
class PublishedSpread:
    """The figures that the study prints below a backbone's scores, in points and as printed."""

    mean: float
    std: float
    range: float


@dataclass(frozen=True)
class PublishedRank:
    """One optimizer's line of Table 4, as printed; rank 1 is best, and ``bocb`` is 0 or 1."""

    performance: int
    hp_robustness: int
    bocb: int
    computation: int
    overall: int


def published(name: Published = "cifar100") -> ScoreTable:
    """One published table; backbones and optimizers carry their ids here.

    In ``imagenet1k`` and the two of COCO a column is a backbone with its setting or its pre-training optimizer, and
    its id is written like ``resnet50 (A3)``.

    Raises:
        InputError: There is no such table.
    """
    if name == "cifar100":
        return _table("cifar100_top1.csv", "", name, "the study's four", "top-1", 10_000, 100, (_CONFOUNDED,))
    if name == "imagenet1k":
        return _table("imagenet1k_top1.csv", "", name, "DeiT and RSB A2", "top-1", 50_000, 1000, (_CONFOUNDED,))
    if name == "coco_pose":
        return _table("coco_transfer.csv", "pose/", name, "SimpleBaseline", "AP50", None, None, (_EPOCHS,))
    if name == "coco_detection":
        return _table("coco_transfer.csv", "det/", name, "RetinaNet", "mAP", None, None, (_EPOCHS,))
    raise InputError(f"source: there is no published table {name!r}; choose one of {', '.join(PUBLISHED)}")


def published_spreads() -> Mapping[str, PublishedSpread]:
    """The printed mean, standard deviation and range of each backbone on CIFAR-100, by backbone id."""
    return {
        _BACKBONES[line["backbone"]]: PublishedSpread(
            float(line["published_mean"]), float(line["published_std"]), float(line["published_range"])
        )
        for line in _read("cifar100_published_stats.csv")
    }


def published_ranking() -> Mapping[str, PublishedRank]:
    """Table 4 by optimizer id, in the order of the study's categories."""
    return {
        _OPTIMIZERS[line.pop("optimizer")]: PublishedRank(**{key: int(value) for key, value in line.items()})
        for line in _read("optimizer_ranking.csv")
    }


def _read(name: str) -> list[dict[str, str]]:
    with (_FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _table(
    file: str,
    prefix: str,
    dataset: str,
    setting: str,
    metric: str,
    n_test: int | None,
    classes: int | None,
    notes: tuple[str, ...],
) -> ScoreTable:
    """Returns the columns of a file that begin with a prefix."""
    lines = _read(file)
    columns = [key for key in lines[0] if key != "optimizer" and key.startswith(prefix)]
    plain = [column.removeprefix(prefix) for column in columns]
    rows = [BACKBONES.get(_BACKBONES[label.partition(" (")[0]]) for label in plain]
    return make_scores(
        [[float(line[column]) for line in lines] for column in columns],
        [row.id + label[len(label.partition(" (")[0]) :] for row, label in zip(rows, plain, strict=True)],
        [_OPTIMIZERS[line["optimizer"]] for line in lines],
        unit="percent",
        source=SOURCE,
        dataset=dataset,
        setting=setting,
        revision=REVISION,
        metric=metric,
        families=[row.family for row in rows],
        clusters=[SIBLINGS.get(row.id, row.id) for row in rows],
        n_test=n_test,
        num_classes=classes,
        trials_per_value=TRIALS,
        notes=(_NO_SEEDS, *notes, _TUNED),
    )
