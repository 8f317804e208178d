"""What the leaderboard's Parquet file holds: a row for each table, cell, cost front, final run and answer.

``kind`` says which. Cells and runs carry what tables and filters need in columns of their own; what is shown only after
a click lies in ``payload`` as JSON, and a reader takes it from the row group in question. Rows are ordered by kind, so
that a start reads the first groups only. The page is drawn from this file, and programs read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import Field

from bocb_hf.runs.patterns import Inspection, WeightPatterns
from bocb_hf.schema import Frozen, later

VERSION = 3  # of this layout; in the metadata of the file
READABLE = (2, 3)  # layouts that are read; what a later one added is absent from a file of an earlier one
VERSION_KEY = b"bocb_leaderboard"
KINDS = ("table", "cell", "front", "run", "answer")  # in the order of the file
LEVELS = ("self-reported", "verified", "reproduced")  # ascending
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


class CellLedger(Frozen):
    """Tuning and training of one cell: an entry of ``bocb_hf.coupling.ledger`` with its texts."""

    backbone: Name
    optimizer: Name
    trials: int
    diverged: int
    rates: Text
    decays: Text
    lr: float | None
    weight_decay: float | None
    edge: bool | None
    extensions: int
    chosen_by: Text
    epochs: Text
    steps: Text
    tuning_seconds: float
    final_seconds: float


class DifferenceRow(Frozen):
    """SGD minus adaptive on one backbone, in points, with its interval where there is one."""

    backbone: Name
    value: float
    low: float | None
    high: float | None


class Told(Frozen):
    """What the findings of a table say, in the very words of the terminal and of ``analysis.json``.

    Attributes:
        answer: The answer of the table in at most three sentences.
        reading: What intervals and tests are over.
        primary: The primary statistic, and who named it.
        comparisons: Optimizers compared over backbones, in words.
        differences: What the family contrast compares: d of each backbone.
        profiles: Performance profiles as plain data.
        times: Time to target as plain data; None without validation curves.
        grids: A sentence on the grids of the rates, where there is something to say.
        environments: Number of final runs and words of each combination of device and software, most frequent first.
        date: Day of the newest run, or None for a published table.
        parameters: Trainable parameters of each backbone's runs; None where they differ or are not known.
        cells_ledger: Tuning and training of each cell; None for a published table.
        example: A command that repeats one run; None without any.
    """

    answer: list[Text]
    reading: list[Text]
    primary: Text | None
    comparisons: list[Text]
    profiles: dict[str, Any] | None
    times: dict[str, Any] | None
    differences: list[DifferenceRow] = Field(default_factory=list)
    grids: list[Text] = Field(default_factory=list)
    environments: list[tuple[int, Text]] = Field(default_factory=list)
    date: Text | None = None
    parameters: list[int | None] = Field(default_factory=list)
    cells_ledger: list[CellLedger] | None = None
    example: Text | None = None


class Start(Frozen):
    """Where to start tuning with one optimizer of an answer; numbers are None where it has no row."""

    optimizer: Name
    lr: float | None
    weight_decay: float | None
    rates: list[float]
    decays: list[float]
    source: Text


class AnswerInfo(Frozen):
    """The payload of an answer: what a table says of one backbone, or of a design that it has not measured.

    ``{backbone}`` in a text stands for the name that was asked about.

    Attributes:
        own: Whether the table holds scores of this backbone itself.
        bounded: Whether the set keeps the bound of the expected regret.
        regret: Expected points below the best of all candidates, with its interval.
    """

    own: bool
    bounded: bool
    use: list[Name]
    regret: float
    interval: tuple[float, float] | None
    sentences: list[Text]
    evidence: list[Text]
    caveats: list[Text]
    next: list[Text]
    start: list[Start]
    commands: list[Text]


class TransferRow(Frozen):
    """The cells of one pre-training on one backbone, one for each fine-tuning optimizer, in words."""

    pretraining: Text
    cells: list[Text]


class TransferBackbone(Frozen):
    """The pre-training × fine-tuning table of one backbone."""

    backbone: Text
    optimizers: list[Text]
    rows: list[TransferRow]


class TransferInfo(Frozen):
    """A three-way table of transfer, in the words of the terminal (``report/words/transfer.py``)."""

    title: Text
    answer: list[Text]
    sentences: list[Text]
    backbones: list[TransferBackbone]


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
        told: What the findings say; None in a file of an earlier layout.
        unanswered: Why the file holds no answers from this table, and the command that gives them; None where it does.
        transfers: Three-way tables that runs of this table belong to, as pre-training or as fine-tuning.
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
    told: Told | None = None
    unanswered: Text | None = None
    transfers: list[TransferInfo] = later([])

    @property
    def claims(self) -> list[str]:
        """The family contrast in words; that of a published table is among the sentences of its analysis."""
        return self.contrast or [text for text in self.sentences if text.startswith("Family contrast")]


class Trial(Frozen):
    """One tuning trial; ``val_top1``, the validation score by the metric of its table, is None where it diverged."""

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


class TrialCurve(Frozen):
    """Validation scores of one trial over epochs, by the metric of its table."""

    seed: int
    epochs: list[float]
    val_top1: list[float]


class CellInfo(Frozen):
    """The payload of a cell: what its page adds to its columns.

    Attributes:
        curves: Of the trials that had the learning rate and weight decay of the cell; none in a file of an earlier
            layout.
    """

    selection: Text | None = None
    edge: bool | None = None
    survivor_mean: float | None = None
    failure_low: float | None = None
    failure_high: float | None = None
    trials: tuple[Trial, ...] = ()
    others: tuple[OtherConfiguration, ...] = ()
    curves: tuple[TrialCurve, ...] = ()


class RunInfo(Frozen):
    """The payload of a final run.

    Attributes:
        metrics: Last values by name; scores in percent, losses in nats or in the unit of the task.
        hyperparameters: Every field of the identity, resolved, as text.
        diagnosis: What its curve shows, in words.
        steps: At which ``losses`` were logged; ``val_steps`` and ``val_top1`` likewise, the latter by the metric of the
            table.
        patterns: Of the last weights; None for a record that holds none.
        inspections: Patterns and sharpness at steps of training, in their order; empty where none were asked for.
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
    inspections: tuple[Inspection, ...] = ()
