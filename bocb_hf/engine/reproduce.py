"""Trains a stored run again from its record, through the one training loop, and compares the scores.

The same software on the same kind of device with as many threads gives the same weights, byte for byte. Any other adds
floating-point numbers in another order; the weights part after some steps, and the score is then as far from the first
as that of another seed. So the tolerance is of the size of the spread over seeds, and the result says whether the
weights are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from bocb_hf.backbones.definition import check_backbone
from bocb_hf.backbones.load import RECORD, find_run_folder
from bocb_hf.config import RunConfig
from bocb_hf.engine.dry_run import describe_run
from bocb_hf.engine.main import train_visibly
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.engine.repetition import check_same, runtime_of, sections_of
from bocb_hf.errors import InputError
from bocb_hf.load_config import build_run_config
from bocb_hf.record import RunRecord, read_record
from bocb_hf.verification import Verification, make_verification


class Original(NamedTuple):
    """The run that is to be trained again.

    Attributes:
        repository: As the user named it.
        record: Of a completed final run.
    """

    repository: str
    record: RunRecord


def read_original(repository: str, seed: int) -> Original:
    """Reads the record of a completed final run; its weights are not downloaded.

    Args:
        repository: ``namespace/name`` on the Hub, or the folder of a repository.
        seed: Of the run.

    Raises:
        InputError: There is no such run.
    """
    path = find_run_folder(repository, seed, files=(RECORD,)) / RECORD
    try:
        record = read_record(path, f"{repository}, seed {seed}")
    except FileNotFoundError:
        raise InputError(f"{repository}: there is no final run of seed {seed}; its card lists them") from None
    if record.seed != seed or record.correctness is None:
        raise InputError(f"{repository}: seed {seed} is no completed final run, so there is no score to reproduce")
    return Original(repository, record)


def configure(original: Original, work: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run again, into a store of its own below ``work``.

    Args:
        original: The run.
        work: Folder; each run has its own in it, so that two configurations of one cell do not meet.
        overrides: ``section.key=value``: places of data and weights, and how the run executes.

    Raises:
        InputError: The record holds what cannot be configured here.
    """
    folder = work / original.record.run_id
    runtime = runtime_of(original.record) | {"store": str(folder / "store"), "state_dir": str(folder / "state")}
    sections = sections_of(original.record) | {"runtime": runtime}
    return build_run_config(sections, overrides, check_backbone, source=f"the record of {original.repository}")


def describe(original: Original, config: RunConfig) -> str:
    """What would be trained, what it would cost here, and what it took then.

    Raises:
        InputError: The run cannot be repeated here.
    """
    prepared, record = prepare_run(config), original.record
    check_same(prepared.identity, record, f"{original.repository}, seed {record.seed}")
    place, cost = record.environment, record.cost
    took = (
        f"it took        {cost.wall_seconds / 60:.1f} min on {place.device} × {place.processes}, {place.threads} "
        f"thread(s), torch {place.libraries.get('torch', 'unknown')}"
    )
    return f"{describe_run(prepared, 1)}\n{took}"


def train_again(original: Original, config: RunConfig) -> RunRecord:
    """Trains the run, or returns it where it was trained here before. An interrupted run continues.

    Raises:
        InputError: The run cannot be repeated here; nothing was trained then.
    """
    record = original.record
    check_same(prepare_run(config).identity, record, f"{original.repository}, seed {record.seed}")
    return train_visibly(config)


def compare(original: Original, again: RunRecord, tolerance: float) -> Verification:
    """The level ``reproduced``, if the scores agree.

    Raises:
        InputError: They do not, or training again did not complete.
    """
    if again.correctness is None or again.weights_sha256 is None:
        raise InputError(
            f"{original.repository}: seed {again.seed} is not reproduced: training again {again.status} at step "
            f"{again.stopped_step} ({again.reason})"
        )
    place = again.environment
    where = f"{place.device}, {place.threads} thread(s), torch {torch.__version__}, bocb-hf {place.code_version}"
    bits = again.correctness.bits()
    return make_verification(original.repository, original.record, bits, tolerance, where, again.weights_sha256)
