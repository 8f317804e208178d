"""Times a few steps of a run on this machine, for a forecast."""

from __future__ import annotations

from dataclasses import dataclass

import psutil
import torch
from accelerate.utils import parse_flag_from_env

from bocb_hf.engine.dry_run import time_run
from bocb_hf.engine.environment import peak_memory
from bocb_hf.engine.plan import make_plan
from bocb_hf.engine.prepare import prepare_run
from bocb_hf.runs.config import RunConfig


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


def this_device() -> torch.device:
    """The device that a run without a launcher trains on."""
    on_gpu = torch.cuda.is_available() and not parse_flag_from_env("ACCELERATE_USE_CPU")
    return torch.device("cuda" if on_gpu else "cpu")


def free_memory() -> int:
    """Bytes that are free on this machine's device: of the GPU, else of the machine."""
    device = this_device()
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
