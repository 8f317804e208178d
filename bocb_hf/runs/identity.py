"""The identity of a run: the scientific fields that are hashed, with every default resolved.

Device, number of processes, paths and store are in neither the identity nor its hash.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal, NamedTuple, cast

from pydantic import Field, model_validator

from bocb_hf.errors import InputError
from bocb_hf.runs.config import AugmentationConfig, DuplicateRule
from bocb_hf.runs.preprocessing import Interpolation, Normalization
from bocb_hf.runs.pretraining import Pretraining
from bocb_hf.runs.tasks import CLASSIFICATION, TaskIdentity
from bocb_hf.runs.training_config import TrainingConfig
from bocb_hf.schema import (
    Arguments,
    DataRevision,
    Frozen,
    Name,
    Printable,
    Scalar,
    Sha256,
    Slug,
    canonical_json,
    later,
)

# The number of the random scheme rises when initialisation, data order or augmentation are drawn differently from
# before: runs of two schemes are not paired (see bocb_hf/data/sampling.py). Scheme 1 draws augmentation by sample and
# epoch, scheme 2 by place in the batch and step.
RANDOM_SCHEME = 2

# the fields of the data that say which images there are, and which of them train, validate and test
_SPLIT_FIELDS = (
    *("revision", "evaluation_split", "validation_fraction", "validation_indices_sha256"),
    *("test_fraction", "test_indices_sha256"),
)
# the fields of the backbone that differ between two seeds of one pre-training
_OF_ONE_PRETRAINING = frozenset(("pretrained", "pretrained_sha256", "pretraining"))


class BackboneIdentity(Frozen):
    """The network as it was built.

    Attributes:
        pretrained: Where the weights came from that it started from: a timm tag, a Hub id, or ``local``.
        pretrained_sha256: SHA-256 of these weights.
        pretraining: The run of this project that made these weights; None where they are random or of other origin.
    """

    name: Name
    architecture: Name
    args: Arguments
    pretrained: Annotated[Printable, Field(max_length=200)] | None
    pretrained_sha256: Sha256 | None
    pretraining: Pretraining | None = later(None)

    @model_validator(mode="after")
    def _hashed(self) -> BackboneIdentity:
        if (self.pretrained is None) != (self.pretrained_sha256 is None):
            raise ValueError("pretrained and pretrained_sha256 go together")
        if self.pretraining is not None and self.pretrained is None:
            raise ValueError("pretraining is that of starting weights, and this network had none")
        return self

    @property
    def start(self) -> str | None:
        """What the network started from, as cells and configurations tell it apart; None for random weights.

        It is the configuration hash of the pre-training where that is known, so that pre-training seeds share it, and
        else the SHA-256 of the weights.
        """
        return self.pretrained_sha256 if self.pretraining is None else self.pretraining.config_hash


class OptimizerIdentity(Frozen):
    """The optimizer with every hyper-parameter resolved."""

    name: Slug
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    hyperparameters: dict[str, Scalar]


class DataIdentity(Frozen):
    """The data with its revision, columns, splits and preprocessing.

    Attributes:
        image_size: Side of the input in pixels; the short side in detection, the height in pose estimation.
        num_classes: Number of classes; of keypoints in pose estimation.
        validation_fraction: Share of train that was drawn for validation; None when the data set has its own split.
        validation_indices_sha256: Hash of the drawn indices (little-endian int64), which pins the draw; None where a
            final run, which needs none, could not draw any.
        test_fraction: Share of train that was drawn as test split; None when the data set has one.
        test_indices_sha256: Hash of the indices that were drawn for the test split (little-endian int64).
        duplicates: Whether copies of an image were drawn together; ``ignore`` also where nothing was drawn.
        evaluation_split: The split that test metrics are read on.
        test_image_size: Side of the input in evaluation; ``image_size`` when None.
        test_crop_ratio: Side of the centre crop over the side that an image is resized to, in evaluation.
        streaming: Whether the order of an epoch came from shards and a shuffle buffer.
        mean: Mean of each channel that inputs are normalised with, in 0..1.
        std: Standard deviation of each channel that inputs are normalised with, in 0..1.
        normalization: Where mean, standard deviation and interpolation come from: the data, or the weights that the run
            started from.
        interpolation: How images are resized in evaluation, and in training where they are not cropped at random.
    """

    name: Name
    revision: DataRevision
    image_column: Annotated[Printable, Field(min_length=1, max_length=100)]
    label_column: Annotated[Printable, Field(min_length=1, max_length=100)]
    image_size: int = Field(ge=8, le=1024)
    num_classes: int = Field(ge=1, le=1_000_000)
    validation_fraction: float | None = Field(gt=0, lt=0.5)
    validation_indices_sha256: Sha256 | None
    test_fraction: float | None = later(None, gt=0, lt=0.5)
    test_indices_sha256: Sha256 | None = later(None)
    duplicates: DuplicateRule = later("ignore")
    evaluation_split: Annotated[Printable, Field(min_length=1, max_length=100)]
    test_image_size: int | None = later(None, ge=8, le=1024)
    test_crop_ratio: float = later(1.0, gt=0, le=1)
    streaming: bool = later(False)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    normalization: Normalization = later("data")
    interpolation: Interpolation = later("bicubic")

    @property
    def split_rule(self) -> str:
        """Says in words how the validation and test splits come about."""
        if self.streaming:
            rule = (
                "validation: the data set's own split, if it has one (a stream is not split); final runs train on train"
            )
        elif self.validation_fraction is None:
            rule = "validation: the data set's own split; final runs train on train"
        elif self.validation_indices_sha256 is None:
            rule = "validation: none, since train is too small for a draw; final runs train on all of train"
        else:
            rule = f"validation: a stratified {self.validation_fraction:.0%} of train; final runs train on all of train"
        if self.duplicates == "group":
            rule += "; copies of an image were drawn together"
        if self.test_fraction is not None:
            return (
                f"test: a stratified {100 * self.test_fraction:.4g}% of train, the same for every run (SHA-256 of its "
                f"row numbers: {self.test_indices_sha256}); train is the rest; {rule}"
            )
        if self.evaluation_split == "validation":
            return f"{rule}; the validation split of the data set counts as test"
        return rule

    @property
    def asked_evaluation_split(self) -> str:
        """Returns the value of ``data.evaluation_split`` with which a configuration leads to this identity again."""
        return self.evaluation_split if self.test_fraction is None else "test"

    @model_validator(mode="after")
    def _drawn(self) -> DataIdentity:
        if (self.test_fraction is None) != (self.test_indices_sha256 is None):
            raise ValueError("test_fraction and test_indices_sha256 go together")
        return self


class CellKey(NamedTuple):
    """The key of a cell, which all its runs share: four names, and the data and starting weights that these leave open.

    Two folders can have one name, and a pair of backbone and optimizer can start from random or from given weights.

    Attributes:
        data: Which images there are and how they are split, as ``field=value``.
        start: What the backbone started from (``BackboneIdentity.start``); None for random weights.
    """

    dataset: str
    setting: str
    backbone: str
    optimizer: str
    data: tuple[str, ...]
    start: str | None

    @property
    def names(self) -> tuple[str, str, str, str]:
        """(data set, setting, backbone, optimizer): what repositories are named after."""
        return self[:4]


class Identity(Frozen):
    """Everything that decides the result of a run, except the seed.

    In a cell whose weights this project pre-trained, a seed of the run stands for both draws: it belongs to one seed of
    the pre-training (``check_start``).
    """

    random_scheme: Literal[1, 2]
    setting: Slug
    backbone: BackboneIdentity
    optimizer: OptimizerIdentity
    training: TrainingConfig
    augmentation: AugmentationConfig
    data: DataIdentity
    task: TaskIdentity = later(TaskIdentity())

    @model_validator(mode="after")
    def _classes(self) -> Identity:
        if self.task.name == CLASSIFICATION and self.data.num_classes < 2:
            raise ValueError("data.num_classes: a classifier needs 2 classes or more")
        return self

    def config_hash(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the canonical JSON of ``configuration``."""
        return hashlib.sha256(canonical_json(self.configuration()).encode()).hexdigest()[:12]

    def configuration(self) -> dict[str, Any]:
        """All fields as plain data, as they are hashed (see ``schema.later``).

        Of weights that this project pre-trained, the configuration of the pre-training stands there, and neither its
        seed nor the weights: another pre-training seed is another draw, and no other configuration.
        """
        data = self.model_dump(mode="json")
        if self.backbone.pretraining is not None:
            kept = {key: value for key, value in data["backbone"].items() if key not in _OF_ONE_PRETRAINING}
            data["backbone"] = {**kept, "pretraining": self.backbone.pretraining.config_hash}
        return data

    def cell(self) -> CellKey:
        """The cell that the run belongs to; runs of two cells are never pooled and share no repository."""
        values = ((name, getattr(self.data, name)) for name in _SPLIT_FIELDS)
        rule = tuple(f"{name}={value}" for name, value in values if value is not None)
        if self.task.name != CLASSIFICATION:
            rule += (f"task={self.task.name}",)
        names = (self.data.name, self.setting, self.backbone.name, self.optimizer.name)
        return CellKey(*names, rule, self.backbone.start)


