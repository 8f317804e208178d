"""The model card of a cell's repository: metadata for the Hub and text for people.

Metadata and text are rendered from records only, through one template.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import jinja2

from bocb_hf.backbones import BACKBONES
from bocb_hf.coupling.statistics import estimate
from bocb_hf.data import DATASETS
from bocb_hf.optim import CATEGORIES, OPTIMIZERS
from bocb_hf.resources import resource
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.card import CardBlock, PeerEntry, Peers, make_block
from bocb_hf.runs.record import RunRecord, wilson_interval
from bocb_hf.runs.retraction import Retraction
from bocb_hf.runs.tasks import TASKS
from bocb_hf.store.cards.patterns import pattern_section


def render_card(
    repository: str,
    finals: Sequence[RunRecord],
    trials: Sequence[RunRecord],
    retracted: Sequence[tuple[RunRecord, Retraction]] = (),
    peers: Peers | None = None,
    eval_task: str | None = None,
) -> str:
    """Renders the whole README.md of a cell.

    Args:
        repository: ``namespace/name``.
        finals: Valid records of final runs, one for each seed.
        trials: Valid records of trials.
        retracted: Retracted runs with their tombstones.
        peers: The other optimizers of this backbone.
        eval_task: Task of the benchmark that the score is stated for, as in ``CardBlock``.

    Raises:
        ValueError: There is no record, or records are of several cells.
    """
    block = make_block(finals, trials, retracted, peers, eval_task)
    metadata = _metadata(repository, block, finals)
    shown = [*finals, *trials] or [record for record, _ in retracted]
    body = _template().render(**_context(repository, block, finals, shown))
    return f"---\n{strict_yaml.dump(metadata)}---\n{body}"


@functools.cache
def _template() -> jinja2.Template:
    """The template of all cards, compiled once in each process."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_plain,
    )
    return environment.from_string(resource("model_cards/model_card.md.jinja").read_text(encoding="utf-8"))


# Signs that could begin a tag, a link, a cell or a code span are replaced by others that look alike.
_SIGNS = str.maketrans({"<": "‹", ">": "›", "|": "¦", "`": "ʼ", "[": "⟦", "]": "⟧", "\\": "∖"})


def _plain(value: Any) -> Any:
    """Returns a value as one line of text without markup or hidden signs, since records hold other people's text."""
    if isinstance(value, bool | int | float):
        return value
    line = "".join(sign if sign.isprintable() else " " for sign in str(value).translate(_SIGNS))
    return re.sub(r"\s+", " ", line)


def _metadata(repository: str, block: CardBlock, finals: Sequence[RunRecord]) -> dict[str, Any]:
    """Returns the card's YAML: the fields that the Hub reads, then the block ``bocb``."""
    row = DATASETS.find(block.dataset)
    dataset = block.dataset if row is None else row.hub_id
    name = repository.split("/")[-1]
    task = TASKS.find(block.task)
    pipeline = task.pipeline if task is not None else "image-feature-extraction"
    metric, kind = (f"{block.metric} (%)", "mean_average_precision") if block.metric else ("top-1 (%)", "accuracy")
    results = [
        {
            "task": {"type": pipeline},
            "dataset": {"type": dataset, "name": block.dataset, "split": record.identity.data.evaluation_split}
            | {"revision": record.identity.data.revision},
            "metrics": [{"type": kind, "value": entry.value, "name": f"{metric}, last weights, seed {entry.seed}"}],
        }
        for entry, record in zip(block.runs, sorted(finals, key=lambda r: r.seed), strict=True)
        if entry.value is not None
    ]
    library = "timm" if _loads_with_timm(block.backbone) else "transformers"
    if block.metric:  # neither of them builds the network
        library = "bocb_hf"
    metadata: dict[str, Any] = {
        "library_name": library,
        "pipeline_tag": pipeline,
        "license": "apache-2.0",
        "metrics": [kind],
        "tags": ["bocb", library, pipeline, f"backbone:{block.backbone}", f"optimizer:{block.optimizer}"],
    }
    if re.fullmatch(r"[\w.-]+/[\w.-]+", dataset) and not dataset.startswith("local/"):
        metadata["datasets"] = [dataset]
    # the seeds of a cell may start from several seeds of one repository
    sources = {re.sub(r"/seeds/\d+$", "", str(record.identity.backbone.pretrained)) for record in finals}
    if len(sources) == 1 and re.fullmatch(r"[\w.-]+/[\w.-]+", source := sources.pop()):
        metadata["base_model"] = source
    if results:
        metadata["model-index"] = [{"name": name, "results": results}]
    return metadata | {"bocb": block.model_dump(mode="json")}


def _context(
    repository: str, block: CardBlock, finals: Sequence[RunRecord], shown: Sequence[RunRecord]
) -> dict[str, Any]:
    """Returns what the template shows, by name."""
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
    scores = [entry.value for entry in block.runs if entry.value is not None]
    # several configurations are shown side by side, never pooled
    pooled = estimate(scores, None) if scores and len({r.config_hash for r in completed}) == 1 else None
    return {
        "repository": repository,
        "block": block,
        "rows": rows,
        "mean": pooled.mean if pooled else None,
        "seed_interval": pooled.interval() if pooled else None,
        "places": _places(repository, block, pooled.mean if pooled else None, len(scores)),
        "chosen": {r.config_hash for r in finals} & {trial.config_hash for trial in block.trials},
        "curves": any(r.curve.step for r in finals),
        "devices": sorted({r.environment.hardware() for r in finals}),
        "wall_seconds": sum(r.cost.wall_seconds for r in finals),
        "energy_joules": sum(r.cost.energy_joules or 0 for r in finals)
        if finals and all(r.cost.energy_joules is not None for r in finals)
        else None,
        "pretrainings": [
            {"seed": r.seed, "text": str(made), "record": made.record_sha256}
            for r in records
            if (made := r.identity.backbone.pretraining) is not None
        ],
        "seeds": [r.seed for r in sorted(completed, key=lambda r: r.seed)],
        "record": record,
        "completed": bool(completed),
        "backbone": BACKBONES.find(block.backbone),
        "optimizer": OPTIMIZERS.find(block.optimizer),
        "category": CATEGORIES.get(block.category, ""),
        "task": TASKS.find(block.task),
        "with_timm": _loads_with_timm(block.backbone),
        "dataset": DATASETS.find(block.dataset),
        "patterns": pattern_section(record),
    }


def _places(repository: str, block: CardBlock, mean: float | None, n: int) -> list[dict[str, Any]]:
    """Returns this cell among the other optimizers of its backbone, best mean first, those without a mean last."""
    if block.peers is None:
        return []
    own = PeerEntry(repository=repository, optimizer=block.optimizer, n=n, top1=mean)
    entries = [own, *(entry for entry in block.peers.entries if entry.repository != repository)]
    ranked = sorted(entries, key=lambda e: (e.top1 is None, -(e.top1 or 0.0), e.optimizer))
    return [
        {
            "entry": e,
            "own": e is own,
            "label": row.short if (row := OPTIMIZERS.find(e.optimizer)) is not None else e.optimizer,
        }
        for e in ranked
    ]


def _loads_with_timm(backbone: str) -> bool:
    """Returns the library of a backbone: timm, except for an image classifier of transformers."""
    return not backbone.startswith("transformers:")
