"""Runs that do not fit into memory: the micro-batch is halved and the step accumulates over twice as many of them.

The batch of a step, and so the configuration, stays what it is. For a network with batch norm the result is another one
all the same, since batch norm sees fewer images at once; the record says so.
"""

from __future__ import annotations

import dataclasses
import gc
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import torch
from accelerate import Accelerator
from torch import nn

from bocb_hf.data.augment import check_micro_batch
from bocb_hf.engine.checkpoint import writing
from bocb_hf.engine.prepare import PreparedRun
from bocb_hf.errors import InputError

log = logging.getLogger(__name__)
T = TypeVar("T")
_NOTE = "halvings"  # file beside the saved states, so that a run that goes on later begins with what fits


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether an error of torch says that memory ran out, on a GPU or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def within_memory(prepared: PreparedRun, accelerator: Accelerator, train: Callable[[PreparedRun], T]) -> T:
    """Trains a run, with ever smaller micro-batches as long as memory runs out.

    Args:
        prepared: The run.
        accelerator: Of one process; several processes would not agree on when to halve, so their error is passed on.
        train: Function that trains the run from its newest saved state.

    Raises:
        InputError: Memory runs out at the smallest micro-batch, too.
    """
    halvings = 0
    if accelerator.num_processes == 1:
        with suppress(OSError, ValueError):
            halvings = int((prepared.state_dir / _NOTE).read_text())
    while True:
        current = halved(prepared, halvings)
        accelerator.gradient_accumulation_steps = current.config.runtime.accumulation
        try:
            return train(current)
        except (RuntimeError, MemoryError) as error:
            if accelerator.num_processes > 1 or not is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        # outside the block, since the error holds the frames, and with them the tensors, of what failed
        accelerator.free_memory()
        accelerator._custom_objects.clear()  # which it leaves, so that the next states would hold the old progress too
        gc.collect()
        if accelerator.device.type == "cuda":
            torch.cuda.empty_cache()
        halvings += 1
        smaller = halved(prepared, halvings, reason)
        log.warning(
            "memory ran out (%s): the run goes on with %d micro-batches in a step",
            reason,
            smaller.config.runtime.accumulation,
        )
        with writing(prepared.state_dir):
            prepared.state_dir.mkdir(parents=True, exist_ok=True)
            (prepared.state_dir / _NOTE).write_text(str(halvings))


def halved(prepared: PreparedRun, halvings: int, reason: str = "an earlier session") -> PreparedRun:
    """The run with its micro-batch halved so many times.

    Raises:
        InputError: The batch cannot be divided so far.
    """
    if halvings == 0:
        return prepared
    runtime, batch = prepared.config.runtime, prepared.identity.training.batch_size
    parts = runtime.accumulation * 2**halvings
    try:
        if batch % parts:
            raise InputError(f"a batch of {batch} does not divide into {parts} parts")
        check_micro_batch(prepared.identity.augmentation, batch // parts)
    except InputError as error:
        raise InputError(
            f"memory ran out with micro-batches of {2 * batch // parts} images ({reason}), and they cannot be halved: "
            f"{error}; use a device with more memory, fewer runs on it at a time, or a smaller network"
        ) from None
    # graphs hold no sum of gradients over micro-batches; the record says that there were none
    smaller = runtime.model_copy(update={"accumulation": parts, "cuda_graphs": False})
    config = prepared.config.model_copy(update={"runtime": smaller})
    return dataclasses.replace(prepared, config=config, halvings=halvings)


def memory_facts(prepared: PreparedRun, model: nn.Module) -> dict[str, int | bool]:
    """What the record's environment says of it: how often the micro-batch was halved, and whether batch norm saw it."""
    norm = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    return {"memory_halvings": prepared.halvings, "batch_norm_halved": norm and prepared.halvings > 0}
