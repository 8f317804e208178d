"""Evaluation of a classifier over decoded images, shared by all processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bocb_hf.data.augment import normalize
from bocb_hf.data.batches import evaluation_batches
from bocb_hf.data.splits import Features, TestImages
from bocb_hf.engine.metrics import Scores, score
from bocb_hf.engine.sharding import is_sharded
from bocb_hf.optim.param_groups import train_mode

ScoreFunction = Callable[[NDArray[Any], NDArray[Any], NDArray[Any], int], Scores]
BATCH = 250  # images in a forward pass; the scores do not depend on this number


@dataclass(frozen=True)
class Evaluation:
    """Scores of one split: accuracies in percent, loss in nats, and which images are right, shape (N,) bool."""

    n: int
    top1: float
    top5: float | None
    loss: float
    correct: Tensor


@torch.no_grad()  # not inference_mode: FSDP2 reuses gathered weights in the next training step
def evaluate(
    model: nn.Module,
    images: TestImages,
    mean: Tensor,
    std: Tensor,
    accelerator: Accelerator,
    workers: int | None = None,
    memory_format: torch.memory_format = torch.contiguous_format,
    score: ScoreFunction = score,
) -> Evaluation:
    """Evaluates a split. Each process takes every n-th image of n processes; results are summed over the processes.

    Args:
        model: Classifier; its train/eval mode is restored.
        images: Images of the split.
        mean: Mean of each channel, (3, 1, 1), on the device.
        std: Standard deviation of each channel, (3, 1, 1), on the device.
        accelerator: Device, precision and processes.
        workers: Number of processes that decode, where the split is not decoded already.
        memory_format: Memory format of the input.
        score: Computes the scores from ranked classes, losses, labels and the number of classes.

    Returns:
        The scores; ``top5`` is None with fewer than 6 classes, where it would say nothing.
    """
    training = model.training
    model.eval()
    n, device = len(images), accelerator.device
    losses = torch.zeros(n, device=device)  # float32, since not every device has float64
    ranked = torch.zeros(n, 5, dtype=torch.int64, device=device)
    classes = torch.zeros((), dtype=torch.int64, device=device)
    rank, processes = accelerator.process_index, accelerator.num_processes
    most, done = -(-n // (processes * BATCH)), 0  # number of batches of the first process, which has most
    inputs = torch.empty(0)
    for indices, pixels, labels in evaluation_batches(images, BATCH, rank, processes, workers):
        inputs = pixels.to(device)
        if not isinstance(images, Features):
            inputs = normalize(inputs, mean, std).contiguous(memory_format=memory_format)
        labels = labels.to(device)
        with accelerator.autocast():
            logits = model(inputs)
        logits = logits.float()  # (B, K)
        classes.fill_(logits.shape[1])
        where = indices.to(device)
        losses[where] = functional.cross_entropy(logits, labels, reduction="none")
        top = logits.topk(min(5, logits.shape[1]), dim=1).indices
        ranked[where, : top.shape[1]] = top
        done += 1
    if is_sharded(accelerator) and done < most:
        model(inputs[:1])  # the other processes gather the shards of this one, and would wait for it
    if training:
        train_mode(model)
    losses, ranked, classes = (
        cast(Tensor, accelerator.reduce(part, "sum")).cpu() for part in (losses, ranked, classes)
    )
    predictions, references = ranked.numpy(), images.labels.numpy()
    found = score(predictions, losses.numpy(), references, int(classes))
    return Evaluation(n, found.top1, found.top5, found.loss, correct=ranked[:, 0] == images.labels)
