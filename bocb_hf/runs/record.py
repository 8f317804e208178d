"""The record of one run: the truth from which cards and tables are drawn. ``measurements.py`` has its parts.

A record is validated when it is made and again when it is read. Nothing in it names a host, a user or a path.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from bocb_hf.optim.row import Grid
from bocb_hf.runs.identity import BackboneIdentity, DataIdentity, Identity
from bocb_hf.runs.measurements import Correctness, Cost, Curve, Environment, Metrics, Seconds, StartingWeights, Text
from bocb_hf.runs.naming import (
    floor_path,
    floor_repository_name,
    make_run_id,
    own_repository_name,
    repository_name,
)
from bocb_hf.runs.patterns import Inspection, WeightPatterns
from bocb_hf.runs.tasks import CLASSIFICATION
from bocb_hf.runs.tuned import Tuned
from bocb_hf.schema import (
    ConfigHash,
    Count,
    Document,
    Frozen,
    Role,
    RunId,
    Scalar,
    Seed,
    Sha256,
    UtcTime,
    later,
    one_line,
    parse_document,
)

SCHEMA_VERSION = 1
MAX_BYTES = 20_000_000  # correctness bits of 50,000 images are 8 KB; a curve of 10,000 points is under 1 MB

Status = Literal["completed", "diverged", "interrupted"]
Family = Literal["primary_cnn", "classical_cnn", "modern", "unknown"]
Category = Literal["a", "b", "c", "d"]


class DataNotes(Frozen):
    """The facts about the images that a reader of the score must know.

    Attributes:
        untrained_classes: Names of classes without training images, the first 100 of them.
        untested_classes: Names of classes without test images, the first 100 of them.
        shared_test_images: Test images that are, byte for byte, training images, too.
        similar_test_images: Further test images that are copies of training images: encoded, resized or mirrored anew.
        duplicate_images: Images that are a copy of an earlier one, of any kind, in all splits together; 0 also where
            nobody looked (``data.duplicates``).
        mended_annotations: Boxes and keypoints that were read by a rule for bad annotations, in all splits together.
        dropped_annotations: Boxes and keypoints that were left out by such a rule, in all splits together.
    """

    untrained_classes: tuple[Text, ...] = later((), max_length=100)
    untested_classes: tuple[Text, ...] = later((), max_length=100)
    shared_test_images: Count = later(0)
    similar_test_images: Count = later(0)
    duplicate_images: Count = later(0)
    mended_annotations: Count = later(0)
    dropped_annotations: Count = later(0)


def note_data(
    untrained: Sequence[str], untested: Sequence[str], shared: int, similar: int = 0, duplicates: int = 0
) -> DataNotes | None:
    """The notes on images, with the names of classes made fit for a record; None where there is nothing to note."""
    notes = DataNotes(
        untrained_classes=tuple(one_line(name, 200) or "?" for name in untrained[:100]),
        untested_classes=tuple(one_line(name, 200) or "?" for name in untested[:100]),
        shared_test_images=shared,
        similar_test_images=similar,
        duplicate_images=duplicates,
    )
    return None if notes == DataNotes() else notes


class RunRecord(Document):
    """One run: identity, status, metrics, cost, curve.

    Attributes:
        requires: Module whose import registers the architecture with timm; None for timm's own.
        family: Family of the backbone (``primary_cnn``, ``classical_cnn``, ``modern``, ``unknown``).
        category: Category of the optimizer (a to d of the study).
        stopped_step: Step at which a diverged or interrupted run ended.
        reason: Why a diverged or interrupted run ended there.
        reference_loss: Training loss in nats of a predictor that knows only the class frequencies. A run that ends
            above it has not trained. Older records have none.
        test_split: Name of the split that the test metrics were read on (ImageNet: ``validation``).
        val_correctness: Which validation images the last weights of a completed trial classify correctly, so that the
            choice among trials can be drawn again over these images. Final runs, among which nothing is chosen, hold
            none, and neither do older trials.
        weights_sha256: SHA-256 of ``model.safetensors`` beside the record of a completed final run.
        patterns: Weight patterns of the last weights of a completed final run, layer by layer; older records have none.
        inspections: Patterns and sharpness of a final run at steps of training that were asked for
            (``runtime.inspect_at``), in their order, also of a run that diverged later; empty where none were.
        starting_weights: The tensors that a fine-tuned run took of the weights that it names; older records do not say.
        data_notes: The facts about the images that a reader of the score must know; None where there are none.
        tuned: How the hyper-parameters of a final run were chosen among the trials of its cell; None where nobody said.
        supersedes: SHA-256 of the finished record that this one replaced on purpose.
        grid: The grid whose centres learning rate and weight decay were taken from or tuned around; older records have
            none, and theirs were the study's (``released``).
        finished_at: When the run ended, UTC, ISO 8601.
    """

    schema_version: Literal[1]
    run_id: RunId
    role: Role
    status: Status
    seed: Seed
    config_hash: ConfigHash
    identity: Identity
    requires: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,99}$")] | None
    family: Family
    category: Category
    stopped_step: Count | None
    reason: Text | None
    total_steps: Annotated[int, Field(ge=1, le=10**12)]
    metrics: Metrics
    reference_loss: Annotated[float, Field(ge=0, le=1e6)] | None = later(None)
    test_split: Text | None
    correctness: Correctness | None
    val_correctness: Correctness | None = later(None)
    weights_sha256: Sha256 | None
    cost: Cost
    environment: Environment
    curve: Curve
    patterns: WeightPatterns | None = later(None)
    inspections: tuple[Inspection, ...] = later((), max_length=100)
    starting_weights: StartingWeights | None = later(None)
    data_notes: DataNotes | None = later(None)
    tuned: Tuned | None = later(None)
    supersedes: Sha256 | None
    grid: Grid | None = later(None)
    finished_at: UtcTime

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
        if self.stopped_step is not None and self.stopped_step > self.total_steps:
            raise ValueError(f"stopped_step is {self.stopped_step}, but the run has {self.total_steps} steps")
        for name, steps in (("step", self.curve.step), ("val_step", self.curve.val_step)):
            if steps and steps[-1] > self.total_steps:
                raise ValueError(f"curve.{name} goes to {steps[-1]}, but the run has {self.total_steps} steps")
        if (self.metrics.score is None) != (self.identity.task.name == CLASSIFICATION):
            raise ValueError(f"metrics.score is {self.metrics.score}, but the task is {self.identity.task.name}")
        read_test = self.role == "final" and self.status == "completed"
        if read_test:
            self._check_test()
        elif any(self._test_metrics()) or self.correctness or self.test_split or self.weights_sha256:
            raise ValueError(f"a {self.status} {self.role} run must hold no test metric")
        if self.patterns is not None and not read_test:
            raise ValueError(f"a {self.status} {self.role} run must hold no weight patterns")
        self._check_inspections()
        if self.starting_weights is not None and self.identity.backbone.pretrained is None:
            raise ValueError("a run from scratch must hold no starting weights")
        val = self.metrics.val
        if self.role == "trial" and self.status == "completed" and (val is None or val.last is None):
            raise ValueError(f"a completed trial needs {'val_top1' if self.metrics.score is None else 'val_score'}")
        if self.tuned is not None and self.role != "final":
            raise ValueError("a trial must not say how it was tuned: it was chosen by nobody")
        self._check_validation()
        return self

    def _test_metrics(self) -> tuple[object, ...]:
        """All that a run holds of the test split beside the bits."""
        found = self.metrics
        return (found.test_top1, found.test_loss, found.test_top5, found.test_score, found.test_details)

    def _check_test(self) -> None:
        """Checks that a completed final run has its weights and a score of the test split that its parts agree on."""
        metrics, bits = self.metrics, self.correctness
        if metrics.score is None:
            top1 = metrics.test_top1
            if bits is None or self.test_split is None or top1 is None or top1.last is None:
                raise ValueError("a completed final run needs test_top1, test_split and correctness")
        else:
            top1 = metrics.test_score
            if self.test_split is None or top1 is None or top1.last is None:
                raise ValueError("a completed final run needs test_score and test_split")
            if bits is not None:
                raise ValueError(f"a run that is scored by {metrics.score} must hold no correctness")
        if self.weights_sha256 is None:
            raise ValueError("a completed final run needs weights_sha256")
        if self.test_split != self.identity.data.evaluation_split:
            raise ValueError(f"test_split is {self.test_split}, not {self.identity.data.evaluation_split}")
        if bits is None:
            return
        expected = 100 * bits.k / bits.n
        if top1.n != bits.n or abs(top1.last - expected) > 1e-9:
            raise ValueError(f"test_top1 is {top1.last} of {top1.n}, but the bits give {expected}")
        loss = metrics.test_loss
        if loss is not None and loss.n != bits.n:
            raise ValueError(f"test_loss is of {loss.n} images, but the bits are of {bits.n}")

    def _check_inspections(self) -> None:
        """Checks that inspections belong to a final run, lie within it, and come one after another."""
        steps = [inspection.step for inspection in self.inspections]
        if steps and self.role != "final":
            raise ValueError("a trial must hold no inspections")
        if any(b <= a for a, b in pairwise(steps)) or (steps and steps[-1] > self.total_steps):
            raise ValueError(f"inspections: steps {steps} must rise within the {self.total_steps} steps of the run")

    def _check_validation(self) -> None:
        """Checks that the bits of the validation images belong to a completed trial and agree with its score."""
        bits, top1 = self.val_correctness, self.metrics.val_top1
        if bits is None:
            return
        if self.role != "trial" or self.status != "completed":
            raise ValueError(f"a {self.status} {self.role} run must hold no val_correctness")
        if top1 is None or top1.last is None or top1.n != bits.n or abs(top1.last - 100 * bits.k / bits.n) > 1e-9:
            stated = "missing" if top1 is None else f"{top1.last} of {top1.n}"
            raise ValueError(f"val_top1 is {stated}, but val_correctness gives {100 * bits.k / bits.n} of {bits.n}")

    def repository(self) -> str:
        """Name of the repository that this record belongs to, unless another cell of that name was there first."""
        return repository_name(*self.identity.cell().names)

    def repositories(self) -> tuple[str, ...]:
        """Names of the repositories that this record may lie in: the plain one, and the one of its cell alone."""
        return (self.repository(), own_repository_name(self.identity.cell()))

    def path(self) -> str:
        """Where the record lies in its repository."""
        return f"seeds/{self.seed}/record.json" if self.role == "final" else f"trials/{self.run_id}.json"


class FloorRecord(Document):
    """A floor of a data set: a score that needs no trained network.

    It lies at ``baselines/<kind>-<data>.json`` of a repository of its own.

    Attributes:
        kind: ``logistic_regression`` on pixels, or ``frozen_backbone``: the same on the features of an untrained
            network, or of one with the weights that ``backbone`` names.
        data: The data that it was fitted on; tables show it beside runs of the same name, revision and split rule.
        backbone: The frozen network.
        seed: Seed of the initial weights of that network.
        hyperparameters: Hyper-parameters of the estimator.
        seconds: Wall time of the fit.
        converged: Whether the fit ended before its limit of iterations. Where it did not, the floor may be too low.
            Older records do not say.
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
    seconds: Seconds
    converged: bool | None = later(None)
    environment: Environment
    finished_at: UtcTime

    @model_validator(mode="after")
    def _network(self) -> FloorRecord:
        given = (self.backbone is not None, self.seed is not None)
        if given != (self.kind == "frozen_backbone",) * 2:
            raise ValueError("backbone and seed are given exactly for a frozen backbone")
        if self.test_split != self.data.evaluation_split:
            raise ValueError(f"test_split is {self.test_split}, not {self.data.evaluation_split}")
        return self

    def repository(self) -> str:
        """Name of the repository that this record belongs to."""
        return floor_repository_name(self.data.name)

    def repositories(self) -> tuple[str, ...]:
        """Names of the repositories that this record may lie in: one, for the path names the data exactly."""
        return (self.repository(),)

    def path(self) -> str:
        """Where the record lies in its repository; each revision, size and split of data, and network, has a place."""
        return floor_path(self.kind, self.data, self.backbone, self.seed)


R = TypeVar("R", RunRecord, FloorRecord)


def parse_record(content: bytes, source: str, model: type[R] = RunRecord) -> R:
    """Reads and validates a stored record.

    Args:
        content: UTF-8 JSON.
        source: Name of the record for an error.
        model: The kind of record that it must be.

    Raises:
        InputError: The record is too large, malformed, inconsistent, or of a newer schema.
    """
    return parse_document(model, content, source, "record", MAX_BYTES, SCHEMA_VERSION)


def read_record(path: Path, source: str) -> RunRecord:
    """Reads a file with ``parse_record``; no more of it is read than a record can hold.

    Raises:
        InputError: The record is too large, malformed, inconsistent, or of a newer schema.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return parse_record(file.read(MAX_BYTES + 1), source)


def wilson_interval(k: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """Returns the 95 % interval of a proportion, in percent (Wilson 1927).

    Args:
        k: Successes.
        n: Attempts, at least 1.
        z: Normal quantile.
    """
    centre = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)
