"""Describes what a run would be: its resolved configuration, its sizes, and an estimate of time and memory."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Collection
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from bocb_hf.data.source import Order
from bocb_hf.data.splits import Images
from bocb_hf.engine.environment import count_flops
from bocb_hf.engine.features import count_images, time_features
from bocb_hf.engine.plan import make_plan
from bocb_hf.engine.prepare import PreparedRun
from bocb_hf.optim.param_groups import split_parameters
from bocb_hf.optim.row import Need
from bocb_hf.runs import strict_yaml
from bocb_hf.runs.runtime_config import RuntimeConfig
from bocb_hf.runs.tasks import CLASSIFICATION

Precision = Literal["fp32", "bf16", "fp16"]

_TIMED_STEPS = 5
_HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class TimedBatch(NamedTuple):
    """Inputs (B, 3, H, W) on the device that steps are timed on, and the loss of what the network makes of them."""

    inputs: Tensor
    loss: Callable[[Any], Tensor]


def describe_run(prepared: PreparedRun, processes: int) -> str:
    """Text for ``--dry-run``; times a few steps on noise with a throwaway network, which is then dropped."""
    config, identity, data = prepared.config, prepared.identity, prepared.data
    if config.runtime.threads is not None:
        torch.set_num_threads(config.runtime.threads)
    plan = make_plan(identity, prepared.optimizer.row, config.runtime, len(data.train), processes)
    model = prepared.build_model()
    groups = split_parameters(model, identity.training.no_decay)
    parameters = sum(p.numel() for _, p in groups.decay + groups.no_decay)
    flops = count_flops(model, identity.data.image_size, identity.task.options.get("width"))
    optimizer, needs = prepared.build_optimizer(model), prepared.optimizer.row.needs
    size, precision = identity.data.image_size, identity.training.precision
    seconds, kept, once = time_run(prepared, model, optimizer, plan.micro_batch)
    seconds *= config.runtime.accumulation  # a step takes as many micro-batches
    timed = first_batch(prepared, plan.micro_batch)
    full, half = time_precisions(model, optimizer, plan.micro_batch, size, needs, timed)
    state = optimizer_state_bytes(model, prepared)
    weights = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    # images that workers decode while training are not held, and splits that share a tensor are counted once
    tensors = [split.stored for split in (data.train, data.validation, data.test) if isinstance(split, Images)]
    pixels = sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())
    total = plan.total_steps * seconds + once
    device = "cuda" if torch.cuda.is_available() else "cpu"
    exempt = ", ".join(name for name, _ in groups.no_decay) or "nothing"
    return "\n".join(
        [
            strict_yaml.dump(identity.model_dump(mode="json")).rstrip(),
            "",
            f"run id         {prepared.run_id} ({config.role}, seed {config.seed})",
            f"repository     {prepared.repository} in {config.runtime.store}",
            f"images         train {len(data.train)}, validation "
            f"{len(data.validation) if data.validation else 'none (trained on)'}, "
            f"test {len(data.test)} ({identity.data.evaluation_split})",
            f"steps          {plan.total_steps} = {identity.training.epochs} epochs × {plan.steps_per_epoch}",
            f"parameters     {parameters:,} trainable in {len(groups.decay) + len(groups.no_decay)} tensors",
            f"no decay       {exempt}",
            f"forward FLOPs  {flops:,} an image",
            f"memory         weights {_mb(weights)}, gradients {_mb(weights)}, optimizer {_mb(state)}, activations "
            f"{_mb(kept)}, decoded images {_mb(pixels)}, beside libraries",
            f"time           about {total / 60:.1f} min on this {device} at {seconds * 1e3:.0f} ms a step, "
            "without evaluation",
            *_describe_features(prepared, once),
            f"precision      {precision}; of this network bf16 has {full / half:.2f} times the speed of fp32 here",
            "nothing was trained",
        ]
    )


def time_run(prepared: PreparedRun, model: nn.Module, optimizer: Optimizer, batch: int) -> tuple[float, int, float]:
    """Times the steps of a run, see ``time_steps``, and what comes before its first step.

    Args:
        prepared: The run.
        model: Its network; the timed steps train it.
        optimizer: The optimizer over its parameters.
        batch: Number of images in a step.

    Returns:
        Median seconds of a step, bytes that autograd keeps, and seconds in which features are computed once.
    """
    training, size, needs = prepared.identity.training, prepared.identity.data.image_size, prepared.optimizer.row.needs
    if not training.cached_features:
        timed = first_batch(prepared, batch)
        return *time_steps(model, optimizer, batch, size, needs, training.precision, timed=timed), 0.0
    head, features, once = time_features(prepared, model)
    inputs = features.repeat(-(-batch // len(features)), *[1] * (features.ndim - 1))[:batch]
    seconds, kept = time_steps(head, optimizer, batch, size, needs, training.precision, inputs=inputs)
    return seconds, kept, once


def first_batch(prepared: PreparedRun, batch: int) -> TimedBatch | None:
    """The first training images of a run of a task other than classification, and its loss; None for a classifier.

    A classifier is timed on noise, but the loss of a detector depends on the boxes.

    Args:
        prepared: The run.
        batch: Number of images in a step.
    """
    identity, task = prepared.identity, prepared.task
    if identity.task.name == CLASSIFICATION:
        return None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    order = Order(len(prepared.data.train), batch, prepared.config.seed)
    source = task.open_source(prepared.data.train, order, RuntimeConfig(workers=0), False)
    try:
        (first,) = next(source.steps(0, 0))
    finally:
        source.close()
    make = task.make_inputs(identity, prepared.config.seed, device)
    inputs, targets = make(first.pixels, first.labels, first.rows, 0, first.cropped)
    return TimedBatch(inputs, lambda outputs: task.loss(outputs, targets))


def _describe_features(prepared: PreparedRun, once: float) -> list[str]:
    if not prepared.identity.training.cached_features:
        return []
    return [f"features       computed once for {count_images(prepared)} images in about {once / 60:.1f} min of that"]


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def optimizer_state_bytes(model: nn.Module, prepared: PreparedRun) -> int:
    """Bytes of optimizer state, measured after one step with zero gradients on a second optimizer."""
    optimizer = prepared.build_optimizer(model)

    def fill() -> float:
        for group in optimizer.param_groups:
            group["lr"] = 0.0
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        return 0.0

    fill()
    optimizer.step(fill)  # an optimizer that takes a second gradient has cleared the first
    tensors = [t for state in optimizer.state.values() for value in state.values() for t in _tensors(value)]
    return sum(t.numel() * t.element_size() for t in tensors)


def _tensors(value: object) -> list[Tensor]:
    """The tensors in a value of optimizer state: itself, or those in a list such as a preconditioner's factors."""
    if isinstance(value, Tensor):
        return [value]
    return [t for item in value for t in _tensors(item)] if isinstance(value, list | tuple) else []


