"""The parts of a record beside the identity of its run: scores, correct images, curve, cost, environment."""

from __future__ import annotations

import base64
from itertools import pairwise
from typing import Annotated, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bocb_hf.schema import Count, Frozen, Positive, Printable, later

Text = Annotated[Printable, Field(min_length=1, max_length=500)]
NonNegative = Annotated[float, Field(ge=0)]
# No honest record comes near these bounds: a value beyond them is a slip or a forgery, and would spoil a table.
Seconds = Annotated[float, Field(ge=0, le=1e9)]  # 32 years
Images = Annotated[int, Field(ge=1, le=10**12)]
Bytes = Annotated[int, Field(ge=0, le=2**50)]  # a pebibyte in one process
Times = Annotated[int, Field(ge=0, le=10**6)]


class Measurement(Frozen):
    """One quantity over a run: before training, at its best, and with the last weights.

    A test metric is read once, at the end, so it has neither ``initial`` nor ``best``. The unit ``loss`` is that of the
    loss of a task other than classification, which is no number of nats.
    """

    unit: Literal["percent", "nats", "loss"]
    n: Images
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

    A task other than classification has a score of its own in place of top-1 and top-5, and its losses have the unit
    ``loss``.

    Attributes:
        score: Name of the metric of such a task, such as ``AP``; None for a classifier.
        val_score: That metric on the validation split in percent.
        test_score: The same on the test split.
        test_details: Further scores of the test split in percent, by name.
    """

    train_loss: Measurement | None = None
    val_loss: Measurement | None = None
    val_top1: Measurement | None = None
    val_top5: Measurement | None = None
    test_loss: Measurement | None = None
    test_top1: Measurement | None = None
    test_top5: Measurement | None = None
    score: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$")] | None = later(None)
    val_score: Measurement | None = later(None)
    test_score: Measurement | None = later(None)
    test_details: dict[Annotated[Printable, Field(max_length=60)], Annotated[float, Field(ge=0, le=100)]] = later({})

    @property
    def name(self) -> str:
        """What the score of the run is called in tables."""
        return self.score or "top-1"

    @property
    def val(self) -> Measurement | None:
        """The score on the validation split, whatever the task."""
        return self.val_top1 if self.score is None else self.val_score

    @property
    def test(self) -> Measurement | None:
        """The score on the test split, whatever the task."""
        return self.test_top1 if self.score is None else self.test_score

    @model_validator(mode="after")
    def _one_task(self) -> Metrics:
        ranked = (self.val_top1, self.val_top5, self.test_top1, self.test_top5)
        if self.score is None and (self.val_score or self.test_score or self.test_details):
            raise ValueError("val_score, test_score and test_details need the name of the metric in score")
        if self.score is not None and any(ranked):
            raise ValueError(f"a run that is scored by {self.score} must hold no top-1 and no top-5")
        return self

    @model_validator(mode="after")
    def _units(self) -> Metrics:
        names = [name for name in type(self).model_fields if name not in ("score", "test_details")]
        for name in names:
            value = cast(Measurement | None, getattr(self, name))
            unit = "percent"
            if name.endswith("loss"):
                unit = "nats" if self.score is None else "loss"
            if value is not None and value.unit != unit:
                raise ValueError(f"{name} must be in {unit}, not {value.unit}")
            if value is not None and name.startswith("test_") and (value.initial, value.best) != (None, None):
                raise ValueError(f"{name} is read once, with the last weights, and has neither initial nor best")
        for split in ("val", "test"):
            top1, top5 = (cast(Measurement | None, getattr(self, f"{split}_top{k}")) for k in (1, 5))
            if top1 is None or top5 is None:
                continue
            if top1.n != top5.n:
                raise ValueError(f"{split}_top5 is of {top5.n} images, but {split}_top1 of {top1.n}")
            # the quotients of two counts of the same images differ by their rounding alone
            if top1.last is not None and top5.last is not None and top5.last < top1.last - 1e-9:
                raise ValueError(f"{split}_top5 is {top5.last}, below {split}_top1, which is {top1.last}")
        return self


class Correctness(Frozen):
    """Which images of a split, test or validation, the last weights classify correctly, in the order of the split.

    Attributes:
        n: Images of the split.
        k: How many of these images are classified correctly.
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
        """Returns whether each image is classified correctly, shape (n,).

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
    """The curve of a run. ``train_*`` and ``lr`` have one entry for each of ``step``; ``val_*`` for ``val_step``.

    ``train_loss`` and ``train_top1`` are means over the steps since the previous entry. Where images are mixed,
    ``train_top1`` counts the larger part of each.

    Attributes:
        grad_norm: Norm of the gradient of all parameters in that step, before clipping; None where it is not finite.
        update_ratio: Norm of what that step changed over the norm of the weights before it.
        val_score: Score of a task other than classification for each of ``val_step``, in percent; such a run has no
            ``train_top1`` and no ``val_top1``. None for a classifier.
    """

    step: list[Count]
    lr: list[Annotated[float, Field(ge=0, le=1e6)]]
    train_loss: list[NonNegative]
    train_top1: list[Annotated[float, Field(ge=0, le=100)]]
    val_step: list[Count]
    val_loss: list[NonNegative]
    val_top1: list[Annotated[float, Field(ge=0, le=100)]]
    grad_norm: list[NonNegative | None] | None = later(None)
    update_ratio: list[NonNegative | None] | None = later(None)
    val_score: list[Annotated[float, Field(ge=0, le=100)]] | None = later(None)

    @property
    def validated(self) -> list[float]:
        """The score on the validation split for each of ``val_step`` in percent, whatever the task."""
        return self.val_top1 if self.val_score is None else self.val_score

    @model_validator(mode="after")
    def _lengths(self) -> Curve:
        watched = tuple(name for name in ("grad_norm", "update_ratio") if getattr(self, name) is not None)
        classifier = self.val_score is None
        if not classifier and (self.train_top1 or self.val_top1):
            raise ValueError("a curve with val_score must have neither train_top1 nor val_top1")
        for steps, names in (
            (self.step, ("lr", "train_loss", *(("train_top1",) if classifier else ()), *watched)),
            (self.val_step, ("val_loss", "val_top1" if classifier else "val_score")),
        ):
            if any(b <= a for a, b in pairwise(steps)):
                raise ValueError("steps of a curve must increase")
            for name in names:
                if len(getattr(self, name)) != len(steps):
                    raise ValueError(f"curve.{name} has {len(getattr(self, name))} entries for {len(steps)} steps")
        return self


class Cost(Frozen):
    """The time, memory and energy that a run took.

    Attributes:
        wall_seconds: Time from start to end, over all sessions of a resumed run.
        train_seconds: Time inside the training loop, without evaluation.
        evaluation_seconds: Time inside evaluation.
        images_per_second: Training images over ``train_seconds``, all processes together.
        peak_memory_bytes: Largest use seen by one process.
        memory_kind: What ``peak_memory_bytes`` counts: the process's resident set on a CPU, allocated memory on a GPU.
        parameters: Trainable parameters.
        flops_per_image: Forward floating-point operations for one image, counted by torch.
        resumed: How often the run was continued from saved state.
        replayed_epochs: How often a continued run began an epoch of a stream anew, because its order cannot be taken up
            midway.
        data_seconds: Part of ``train_seconds`` that fetching, moving and augmenting images took. What this and the next
            two parts leave is logging and saving.
        forward_backward_seconds: Part of ``train_seconds`` that forward and backward passes took.
        optimizer_seconds: Part of ``train_seconds`` that optimizer steps and clipping took.
        waited_seconds: Time in which the loop waited for images that were not ready.
        feature_seconds: Time before the first step in which the features of a linear probe were computed; 0 where
            another run had computed them, None where the run trained on images.
        energy_joules: Energy that the counter of the device added during the run; it counts other work on the device,
            too.
        energy_source: Name of that counter.
    """

    wall_seconds: Seconds
    train_seconds: Seconds
    evaluation_seconds: Seconds
    images_per_second: Annotated[float, Field(ge=0, le=1e12)]
    peak_memory_bytes: Bytes
    memory_kind: Literal["process_rss", "device_allocated"]
    parameters: Annotated[int, Field(ge=1, le=10**14)]
    flops_per_image: Annotated[int, Field(ge=1, le=10**18)] | None
    resumed: Times = 0
    replayed_epochs: Times = later(0)
    data_seconds: Seconds | None = later(None)
    forward_backward_seconds: Seconds | None = later(None)
    optimizer_seconds: Seconds | None = later(None)
    waited_seconds: Seconds | None = later(None)
    feature_seconds: Seconds | None = later(None)
    energy_joules: Annotated[float, Field(ge=0, le=1e15)] | None = later(None)
    energy_source: Literal["nvml", "rapl"] | None = later(None)

    @model_validator(mode="after")
    def _measured(self) -> Cost:
        if (self.energy_joules is None) != (self.energy_source is None):
            raise ValueError("energy_joules and energy_source go together")
        return self


class StartingWeights(Frozen):
    """The tensors that a fine-tuned run took from the file that it started from.

    Attributes:
        taken: Tensors of the network that came from the file.
        drawn: Names of the other tensors of the network, those of the classifier, which were drawn anew.
        unused: Tensors of the file that the network has no place for.
        prefix: The prefix that wrappers had put before the names in the file, and that was removed.
    """

    taken: Positive
    drawn: list[Annotated[Printable, Field(min_length=1, max_length=300)]] = Field(max_length=1000)
    unused: Count = later(0)
    prefix: Annotated[str, Field(pattern=r"^([a-z_]+\.)*$", max_length=100)] = later("")


class Environment(Frozen):
    """Software and kind of hardware. ``device`` is a product name, never a host name.

    Attributes:
        micro_batch: Images that the network saw at once, which is what batch norm and dropout depend on.
        tf32: Whether fp32 products of a GPU ran in TensorFloat-32.
        channels_last: Whether network and input were in that memory format.
        compiled: The parts that ``torch.compile`` compiled, and whether the network ran as CUDA graphs.
        cpu_capability: Instructions that ATen used on a CPU, such as ``AVX2`` or ``AVX512``. Older records do not say.
        onednn_isa: The newest instructions that oneDNN could use on a CPU, by its own names, where torch tells.
        processor: Product name of the processor of a run on a CPU, where the system tells it; None in older records.
        portable: Whether ATen, oneDNN and MKL were limited to AVX2 (``runtime.portable``).
        memory_halvings: How often the micro-batch was halved because memory ran out.
        batch_norm_halved: Whether that made another network of it, since batch norm then saw fewer images at once.
    """

    device: Text
    processes: Annotated[int, Field(ge=1, le=10**6)]
    micro_batch: Annotated[int, Field(ge=1, le=10**9)]
    threads: Annotated[int, Field(ge=1, le=10**6)]
    deterministic: bool
    tf32: bool = later(False)
    channels_last: bool = later(False)
    compiled: list[Literal["model", "optimizer", "cuda_graphs"]] = later([])
    cpu_capability: Text | None = later(None)
    onednn_isa: Text | None = later(None)
    processor: Text | None = later(None)
    portable: bool = later(False)
    memory_halvings: Annotated[int, Field(ge=0, le=30)] = later(0)
    batch_norm_halved: bool = later(False)
    python: Text
    platform: Text
    libraries: dict[Annotated[Printable, Field(max_length=60)], Annotated[Printable, Field(max_length=60)]]
    code_version: Text
    code_commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}(-dirty)?$")] | None

    def hardware(self) -> str:
        """Kind and number of the devices, such as ``NVIDIA H200 × 8``; of a CPU its product name where it is known."""
        return f"{self.processor or self.device} × {self.processes}"
