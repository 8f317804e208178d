"""The configuration of one run as a user writes it, from which its identity follows (``bocb_hf.runs.identity``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationInfo, field_validator, model_validator

from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.resolve import resolve_hyperparameters
from bocb_hf.optim.row import Grid
from bocb_hf.runs.preprocessing import Normalization
from bocb_hf.runs.tasks import TASKS, TaskConfig, unusable_keys
from bocb_hf.runs.tuned import Tuned
from bocb_hf.schema import HUB_SCHEME, Arguments, Frozen, Name, Role, Scalar, Seed, Slug, later

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


class TrainingConfig(Frozen):
    """How the network is trained. Epochs count passes over the training images; learning rates change every step.

    Attributes:
        warmup_epochs: Epochs of linear warm-up, which begins with a first step's share of the learning rate.
        min_lr: Learning rate at which a cosine schedule ends.
        step_epochs: Epochs at which a step schedule multiplies the learning rate by ``step_factor``.
        decay_epochs: Number of last epochs of a ``wsd`` (warm-up, stable, decay) schedule, in which the learning rate
            falls linearly to zero.
        loss: Cross-entropy, or binary cross-entropy of every class, averaged over them.
        bce_target_threshold: Target of a mixed image above which it becomes a full positive (Wightman et al. 2021).
        drop_path: Probability of stochastic depth.
        clip_grad_norm: Largest global gradient norm.
        ema_decay: Decay a step of the averaged weights, which are then the ones that count; None averages nothing.
        no_decay: Rule for the parameters that weight decay leaves alone.
        layer_decay: Factor on the learning rate from each block to the one before it, for fine-tuning.
        linear_probe: Train the head only; the rest stays as it was and is in evaluation mode.
        cached_features: Compute the inputs of the head once, without augmentation, and train a linear probe on them.
        precision: Number format of the forward pass. It decides the result and so belongs to the hash: no machine
            chooses it. ``--dry-run`` measures which precision is faster for this network on this machine.
        divergence_epochs: Under the rule ``first_step``, a mean loss above its start over so many epochs ends the run
            as diverged. The rule ``end`` does not use it.
        divergence_rule: Rule by which a run counts as diverged (see ``bocb_hf.engine.divergence``). ``end`` judges a
            run by its last epoch. ``first_step`` judges it against the loss of its first step, as all runs were judged
            whose records name no rule.
    """

    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(ge=1, le=1_000_000)
    schedule: Literal["cosine", "step", "constant", "wsd"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0)
    min_lr: float = Field(default=0.0, ge=0)
    step_epochs: tuple[float, ...] = later(())
    step_factor: float = later(0.1, gt=0, lt=1)
    decay_epochs: float = later(0.0, ge=0)
    loss: Literal["ce", "bce"] = later("ce")
    bce_target_threshold: float | None = later(None, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    drop_path: float = Field(default=0.0, ge=0, lt=1)
    clip_grad_norm: float | None = Field(default=None, gt=0)
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    no_decay: Literal["nothing", "norms_biases_embeddings"] = "nothing"
    layer_decay: float | None = later(None, gt=0, le=1)
    linear_probe: bool = later(False)
    cached_features: bool = later(False)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    divergence_epochs: float = Field(default=1.0, gt=0)
    divergence_rule: Literal["first_step", "end"] = later("first_step")

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} must be less than epochs {self.epochs}")
        for name, kind in (("min_lr", "cosine"), ("step_epochs", "step"), ("decay_epochs", "wsd")):
            if getattr(self, name) and self.schedule != kind:
                raise ValueError(f"{name} belongs to the schedule {kind!r}; {self.schedule!r} cannot use it")
        if self.schedule == "step":
            ends = (self.warmup_epochs, *self.step_epochs, self.epochs)
            if not self.step_epochs or any(b <= a for a, b in pairwise(ends)):
                raise ValueError("step_epochs must rise between warmup_epochs and epochs, and hold at least one")
        if self.schedule == "wsd" and not 0 < self.decay_epochs <= self.epochs - self.warmup_epochs:
            raise ValueError("decay_epochs: a wsd schedule needs them, at most epochs - warmup_epochs")
        if self.bce_target_threshold is not None and self.loss != "bce":
            raise ValueError("bce_target_threshold needs loss: bce")
        if self.linear_probe and self.layer_decay is not None:
            raise ValueError("layer_decay is of no use when linear_probe trains the head only")
        if self.cached_features and not self.linear_probe:
            raise ValueError("cached_features are those of a frozen backbone; set linear_probe: true")
        if self.divergence_epochs != 1 and self.divergence_rule != "first_step":
            raise ValueError("divergence_epochs belongs to divergence_rule: first_step; leave it out")
        return self


class TrainingSection(TrainingConfig):
    """The section ``training`` as a user writes it.

    A stored identity that names no rule of divergence is older than the second rule, so there the default is the first
    one. A user who names none gets the newest.
    """

    divergence_rule: Literal["first_step", "end"] = "end"

    def resolved(self) -> TrainingConfig:
        """Returns the section ``training`` with the same values, as an identity holds it."""
        return TrainingConfig(**{name: getattr(self, name) for name in TrainingConfig.model_fields})


class RuntimeConfig(Frozen):
    """Where and how a run executes. None of this is part of its identity, and none of it is hashed.

    Processes and accumulation cut a batch into micro-batches. That changes the result only for a network with batch
    norm or with a random forward pass (dropout, stochastic depth); the record's environment holds the micro-batch.

    Attributes:
        store: Folder that holds ``models/<namespace>/<repository>``, or ``hf://<namespace>``: then runs are kept in
            ``local_store`` and pushed from there.
        local_store: Folder that runs are kept in when ``store`` is on the Hub; not used when ``store`` is a folder.
        namespace: User or organisation that owns the repositories.
        state_dir: Folder for resume state, outside the store.
        cache_dir: Folder of decoded images, shared by all runs; None is ``bocb_hf`` in the user's cache folder.
        memory_budget_gb: Largest decoded split that is held as one memory-mapped tensor; a larger one is decoded
            while training.
        workers: Processes that decode images while training; None chooses by the cores.
        threads: CPU threads of each process; None leaves torch's choice.
        accumulation: Micro-batches in a step.
        channels_last: Whether the network and its input have the memory format with channels last, which is faster with
            bf16 or on a GPU.
        compile_model: Whether ``torch.compile`` compiles the network.
        compile_optimizer: Whether ``torch.compile`` compiles the optimizer's step.
        cuda_graphs: Whether the kernels of the compiled network are recorded once and replayed as CUDA graphs, which
            saves a small network most of the time between its kernels; on one NVIDIA GPU, with ``compile_model``.
        deterministic: Whether only deterministic kernels are used.
        tf32: Whether a GPU computes fp32 matrix products and convolutions in TensorFloat-32.
        portable: Whether what runs on the CPU is limited to the instructions of AVX2, so that newer processors give the
            same weights as older ones. It takes effect when torch starts, so ``bocb train`` and ``bocb sweep`` see to
            it.
        tracker: Tracker that the curve is also sent to while training (``Accelerator.log``); ``none`` sends nothing,
            ``auto`` is trackio, which keeps it in a local file, where that is installed.
        log_every: Steps between two points of the curve.
        save_every: Steps between two saves of the resume state; None saves after every epoch.
        supersede: Whether to replace a finished run of this seed.
        inspect_at: Shares of training after which a final run keeps the patterns of its weights and their sharpness in
            its record, in (0, 1]; 0.1 is always among them. Nothing is inspected when it is empty. The run itself stays
            the same; the time is recorded apart.
    """

    store: str = "outputs/store"
    local_store: str = "outputs/store"
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,95}$")] = "local"
    state_dir: str = "outputs/state"
    cache_dir: str | None = None
    memory_budget_gb: float = Field(default=8.0, gt=0)
    workers: int | None = Field(default=None, ge=0, le=256)
    threads: int | None = Field(default=None, ge=1)
    accumulation: int = Field(default=1, ge=1)
    channels_last: bool = False
    compile_model: bool = False
    compile_optimizer: bool = False
    cuda_graphs: bool = False
    deterministic: bool = False
    tf32: bool = False
    portable: bool = False
    tracker: Literal["auto", "none", "trackio", "tensorboard", "wandb"] = "auto"
    log_every: int = Field(default=10, ge=1)
    save_every: int | None = Field(default=None, ge=1)
    supersede: bool = False
    inspect_at: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(default=(), max_length=50)

    @model_validator(mode="before")
    @classmethod
    def _namespace_of_the_hub(cls, data: Any) -> Any:
        """``hf://<namespace>`` names the namespace already."""
        if not isinstance(data, dict):
            return data
        given = cast(dict[str, Any], data)
        store = given.get("store")
        if not isinstance(store, str) or not store.startswith(HUB_SCHEME):
            return given
        named = store.removeprefix(HUB_SCHEME)
        if given.get("namespace", named) != named:
            raise ValueError(f"namespace is {given['namespace']}, but store {store} names {named}; leave one out")
        return given | {"namespace": named}

    @field_validator("inspect_at", mode="before")
    @classmethod
    def _array(cls, value: Any) -> Any:
        # a validator before the model makes lists of JSON those of Python, which are no tuples in strict mode
        return tuple(cast(list[Any], value)) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _portable_code(self) -> RuntimeConfig:
        if self.portable and (self.compile_model or self.compile_optimizer):
            raise ValueError(
                "portable: torch.compile makes code for this very processor; leave compile_model and compile_optimizer "
                "off"
            )
        if self.cuda_graphs and not self.compile_model:
            raise ValueError("cuda_graphs: torch.compile records them; set compile_model too")
        if self.inspect_at and self.compile_model:
            raise ValueError(
                "inspect_at: the sharpness needs a second derivative, which torch.compile cannot take; leave "
                "compile_model off"
            )
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
