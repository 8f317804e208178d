"""The model card of a cell's repository: a projection of its records, and back.

The YAML block ``bocb`` is what an aggregator reads from a listing; each entry names the SHA-256 of its record, which
stays the truth. The text below it is for people. Both are rendered from records only, through the one template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import jinja2
from pydantic import Field, ValidationError

from bocb_hf import strict_yaml
from bocb_hf.backbones import BACKBONES
from bocb_hf.coupling.statistics import estimate
from bocb_hf.data import DATASETS
from bocb_hf.errors import InputError
from bocb_hf.optim import CATEGORIES, OPTIMIZERS
from bocb_hf.record import RunRecord, Status, make_run_id, wilson_interval
from bocb_hf.resources import resource
from bocb_hf.retraction import Retraction
from bocb_hf.schema import Frozen, Seed, Slug, describe_errors, later

CARD_VERSION = 1
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)

Hash64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Hash12 = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
EvalTask = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
Percent = Annotated[float, Field(ge=0, le=100)]


class RunEntry(Frozen):
    """One final run in at most 2 KB. ``correct`` of ``test_images`` are right; both None unless it completed."""

    run_id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}-[0-9]{1,10}$")]
    seed: Seed
    config_hash: Hash12
    record_sha256: Hash64
    status: Status
    test_top1: Percent | None
    correct: int | None
    test_images: int | None
    lr: float
    weight_decay: float
    wall_seconds: float


class TrialEntry(Frozen):
    """What the tuning of this cell tried: one entry a trial."""

    config_hash: Hash12
    seed: Seed
    status: Status
    lr: float
    weight_decay: float
    val_top1: Percent | None
    record_sha256: Hash64 | None = later(None)


class RetractedEntry(Frozen):
    """A run that its owner withdrew."""

    run_id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}-[0-9]{1,10}$")]
    record_sha256: Hash64
    reason: Annotated[str, Field(max_length=500)]


class PeerEntry(Frozen):
    """Another optimizer on the same backbone, data and setting; ``top1`` is None unless its runs completed."""

    repository: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,96}/[A-Za-z0-9._-]{1,96}$")]
    optimizer: Slug
    n: Annotated[int, Field(ge=0)]
    top1: Percent | None


class Peers(Frozen):
    """What the other cells of this backbone held when somebody last looked: ``bocb render`` looks again."""

    as_of: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    entries: list[PeerEntry]


class CardBlock(Frozen):
    """The block ``bocb`` of a card's metadata.

    Attributes:
        eval_task: Of the benchmark that ``.eval_results/bocb.yaml`` states the score for; None where that is off.
    """

    card_version: Literal[1]
    dataset: Annotated[str, Field(max_length=200)]
    data_revisions: list[str]
    setting: Slug
    backbone: Annotated[str, Field(max_length=200)]
    family: Annotated[str, Field(max_length=40)]
    optimizer: Slug
    category: Annotated[str, Field(max_length=1)]
    runs: list[RunEntry]
    trials: list[TrialEntry]
    retracted: list[RetractedEntry] = later([])
    peers: Peers | None = later(None)
    eval_task: EvalTask | None = later(None)

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
        finals: Records of final runs, one a seed.
        trials: Records of trials.
        retracted: Withdrawn runs.
        peers: The other optimizers of this backbone.
        eval_task: See ``CardBlock``.

    Raises:
        ValueError: No record, or records of several cells.
    """
    records = [*finals, *trials, *(record for record, _ in retracted)]
    cells = {record.identity.cell() for record in records}
    if len(cells) != 1:
        raise ValueError(f"a card describes one cell, but got {sorted(cells)}")
    first = records[0]
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
    )


def _run_entry(record: RunRecord) -> RunEntry:
    top1 = record.metrics.test_top1
    bits = record.correctness
    return RunEntry(
        run_id=record.run_id,
        seed=record.seed,
        config_hash=record.config_hash,
        record_sha256=record.sha256(),
        status=record.status,
        test_top1=top1.last if top1 else None,
        correct=bits.k if bits else None,
        test_images=bits.n if bits else None,
        lr=record.identity.optimizer.lr,
        weight_decay=record.identity.optimizer.weight_decay,
        wall_seconds=record.cost.wall_seconds,
    )


def _trial_entry(record: RunRecord) -> TrialEntry:
    val = record.metrics.val_top1
    return TrialEntry(
        config_hash=record.config_hash,
        seed=record.seed,
        status=record.status,
        lr=record.identity.optimizer.lr,
        weight_decay=record.identity.optimizer.weight_decay,
        val_top1=val.last if val and record.status == "completed" else None,
        record_sha256=record.sha256(),
    )


def render_card(
    repository: str,
    finals: Sequence[RunRecord],
    trials: Sequence[RunRecord],
    retracted: Sequence[tuple[RunRecord, Retraction]] = (),
    peers: Peers | None = None,
    eval_task: str | None = None,
) -> str:
    """The whole README.md of a cell.

    Args:
        repository: ``namespace/name``.
        finals: Valid records of final runs, one a seed.
        trials: Valid records of trials.
        retracted: Withdrawn runs with their tombstones.
        peers: The other optimizers of this backbone.
        eval_task: See ``CardBlock``.

    Raises:
        ValueError: No record, or records of several cells.
    """
    block = make_block(finals, trials, retracted, peers, eval_task)
    metadata = _metadata(repository, block, finals)
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_plain,
    )
    template = environment.from_string(resource("model_cards/model_card.md.jinja").read_text(encoding="utf-8"))
    shown = [*finals, *trials] or [record for record, _ in retracted]
    body = template.render(**_context(repository, block, finals, shown))
    return f"---\n{strict_yaml.dump(metadata)}---\n{body}"


