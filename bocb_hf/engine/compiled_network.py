"""Compiles a network, and says where its kernels can be replayed as CUDA graphs.

A small network is bound by the launches of its kernels, not by their work. ``torch.compile(mode="reduce-overhead")``
records forward and backward pass once for each shape of the batch and replays each as one launch. Outputs and gradients
then lie in memory that the next replay writes over, so that nothing may keep them, and every step has to be the same
sequence of passes. Without a GPU that mode compiles the same code and replays nothing.
"""

from __future__ import annotations

from typing import Literal

import torch
from accelerate import Accelerator
from torch import nn

from bocb_hf.errors import InputError
from bocb_hf.optim.row import OptimizerRow
from bocb_hf.runs.runtime_config import RuntimeConfig

# each of them begins a further pass before the gradient of the last one was used up
_PASSES = {"closure": "a second pass over each batch", "hessian": "a second derivative"}

Compiled = list[Literal["model", "optimizer", "cuda_graphs"]]


def compile_network(model: nn.Module, graphs: bool) -> None:
    """Compiles the forward pass of a network in place, so that the names of its parameters stay.

    Args:
        model: The network.
        graphs: Whether its kernels are replayed as CUDA graphs.
    """
    if graphs:
        model.compile(mode="reduce-overhead")
    else:
        model.compile()


def check_graphs(runtime: RuntimeConfig, accelerator: Accelerator, row: OptimizerRow) -> None:
    """Refuses CUDA graphs where they do not work.

    Raises:
        InputError: ``runtime.cuda_graphs`` is on, and there is no CUDA device, several processes train, the optimizer
            takes several passes a step, or a step has several micro-batches.
    """
    if not runtime.cuda_graphs:
        return
    if accelerator.device.type != "cuda" or torch.version.cuda is None:
        raise InputError(
            f"runtime.cuda_graphs: they need an NVIDIA GPU, and this run is on {accelerator.device.type}; leave "
            "runtime.cuda_graphs out"
        )
    if accelerator.num_processes > 1:
        raise InputError(
            f"runtime.cuda_graphs: {accelerator.num_processes} processes exchange gradients inside the backward pass, "
            "which a graph cannot hold; use one process, or leave runtime.cuda_graphs out"
        )
    if runtime.accumulation > 1:
        raise InputError(
            f"runtime.cuda_graphs: a step of {runtime.accumulation} micro-batches adds up gradients in memory that the "
            "next micro-batch writes over; use runtime.accumulation=1, or leave runtime.cuda_graphs out"
        )
    for need, what in _PASSES.items():
        if need in row.needs:
            raise InputError(f"runtime.cuda_graphs: {row.id} takes {what}; leave runtime.cuda_graphs out")


def compiled_parts(runtime: RuntimeConfig) -> Compiled:
    """What of a run is compiled, as its record says it."""
    parts: Compiled = []
    if runtime.compile_model:
        parts.append("model")
    if runtime.compile_optimizer:
        parts.append("optimizer")
    if runtime.cuda_graphs:
        parts.append("cuda_graphs")
    return parts
