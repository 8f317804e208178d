"""Derives the sizes of a run, and refuses runs that cannot work at all."""

from __future__ import annotations

from dataclasses import dataclass

from bocb_hf.data.augment import check_micro_batch
from bocb_hf.engine.step import check_precision
from bocb_hf.errors import InputError
from bocb_hf.optim.row import OptimizerRow
from bocb_hf.runs.identity import Identity
from bocb_hf.runs.runtime_config import RuntimeConfig


@dataclass(frozen=True)
class Plan:
    """Sizes of a run, derived from configuration, data and processes.

    Attributes:
        steps_per_epoch: Number of optimizer steps in one epoch.
        total_steps: Number of optimizer steps in the whole run.
        micro_batch: Number of images that a process takes at once.
        save_every: Number of steps between two saves of the resume state.
    """

    steps_per_epoch: int
    total_steps: int
    micro_batch: int
    save_every: int


def make_plan(identity: Identity, row: OptimizerRow, runtime: RuntimeConfig, train_images: int, processes: int) -> Plan:
    """Derives the sizes; the last incomplete batch of an epoch is left out, and every epoch has another order.

    Raises:
        InputError: The batch is larger than the training split, does not divide over processes and accumulation, or
            tears mixed pairs apart; or the optimizer cannot work at this precision.
    """
    check_precision(identity, row)
    training = identity.training
    batch, parts = training.batch_size, processes * runtime.accumulation
    if batch % parts:
        raise InputError(
            f"training.batch_size: {batch} does not divide over {processes} process(es) × accumulation "
            f"{runtime.accumulation}; change runtime.accumulation or the number of processes"
        )
    check_micro_batch(identity.augmentation, batch // parts)
    steps = train_images // batch
    if steps == 0:
        raise InputError(f"training.batch_size: {batch} is more than the {train_images} training images")
    return Plan(steps, steps * training.epochs, batch // parts, runtime.save_every or steps)
