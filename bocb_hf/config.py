"""What one run is: strict YAML plus command-line overrides, and the identity that is hashed.

``RunConfig`` is what a user writes. ``Identity`` is what the run *is*: its scientific fields only, every default
resolved. Device, number of processes, paths and store are in neither the identity nor its hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bocb_hf import strict_yaml
from bocb_hf.errors import InputError
from bocb_hf.optim import OPTIMIZERS
from bocb_hf.registry import suggestion

# Raised when initialisation, data order or augmentation are drawn differently from before: runs of two schemes
# are not paired (see bocb_hf/data/sampling.py).
RANDOM_SCHEME = 1

Role = Literal["trial", "final"]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$")]
Slug = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9][a-z0-9_.]*$")]
Scalar = bool | int | float | str


# Arguments of timm.create_model that would load weights past our checks, and those that have another home here.
RESERVED_ARGS = frozenset(
    (
        *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "scriptable"),
        *("exportable", "no_jit", "device", "dtype", "num_classes", "in_chans", "drop_path_rate"),
    )
)


class Frozen(BaseModel):
    """Base of every configuration and record: immutable, no unknown keys, no coercion, finite floats."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _plain_json(args: dict[str, Any]) -> dict[str, Any]:
    canonical_json(args)  # raises ValueError on NaN, which no field type catches inside a free dictionary
    return args


Arguments = Annotated[dict[str, Any], AfterValidator(_plain_json)]


class BackboneConfig(Frozen):
    """Which network, and where its weights start.

    Attributes:
        name: A row of ``bocb list backbones``, any timm model name, ``hf-hub:<org>/<name>`` (the timm model that its
            config.json describes), ``transformers:<org>/<name>`` or ``transformers:<folder>`` (an image classifier of
            transformers). Weights come from ``pretrained`` only.
        args: Extra arguments of the model, over those of the row or of the configuration.
        pretrained: None (from scratch), a timm tag (``a1_in1k``), a Hub id (``org/name``) or a local directory.
    """

    name: Name
    args: Arguments = Field(default_factory=dict)
    pretrained: str | None = None

    @field_validator("args")
    @classmethod
    def _plain(cls, args: dict[str, Any]) -> dict[str, Any]:
        reserved = sorted(RESERVED_ARGS & args.keys())
        if reserved:
            raise ValueError(
                f"{', '.join(reserved)} cannot be given here: weights come from backbone.pretrained, which checks and "
                "hashes them, the classes from the data, stochastic depth from training.drop_path"
            )
        return args

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        context = cast(Mapping[str, Callable[[str], None]] | None, info.context)
        if context is not None and "check_backbone" in context:
            context["check_backbone"](name)
        return name


class OptimizerConfig(Frozen):
    """Which optimizer; learning rate and weight decay default to the centre of the row's grid."""

    name: str
    lr: float | None = Field(default=None, gt=0)
    weight_decay: float | None = Field(default=None, ge=0)
    hyperparameters: dict[str, Scalar] = Field(default_factory=dict)

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
            resolve_hyperparameters(name, given)
        return given


class DataConfig(Frozen):
    """Which images.

    Attributes:
        name: A row of ``bocb list datasets``, a Hub id, or a local folder (Parquet, or class folders of images).
        revision: Commit sha of a Hub id, where a row does not pin it. For a folder or a row it may be given, and must
            be that of the content.
        image_size: Side of the square that images are resized to, in pixels.
        validation_fraction: Share of train that tuning reads, for a data set without a validation split (then 0.1
            unless given); an error for any other.
        image_column: Column of the images; found by its type when None.
        label_column: Column of the labels; found by its type when None.
        evaluation_split: Split that is read as test when it is not called ``test`` (ImageNet: ``validation``).
    """

    name: str = Field(min_length=1, max_length=500)
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")] | None = None
    image_size: int = Field(ge=8, le=1024)
    validation_fraction: float | None = Field(default=None, gt=0, lt=0.5)
    image_column: str | None = None
    label_column: str | None = None
    evaluation_split: str = "test"


class AugmentationConfig(Frozen):
    """Augmentation of the training images."""

    crop_padding: int = Field(default=0, ge=0, le=64)
    horizontal_flip: bool = False


