"""The block ``bocb`` in the metadata of a model card: a projection of a cell's records, and back.

An aggregator reads this block from a listing; each entry names the SHA-256 of its record, which stays the truth.
``bocb_hf.store.cards.text`` renders the whole card.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError, model_validator

from bocb_hf.errors import InputError
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.identity import cell_differences
from bocb_hf.runs.measurements import NonNegative
from bocb_hf.runs.naming import make_run_id
from bocb_hf.runs.record import Category, Family, RunRecord, Status
from bocb_hf.runs.retraction import Retraction
from bocb_hf.runs.tasks import CLASSIFICATION
from bocb_hf.schema import (
    ConfigHash,
    Count,
    DataRevision,
    Frozen,
    Name,
    Positive,
    Printable,
    RepositoryId,
    RunId,
    Seed,
    Sha256,
    Slug,
    describe_errors,
    later,
)

CARD_VERSION = 1
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)

EvalTask = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Percent = Annotated[float, Field(ge=0, le=100)]
LearningRate = Annotated[float, Field(gt=0)]


class RunEntry(Frozen):
    """One final run in at most 2 KB. ``correct`` of ``test_images`` are right; only a completed run has a score.

    Attributes:
        score: Score of a task other than classification in percent, which has no ``test_top1`` and no ``correct``.
    """

    run_id: RunId
    seed: Seed
    config_hash: ConfigHash
    record_sha256: Sha256
    status: Status
    test_top1: Percent | None
    correct: Count | None
    test_images: Positive | None
    lr: LearningRate
    weight_decay: NonNegative
    wall_seconds: NonNegative
    score: Percent | None = later(None)

    @property
    def value(self) -> float | None:
        """The score of the run in percent, whatever the task."""
        return self.test_top1 if self.score is None else self.score

    @model_validator(mode="after")
    def _consistent(self) -> RunEntry:
        if self.run_id != make_run_id(self.config_hash, self.seed):
            raise ValueError(f"run_id is {self.run_id}, but must be {make_run_id(self.config_hash, self.seed)}")
        if self.score is not None:
            if (self.test_top1, self.correct) != (None, None) or self.test_images is None or self.status != "completed":
                raise ValueError("a completed run with a score has test_images, and neither test_top1 nor correct")
            return self
        score = (self.test_top1, self.correct, self.test_images)
        if any((value is None) == (self.status == "completed") for value in score):
            raise ValueError("test_top1, correct and test_images are given exactly for a completed run")
        if self.test_top1 is not None and self.correct is not None and self.test_images is not None:
            expected = 100 * self.correct / self.test_images
            if not abs(self.test_top1 - expected) <= 1e-9:
                raise ValueError(f"test_top1 is {self.test_top1}, but {self.correct} of {self.test_images} are right")
        return self


class TrialEntry(Frozen):
    """One trial of the tuning of this cell."""

    config_hash: ConfigHash
    seed: Seed
    status: Status
    lr: LearningRate
    weight_decay: NonNegative
    val_top1: Percent | None
    record_sha256: Sha256 | None = later(None)
    val_score: Percent | None = later(None)

    @property
    def value(self) -> float | None:
        """The score of the trial in percent, whatever the task."""
        return self.val_top1 if self.val_score is None else self.val_score


class RetractedEntry(Frozen):
    """A run that its owner has retracted."""

    run_id: RunId
    record_sha256: Sha256
    reason: Annotated[Printable, Field(max_length=500)]


class PeerEntry(Frozen):
    """Another optimizer on the same backbone, data and setting; ``top1`` is None unless its runs completed."""

    repository: RepositoryId
    optimizer: Slug
    n: Count
    top1: Percent | None


class Peers(Frozen):
    """The other cells of this backbone as ``bocb render`` last found them."""

    as_of: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    entries: list[PeerEntry]


class CardBlock(Frozen):
    """The block ``bocb`` of a card's metadata.

    Attributes:
        eval_task: Task of the benchmark that ``.eval_results/bocb.yaml`` states the score for; None where no score is
            stated.
        pretrained: SHA-256 of each file of weights that runs of the cell started from; random weights have none. Older
            cards do not say.
        task: The task of the runs.
        metric: Name of the score of a task other than classification; None for a classifier.
    """

    card_version: Literal[1]
    dataset: Name
    data_revisions: list[DataRevision]
    setting: Slug
    backbone: Name
    family: Family
    optimizer: Slug
    category: Category
    runs: list[RunEntry]
    trials: list[TrialEntry]
    retracted: list[RetractedEntry] = later([])
    peers: Peers | None = later(None)
    eval_task: EvalTask | None = later(None)
    pretrained: list[Sha256] = later([])
    task: Slug = later(CLASSIFICATION)
    metric: Annotated[Printable, Field(max_length=40)] | None = later(None)

    @model_validator(mode="after")
    def _once(self) -> CardBlock:
        if len(self.paths()) != len(self.runs) + len(self.trials):
            raise ValueError("a seed, or a trial, is listed twice")
        return self

    def paths(self) -> dict[str, str | None]:
        """SHA-256 of each record that the card lists, by its path in the repository; None in cards before it was kept.

        The paths are made from checked numbers, never taken from a file name.
        """
        finals = {f"seeds/{entry.seed}/record.json": entry.record_sha256 for entry in self.runs}
        trials = {f"trials/{make_run_id(e.config_hash, e.seed)}.json": e.record_sha256 for e in self.trials}
        return finals | trials


def make_block(
    finals: Sequence[RunRecord],
    trials: Sequence[RunRecord],
    retracted: Sequence[tuple[RunRecord, Retraction]] = (),
    peers: Peers | None = None,
    eval_task: str | None = None,
) -> CardBlock:
    """Projects the records of one cell.

    Args:
        finals: Records of final runs, one for each seed.
        trials: Records of trials.
        retracted: Retracted runs.
        peers: The other optimizers of this backbone.
        eval_task: Task of the benchmark that the score is stated for, as in ``CardBlock``.

    Raises:
        ValueError: There is no record, or records are of several cells.
    """
    records = [*finals, *trials, *(record for record, _ in retracted)]
    if not records:
        raise ValueError("a card describes one cell, but got no record")
    first = records[0]
    for record in records:
        if record.identity.cell().names != first.identity.cell().names:
            raise ValueError(
                f"a card describes one cell, but {first.path()} and {record.path()} differ in "
                f"{', '.join(cell_differences(first.identity, record.identity))}"
            )
    return CardBlock(
        card_version=CARD_VERSION,
        dataset=first.identity.data.name,
        data_revisions=sorted({record.identity.data.revision for record in records}),
        setting=first.identity.setting,
        backbone=first.identity.backbone.name,
        family=first.family,
        optimizer=first.identity.optimizer.name,
        category=first.category,
        runs=[_run_entry(record) for record in sorted(finals, key=lambda r: r.seed)],
        trials=[_trial_entry(record) for record in sorted(trials, key=lambda r: (r.identity.optimizer.lr, r.run_id))],
        retracted=[
            RetractedEntry(run_id=record.run_id, record_sha256=tombstone.record_sha256, reason=tombstone.reason)
            for record, tombstone in sorted(retracted, key=lambda pair: pair[1].record_sha256)
        ],
        peers=peers,
        eval_task=eval_task,
        pretrained=sorted({sha for r in records if (sha := r.identity.backbone.pretrained_sha256) is not None}),
        task=first.identity.task.name,
        metric=first.metrics.score,
    )


def _run_entry(record: RunRecord) -> RunEntry:
    top1, score = record.metrics.test_top1, record.metrics.test_score
    bits = record.correctness
    return RunEntry(
        run_id=record.run_id,
        seed=record.seed,
        config_hash=record.config_hash,
        record_sha256=record.sha256(),
        status=record.status,
        test_top1=top1.last if top1 else None,
        correct=bits.k if bits else None,
        test_images=bits.n if bits else score.n if score else None,
        lr=record.identity.optimizer.lr,
        weight_decay=record.identity.optimizer.weight_decay,
        wall_seconds=record.cost.wall_seconds,
        score=score.last if score else None,
    )


def _trial_entry(record: RunRecord) -> TrialEntry:
    val, score = record.metrics.val_top1, record.metrics.val_score
    return TrialEntry(
        config_hash=record.config_hash,
        seed=record.seed,
        status=record.status,
        lr=record.identity.optimizer.lr,
        weight_decay=record.identity.optimizer.weight_decay,
        val_top1=val.last if val and record.status == "completed" else None,
        record_sha256=record.sha256(),
        val_score=score.last if score and record.status == "completed" else None,
    )


def parse_card(text: str, source: str) -> CardBlock:
    """Reads the block back from a card.

    Raises:
        InputError: The card has no metadata or no block, or its block is not valid or newer than this installation
            reads.
    """
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise InputError(f"{source}: no YAML metadata between --- lines at the start")
    metadata = strict_yaml.parse(match.group(1), source)
    return parse_metadata(metadata, source)


def parse_metadata(metadata: Any, source: str) -> CardBlock:
    """Reads the block from the metadata of a card, as a listing of the Hub gives it.

    Raises:
        InputError: There is no block, or it is not valid, newer than this installation reads, or larger than 1 MB.
    """
    block = cast(dict[str, Any], metadata).get("bocb") if isinstance(metadata, dict) else None
    if not isinstance(block, dict):
        raise InputError(f"{source}: its metadata has no block `bocb`; this is not a card of ours")
    version = cast(dict[str, Any], block).get("card_version")
    if isinstance(version, int) and version > CARD_VERSION:
        raise InputError(f"{source}: card version {version} is newer than {CARD_VERSION}; upgrade bocb-hf")
    try:
        content = json.dumps(block)
        if len(content) > strict_yaml.MAX_BYTES:
            raise InputError(f"{source}: its block is larger than {strict_yaml.MAX_BYTES} bytes")
        return CardBlock.model_validate_json(content)
    except InputError:
        raise
    except (ValidationError, TypeError, ValueError, RecursionError) as error:
        lines = describe_errors(error, CardBlock) if isinstance(error, ValidationError) else [str(error)]
        raise InputError(f"{source}: not a valid card: " + "; ".join(lines[:5])) from None
