"""The record of one run: the truth from which cards and tables are drawn. ``measurements.py`` has its parts.

A record is validated when it is made and again when it is read. Nothing in it names a host, a user or a path.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from bocb_hf.errors import InputError
from bocb_hf.optim.row import Grid
from bocb_hf.runs.identity import BackboneIdentity, DataIdentity, Identity
from bocb_hf.runs.measurements import Correctness, Cost, Curve, Environment, Metrics, NonNegative, Text
from bocb_hf.runs.naming import floor_path, floor_repository_name, make_run_id, repository_name
from bocb_hf.runs.patterns import WeightPatterns
from bocb_hf.schema import (
    ConfigHash,
    Count,
    Document,
    Positive,
    Role,
    RunId,
    Scalar,
    Seed,
    Sha256,
    UtcTime,
    later,
    parse_document,
)

SCHEMA_VERSION = 1
MAX_BYTES = 20_000_000  # correctness bits of 50,000 images are 8 KB; a curve of 10,000 points is under 1 MB

Status = Literal["completed", "diverged", "interrupted"]
Family = Literal["primary_cnn", "classical_cnn", "modern", "unknown"]
Category = Literal["a", "b", "c", "d"]


class RunRecord(Document):
    """One run: identity, status, metrics, cost, curve.

    Attributes:
        requires: Module whose import registers the architecture with timm; None for timm's own.
        family: Family of the backbone (``primary_cnn``, ``classical_cnn``, ``modern``, ``unknown``).
        category: Category of the optimizer (a to d of the study).
        stopped_step: Step at which a diverged or interrupted run ended.
        reason: Why it did.
        test_split: Which split the test metrics were read on (ImageNet: ``validation``).
        weights_sha256: Of ``model.safetensors`` beside the record of a completed final run.
        patterns: Of the last weights of a completed final run, layer by layer; older records have none.
        supersedes: SHA-256 of the finished record that this one replaced on purpose.
        grid: Whose grid centres learning rate and weight decay were taken from or tuned around; older records have
            none, and theirs were the study's (``released``).
        finished_at: UTC, ISO 8601.
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
    total_steps: Positive
    metrics: Metrics
    test_split: Text | None
    correctness: Correctness | None
    weights_sha256: Sha256 | None
    cost: Cost
    environment: Environment
    curve: Curve
    patterns: WeightPatterns | None = later(None)
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
        if self.patterns is not None and not read_test:
            raise ValueError(f"a {self.status} {self.role} run must hold no weight patterns")
        val = self.metrics.val_top1
        if self.role == "trial" and self.status == "completed" and (val is None or val.last is None):
            raise ValueError("a completed trial needs val_top1")
        return self

    def repository(self) -> str:
        """Name of the repository that this record belongs to."""
        return repository_name(*self.identity.cell())

    def path(self) -> str:
        """Where the record lies in its repository."""
        return f"seeds/{self.seed}/record.json" if self.role == "final" else f"trials/{self.run_id}.json"


class FloorRecord(Document):
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
    finished_at: UtcTime

    @model_validator(mode="after")
    def _network(self) -> FloorRecord:
        given = (self.backbone is not None, self.seed is not None)
        if given != (self.kind == "frozen_backbone",) * 2:
            raise ValueError("backbone and seed are given exactly for a frozen backbone")
        return self

    def repository(self) -> str:
        """Name of the repository that this record belongs to."""
        return floor_repository_name(self.data.name)

    def path(self) -> str:
        """Where the record lies in its repository; one for each revision, size and split of the data, and network."""
        return floor_path(self.kind, self.data, self.backbone, self.seed)


R = TypeVar("R", RunRecord, FloorRecord)


def parse_record(content: bytes, source: str, model: type[R] = RunRecord) -> R:
    """Reads and validates a stored record.

    Args:
        content: UTF-8 JSON.
        source: What to call it in an error.
        model: Which kind of record it must be.

    Raises:
        InputError: Too large, malformed, inconsistent, or of a newer schema.
    """
    version = _schema_version(content)
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise InputError(
            f"{source}: schema version {version} is newer than {SCHEMA_VERSION}, the newest readable here; "
            "upgrade bocb-hf"
        )
    return parse_document(model, content, source, "record", MAX_BYTES)


def read_record(path: Path, source: str) -> RunRecord:
    """``parse_record`` of a file, of which no more is read than a record can hold.

    Raises:
        InputError: As ``parse_record``.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return parse_record(file.read(MAX_BYTES + 1), source)


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
