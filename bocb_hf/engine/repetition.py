"""Turns a record back into the configuration of its run. Importing this needs no torch."""

from __future__ import annotations

import os
from typing import Any

from bocb_hf.errors import InputError
from bocb_hf.runs.config import RESERVED_ARGS
from bocb_hf.runs.identity import Identity, flatten
from bocb_hf.runs.record import RunRecord
from bocb_hf.runs.tasks import CLASSIFICATION


def sections_of(record: RunRecord) -> dict[str, Any]:
    """Configuration sections that lead to the identity of a record; local folders of weights or data must be added."""
    identity = record.identity.model_dump(mode="json")
    data, backbone = identity["data"], identity["backbone"]
    args = {key: value for key, value in backbone["args"].items() if key not in RESERVED_ARGS}
    kept = (
        *("name", "revision", "image_column", "label_column", "image_size"),
        *("test_image_size", "test_crop_ratio", "streaming", "test_fraction", "duplicates"),
    )
    if record.identity.task.name != CLASSIFICATION:  # other tasks know where their labels are
        kept = tuple(name for name in kept if name not in ("image_column", "label_column"))
    sections = {
        "setting": identity["setting"],
        "backbone": {"name": backbone["name"], "pretrained": backbone["pretrained"], "args": args},
        "optimizer": identity["optimizer"],
        "data": {key: data[key] for key in kept if key in data}
        | {"evaluation_split": record.identity.data.asked_evaluation_split},
        # the stored identity of the oldest records leaves out their divergence rule
        "training": identity["training"] | {"divergence_rule": record.identity.training.divergence_rule},
        "augmentation": identity["augmentation"],
        "task": record.identity.task.model_dump(mode="json"),
        "seed": record.seed,
        "role": record.role,
    }
    if backbone["pretrained"] is not None:  # before there was this choice, runs were normalised by the data
        sections["data"]["normalization"] = record.identity.data.normalization
    if data["validation_fraction"] is not None:
        sections["data"]["validation_fraction"] = data["validation_fraction"]
    return sections


def cpu_processes_of(record: RunRecord) -> int:
    """How many processes repeat a run here: for a run on a CPU as many as it had, if the cores suffice; else one."""
    environment = record.environment
    fits = environment.device == "cpu" and environment.processes <= (os.cpu_count() or 1)
    return environment.processes if fits else 1


def runtime_of(record: RunRecord, processes: int = 1) -> dict[str, Any]:
    """Runtime settings of a record that decide the last bits of the weights: micro-batches, kernels, threads.

    The number of threads is left out where it exceeds the cores of this machine, since it would only slow the run down.

    Args:
        record: Record of the run.
        processes: Number of processes that repeat it; more than one only for a run on a CPU, and then as many as it
            had.
    """
    environment, batch = record.environment, record.identity.training.batch_size
    # batch norm saw one process's images on a CPU, those of all processes on GPUs (see engine/run.py)
    seen = environment.micro_batch * (processes if environment.device == "cpu" else environment.processes)
    runtime: dict[str, Any] = {
        "accumulation": max(1, batch // seen),
        "deterministic": environment.deterministic,
        "tf32": environment.tf32,
        "channels_last": environment.channels_last,
        "compile_model": "model" in environment.compiled,
        "compile_optimizer": "optimizer" in environment.compiled,
        "cuda_graphs": "cuda_graphs" in environment.compiled,
        "portable": environment.portable and not environment.compiled,
    }
    if environment.threads <= (os.cpu_count() or 1):
        runtime["threads"] = environment.threads
    return runtime


def check_same(identity: Identity, record: RunRecord, what: str) -> None:
    """Compares the run that would be trained with the record that it is to repeat.

    Raises:
        InputError: Data, starting weights or code have changed since; the message begins with ``what`` and names the
            fields.
    """
    now, then = (flatten(i.model_dump(mode="json")) for i in (identity, record.identity))
    changed = [key for key in sorted(now.keys() | then.keys()) if now.get(key) != then.get(key)]
    if changed:
        lines = [f"  {key}: {then.get(key)} in the record, {now.get(key)} here" for key in changed]
        raise InputError(f"{what} cannot be repeated here:\n" + "\n".join(lines))
