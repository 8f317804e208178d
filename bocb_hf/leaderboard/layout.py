"""What the leaderboard's one file holds: a Parquet file with a row for each table, cell, cost front and final run.

``kind`` says which. Cells and runs carry what tables and filters need in columns of their own; what is shown only after
a click lies in ``payload`` as JSON, and a reader takes it from the row group in question. Rows are ordered by kind, so
that a start reads the first groups only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field

from bocb_hf.runs.patterns import WeightPatterns
from bocb_hf.schema import Frozen

VERSION = 2  # of this layout; in the metadata of the file
VERSION_KEY = b"bocb_leaderboard"
Kind = Literal["table", "cell", "front", "run"]
LEVELS = ("self-reported", "verified", "reproduced")  # ascending
FAMILIES = {"primary_cnn": "primary CNN", "classical_cnn": "classical CNN", "modern": "modern", "unknown": "unknown"}
GROUP = 128  # rows of a group: what a click reads

_TEXT = ("kind", "table", "backbone", "family", "optimizer", "category", "config_hash", "namespace", "repository")
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in (*_TEXT, "level", "status", "run_id", "record_sha256")),
        *((name, pa.int64()) for name in ("n", "diverged", "seed", "trials", "rank", "memory_bytes")),
        *(
            (name, pa.float64())
            for name in ("mean", "low", "high", "standard_error", "lr", "weight_decay", "test_loss", "train_loss")
        ),
        *((name, pa.float64()) for name in ("residual", "residual_low", "residual_high", "wall_seconds")),
        *((name, pa.bool_()) for name in ("near_best", "candidate", "failed", "collapsed")),
        ("seeds", pa.list_(pa.int64())),
        ("scores", pa.list_(pa.float64())),
        ("payload", pa.string()),
    ],
    metadata={VERSION_KEY: str(VERSION).encode()},
)

Text = Annotated[str, Field(max_length=200_000)]  # a sentence may list the cells of a large table
Name = Annotated[str, Field(min_length=1, max_length=200)]


class FloorRow(Frozen):
    """A floor row in words, and the backbone whose floor it is; None for all."""

    text: Text
    backbone: Name | None


class LedgerRow(Frozen):
    """Tuning of one optimizer over its backbones, in words of the ledger."""

    optimizer: Name
    cells: int
    trials: Text
    rates: Text
    epochs: Text
    diverged: int
    edges: int
    tuning_hours: float
    final_hours: float


class TriedRow(Frozen):
    """``bocb_hf.recommend.evidence.Tried``, the best trial of a cell."""

    backbone: Name
    optimizer: Name
    lr: float
    weight_decay: float
    trials: int
    steps: tuple[int, int] | None


class TableInfo(Frozen):
    """The payload of a table.

    Attributes:
        source: ``records``, or ``published`` for a table of the study.
        title: For people.
        analysis: ``bocb_hf.coupling.analysis.to_plain``, computed when the file was made.
        sentences: The same in words.
        contrast: The primary contrast in words.
        notes: What a reader must know.
        ledger: None for a published table.
        fairness: What was unequal.
        robustness: ``Robustness`` as plain data; None without trials.
        trial_curves: ``TrialCurve``s as plain data.
        tried: Best trials, of which a recommendation takes its starts; None for a published table.
    """

    id: Name
    title: Text
    source: Literal["records", "published"]
    origin: Text
    dataset: Name
    setting: Name
    revision: Text
    metric: Name
    split: Text
    n_test: int | None
    num_classes: int | None
    trials_per_value: int
    seeds: list[int]
    backbones: list[Name]
    families: list[Name]
    clusters: list[Name]
    optimizers: list[Name]
    categories: list[Name]
    analysis: dict[str, Any]
    sentences: list[Text]
    contrast: list[Text]
    notes: list[Text]
    floors: list[FloorRow]
    ledger: list[LedgerRow] | None
    fairness: list[Text]
    robustness: dict[str, Any] | None
    trial_curves: list[dict[str, Any]]
    tried: list[TriedRow] | None


class Trial(Frozen):
    """One tuning trial; ``val_top1`` is None where it diverged."""

    lr: float
    weight_decay: float
    val_top1: float | None


class OtherConfiguration(Frozen):
    """A configuration of the same cell that is shown beside it, never pooled."""

    config_hash: Text
    n: int
    mean: float | None
    low: float | None
    high: float | None


class CellInfo(Frozen):
    """The payload of a cell: what its page adds to its columns."""

    selection: Text | None = None
    edge: bool | None = None
    survivor_mean: float | None = None
    failure_low: float | None = None
    failure_high: float | None = None
    trials: tuple[Trial, ...] = ()
    others: tuple[OtherConfiguration, ...] = ()


class RunInfo(Frozen):
    """The payload of a final run.

    Attributes:
        metrics: Last values by name; accuracies in percent, losses in nats.
        hyperparameters: Every field of the identity, resolved, as text.
        diagnosis: What its curve shows, in words.
        steps: At which ``losses`` were logged; ``val_steps`` and ``val_top1`` likewise.
        patterns: Of the last weights; None for a record that holds none.
    """

    path: Text
    finished_at: Text
    reason: Text | None
    weights: bool
    metrics: Mapping[str, float | None]
    hyperparameters: Mapping[str, Text]
    environment: Text
    cost: Mapping[str, Text]
    diagnosis: list[Text]
    epochs_per_step: float
    steps: list[int]
    losses: list[float]
    val_steps: list[int]
    val_top1: list[float]
    patterns: WeightPatterns | None = None
