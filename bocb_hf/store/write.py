"""Puts one run into its cell's repository: weights, record and card together, whatever others do at the same time."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from bocb_hf.errors import InputError
from bocb_hf.runs.card import CardBlock, Peers
from bocb_hf.runs.identity import Identity, cell_differences, check_start, differences
from bocb_hf.runs.naming import own_repository_name, repository_name
from bocb_hf.runs.record import RunRecord, parse_record
from bocb_hf.runs.retraction import Retraction, make_retraction
from bocb_hf.store.cards.curves import CURVES, draw_curves
from bocb_hf.store.cards.eval_results import benchmark_dataset, render_eval_results
from bocb_hf.store.cards.text import render_card
from bocb_hf.store.commits import commit_with_retry
from bocb_hf.store.protocol import EVAL_RESULTS, ConflictError, CopyOf, Store
from bocb_hf.store.read import CARD, RUN, RepositoryContents, read_repository

log = logging.getLogger(__name__)

WEIGHT_FILES = ("config.json", "model.safetensors")
# lies beside the weights of a model of transformers; timm keeps preprocessing in config.json
PREPROCESSING = "preprocessor_config.json"


def find_place(store: Store, namespace: str, identity: Identity) -> str:
    """Finds the repository where the runs of a cell lie, or where its first run belongs: ``namespace/name``.

    The repository is named after the four names of the cell. Where runs of another cell of these names were there first
    (other data under the same name, another revision, another draw of the splits, other starting weights), the cell has
    a repository of its own, whose name says so; every seed, trial and resumed run of the cell finds the same one.

    Raises:
        InputError: The store cannot be read.
    """
    return _locate(store, namespace, identity)[0]


def _locate(store: Store, namespace: str, identity: Identity) -> tuple[str, str | None]:
    """Does as ``find_place``, and also returns the revision of the repository at which this was decided."""
    cell = identity.cell()
    plain, own = (f"{namespace}/{name}" for name in (repository_name(*cell.names), own_repository_name(cell)))
    taken, revision = False, store.revision(plain)
    if revision is not None:
        for path in filter(RUN.fullmatch, store.files(plain)):
            try:
                record = parse_record(store.read(plain, path), path)
            except (InputError, OSError) as error:
                if isinstance(error, InputError) and type(error) is not InputError:
                    raise  # the Hub refused or was not reached, so nothing is known of this record
                continue  # a damaged record takes nobody's place
            if record.identity.cell() == cell:
                return plain, revision
            taken = taken or record.identity.cell().names == cell.names
    own_revision = store.revision(own)
    if not taken and (own_revision is None or not holds_runs(store, own)):
        return plain, revision
    return own, own_revision


def find_run(store: Store, repository: str, wanted: RunRecord | tuple[str, str, int]) -> RunRecord | None:
    """Reads the stored record of a run, or returns None.

    Args:
        store: The store to look in.
        repository: ``namespace/name``, see ``find_place``.
        wanted: The record to look for, or its (role, run id, seed).
    """
    role, run_id, seed = (wanted.role, wanted.run_id, wanted.seed) if isinstance(wanted, RunRecord) else wanted
    path = f"seeds/{seed}/record.json" if role == "final" else f"trials/{run_id}.json"
    try:
        return parse_record(store.read(repository, path), f"{repository}/{path}")
    except FileNotFoundError:
        return None


def check_free(existing: RunRecord | None, run_id: str, supersede: bool, identity: Identity | None = None) -> None:
    """Refuses to replace a finished run by accident.

    Args:
        existing: The record that lies in the place, if any.
        run_id: Id of the run that is to take the place.
        supersede: Whether the run may replace a finished one.
        identity: Identity of the run, so that the error names what differs.

    Raises:
        InputError: The seed's place holds another configuration or started from another checkpoint, or this run is
            finished, and ``supersede`` is off.
    """
    if existing is not None and not supersede and existing.run_id == run_id and identity is not None:
        check_start(existing.seed, existing.identity, identity)
    if existing is None or supersede or (existing.run_id == run_id and existing.status == "interrupted"):
        return
    if existing.run_id == run_id:
        raise InputError(f"run {run_id} is {existing.status} already; pass runtime.supersede=true to run it again")
    fields = differences(existing.identity, identity) if identity is not None else []
    what = f" (they differ in {', '.join(fields[:8])}{', ...' if len(fields) > 8 else ''})" if fields else ""
    raise InputError(
        f"seed {existing.seed} of this cell holds run {existing.run_id}, of another configuration{what}; choose "
        "another seed, another runtime.namespace or runtime.store, or pass runtime.supersede=true to replace it"
    )


def write_run(store: Store, namespace: str, record: RunRecord, weights: Path | None, supersede: bool) -> RunRecord:
    """Adds a run to its repository, creating it if needed, and renders the card anew.

    The root holds the weights of the completed final run with the lowest seed, never the best.

    Args:
        store: The store to add the run to.
        namespace: Owner of the repository.
        record: The record of the run.
        weights: Folder with ``config.json`` and ``model.safetensors`` of a completed final run, else None.
        supersede: Whether to replace a finished run in this place; the new record then names the one that it replaced.

    Returns:
        The record as it was stored. An interrupted run does not replace a finished one and is not stored then.

    Raises:
        InputError: The place is taken, or the store cannot be written.
    """
    return write_runs(store, namespace, [(record, weights)], supersede)[0]


def write_runs(
    store: Store,
    namespace: str,
    runs: Sequence[tuple[RunRecord, Path | None]],
    supersede: bool,
    eval_task: str | None = None,
) -> list[RunRecord]:
    """Adds several runs of one cell in one commit; see ``write_run``, and ``render`` for ``eval_task``.

    A run that is stored as it is already is left alone: an answer that was lost on its way changes nothing.

    Raises:
        InputError: A place is taken, or the store cannot be written.
    """
    first = runs[0][0].identity
    for record, _ in runs:
        if record.identity.cell() != first.cell():
            fields = ", ".join(cell_differences(first, record.identity))
            raise InputError(
                f"run {record.run_id} is of another cell than run {runs[0][0].run_id}; they differ in {fields}"
            )
    where = f"store: {namespace}/{runs[0][0].repository()}"
    return commit_with_retry(lambda: _write_once(store, namespace, runs, supersede, eval_task), where)


def _write_once(
    store: Store,
    namespace: str,
    runs: Sequence[tuple[RunRecord, Path | None]],
    supersede: bool,
    eval_task: str | None,
) -> list[RunRecord]:
    """Makes one attempt of ``write_runs``.

    Raises:
        ConflictError: Somebody else committed meanwhile.
    """
    identity = runs[0][0].identity
    repository, parent = _locate(store, namespace, identity)
    contents = read_repository(store, repository)
    lying = [*contents.records, *(record for record, _ in contents.retracted.values())]
    if lying and all(record.identity.cell() != identity.cell() for record in lying):
        raise ConflictError(f"{repository} was taken by another cell meanwhile")
    before = _lowest(contents)
    for path, reason in contents.damaged:
        log.warning("left out of the card: %s (%s)", path, reason)
    stored: list[RunRecord] = []
    new: list[tuple[RunRecord, Path | None]] = []
    texts: dict[str, bytes] = {}
    for record, weights in runs:
        places = contents.finals if record.role == "final" else contents.trials
        key = record.seed if record.role == "final" else record.run_id
        existing: RunRecord | None = places.get(key)  # type: ignore[call-overload] - the key of its role
        if existing is not None and existing.sha256() == record.sha256():
            stored.append(existing)
            if weights is not None and _needs_repair(store, repository, existing, weights, before):
                new.append((existing, weights))
            continue
        check_free(existing, record.run_id, supersede or _names(record, existing), record.identity)
        if existing is not None and existing.status != "interrupted" and record.status == "interrupted":
            log.info("the finished run stays in the store until the run that supersedes it is finished too")
            stored.append(record)
            continue
        if existing is not None:
            replaced = existing.supersedes if existing.status == "interrupted" else existing.sha256()
            record = record.model_copy(update={"supersedes": replaced})
        # It is parsed as it will be read back, dictionaries in the order of the file, so that `bocb render` agrees.
        texts[record.path()] = record.to_json().encode()
        record = parse_record(texts[record.path()], record.path())
        places[key] = record  # type: ignore[index] - the key of its role
        stored.append(record)
        new.append((record, weights))
    if not new:
        return stored
    add, delete = _changes(store, repository, contents, new, before)
    # Records come last: after a crash before them, the runs count as not published and are published again.
    final = any(record.role == "final" for record, _ in new)
    rendered, stale = render(repository, contents, draw=final, eval_task=eval_task)
    add |= rendered
    delete += stale
    add |= {record.path(): texts.get(record.path()) or record.to_json().encode() for record, _ in new}
    message = ", ".join(f"{record.status} run {record.run_id}" for record, _ in new[:3])
    message += f" and {len(new) - 3} more" if len(new) > 3 else ""
    store.commit(repository, add, delete=delete, parent=parent, message=message)
    return stored


def _needs_repair(store: Store, repository: str, record: RunRecord, weights: Path, root: int | None) -> bool:
    """Returns whether weights that lie in a store are not those of their record, but the given ones are.

    Args:
        store: The store that they lie in.
        repository: ``namespace/name``.
        record: The record as it is stored.
        weights: The folder of the given weights.
        root: The seed whose weights belong at the root.
    """
    folders = [f"seeds/{record.seed}/", *([""] if root == record.seed else [])]
    digests = {store.digest(repository, f"{folder}{WEIGHT_FILES[1]}") for folder in folders}
    if digests == {record.weights_sha256}:
        return False
    return file_sha256(weights / WEIGHT_FILES[1]) == record.weights_sha256


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def render(
    repository: str,
    contents: RepositoryContents,
    peers: Peers | None = None,
    draw: bool = True,
    eval_task: str | None = None,
) -> tuple[dict[str, bytes | Path | CopyOf], list[str]]:
    """Renders the files that follow from records: the card, its picture, and the score for the Hub's benchmark pages.

    Args:
        repository: ``namespace/name``.
        contents: Contents of the repository.
        peers: The other optimizers of this backbone; None keeps what the card says of them.
        draw: Whether the picture may have changed.
        eval_task: Task of the benchmark that the score is stated for; None keeps what the card says, "" states no
            score.

    Returns:
        The files, and the paths of existing files that are to be deleted.
    """
    finals, trials = list(contents.finals.values()), list(contents.trials.values())
    known = contents.card if isinstance(contents.card, CardBlock) else None
    if known is not None:
        peers, eval_task = peers or known.peers, known.eval_task if eval_task is None else eval_task
    made = {CURVES: draw_curves(finals)} if draw else {}
    made[EVAL_RESULTS] = render_eval_results(repository, finals, eval_task) if eval_task else None
    files: dict[str, bytes | Path | CopyOf] = {path: content for path, content in made.items() if content is not None}
    retracted = list(contents.retracted.values())
    files[CARD] = render_card(repository, finals, trials, retracted, peers, eval_task or None).encode()
    return files, [path for path, content in made.items() if content is None and path in contents.files]


def render_repository(store: Store, repository: str, peers: Peers | None = None, eval_task: str | None = None) -> str:
    """Renders the card of a repository, and what goes with it, from its records and commits; returns the revision.

    Args:
        store: The store of the repository.
        repository: ``namespace/name``.
        peers: The other optimizers of this backbone, see ``find_peers``; None keeps what the card says of them.
        eval_task: See ``render``.

    Raises:
        InputError: The repository holds no valid record, or its images are not those of a data set of the Hub, which
            could have a benchmark.
    """

    def attempt() -> str:
        parent = store.revision(repository)
        contents = read_repository(store, repository)
        if not contents.records and not contents.retracted:
            raise InputError(f"{repository} holds no valid record to render a card from")
        if eval_task:
            every = [*contents.records, *(record for record, _ in contents.retracted.values())]
            name = every[0].identity.data.name
            if benchmark_dataset(name) is None:
                raise InputError(
                    f"--eval-results: {repository} was tested on {name}, which is not the test split of a data set of "
                    "the Hub; name repositories whose data set is, or leave the option out"
                )
        files, delete = render(repository, contents, peers, eval_task=eval_task)
        return store.commit(repository, files, delete=delete, parent=parent, message="render the card")

    return commit_with_retry(attempt, f"store: {repository}")


def retract_run(store: Store, repository: str, record: RunRecord, reason: str) -> Retraction:
    """Retracts a run: adds its tombstone, takes its weights from the root, and renders the card anew.

    Raises:
        InputError: The run is not in the repository, or there is no reason.
    """
    tombstone = make_retraction(record, reason)

    def attempt() -> None:
        parent = store.revision(repository)
        contents = read_repository(store, repository)
        before = _lowest(contents)
        places = contents.finals if record.role == "final" else contents.trials
        key = record.seed if record.role == "final" else record.run_id
        held: RunRecord | None = places.get(key)  # type: ignore[call-overload] - the key of its role
        if held is None or held.sha256() != record.sha256():
            raise InputError(f"{repository} does not hold this record of run {record.run_id}, or it is retracted")
        del places[key]  # type: ignore[arg-type] - the key of its role
        contents.retracted[record.path()] = (record, tombstone)
        add, delete = _changes(store, repository, contents, [], before)
        rendered, stale = render(repository, contents)
        add |= rendered
        delete += stale
        add[tombstone.path()] = tombstone.to_json().encode()
        store.commit(repository, add, delete=delete, parent=parent, message=f"retract run {record.run_id}")

    commit_with_retry(attempt, f"store: {repository}")
    return tombstone


def _names(record: RunRecord, existing: RunRecord | None) -> bool:
    """Returns whether a record itself says that it supersedes the one in its place."""
    return existing is not None and record.supersedes == existing.sha256()


def _lowest(contents: RepositoryContents) -> int | None:
    """Returns the seed whose weights belong at the root."""
    return min((seed for seed, run in contents.finals.items() if run.status == "completed"), default=None)


def _changes(
    store: Store,
    repository: str,
    contents: RepositoryContents,
    new: Sequence[tuple[RunRecord, Path | None]],
    before: int | None,
) -> tuple[dict[str, bytes | Path | CopyOf], list[str]]:
    """Returns the weights to add, those of seeds before those of the root, and the files to delete.

    Args:
        store: The store, for what it holds already.
        repository: ``namespace/name``.
        contents: Contents of the repository as they will be.
        new: Records of the runs that are added.
        before: The seed whose weights were at the root.
    """
    add: dict[str, bytes | Path | CopyOf] = {}
    delete: list[str] = []
    given = {record.seed: weights for record, weights in new if record.role == "final"}
    for seed, weights in given.items():
        if weights is not None:
            add |= {f"seeds/{seed}/{name}": weights / name for name in _files(weights)}
        else:
            delete += [f"seeds/{seed}/{name}" for name in (*WEIGHT_FILES, PREPROCESSING)]
    lowest = _lowest(contents)
    weights = given.get(lowest) if lowest is not None else None
    if lowest is None:
        delete += [*WEIGHT_FILES, PREPROCESSING]
    elif weights is not None:
        add |= {name: weights / name for name in _files(weights)}
    elif lowest != before or None in given.values():  # the weights at the root are, or may be, those of another seed
        present = set(store.files(repository))
        names = [name for name in (*WEIGHT_FILES, PREPROCESSING) if f"seeds/{lowest}/{name}" in present]
        add |= {name: CopyOf(f"seeds/{lowest}/{name}") for name in names}
    return add, delete


def _files(weights: Path) -> tuple[str, ...]:
    return (*WEIGHT_FILES, PREPROCESSING) if (weights / PREPROCESSING).is_file() else WEIGHT_FILES


def holds_runs(store: Store, repository: str) -> bool:
    """Returns whether a repository is that of a cell: whether it holds records of runs."""
    return any(path.startswith(("seeds/", "trials/")) for path in store.files(repository))
