"""Trains a stored run again from its record, through the one training loop, and compares the scores.

The same software on the same kind of device with the same number of processes and threads gives the same weights, byte
for byte. A run of several processes on a CPU is repeated on as many; a run of several GPUs is repeated in one process.
Any other environment adds floating-point numbers in another order. The weights then differ after some steps, and the
score is as far from the first as that of another seed. So the tolerance is of the size of the spread over seeds, and
the result says whether the weights are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from bocb_hf.backbones.definition import check_backbone
from bocb_hf.engine.console import EXIT_INTERRUPTED, EXIT_OK, train_visibly
from bocb_hf.engine.dry_run import describe_run
from bocb_hf.engine.launch import launch_recipe
from bocb_hf.engine.portable import must_start_again
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.engine.repetition import check_same, cpu_processes_of, runtime_of, sections_of
from bocb_hf.engine.trained import RECORD, find_run_folder
from bocb_hf.errors import InputError
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.load_config import build_run_config
from bocb_hf.runs.record import RunRecord, read_record
from bocb_hf.runs.tasks import CLASSIFICATION
from bocb_hf.runs.verification import Verification, make_verification
from bocb_hf.store import open_store
from bocb_hf.store.write import find_place, find_run
from bocb_hf.tasks.task import refuse


class Original(NamedTuple):
    """The run that is to be trained again.

    Attributes:
        repository: Repository of the run, as the user named it.
        record: Record of the run, which is a completed final run.
    """

    repository: str
    record: RunRecord


def read_original(repository: str, seed: int) -> Original:
    """Reads the record of a completed final run; its weights are not downloaded.

    Args:
        repository: ``namespace/name`` on the Hub, or the folder of a repository.
        seed: Seed of the run.

    Raises:
        InputError: There is no such run.
    """
    path = find_run_folder(repository, seed, files=(RECORD,)) / RECORD
    try:
        record = read_record(path, f"{repository}, seed {seed}")
    except FileNotFoundError:
        raise InputError(f"{repository}: there is no final run of seed {seed}; its card lists them") from None
    if record.identity.task.name != CLASSIFICATION:
        raise refuse("bocb reproduce", record.identity.task.name)
    if record.seed != seed or record.correctness is None:
        raise InputError(f"{repository}: seed {seed} is no completed final run, so there is no score to reproduce")
    return Original(repository, record)


def configure(original: Original, work: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Makes the configuration that trains the run again, into a store of its own below ``work``.

    Args:
        original: The run.
        work: Folder in which each run has a folder of its own, so that two configurations of one cell do not meet.
        overrides: Pairs ``section.key=value`` that say where data and weights are, and how the run executes.

    Raises:
        InputError: The record holds something that cannot be configured here.
    """
    folder = work / original.record.run_id
    runtime = runtime_of(original.record, processes_here(original)) | {
        "store": str(folder / "store"),
        "state_dir": str(folder / "state"),
        "cuda_graphs": "cuda_graphs" in original.record.environment.compiled and torch.cuda.is_available(),
    }
    sections = sections_of(original.record) | {"runtime": runtime}
    return build_run_config(sections, overrides, check_backbone, source=f"the record of {original.repository}")


def processes_here(original: Original) -> int:
    """How many processes train the run again: one on a machine with a GPU, else as ``cpu_processes_of`` says."""
    return 1 if torch.cuda.is_available() else cpu_processes_of(original.record)


def warn_of_topology(original: Original) -> str | None:
    """The warning about a run that is repeated on another number of processes than it had, or None."""
    then, now = original.record.environment, processes_here(original)
    if now == then.processes:
        return None
    return (
        f"trains in one process here, the record in {then.processes} on {then.device}: equal batches, but sums in "
        "another order, so the weights will part from those of the record"
    )


def describe(original: Original, config: RunConfig) -> str:
    """Describes what would be trained, what it would cost here, and what the original run took.

    Raises:
        InputError: The run cannot be repeated here.
    """
    prepared, record = prepare_run(config), original.record
    check_same(prepared.identity, record, f"{original.repository}, seed {record.seed}")
    place, cost = record.environment, record.cost
    took = (
        f"it took        {cost.wall_seconds / 60:.1f} min on {place.hardware()}, {place.threads} "
        f"thread(s), torch {place.libraries.get('torch', 'unknown')}"
    )
    return f"{describe_run(prepared, processes_here(original))}\n{took}"


def train_again(original: Original, config: RunConfig, plugins: Sequence[str] = ()) -> RunRecord | None:
    """Trains the run again, or returns its record where this was done here before. An interrupted run continues.

    Args:
        original: The run.
        config: Configuration from ``configure``.
        plugins: Names of modules that new processes import too.

    Returns:
        The record; None when new processes were interrupted, since they keep their resume state and write no record.

    Raises:
        InputError: The run cannot be repeated here; nothing was trained then.
    """
    record, prepared = original.record, prepare_run(config)
    check_same(prepared.identity, record, f"{original.repository}, seed {record.seed}")
    processes = processes_here(original)
    fresh = config.runtime.portable and not torch.cuda.is_available() and must_start_again()
    if processes == 1 and not fresh:
        return train_visibly(config)
    path = Path(config.runtime.state_dir) / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(strict_yaml.dump(config.model_dump(mode="json")), encoding="utf-8")
    words = [word for name in plugins for word in ("--plugin", name)]
    status = launch_recipe(["--config", str(path), *words], cpu_processes=processes)
    if status == EXIT_INTERRUPTED:
        return None
    store = open_store(config.runtime.store)
    repository = find_place(store, config.runtime.namespace, prepared.identity)
    again = find_run(store, repository, ("final", prepared.run_id, record.seed)) if status == EXIT_OK else None
    if again is None:
        raise InputError(f"training again ended with status {status}; what went wrong stands above")
    return again


def compare(original: Original, again: RunRecord, tolerance: float) -> Verification:
    """Makes a verification of the level ``reproduced`` if the scores agree.

    Raises:
        InputError: The scores differ by more than the tolerance, or training again did not complete.
    """
    if again.correctness is None or again.weights_sha256 is None:
        raise InputError(
            f"{original.repository}: seed {again.seed} is not reproduced: training again {again.status} at step "
            f"{again.stopped_step} ({again.reason})"
        )
    place = again.environment
    where = f"{place.hardware()}, {place.threads} thread(s), torch {torch.__version__}"
    where += f", bocb-hf {place.code_version}"
    bits = again.correctness.bits()
    return make_verification(original.repository, original.record, bits, tolerance, where, again.weights_sha256)
