"""The record of one run: the truth from which cards and tables are drawn.

A record is validated when it is made and again when it is read. Nothing in it names a host, a user or a path.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from bocb_hf.errors import InputError
from bocb_hf.identity import BackboneIdentity, DataIdentity, Identity
from bocb_hf.schema import Frozen, Role, Scalar, Seed, canonical_json, describe_errors, later

SCHEMA_VERSION = 1
MAX_BYTES = 20_000_000  # correctness bits of 50,000 images are 8 KB; a curve of 10,000 points is under 1 MB

Status = Literal["completed", "diverged", "interrupted"]
Text = Annotated[str, Field(min_length=1, max_length=500)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class Measurement(Frozen):
    """One quantity over a run: before training, at its best, and with the last weights.

    A test metric is read once, at the end, so it has neither ``initial`` nor ``best``.
    """

    unit: Literal["percent", "nats"]
    n: int = Field(ge=1)
    initial: float | None = None
    best: float | None = None
    last: float | None = None

    @model_validator(mode="after")
    def _range(self) -> Measurement:
        for name in ("initial", "best", "last"):
            value = getattr(self, name)
            if value is not None and (value < 0 or (self.unit == "percent" and value > 100)):
                raise ValueError(f"{name} {value} is outside the range of {self.unit}")
        return self


class Metrics(Frozen):
    """Losses are mean cross-entropies in nats, accuracies are percentages of ``n`` images.

    ``train_loss`` is that of the training objective (label smoothing included): ``initial`` of the first step, ``best``
    and ``last`` as means over an epoch.
    """

    train_loss: Measurement | None = None
    val_loss: Measurement | None = None
    val_top1: Measurement | None = None
    val_top5: Measurement | None = None
    test_loss: Measurement | None = None
    test_top1: Measurement | None = None
    test_top5: Measurement | None = None

    @model_validator(mode="after")
    def _units(self) -> Metrics:
        for name in type(self).model_fields:
            value = cast(Measurement | None, getattr(self, name))
            unit = "nats" if name.endswith("loss") else "percent"
            if value is not None and value.unit != unit:
                raise ValueError(f"{name} must be in {unit}, not {value.unit}")
        return self


class Correctness(Frozen):
    """Which test images the last weights classify correctly, in the order of the split.

    Attributes:
        n: Images of the test split.
        k: How many are right.
        packed: Base64 of ``numpy.packbits`` over the n booleans, padded with zeros.
    """

    n: int = Field(ge=1, le=10_000_000)
    k: Count
    packed: str

    @model_validator(mode="after")
    def _count(self) -> Correctness:
        if int(self.bits().sum()) != self.k:
            raise ValueError(f"packed holds {int(self.bits().sum())} correct images, but k is {self.k}")
        return self

    def bits(self) -> NDArray[np.bool_]:
        """The booleans, shape (n,).

        Raises:
            ValueError: ``packed`` is not Base64, has the wrong length, or has padding that is not zero.
        """
        raw = np.frombuffer(base64.b64decode(self.packed, validate=True), np.uint8)
        if len(raw) != (self.n + 7) // 8:
            raise ValueError(f"packed holds {len(raw)} bytes, but {self.n} images need {(self.n + 7) // 8}")
        bits = np.unpackbits(raw)
        if bits[self.n :].any():
            raise ValueError("packed has bits beyond the last image")
        return bits[: self.n].astype(np.bool_)

    @classmethod
    def from_bits(cls, bits: NDArray[np.bool_]) -> Correctness:
        """Packs booleans of shape (n,)."""
        packed = base64.b64encode(np.packbits(bits).tobytes()).decode("ascii")
        return cls(n=len(bits), k=int(bits.sum()), packed=packed)


class Curve(Frozen):
    """The run over its steps. ``train_*`` and ``lr`` have one entry for each of ``step``; ``val_*`` for ``val_step``.

    ``train_loss`` and ``train_top1`` are means over the steps since the previous entry. Where images are mixed,
    ``train_top1`` counts the larger part of each.

    Attributes:
        grad_norm: Norm of the gradient of all parameters in that step, before clipping; None where it is not finite.
        update_ratio: Norm of what that step changed over the norm of the weights before it.
    """

    step: list[Count]
    lr: list[NonNegative]
    train_loss: list[NonNegative]
    train_top1: list[Annotated[float, Field(ge=0, le=100)]]
    val_step: list[Count]
    val_loss: list[NonNegative]
    val_top1: list[Annotated[float, Field(ge=0, le=100)]]
    grad_norm: list[NonNegative | None] | None = later(None)
    update_ratio: list[NonNegative | None] | None = later(None)

    @model_validator(mode="after")
    def _lengths(self) -> Curve:
        watched = tuple(name for name in ("grad_norm", "update_ratio") if getattr(self, name) is not None)
        for steps, names in (
            (self.step, ("lr", "train_loss", "train_top1", *watched)),
            (self.val_step, ("val_loss", "val_top1")),
        ):
            if any(b <= a for a, b in pairwise(steps)):
                raise ValueError("steps of a curve must increase")
            for name in names:
                if len(getattr(self, name)) != len(steps):
                    raise ValueError(f"curve.{name} has {len(getattr(self, name))} entries for {len(steps)} steps")
        return self


class Cost(Frozen):
    """What the run took.

    Attributes:
        wall_seconds: From start to end, over all sessions of a resumed run.
        train_seconds: Inside the training loop, without evaluation.
        evaluation_seconds: Inside evaluation.
        images_per_second: Training images over ``train_seconds``, all processes together.
        peak_memory_bytes: Largest use seen by one process.
        memory_kind: What that counts: the process's resident set on a CPU, allocated memory on a GPU.
        parameters: Trainable parameters.
        flops_per_image: Forward floating-point operations for one image, counted by torch.
        resumed: How often the run was continued from saved state.
        replayed_epochs: How often that began an epoch of a stream anew, because its order cannot be taken up midway.
        data_seconds: Of ``train_seconds``, fetching, moving and augmenting images; likewise the next two. What is left
            is logging and saving.
        forward_backward_seconds: Forward and backward passes.
        optimizer_seconds: Optimizer steps and clipping.
        waited_seconds: Time in which the loop waited for images that were not ready.
        energy_joules: What the counter of the device added during the run; it counts other work on it, too.
        energy_source: Which counter.
    """

    wall_seconds: NonNegative
    train_seconds: NonNegative
    evaluation_seconds: NonNegative
    images_per_second: NonNegative
    peak_memory_bytes: Count
    memory_kind: Literal["process_rss", "device_allocated"]
    parameters: Count
    flops_per_image: Count | None
    resumed: Count = 0
    replayed_epochs: Count = later(0)
    data_seconds: NonNegative | None = later(None)
    forward_backward_seconds: NonNegative | None = later(None)
    optimizer_seconds: NonNegative | None = later(None)
    waited_seconds: NonNegative | None = later(None)
    energy_joules: NonNegative | None = later(None)
    energy_source: Literal["nvml", "rapl"] | None = later(None)


class Environment(Frozen):
    """Software and kind of hardware. ``device`` is a product name, never a host name.

    Attributes:
        micro_batch: Images that the network saw at once, which is what batch norm and dropout depend on.
        tf32: Whether fp32 products of a GPU ran in TensorFloat-32.
        channels_last: Whether network and input were in that memory format.
        compiled: What ``torch.compile`` compiled.
    """

    device: Text
    processes: int = Field(ge=1)
    micro_batch: int = Field(ge=1)
    threads: int = Field(ge=1)
    deterministic: bool
    tf32: bool = later(False)
    channels_last: bool = later(False)
    compiled: list[Literal["model", "optimizer"]] = later([])
    python: Text
    platform: Text
    libraries: dict[Annotated[str, Field(max_length=60)], Annotated[str, Field(max_length=60)]]
    code_version: Text
    code_commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}(-dirty)?$")] | None


class RunRecord(Frozen):
    """One run: identity, status, metrics, cost, curve.

    Attributes:
        requires: Module whose import registers the architecture with timm; None for timm's own.
        family: Family of the backbone (``primary_cnn``, ``classical_cnn``, ``modern``, ``unknown``).
        category: Category of the optimizer (a to d of the study).
        stopped_step: Step at which a diverged or interrupted run ended.
        reason: Why it did.
        test_split: Which split the test metrics were read on (ImageNet: ``validation``).
        weights_sha256: Of ``model.safetensors`` beside the record of a completed final run.
        supersedes: SHA-256 of the finished record that this one replaced on purpose.
        finished_at: UTC, ISO 8601.
    """

    schema_version: Literal[1]
    run_id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}-[0-9]{1,10}$")]
    role: Role
    status: Status
    seed: Seed
    config_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    identity: Identity
    requires: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,99}$")] | None
    family: Literal["primary_cnn", "classical_cnn", "modern", "unknown"]
    category: Literal["a", "b", "c", "d"]
    stopped_step: Count | None
    reason: Text | None
    total_steps: int = Field(ge=1)
    metrics: Metrics
    test_split: Text | None
    correctness: Correctness | None
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    cost: Cost
    environment: Environment
    curve: Curve
    supersedes: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    finished_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]

    @model_validator(mode="after")
    def _consistent(self) -> RunRecord:
        if self.config_hash != self.identity.config_hash():
            raise ValueError(f"config_hash is {self.config_hash}, but the identity gives {self.identity.config_hash()}")
        if self.run_id != make_run_id(self.config_hash, self.seed):
            raise ValueError(f"run_id is {self.run_id}, but must be {make_run_id(self.config_hash, self.seed)}")
        if (self.status == "completed") == (self.reason is not None):
            raise ValueError("reason is given exactly when a run did not complete")
        if (self.reason is None) != (self.stopped_step is None):
            raise ValueError("reason and stopped_step go together")
        test = (self.metrics.test_top1, self.metrics.test_loss, self.metrics.test_top5)
        read_test = self.role == "final" and self.status == "completed"
        if read_test:
            top1 = self.metrics.test_top1
            if self.correctness is None or self.test_split is None or top1 is None or top1.last is None:
                raise ValueError("a completed final run needs test_top1, test_split and correctness")
            if self.weights_sha256 is None:
                raise ValueError("a completed final run needs weights_sha256")
            if self.test_split != self.identity.data.evaluation_split:
                raise ValueError(f"test_split is {self.test_split}, not {self.identity.data.evaluation_split}")
            expected = 100 * self.correctness.k / self.correctness.n
            if top1.n != self.correctness.n or abs(top1.last - expected) > 1e-9:
                raise ValueError(f"test_top1 is {top1.last} of {top1.n}, but the bits give {expected}")
        elif any(test) or self.correctness or self.test_split or self.weights_sha256:
            raise ValueError(f"a {self.status} {self.role} run must hold no test metric")
        val = self.metrics.val_top1
        if self.role == "trial" and self.status == "completed" and (val is None or val.last is None):
            raise ValueError("a completed trial needs val_top1")
        return self

    def to_json(self) -> str:
        """The record as it is stored; equal records give equal bytes."""
        return canonical_json(self.model_dump(mode="json")) + "\n"

    def sha256(self) -> str:
        """SHA-256 of ``to_json``."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def repository(self) -> str:
        """Name of the repository that this record belongs to."""
        return repository_name(*self.identity.cell())

    def path(self) -> str:
        """Where the record lies in its repository."""
        return f"seeds/{self.seed}/record.json" if self.role == "final" else f"trials/{self.run_id}.json"