class TrainingConfig(Frozen):
    """How the weights move. Epochs count passes over the training images; learning rates change every step.

    Attributes:
        min_lr: Where a cosine schedule ends.
        clip_grad_norm: Largest global gradient norm.
        ema_decay: Decay a step of the averaged weights, which are then the ones that count; None averages nothing.
        no_decay: What weight decay leaves alone.
        divergence_epochs: A mean loss above its start over so many epochs ends the run as diverged.
    """

    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(ge=1, le=1_000_000)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0)
    min_lr: float = Field(default=0.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    clip_grad_norm: float | None = Field(default=None, gt=0)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    no_decay: Literal["nothing", "norms_biases_embeddings"] = "nothing"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    divergence_epochs: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} must be less than epochs {self.epochs}")
        if self.schedule == "constant" and self.min_lr:
            raise ValueError("min_lr is where a cosine schedule ends; a constant one cannot use it")
        return self


class RuntimeConfig(Frozen):
    """Where and how a run executes, which is not what it is: none of this is hashed.

    Processes and accumulation cut a batch into micro-batches. That changes the result only for a network with batch
    norm or with a random forward pass (dropout, stochastic depth); the record's environment holds the micro-batch.

    Attributes:
        store: Folder that holds ``models/<namespace>/<repository>``.
        namespace: User or organisation that owns the repositories.
        state_dir: Folder for resume state, outside the store.
        threads: CPU threads a process; None leaves torch's choice.
        accumulation: Micro-batches a step.
        log_every: Steps between two points of the curve.
        save_every: Steps between two saves of the resume state; None saves after every epoch.
        supersede: Replace a finished run of this seed.
    """

    store: str = "outputs/store"
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,95}$")] = "local"
    state_dir: str = "outputs/state"
    threads: int | None = Field(default=None, ge=1)
    accumulation: int = Field(default=1, ge=1)
    log_every: int = Field(default=10, ge=1)
    save_every: int | None = Field(default=None, ge=1)
    supersede: bool = False


class RunConfig(Frozen):
    """One run as a user writes it."""

    setting: Slug
    backbone: BackboneConfig
    optimizer: OptimizerConfig
    data: DataConfig
    training: TrainingConfig
    augmentation: AugmentationConfig = AugmentationConfig()
    seed: Seed = 0
    role: Role = "final"
    runtime: RuntimeConfig = RuntimeConfig()


class BackboneIdentity(Frozen):
    """The network as it was built; ``pretrained_sha256`` is the hash of the weights it started from."""

    name: Name
    architecture: Name
    args: Arguments
    pretrained: Annotated[str, Field(max_length=200)] | None
    pretrained_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None

    @model_validator(mode="after")
    def _hashed(self) -> BackboneIdentity:
        if (self.pretrained is None) != (self.pretrained_sha256 is None):
            raise ValueError("pretrained and pretrained_sha256 go together")
        return self


class OptimizerIdentity(Frozen):
    """The optimizer with every hyper-parameter resolved."""

    name: Slug
    lr: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    hyperparameters: dict[str, Scalar]


class DataIdentity(Frozen):
    """The data with its revision, columns, splits and preprocessing.

    Attributes:
        validation_fraction: Share of train that was drawn for validation; None when the data set has its own split.
        validation_indices_sha256: Hash of the drawn indices (little-endian int64), which pins the draw.
        evaluation_split: The split that test metrics are read on.
        mean: Mean of each channel that inputs are normalised with, in 0..1.
        std: Standard deviation likewise.
    """

    name: Name
    revision: Annotated[str, Field(min_length=7, max_length=64, pattern=r"^[0-9a-f]+$")]
    image_column: Annotated[str, Field(min_length=1, max_length=100)]
    label_column: Annotated[str, Field(min_length=1, max_length=100)]
    image_size: int = Field(ge=8, le=1024)
    num_classes: int = Field(ge=2, le=1_000_000)
    validation_fraction: float | None = Field(gt=0, lt=0.5)
    validation_indices_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    evaluation_split: Annotated[str, Field(min_length=1, max_length=100)]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def split_rule(self) -> str:
        """How validation and test come about, in words."""
        if self.validation_fraction is None:
            rule = "validation: the data set's own split; final runs train on train"
        else:
            rule = f"validation: a stratified {self.validation_fraction:.0%} of train; final runs train on all of train"
        if self.evaluation_split == "validation":
            return f"{rule}; the validation split of the data set counts as test"
        return rule


class Identity(Frozen):
    """Everything that decides the result of a run, except the seed."""

    random_scheme: Literal[1]
    setting: Slug
    backbone: BackboneIdentity
    optimizer: OptimizerIdentity
    training: TrainingConfig
    augmentation: AugmentationConfig
    data: DataIdentity

    def config_hash(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the canonical JSON of all fields."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json")).encode()).hexdigest()[:12]

    def cell(self) -> tuple[str, str, str, str]:
        """(data set, setting, backbone, optimizer)."""
        return (self.data.name, self.setting, self.backbone.name, self.optimizer.name)


