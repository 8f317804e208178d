"""One pass of a network over a split, whose images the processes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from bocb_hf.optim.param_groups import train_mode
from bocb_hf.runs.identity import Identity
from bocb_hf.tasks.samples import Collate, Samples, evaluation_chunks
from bocb_hf.tasks.task import Task

# Finds what the outputs of a batch say: (places in the split, labels, inputs, outputs).
Describe = Callable[[Sequence[int], Any, Tensor, Any], Sequence[dict[str, Any]]]


@torch.no_grad()
def find_in_split(
    task: Task,
    model: nn.Module,
    samples: Samples,
    identity: Identity,
    accelerator: Accelerator,
    size: int,
    collate: Collate,
    describe: Describe,
) -> tuple[list[dict[str, Any]], float]:
    """Evaluates a split and restores the mode of the model.

    Args:
        task: The task, whose inputs and loss these are.
        model: The network.
        samples: The split.
        identity: Identity of the run.
        accelerator: Its processes and precision.
        size: Samples of a forward pass.
        collate: Joins samples into a batch.
        describe: Finds detections or keypoints in the outputs of a batch, in COCO's format.

    Returns:
        What was found by all processes, and the mean loss over the samples of all.
    """
    training = model.training
    model.eval()
    make = task.make_inputs(identity, 0, accelerator.device)
    found: list[dict[str, Any]] = []
    total, rows = 0.0, torch.empty(0)
    process, processes = accelerator.process_index, accelerator.num_processes
    for places, pixels, labels in evaluation_chunks(samples, size, process, processes, collate):
        inputs, targets = make(pixels, labels, rows, 0, True)
        with accelerator.autocast():
            outputs = model(inputs)
        total += float(task.loss(outputs, targets)) * len(places)
        found += describe(places, labels, inputs, outputs)
    if training:
        train_mode(model)
    if processes > 1:
        found = gather_object(found)
        total = sum(gather_object([total]))
    return found, total / max(1, len(samples))
