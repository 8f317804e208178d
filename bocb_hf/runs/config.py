"""The configuration of one run as a user writes it, from which its identity follows (``bocb_hf.runs.identity``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationInfo, field_validator, model_validator

from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.resolve import resolve_hyperparameters
from bocb_hf.optim.row import Grid
from bocb_hf.runs.preprocessing import Normalization
from bocb_hf.runs.runtime_config import RuntimeConfig
from bocb_hf.runs.tasks import TASKS, TaskConfig, unusable_keys
from bocb_hf.runs.training_config import TrainingSection
from bocb_hf.runs.tuned import Tuned
from bocb_hf.schema import Arguments, Frozen, Name, Role, Scalar, Seed, Slug, later

# Arguments of timm.create_model that would load weights past our checks, or that another field sets here.
RESERVED_ARGS = frozenset(
    (
        *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "scriptable"),
        *("exportable", "no_jit", "device", "dtype", "num_classes", "in_chans", "drop_path_rate"),
    )
)


def _explain_reserved(name: str) -> str:
    """Says why an argument cannot be given, and what to do instead."""
    homes = {
        "num_classes": "the number of classes is that of the data",
        "in_chans": "images are read as RGB, a grey one with three equal channels, so that every network takes 3",
        "drop_path_rate": "set training.drop_path",
        "device": "the device is accelerate's",
        "dtype": "set training.precision",
    }
    given = "weights come from backbone.pretrained, which checks and hashes them"
    if name in ("scriptable", "exportable", "no_jit"):
        given = "networks are built in the form that is trained"
    return f"{name} cannot be given here: {homes.get(name, given)}; leave it out."


class BackboneConfig(Frozen):
    """The network of a run, and the weights that it starts from.

    Attributes:
        name: A row of ``bocb list backbones``, any timm model name, ``hf-hub:<org>/<name>`` (the timm model that its
            config.json describes), ``transformers:<org>/<name>`` or ``transformers:<folder>`` (an image classifier of
            transformers). Weights come from ``pretrained`` only.
        args: Extra arguments of the model, which replace those of the row or of the model's own configuration.
        pretrained: Weights to start from: None (from scratch), a timm tag (``a1_in1k``), a Hub id (``org/name``, or
            ``org/name/seeds/<n>`` for one seed of a repository of this project) or a local directory. Of weights that a
            run of this project made, the record names that run.
    """

    name: Name
    args: Arguments = Field(default_factory=dict)
    pretrained: str | None = None

    @field_validator("args")
    @classmethod
    def _plain(cls, args: dict[str, Any]) -> dict[str, Any]:
        reserved = sorted(RESERVED_ARGS & args.keys())
        if reserved:
            raise ValueError(" ".join(_explain_reserved(name) for name in reserved))
        return args

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        context = cast(Mapping[str, Callable[[str], None]] | None, info.context)
        if context is not None and "check_backbone" in context:
            context["check_backbone"](name)
        return name


class OptimizerConfig(Frozen):
    """The optimizer of a run; learning rate and weight decay default to the centre of the row's grid.

    Attributes:
        name: A row of ``bocb list optimizers``.
        lr: Learning rate after warm-up; None takes that of the centre, scaled to the batch size by the row's rule.
        weight_decay: Weight decay; None takes that of the centre.
        hyperparameters: Hyper-parameters that replace the row's defaults.
        grid: The grid whose centres are taken: ``ours`` lets weight decay act alike for all optimizers, ``released`` is
            that of the study's code, in which many optimizers have no weight decay. The record keeps it, but the hash
            is of the values alone.
    """

    name: str
    lr: float | None = Field(default=None, gt=0)
    weight_decay: float | None = Field(default=None, ge=0)
    hyperparameters: dict[str, Scalar] = Field(default_factory=dict)
    grid: Grid = later("ours")

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        OPTIMIZERS.get(name)
        return name

    @field_validator("hyperparameters")
    @classmethod
    def _usable(cls, given: dict[str, Scalar], info: ValidationInfo) -> dict[str, Scalar]:
        name = info.data.get("name")
        if isinstance(name, str):
            resolve_hyperparameters(OPTIMIZERS.get(name), given)
        return given


DuplicateRule = Literal["ignore", "group"]


class DataConfig(Frozen):
    """The images of a run.

    Attributes:
        name: The data set: a row of ``bocb list datasets``, a Hub id, or a local folder (Parquet, or class folders of
            images).
        revision: Commit sha of a Hub id, where a row does not pin it. For a folder or a row it may be given, and must
            be that of the content.
        image_size: Side of the square that the network is trained on, in pixels.
        test_image_size: Side of the square that the network is evaluated on, in pixels; ``image_size`` when None.
        test_crop_ratio: Side of the centre crop over the side that an image is resized to, for evaluation.
        streaming: Whether images are read from the Hub while training, in the order of the shards with a shuffle
            buffer, for data that fit neither memory nor disk. A run that is interrupted then replays its epoch.
        validation_fraction: Share of train that tuning reads, for a data set without a validation split (then 0.1
            unless given); an error for any other.
        test_fraction: Share of train that is drawn as test split, by class and the same for every run, for a data set
            without one; the rest is trained on. An error for a data set with a test split.
        duplicates: ``group`` draws copies of an image together, exact or encoded anew, so that they never lie on both
            sides of a draw (see ``bocb_hf.data.duplicates``); ``ignore`` draws each image by itself.
        image_column: Column of the images; found by its type when None.
        label_column: Column of the labels; found by its type when None.
        evaluation_split: Split that is read as test when it is not called ``test`` (ImageNet: ``validation``).
        normalization: Source of mean, standard deviation and interpolation of the inputs: ``checkpoint``, those that
            the weights of ``backbone.pretrained`` were trained with, or ``data``. None takes the checkpoint's where
            there is one.
    """

    name: str = Field(min_length=1, max_length=500)
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")] | None = None
    image_size: int = Field(ge=8, le=1024)
    test_image_size: int | None = Field(default=None, ge=8, le=1024)
    test_crop_ratio: float = Field(default=1.0, gt=0, le=1)
    streaming: bool = False
    validation_fraction: float | None = Field(default=None, gt=0, lt=0.5)
    test_fraction: float | None = later(None, gt=0, lt=0.5)
    duplicates: DuplicateRule = later("ignore")
    image_column: str | None = None
    label_column: str | None = None
    evaluation_split: str = "test"
    normalization: Normalization | None = None


class AugmentationConfig(Frozen):
    """Augmentation of the training images, in the order in which it is applied.

    Attributes:
        repeats: Copies of an image in the order of an epoch, each augmented anew, while the length of the epoch stays
            (repeated augmentation, Hoffer et al. 2020); 1 is none.
        crop_scale: Share of the area that a random resized crop takes, smallest and largest; None crops otherwise.
        crop_aspect: Width over height of the random resized crop, smallest and largest.
        crop_padding: Pixels of padding on each side before a random crop of the image's size.
        crop_padding_mode: Kind of the padding before a random crop: what its pixels hold.
        horizontal_flip: Whether half of the images are mirrored, drawn at random.
        randaugment_magnitude: Magnitude of RandAugment's two operations an image, 0 to 10 (Cubuk et al. 2020; timm's
            increasing set of 15 operations, each applied with probability 0.5); None applies none.
        randaugment_std: Standard deviation of the normal noise on RandAugment's magnitude.
        random_erasing: Probability that a rectangle of an image becomes noise (Zhong et al. 2020).
        mixup_alpha: Parameter of the beta distribution of mixup's share (Zhang et al. 2018); 0 is none.
        cutmix_alpha: Parameter of the beta distribution of cutmix's area (Yun et al. 2019); 0 is none. With both mixup
            and cutmix, each batch takes one or the other with equal probability.
    """

    repeats: int = later(1, ge=1, le=10)
    crop_scale: tuple[float, float] | None = later(None)
    crop_aspect: tuple[float, float] = later((0.75, 4 / 3))
    crop_padding: int = Field(default=0, ge=0, le=64)
    crop_padding_mode: Literal["zeros", "reflect"] = later("zeros")
    horizontal_flip: bool = False
    randaugment_magnitude: float | None = later(None, ge=0, le=10)
    randaugment_std: float = later(0.5, ge=0, le=10)
    random_erasing: float = later(0.0, ge=0, le=1)
    mixup_alpha: float = later(0.0, ge=0)
    cutmix_alpha: float = later(0.0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> AugmentationConfig:
        if self.crop_scale is not None:
            if not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
                raise ValueError(f"crop_scale {list(self.crop_scale)} must rise within (0, 1]")
            if self.crop_padding:
                raise ValueError("crop_padding and crop_scale are two kinds of crop; give one of them")
        if not 0 < self.crop_aspect[0] <= self.crop_aspect[1]:
            raise ValueError(f"crop_aspect {list(self.crop_aspect)} must be positive and rise")
        for name, used, by in (
            ("crop_aspect", self.crop_scale is not None, "crop_scale"),
            ("crop_padding_mode", bool(self.crop_padding), "crop_padding"),
            ("randaugment_std", self.randaugment_magnitude is not None, "randaugment_magnitude"),
        ):
            if not used and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is of no use without {by}")
        return self


class RunConfig(Frozen):
    """One run as a user writes it.

    Attributes:
        task: What is learned: classification unless it says otherwise.
        tuned: How a final run was chosen among trials, which its record repeats; a sweep says so, and so may you.
    """

    setting: Slug
    backbone: BackboneConfig
    optimizer: OptimizerConfig
    data: DataConfig
    training: TrainingSection
    augmentation: AugmentationConfig = AugmentationConfig()
    task: TaskConfig = TaskConfig()
    seed: Seed = 0
    role: Role = "final"
    tuned: Tuned | None = None
    runtime: RuntimeConfig = RuntimeConfig()

    @model_validator(mode="after")
    def _unaugmented(self) -> RunConfig:
        if not self.training.cached_features:
            return self
        fields = AugmentationConfig.model_fields
        changed = [name for name in fields if getattr(self.augmentation, name) != fields[name].default]
        if changed:
            raise ValueError(
                f"training.cached_features takes each image once, without augmentation; leave out "
                f"{', '.join(f'augmentation.{name}' for name in changed)}, or set training.cached_features=false"
            )
        return self

    @model_validator(mode="after")
    def _usable(self) -> RunConfig:
        sections: dict[str, Frozen] = {"training": self.training, "augmentation": self.augmentation}
        sections |= {"data": self.data, "runtime": self.runtime}
        ignored = unusable_keys(TASKS.get(self.task.name), sections)
        if ignored:
            raise ValueError(f"task.name: {self.task.name} cannot use {', '.join(ignored)}; leave it out")
        return self

    @model_validator(mode="after")
    def _chosen(self) -> RunConfig:
        if self.tuned is not None and self.role != "final":
            raise ValueError("tuned belongs to role=final: a trial was chosen by nobody")
        return self