def canonical_json(data: Any) -> str:
    """JSON with sorted keys and no spaces; raises ValueError on NaN and infinities."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def resolve_hyperparameters(name: str, given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """All hyper-parameters of an optimizer: the given ones over the row's defaults.

    Raises:
        InputError: Unknown optimizer, or a hyper-parameter that it does not have or that is out of range.
    """
    model = OPTIMIZERS.get(name).hyperparameters
    try:
        return cast(dict[str, Scalar], model.model_validate(dict(given)).model_dump())
    except ValidationError as error:
        raise InputError("; ".join(describe_errors(error, model))) from None


def describe_errors(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One sentence for each error of a validation: the dotted key, what is wrong, and a close name if there is one."""
    lines: list[str] = []
    for item in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            fields = list(_model_at(model, item["loc"][:-1]).model_fields)
            hint = suggestion(str(item["loc"][-1]), fields) or f"; known here: {', '.join(fields) or 'nothing'}"
            lines.append(f"{key}: unknown key{hint}")
        elif item["type"] == "missing":
            # records and cards have no overrides
            lines.append(f"{key}: missing" + f"; give it in the YAML file or as {key}=VALUE" * (model is RunConfig))
        else:
            message = item["msg"].removeprefix("Value error, ")
            lines.append(f"{key}: {message[0].lower()}{message[1:]}" if key else message)
    return lines


def _model_at(model: type[BaseModel], location: Sequence[int | str]) -> type[BaseModel]:
    """The nested model class that a location inside a validation error points to."""
    for part in location:
        field = model.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            break
        model = field.annotation
    return model


def parse_strict(model: type[BaseModel], data: Any, context: Any = None) -> Any:
    """Validates plain data in strict JSON mode, where a list may become a tuple but "3" never becomes 3."""
    return model.model_validate_json(json.dumps(data), context=context)


def apply_overrides(data: dict[str, Any], overrides: Sequence[str]) -> list[str]:
    """Sets ``section.key=value`` pairs in place; values are read as YAML.

    Returns:
        One message for every malformed override; the others are applied.
    """
    problems: list[str] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        parts = key.split(".")
        if not equals or not all(parts):
            problems.append(f"{override!r}: not an override; write section.key=value, for example optimizer.lr=0.01")
            continue
        try:
            value = strict_yaml.parse(text, f"override {key}")
        except InputError as error:
            problems.append(str(error))
            continue
        node = data
        for part in parts[:-1]:
            child = node.get(part)
            if child is None:
                child = node[part] = {}
            if not isinstance(child, dict):
                problems.append(f"{key}: {part} is a value, not a section")
                break
            node = cast(dict[str, Any], child)
        else:
            node[parts[-1]] = value
    return problems


def load_run_config(
    path: Path, overrides: Sequence[str] = (), check_backbone: Callable[[str], None] | None = None
) -> RunConfig:
    """Reads a setting, applies overrides, and reports every problem at once.

    Args:
        path: YAML file with the sections of ``RunConfig``.
        overrides: ``section.key=value`` pairs; later ones win.
        check_backbone: Raises ``InputError`` for a backbone name that cannot be built.

    Raises:
        InputError: Anything unknown, missing, unusable or out of range; one line for each problem.
    """
    data = strict_yaml.parse_file(path)
    if not isinstance(data, dict):
        raise InputError(f"{path}: must hold sections such as `training:`, but holds {type(data).__name__}")
    return build_run_config(cast(dict[str, Any], data), overrides, check_backbone, source=str(path))


def build_run_config(
    data: dict[str, Any],
    overrides: Sequence[str] = (),
    check_backbone: Callable[[str], None] | None = None,
    source: str = "configuration",
) -> RunConfig:
    """``load_run_config`` for sections that are already parsed."""
    data = json.loads(json.dumps(data))
    problems = apply_overrides(data, overrides)
    context = {"check_backbone": check_backbone} if check_backbone else {}
    config = None
    try:
        config = cast(RunConfig, parse_strict(RunConfig, data, context))
    except ValidationError as error:
        problems += describe_errors(error, RunConfig)
    if problems or config is None:
        raise InputError(f"{source} has {len(problems)} problem(s):\n" + "\n".join(f"  {p}" for p in problems))
    return config
