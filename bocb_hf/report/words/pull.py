"""What ``bocb pull`` says of the checkpoints of a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bocb_hf.report.words.tables import backbone_label, optimizer_label
from bocb_hf.results.pull import Offer, Validation
from bocb_hf.runs.record import RunRecord
from bocb_hf.schema import one_line
from bocb_hf.store.contents import StoreContents

SHOWN = 20  # checkpoints that are listed


def title_text(offers: Sequence[Offer], store: str) -> str:
    """Says what was found where."""
    identity = offers[0].record.identity
    return one_line(
        f"{backbone_label(identity.backbone.name)} on {identity.data.name}, setting {identity.setting}, data revision "
        f"{identity.data.revision[:20]}: {len(offers)} configuration(s) with weights in {store}, best validation score "
        "first",
        1000,
    )


def offer_lines(offers: Sequence[Offer]) -> list[str]:
    """Lists the checkpoints, each with its score, its interval, n, seeds, configuration hash and level of trust."""
    lines: list[str] = []
    for place, offer in enumerate(offers[:SHOWN], start=1):
        identity, backbone = offer.record.identity, offer.record.identity.backbone
        made = backbone.pretraining
        start = "" if backbone.pretrained is None else f", from {made or backbone.pretrained}"
        seeds = ", ".join(str(run.seed) for run in offer.runs)
        lines.append(
            one_line(
                f"{place}. {optimizer_label(identity.optimizer.name)}{start}: {validation_text(offer.validation)}; "
                f"configuration {offer.record.config_hash}, {offer.level}, weights of seed(s) {seeds}, "
                f"{offer.repository}",
                1000,
            )
        )
    if len(offers) > SHOWN:
        lines.append(f"{len(offers) - SHOWN} more; --optimizer narrows them down")
    return lines


def validation_text(found: Validation | None) -> str:
    """Says how good a configuration is: ``validation top-1 84.2 %, 95 % [83.0, 85.3] over ...``."""
    if found is None:
        return "no validation score, so it is not ranked"
    over = "over seeds" if found.over_seeds else f"over {found.images:,} images, the spread over seeds is unknown"
    ends = "" if found.interval is None else f"95 % [{found.interval.low:.1f}, {found.interval.high:.1f}] "
    what = ("trial" if found.of_trials else "final run") + "s" * (len(found.seeds) > 1)
    seeds = ", ".join(map(str, found.seeds))
    return (
        f"validation {found.metric} {found.score:.1f} %, {ends}{over} (n = {len(found.seeds)} {what}, seed(s) {seeds})"
    )


def left_out_text(contents: StoreContents, backbone: str) -> list[str]:
    """Says what of a store cannot be taken: retracted runs and invalid files of repositories of this backbone."""
    name = backbone.lower().replace(".", "-")
    found = [item for item in contents.quarantined if name in item.repository.lower()]
    shown = [f"left out: {item}" for item in found[:5]]
    return [*shown, *([f"left out: {len(found) - 5} more file(s)"] if len(found) > 5 else [])]


def pulled_text(offer: Offer, record: RunRecord, folder: Path) -> str:
    """Says what was taken and why."""
    why = "best validation score" if offer.validation is not None else "the only one"
    which = "lowest seed" if record is offer.record else "as asked"
    return (
        f"{optimizer_label(record.identity.optimizer.name)} ({why}), seed {record.seed} ({which}), {offer.level}: "
        f"{folder}\n"
        f"record {record.sha256()[:12]}, weights {str(record.weights_sha256)[:12]}, both as the store lists them; the "
        "lines that load it:"
    )