class BaselineRecord(Frozen):
    """A floor for a data set: what needs no training of a network. Lies at ``baselines/<kind>-<data>.json`` of its own
    repository.

    Attributes:
        kind: ``logistic_regression`` on pixels, or on what an untrained network makes of them (``frozen_backbone``).
        data: The data that it was fitted on; tables show it beside runs of the same name, revision and split rule.
        backbone: The untrained network.
        seed: Of its initial weights.
        hyperparameters: Of the estimator.
        seconds: Wall time of the fit.
    """

    schema_version: Literal[1]
    kind: Literal["logistic_regression", "frozen_backbone"]
    data: DataIdentity
    backbone: BackboneIdentity | None = later(None)
    seed: Seed | None = later(None)
    hyperparameters: dict[str, Scalar]
    train_top1: Annotated[float, Field(ge=0, le=100)]
    correctness: Correctness
    test_split: Text
    seconds: NonNegative
    environment: Environment
    finished_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]

    @model_validator(mode="after")
    def _network(self) -> BaselineRecord:
        given = (self.backbone is not None, self.seed is not None)
        if given != (self.kind == "frozen_backbone",) * 2:
            raise ValueError("backbone and seed are given exactly for a frozen backbone")
        return self

    def to_json(self) -> str:
        """The record as it is stored."""
        return canonical_json(self.model_dump(mode="json")) + "\n"

    def repository(self) -> str:
        """Name of the repository that this record belongs to."""
        return baseline_repository_name(self.data.name)

    def path(self) -> str:
        """Where the record lies in its repository; one for each revision, size and split of the data, and network."""
        return baseline_path(self.kind, self.data, self.backbone, self.seed)


