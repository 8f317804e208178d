"""Which run of this project made a checkpoint: the record beside the weights says it, and is compared with them.

A repository of this project holds ``seeds/<n>/record.json`` beside the weights of each run, and at its root the weights
of one of them. A record that is missing, does not fit the weights, or is of a run that did not complete or was
retracted is refused, so that the optimizer of a pre-training is never guessed. Weights of other origin have no record.
"""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from bocb_hf.backbones.definition import fetch
from bocb_hf.errors import InputError
from bocb_hf.runs.card import CardBlock, parse_card
from bocb_hf.runs.pretraining import Pretraining
from bocb_hf.runs.record import RunRecord, read_record
from bocb_hf.runs.retraction import MAX_BYTES, parse_retraction

log = logging.getLogger(__name__)

RECORD, CARD, KEY = "record.json", "README.md", "backbone.pretrained"
_HUB = "hf-hub:"
_SEED = re.compile(r"(?P<id>[^/]+/[^/]+)/seeds/(?P<seed>[0-9]{1,10})")


def split_hub_id(pretrained: str) -> tuple[str, str]:
    """Returns repository and folder of weights on the Hub: ``org/name`` or ``org/name/seeds/<n>``.

    The folder is ``seeds/<n>/``, or empty for the root of the repository.
    """
    plain = pretrained.removeprefix(_HUB)
    match = _SEED.fullmatch(plain)
    return (plain, "") if match is None else (match["id"], f"seeds/{int(match['seed'])}/")


def find_pretraining(pretrained: str, folder: Path, weights_sha256: str) -> Pretraining | None:
    """Finds the run that made some starting weights.

    Args:
        pretrained: ``backbone.pretrained`` as the user wrote it.
        folder: The folder that the weights lie in here.
        weights_sha256: SHA-256 of the weights.

    Returns:
        What their record says; None for weights that no run of this project made, or of which only weights and
        ``config.json`` were copied, which a warning says.

    Raises:
        InputError: The record is missing where the weights lie in a repository of this project, is not valid, is not
            that of these weights, or is of a run that did not complete or was retracted.
    """
    local = Path(pretrained).is_dir()
    if not local and "/" not in pretrained:
        return None  # a tag of timm
    found = _find_here(folder, weights_sha256) if local else _find_on_hub(pretrained, folder)
    if found is None:
        if _is_ours(folder):
            log.warning(
                "%s: a run of this project made these weights, but no %s lies beside them, so the record of this run "
                "cannot say which optimizer pre-trained them, and no table of transfer counts it; name the folder "
                "seeds/<n> of their repository instead",
                pretrained,
                RECORD,
            )
        return None
    check_record(found, weights_sha256, pretrained)
    return describe(found)


def describe(record: RunRecord) -> Pretraining:
    """Returns what a fine-tuned run remembers of the run that made its weights."""
    identity = record.identity
    return Pretraining(
        dataset=identity.data.name,
        data_revision=identity.data.revision,
        setting=identity.setting,
        optimizer=identity.optimizer.name,
        epochs=identity.training.epochs,
        seed=record.seed,
        config_hash=record.config_hash,
        record_sha256=record.sha256(),
    )


def check_record(record: RunRecord, weights_sha256: str, where: str) -> None:
    """Checks that a record is that of some weights, which a completed final run ended with.

    Raises:
        InputError: It is not.
    """
    if record.status != "completed" or record.role != "final":
        why = f" ({record.reason})" if record.reason else ""
        raise InputError(
            f"{KEY}: the record of {where} is of a {record.status} {record.role} run{why}, which has no weights to "
            "start from; take a completed final run"
        )
    if record.weights_sha256 != weights_sha256:
        raise InputError(
            f"{KEY}: the weights of {where} have the SHA-256 {weights_sha256[:12]}…, but their record names "
            f"{str(record.weights_sha256)[:12]}…: one of them was altered or is of another run; fetch both again"
        )


