"""Times a few steps of a run on this machine, for a forecast and for what ``compile: auto`` decides."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil
import torch
from accelerate.utils import parse_flag_from_env
from torch.nn import functional

from bocb_hf.engine.dry_run import time_run, time_steps
from bocb_hf.engine.environment import peak_memory
from bocb_hf.engine.evaluation import BATCH
from bocb_hf.engine.plan import make_plan
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.runs.config import RunConfig
from bocb_hf.runs.tasks import CLASSIFICATION
from bocb_hf.sweep.compile_times import CompileTimes
from bocb_hf.tasks.task import refuse


@dataclass(frozen=True)
class Timed:
    """What a few steps on noise showed.

    Attributes:
        seconds: Median seconds of an optimizer step.
        steps: Steps of the whole run.
        memory: Largest memory of this process in bytes, of all backbones that it has timed.
        activations: Bytes that autograd keeps of one pass; part of ``memory``.
        parameters: Number of trainable parameters.
        once: Seconds in which features are computed that all runs on the backbone share; 0 where there are none.
    """

    seconds: float
    steps: int
    memory: int
    activations: int
    parameters: int
    once: float = 0.0


def time_backbone(config: RunConfig) -> Timed:
    """Times a run in this process; the network is dropped afterwards.

    Raises:
        InputError: The run could not be prepared.
    """
    if config.runtime.threads is not None:
        torch.set_num_threads(config.runtime.threads)
    prepared = prepare_run(config)
    row = prepared.optimizer.row
    plan = make_plan(prepared.identity, row, config.runtime, len(prepared.data.train), 1)
    model = prepared.build_model()
    optimizer = prepared.build_optimizer(model)
    seconds, kept, once = time_run(prepared, model, optimizer, plan.micro_batch)
    return Timed(
        seconds=seconds * config.runtime.accumulation,
        steps=plan.total_steps,
        memory=peak_memory(this_device()),
        activations=kept,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        once=once,
    )


def time_compiled(config: RunConfig) -> CompileTimes:
    """Times steps of a run without and with a compiled network, one after the other in this process.

    The seconds of compiling are those of the first training step and of the first evaluation, which takes batches of
    two sizes, since each of the two is compiled for itself.

    Raises:
        InputError: The run could not be prepared.
    """
    if config.runtime.threads is not None:
        torch.set_num_threads(config.runtime.threads)
    if config.task.name != CLASSIFICATION:
        raise refuse("compile: auto", config.task.name)
    prepared = prepare_run(config)
    row, size, precision = prepared.optimizer.row, config.data.image_size, prepared.identity.training.precision
    plan = make_plan(prepared.identity, row, config.runtime, len(prepared.data.train), 1)
    model = prepared.build_model()
    optimizer = prepared.build_optimizer(model)
    plain, _ = time_steps(model, optimizer, plan.micro_batch, size, row.needs, precision)
    model.compile()
    started = time.perf_counter()
    _use_once(model, plan.micro_batch, size, precision)
    compiling = time.perf_counter() - started
    optimizer.zero_grad()
    compiled, _ = time_steps(model, optimizer, plan.micro_batch, size, row.needs, precision)
    parts = config.runtime.accumulation
    return CompileTimes(plain * parts, compiled * parts, compiling, plan.total_steps)


def _use_once(model: torch.nn.Module, batch: int, size: int, precision: str) -> None:
    """Takes a gradient, and evaluates a full and a part of a batch, as a run does."""
    device = this_device()
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    model.train()
    with torch.autocast(device.type, half, enabled=half is not None):
        logits = model(torch.rand(batch, 3, size, size, device=device))
    functional.cross_entropy(logits.float(), torch.zeros(batch, dtype=torch.int64, device=device)).backward()
    model.eval()
    with torch.no_grad(), torch.autocast(device.type, half, enabled=half is not None):
        for images in (BATCH, BATCH // 2):
            model(torch.rand(images, 3, size, size, device=device))
    model.train()
    if device.type == "cuda":
        torch.cuda.synchronize()


def this_device() -> torch.device:
    """The device that a run without a launcher trains on."""
    on_gpu = torch.cuda.is_available() and not parse_flag_from_env("ACCELERATE_USE_CPU")
    return torch.device("cuda" if on_gpu else "cpu")


def free_memory() -> int:
    """Bytes that are free on this machine's device: of the GPU, else of the machine."""
    device = this_device()
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
