"""Puts one run into its cell's repository: weights, record and card together, whatever others do at the same time."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from bocb_hf.card import render_card
from bocb_hf.errors import InputError
from bocb_hf.record import RunRecord, parse_record
from bocb_hf.store import ConflictError, Store

log = logging.getLogger(__name__)

WEIGHT_FILES = ("config.json", "model.safetensors")
PREPROCESSING = "preprocessor_config.json"  # beside them for a model of transformers; timm keeps it in config.json
_ATTEMPTS = 50


@dataclass
class RepositoryContents:
    """The records of one repository, and what could not be read."""

    finals: dict[int, RunRecord] = field(default_factory=dict[int, RunRecord])
    trials: dict[str, RunRecord] = field(default_factory=dict[str, RunRecord])
    damaged: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def read_repository(store: Store, repository: str) -> RepositoryContents:
    """Reads every record of a repository; one that is not valid or lies elsewhere counts as damaged.

    Returns:
        Final runs by seed, trials by run id, and (path, reason) of what is damaged.
    """
    contents = RepositoryContents()
    for path in store.files(repository):
        parts = path.split("/")
        if not (parts[0] == "seeds" and parts[-1] == "record.json") and not (
            parts[0] == "trials" and path.endswith(".json")
        ):
            continue
        try:
            record = parse_record(store.read(repository, path), f"{repository}/{path}")
            place = f"{repository.split('/')[0]}/{record.repository()}/{record.path()}"
            if place != f"{repository}/{path}":
                raise InputError(f"{repository}/{path}: this record belongs to {place}")
        except (InputError, OSError) as error:
            contents.damaged.append((path, str(error)))
            continue
        if record.role == "final":
            contents.finals[record.seed] = record
        else:
            contents.trials[record.run_id] = record
    return contents


def find_run(store: Store, repository: str, wanted: RunRecord | tuple[str, str, int]) -> RunRecord | None:
    """The stored record of a run, or None.

    Args:
        store: Where to look.
        repository: ``namespace/name``.
        wanted: A record, or (role, run id, seed).
    """
    role, run_id, seed = (wanted.role, wanted.run_id, wanted.seed) if isinstance(wanted, RunRecord) else wanted
    path = f"seeds/{seed}/record.json" if role == "final" else f"trials/{run_id}.json"
    try:
        return parse_record(store.read(repository, path), f"{repository}/{path}")
    except FileNotFoundError:
        return None


def check_free(existing: RunRecord | None, run_id: str, supersede: bool) -> None:
    """Refuses to replace a finished run by accident.

    Raises:
        InputError: The seed's place holds another configuration, or this run is finished, and ``supersede`` is off.
    """
    if existing is None or supersede or (existing.run_id == run_id and existing.status == "interrupted"):
        return
    if existing.run_id == run_id:
        raise InputError(f"run {run_id} is {existing.status} already; pass runtime.supersede=true to run it again")
    raise InputError(
        f"seed {existing.seed} of this cell holds run {existing.run_id}, of another configuration; choose another "
        "seed, another runtime.namespace or runtime.store, or pass runtime.supersede=true to replace it"
    )


def publish_run(store: Store, namespace: str, record: RunRecord, weights: Path | None, supersede: bool) -> RunRecord:
    """Adds a run to its repository, creating it if needed, and renders the card anew.

    The root holds the weights of the completed final run with the lowest seed, never the best.

    Args:
        store: Where to.
        namespace: Owner of the repository.
        record: The run.
        weights: Folder with ``config.json`` and ``model.safetensors`` of a completed final run, else None.
        supersede: Replace a finished run in this place; the new record then names the one it replaced.

    Returns:
        The record as it was stored. An interrupted run does not replace a finished one and is not stored then.

    Raises:
        InputError: The place is taken, or the store cannot be written.
    """
    repository = f"{namespace}/{record.repository()}"
    for _ in range(_ATTEMPTS):
        parent = store.revision(repository)
        contents = read_repository(store, repository)
        for path, reason in contents.damaged:
            log.warning("left out of the card: %s (%s)", path, reason)
        places = contents.finals if record.role == "final" else contents.trials
        existing = contents.finals.get(record.seed) if record.role == "final" else contents.trials.get(record.run_id)
        check_free(existing, record.run_id, supersede)
        if existing is not None and existing.status != "interrupted":
            if record.status == "interrupted":
                log.info("the finished run stays in the store until the run that supersedes it is finished too")
                return record
            record = record.model_copy(update={"supersedes": existing.sha256()})
        elif existing is not None:
            record = record.model_copy(update={"supersedes": existing.supersedes})
        # as it will be read back, free dictionaries in the order of the file, so that `bocb render` gives the same card
        record = parse_record(record.to_json().encode(), record.path())
        places[record.seed if record.role == "final" else record.run_id] = record  # type: ignore[index]
        add, delete = _changes(store, repository, contents, record, weights)
        card = render_card(repository, list(contents.finals.values()), list(contents.trials.values()))
        # the record last: a crash before it leaves a run that counts as not published and is published again
        add |= {"README.md": card.encode(), record.path(): record.to_json().encode()}
        try:
            store.commit(repository, add, delete=delete, parent=parent, message=f"{record.status} run {record.run_id}")
        except ConflictError:
            continue
        return record
    raise InputError(f"store: {repository} kept changing during {_ATTEMPTS} attempts; run the same command again")


def render_repository(store: Store, repository: str) -> str:
    """Renders the card of a repository from its records and commits it.

    Raises:
        InputError: The repository holds no valid record.
        ConflictError: Somebody committed at the same time.
    """
    parent = store.revision(repository)
    contents = read_repository(store, repository)
    if not contents.finals and not contents.trials:
        raise InputError(f"{repository} holds no valid record to render a card from")
    card = render_card(repository, list(contents.finals.values()), list(contents.trials.values()))
    return store.commit(repository, {"README.md": card.encode()}, parent=parent, message="render the card")


def _changes(
    store: Store, repository: str, contents: RepositoryContents, record: RunRecord, weights: Path | None
) -> tuple[dict[str, bytes | Path], list[str]]:
    """Weights to add, of the seed before those of the root, and files to delete."""
    add: dict[str, bytes | Path] = {}
    delete: list[str] = []
    folder = f"seeds/{record.seed}"
    if record.role == "final":
        if weights is not None:
            add |= {f"{folder}/{name}": weights / name for name in _files(weights)}
        else:
            delete += [f"{folder}/{name}" for name in (*WEIGHT_FILES, PREPROCESSING)]
    completed = sorted(seed for seed, run in contents.finals.items() if run.status == "completed")
    if not completed:
        delete += [*WEIGHT_FILES, PREPROCESSING]
    elif weights is not None and completed[0] == record.seed:
        add |= {name: weights / name for name in _files(weights)}
    elif record.role == "final" and weights is None:
        # this seed may have been the root before
        lowest = f"seeds/{completed[0]}"
        present = set(store.files(repository))
        names = [name for name in (*WEIGHT_FILES, PREPROCESSING) if f"{lowest}/{name}" in present]
        add |= {name: store.read(repository, f"{lowest}/{name}") for name in names}
    return add, delete


def _files(weights: Path) -> tuple[str, ...]:
    return (*WEIGHT_FILES, PREPROCESSING) if (weights / PREPROCESSING).is_file() else WEIGHT_FILES


def holds_runs(store: Store, repository: str) -> bool:
    """Whether a repository is a cell's: it holds records of runs."""
    return any(path.startswith(("seeds/", "trials/")) for path in store.files(repository))