# signs that could begin a tag, a link, a cell or a code span, by others that look alike
_SIGNS = str.maketrans({"<": "‹", ">": "›", "|": "¦", "`": "ʼ", "[": "⟦", "]": "⟧", "\\": "∖"})


def _plain(value: Any) -> Any:
    """A value as one line of text without markup: records hold what other people wrote."""
    if isinstance(value, bool | int | float):
        return value
    return re.sub(r"\s+", " ", str(value).translate(_SIGNS))


def parse_card(text: str, source: str) -> CardBlock:
    """Reads the block back from a card.

    Raises:
        InputError: No metadata, no block, or a block that is not valid or newer than this installation reads.
    """
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise InputError(f"{source}: no YAML metadata between --- lines at the start")
    metadata = strict_yaml.parse(match.group(1), source)
    return parse_metadata(metadata, source)


def parse_metadata(metadata: Any, source: str) -> CardBlock:
    """Reads the block from the metadata of a card, as a listing of the Hub gives it.

    Raises:
        InputError: As ``parse_card``; also a block of more than 1 MB.
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


def _metadata(repository: str, block: CardBlock, finals: Sequence[RunRecord]) -> dict[str, Any]:
    """The card's YAML: what the Hub knows, then our block."""
    dataset = DATASETS.get(block.dataset).hub_id if block.dataset in DATASETS else block.dataset
    name = repository.split("/")[-1]
    results = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"type": dataset, "name": block.dataset, "split": record.identity.data.evaluation_split}
            | {"revision": record.identity.data.revision},
            "metrics": [
                {"type": "accuracy", "value": entry.test_top1, "name": f"top-1 (%), last weights, seed {entry.seed}"}
            ],
        }
        for entry, record in zip(block.runs, sorted(finals, key=lambda r: r.seed), strict=True)
        if entry.test_top1 is not None
    ]
    library = "timm" if _loads_with_timm(block.backbone) else "transformers"
    metadata: dict[str, Any] = {
        "library_name": library,
        "pipeline_tag": "image-classification",
        "license": "apache-2.0",
        "metrics": ["accuracy"],
        "tags": ["bocb", library, "image-classification", f"backbone:{block.backbone}", f"optimizer:{block.optimizer}"],
    }
    if re.fullmatch(r"[\w.-]+/[\w.-]+", dataset) and not dataset.startswith("local/"):
        metadata["datasets"] = [dataset]
    sources = {record.identity.backbone.pretrained for record in finals}
    if len(sources) == 1 and re.fullmatch(r"[\w.-]+/[\w.-]+", source := str(sources.pop())):
        metadata["base_model"] = source
    if results:
        metadata["model-index"] = [{"name": name, "results": results}]
    return metadata | {"bocb": block.model_dump(mode="json")}


def _context(
    repository: str, block: CardBlock, finals: Sequence[RunRecord], shown: Sequence[RunRecord]
) -> dict[str, Any]:
    """What the template shows."""
    records = sorted(finals, key=lambda r: r.seed) or sorted(shown, key=lambda r: r.run_id)
    completed = [r for r in finals if r.status == "completed"]
    record = min(completed, key=lambda r: r.seed) if completed else records[0]
    rows = [
        {
            "entry": entry,
            "record": record,
            "interval": wilson_interval(record.correctness.k, record.correctness.n) if record.correctness else None,
        }
        for entry, record in zip(block.runs, sorted(finals, key=lambda r: r.seed), strict=True)
    ]
    scores = [entry.test_top1 for entry in block.runs if entry.test_top1 is not None]
    # several configurations are shown side by side, never pooled
    pooled = estimate(scores, None) if scores and len({r.config_hash for r in completed}) == 1 else None
    return {
        "repository": repository,
        "block": block,
        "rows": rows,
        "mean": pooled.mean if pooled else None,
        "seed_interval": pooled.interval() if pooled else None,
        "places": _places(repository, block, pooled.mean if pooled else None, len(scores)),
        "curves": any(r.curve.step for r in finals),
        "devices": sorted({f"{r.environment.device} × {r.environment.processes}" for r in finals}),
        "wall_seconds": sum(r.cost.wall_seconds for r in finals),
        "energy_joules": sum(r.cost.energy_joules or 0 for r in finals)
        if finals and all(r.cost.energy_joules is not None for r in finals)
        else None,
        "seeds": [r.seed for r in sorted(completed, key=lambda r: r.seed)],
        "record": record,
        "completed": bool(completed),
        "backbone": BACKBONES.get(block.backbone) if block.backbone in BACKBONES else None,
        "optimizer": OPTIMIZERS.get(block.optimizer) if block.optimizer in OPTIMIZERS else None,
        "category": CATEGORIES.get(block.category, ""),
        "with_timm": _loads_with_timm(block.backbone),
        "dataset": DATASETS.get(block.dataset) if block.dataset in DATASETS else None,
    }


def _places(repository: str, block: CardBlock, mean: float | None, n: int) -> list[dict[str, Any]]:
    """This cell among the other optimizers of its backbone, best mean first, those without one last."""
    if block.peers is None:
        return []
    own = PeerEntry(repository=repository, optimizer=block.optimizer, n=n, top1=mean)
    entries = [own, *(entry for entry in block.peers.entries if entry.repository != repository)]
    ranked = sorted(entries, key=lambda e: (e.top1 is None, -(e.top1 or 0.0), e.optimizer))
    return [
        {"entry": e, "own": e is own, "label": OPTIMIZERS.get(o).short if (o := e.optimizer) in OPTIMIZERS else o}
        for e in ranked
    ]


def _loads_with_timm(backbone: str) -> bool:
    """Every backbone is a timm model, except an image classifier of transformers."""
    return not backbone.startswith("transformers:")