def _find_here(folder: Path, weights_sha256: str) -> RunRecord | None:
    """Finds the record of weights in a local folder: that of a seed, a repository, or any other."""
    in_repository = folder.parent.name == "seeds" and folder.name.isdecimal()
    if (folder / RECORD).is_file():
        record = _read(folder / RECORD)
        if in_repository:
            _check_tombstones(folder.parent.parent, record)
        return record
    if in_repository and (folder.parent.parent / CARD).is_file():
        raise InputError(
            f"{KEY}: {folder} lies in a repository of this project, but holds no {RECORD}, which says how its weights "
            "were trained; fetch it again, or copy the weights out of the repository to use them without"
        )
    paths = sorted((folder / "seeds").glob(f"*/{RECORD}"))
    if not paths:
        return None
    records = [_read(path) for path in paths]
    record = next((r for r in records if r.weights_sha256 == weights_sha256), None)
    if record is None:
        raise InputError(
            f"{KEY}: none of the {len(records)} record(s) below {folder / 'seeds'} is that of the weights in {folder} "
            f"(SHA-256 {weights_sha256[:12]}…), so they were altered; fetch them again, or name a folder seeds/<n>"
        )
    _check_tombstones(folder, record)
    return record


def _find_on_hub(pretrained: str, folder: Path) -> RunRecord | None:
    """Finds the record of weights on the Hub, of which ``folder`` is the local copy."""
    repository, place = split_hub_id(pretrained)
    if not place and not _is_ours(folder):
        return None
    try:
        text = fetch(repository, CARD, KEY).read_text(encoding="utf-8")
    except InputError as error:
        cause = error.__cause__
        absent = isinstance(cause, EntryNotFoundError) and not isinstance(cause, LocalEntryNotFoundError)
        if absent and not place:  # somebody has copied the weights alone
            return None
        raise
    card = parse_card(text, f"{KEY}: {repository}/{CARD}")
    seed = int(place.split("/")[1]) if place else _root_seed(card, repository)
    entry = next((entry for entry in card.runs if entry.seed == seed), None)
    path = f"seeds/{seed}/{RECORD}"
    record = _read(fetch(repository, path, KEY))
    retracted = next((e for e in card.retracted if e.record_sha256 == record.sha256()), None)
    if retracted is not None:
        raise InputError(_retracted(f"{repository}/{path}", retracted.reason))
    if entry is None or entry.record_sha256 != record.sha256():
        raise InputError(
            f"{KEY}: the card of {repository} does not list {path} as it is, so one of them was altered; ask its owner "
            "to run `bocb render`"
        )
    return record


def _root_seed(card: CardBlock, repository: str) -> int:
    """The seed whose weights lie at the root of a repository: the lowest that completed."""
    completed = [entry.seed for entry in card.runs if entry.status == "completed"]
    if not completed:
        raise InputError(f"{KEY}: the card of {repository} lists no completed run, so its weights are those of none")
    return min(completed)


def _read(path: Path) -> RunRecord:
    try:
        return read_record(path, f"{KEY}: {path}")
    except OSError as error:
        raise InputError(f"{KEY}: {path} cannot be read ({error.strerror}); fetch it again") from error


def _check_tombstones(repository: Path, record: RunRecord) -> None:
    """Raises InputError where the owner of a local repository has retracted a run."""
    digest = record.sha256()
    path = repository / "retracted" / f"{digest[:12]}.json"
    if not path.is_file():
        return
    with path.open("rb") as file:
        tombstone = parse_retraction(file.read(MAX_BYTES + 1), f"{KEY}: {path}")
    if tombstone.record_sha256 == digest:
        raise InputError(_retracted(f"{repository}/{record.path()}", tombstone.reason))


def _retracted(where: str, reason: str) -> str:
    return f"{KEY}: the run of {where} was retracted by its owner: {reason}; take another checkpoint"


def _is_ours(folder: Path) -> bool:
    """Whether ``config.json`` says that this project wrote it; a file that cannot be read has an error elsewhere."""
    try:
        described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return bool(described["pretrained_cfg"]["tag"] == "bocb")
    except (OSError, ValueError, KeyError, TypeError):
        return False
