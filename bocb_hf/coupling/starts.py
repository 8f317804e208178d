"""What the backbones of a table started from: random weights, weights of other origin, or those of a run of ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bocb_hf.runs.pretraining import Pretraining
from bocb_hf.runs.record import RunRecord

Start = Pretraining | str | None  # of a backbone; a text is the SHA-256 of weights of other origin


def by_start(records: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Groups records by what their backbone started from; all together while no backbone started from several weights.

    Most backbones have one set of pretrained weights, so those of different backbones stand in one table. Further ones
    of a backbone, beside the one with most completed final runs, have tables of their own. Weights that this project
    pre-trained are grouped by the optimizer and the seed of their pre-training, so that each table is given one
    checkpoint for each backbone; what holds over pre-training seeds is said by ``transfer.py``. Trials count for every
    checkpoint of their cell, since they tuned it for all of them.
    """
    starts: dict[str, dict[Start, int]] = {}
    for record in records:
        known = starts.setdefault(record.identity.backbone.name, {})
        done = record.role == "final" and record.status == "completed"
        start = _start_of(record)
        known[start] = known.get(start, 0) + done
    if all(len(known) == 1 for known in starts.values()):
        return {"": list(records)}
    labels: dict[tuple[str, Start], str] = {}
    for backbone, known in starts.items():
        labels[backbone, None] = "random weights"
        given = sorted((s for s in known if isinstance(s, str)), key=lambda sha: (-known[sha], sha))
        for place, sha in enumerate(given):
            labels[backbone, sha] = "pretrained weights" + (f" {sha[:12]}" if place else "")
        labels |= {(backbone, made): label for made, label in _pretrained_labels(known).items()}
    groups: dict[str, list[RunRecord]] = {}
    for record in records:
        backbone, start = record.identity.backbone.name, _start_of(record)
        for other in starts[backbone]:
            tuned_for = (
                record.role == "trial"
                and isinstance(start, Pretraining)
                and isinstance(other, Pretraining)
                and start.config_hash == other.config_hash
            )
            if other == start or tuned_for:
                groups.setdefault(labels[backbone, other], []).append(record)
    return groups


def _start_of(record: RunRecord) -> Start:
    """What a backbone started from: a run of this project, other weights by their SHA-256, or random ones."""
    backbone = record.identity.backbone
    if backbone.pretraining is None:
        return backbone.pretrained_sha256
    # two runs of one pre-training configuration and seed, such as before and after it was repeated, are one checkpoint
    return backbone.pretraining.model_copy(update={"record_sha256": "0" * 64})


def _pretrained_labels(known: Iterable[Start]) -> dict[Pretraining, str]:
    """Labels the checkpoints of a backbone by optimizer and seed, and by more where that leaves two of them alike."""
    made = [start for start in known if isinstance(start, Pretraining)]

    def label(start: Pretraining, parts: int) -> str:
        words = (f"setting {start.setting} on {start.dataset}", f"configuration {start.config_hash}")
        return ", ".join((f"weights pre-trained by {start.optimizer}", *words[:parts], f"seed {start.seed}"))

    parts = next(n for n in (0, 1, 2) if n == 2 or len({label(start, n) for start in made}) == len(made))
    return {start: label(start, parts) for start in made}