def time_precisions(
    model: nn.Module,
    optimizer: Optimizer,
    batch: int,
    image_size: int,
    needs: Collection[Need],
    timed: TimedBatch | None = None,
) -> tuple[float, float]:
    """Median seconds of a step in fp32 and in bf16, on this machine; see ``time_steps``.

    On a CPU at most 32 images are timed, since a CPU without instructions for bf16 takes ten times as long.
    """
    if not torch.cuda.is_available():
        batch = min(batch, 32)
    full, _ = time_steps(model, optimizer, batch, image_size, needs, "fp32", timed=timed)
    half, _ = time_steps(model, optimizer, batch, image_size, needs, "bf16", enough=3 * full, timed=timed)
    return full, half


def time_steps(
    model: nn.Module,
    optimizer: Optimizer,
    batch: int,
    image_size: int,
    needs: Collection[Need],
    precision: Precision = "fp32",
    enough: float = math.inf,
    inputs: Tensor | None = None,
    timed: TimedBatch | None = None,
) -> tuple[float, int]:
    """Median seconds of a step on noise, and bytes that autograd keeps between forward and backward.

    Args:
        model: The network; the timed steps train it.
        optimizer: The optimizer over its parameters.
        batch: Number of images in a step.
        image_size: Side of an image in pixels.
        needs: ``needs`` of the optimizer's row, since passes beside the usual one take time too.
        precision: Precision of the forward pass.
        enough: A step that takes more seconds than this is the last that is timed, even if it is the warm-up step.
        inputs: Inputs of the network, (B, ...), in place of images.
        timed: Inputs and loss of a task other than classification, in place of noise and cross-entropy.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    if timed is not None:
        inputs = timed.inputs
    images = torch.rand(batch, 3, image_size, image_size, device=device) if inputs is None else inputs.to(device)
    labels = torch.zeros(len(images), dtype=torch.int64, device=device)
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    def find_loss() -> Tensor:
        with torch.autocast(device.type, _HALF.get(precision), enabled=precision in _HALF):
            outputs = model(images)
        return functional.cross_entropy(outputs.float(), labels) if timed is None else timed.loss(outputs)

    seconds: list[float] = []
    for step in range(_TIMED_STEPS + 1):
        started = time.perf_counter()
        if step == 0:
            with torch.autograd.graph.saved_tensors_hooks(note, lambda kept: kept):
                loss = find_loss()
        else:
            loss = find_loss()
        loss.backward()

        def second_pass() -> float:
            optimizer.zero_grad()
            find_loss().backward()
            return 0.0

        optimizer.step(second_pass if "closure" in needs else None)
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
        if seconds[-1] > enough:
            break
    median = statistics.median(seconds[1:] or seconds)
    if "hessian" in needs:  # one more forward and backward pass every so many steps
        median *= 1 + 1 / cast(Any, optimizer).hessian_interval
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    return median, sum(size for pointer, size in seen.items() if pointer not in own)