def check_start(seed: int, stored: Identity, new: Identity) -> None:
    """Refuses a second run of one configuration and seed that started from other weights.

    Args:
        seed: The seed of both runs.
        stored: Identity of the run that is there.
        new: Identity of the run that is to take its place, of the same configuration.

    Raises:
        InputError: Their weights are of two seeds of one pre-training, so the second needs a seed of its own.
    """
    one, other = stored.backbone, new.backbone
    if one.pretrained_sha256 == other.pretrained_sha256 or one.pretraining is None or other.pretraining is None:
        return
    raise InputError(
        f"seed {seed} of this cell started from pre-training seed {one.pretraining.seed} (weights "
        f"{str(one.pretrained_sha256)[:12]}), and not from pre-training seed {other.pretraining.seed} (weights "
        f"{str(other.pretrained_sha256)[:12]}); a seed belongs to one checkpoint, so choose a seed that no other "
        "checkpoint of this pre-training has, or pass runtime.supersede=true to replace the run"
    )


def differences(one: Identity, other: Identity) -> list[str]:
    """The fields that two identities do not share, as dotted keys with their section, sorted."""
    a, b = (flatten(identity.model_dump(mode="json")) for identity in (one, other))
    return sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))


def cell_differences(one: Identity, other: Identity) -> list[str]:
    """Returns those of ``differences`` that put two runs into different cells."""
    names = ("data.name", "setting", "backbone.name", "optimizer.name", "backbone.pretraining.config_hash")
    fields = {*names, *(f"data.{name}" for name in _SPLIT_FIELDS)}
    if one.backbone.pretraining is None or other.backbone.pretraining is None:
        fields.add("backbone.pretrained_sha256")
    return [key for key in differences(one, other) if key in fields]


def flatten(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested sections with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= (
            flatten(cast(dict[str, Any], value), f"{prefix}{key}.")
            if isinstance(value, dict)
            else {f"{prefix}{key}": value}
        )
    return flat