def make_run_id(config_hash: str, seed: int) -> str:
    """``<config hash>-<seed>``."""
    return f"{config_hash}-{seed}"


def repository_name(dataset: str, setting: str, backbone: str, optimizer: str) -> str:
    """Name of a cell's repository, within the Hub's rules (at most 96 characters of ``[A-Za-z0-9._-]``)."""
    raw = [dataset, setting, backbone, optimizer]
    parts = [re.sub(r"[^a-z0-9_]+", "-", part.lower().split(":", 1)[-1]).strip("-") or "x" for part in raw]
    name = "-".join(["bocb", *parts])
    if len(name) > 90 or parts != raw or any("-" in part for part in parts):
        # what was shortened or rewritten, or holds the separator, could collide with another cell
        digest = hashlib.sha256("\0".join(raw).encode()).hexdigest()[:6]
        name = f"{name[:83].rstrip('-')}-{digest}"
    return name


def baseline_repository_name(dataset: str) -> str:
    """Name of the repository of a data set's floors."""
    return repository_name(dataset, "baselines", "pixels", "none").replace("-pixels-none", "")


def baseline_path(
    kind: str, data: DataIdentity, backbone: BackboneIdentity | None = None, seed: int | None = None
) -> str:
    """Where the floor of exactly these data, and of this untrained network, lies in the repository of its data set."""
    what: Any = data.model_dump(mode="json")
    if backbone is not None:
        what = [what, backbone.model_dump(mode="json"), seed]
    digest = hashlib.sha256(canonical_json(what).encode()).hexdigest()[:12]
    return f"baselines/{kind}-{digest}.json"


R = TypeVar("R", RunRecord, BaselineRecord)


def parse_record(content: bytes, source: str, model: type[R] = RunRecord) -> R:
    """Reads and validates a stored record.

    Args:
        content: UTF-8 JSON.
        source: What to call it in an error.
        model: Which kind of record it must be.

    Raises:
        InputError: Too large, malformed, inconsistent, or of a newer schema.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"{source}: larger than {MAX_BYTES} bytes")
    version = _schema_version(content)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(
            f"{source}: schema version {version} is newer than {SCHEMA_VERSION}, the newest readable here; "
            "upgrade bocb-hf"
        )
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        lines = describe_errors(error, model)
        raise InputError(f"{source}: not a valid record: " + "; ".join(lines[:5])) from None


def _schema_version(content: bytes) -> Any:
    """The schema version of a stored record, read leniently so that a newer one gets its own message."""
    match = re.search(rb'"schema_version"\s*:\s*(\d{1,6})', content)
    return int(match.group(1)) if match else None


def wilson_interval(k: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """95 % interval of a proportion, in percent (Wilson 1927).

    Args:
        k: Successes.
        n: Attempts, at least 1.
        z: Normal quantile.
    """
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)
