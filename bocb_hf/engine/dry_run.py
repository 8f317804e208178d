"""What a run would be: the resolved configuration, its sizes, and an estimate of time and memory."""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from bocb_hf import strict_yaml
from bocb_hf.engine.environment import count_flops
from bocb_hf.engine.loop import make_plan
from bocb_hf.engine.run import PreparedRun
from bocb_hf.optim.param_groups import split_parameters

_TIMED_STEPS = 5


def describe_run(prepared: PreparedRun, processes: int = 1) -> str:
    """Text for ``--dry-run``; times a few steps on noise with a throwaway network, which is then dropped."""
    config, identity, data = prepared.config, prepared.identity, prepared.data
    if config.runtime.threads is not None:
        torch.set_num_threads(config.runtime.threads)
    plan = make_plan(identity, config.runtime, len(data.train), processes)
    model = prepared.build_model()
    groups = split_parameters(model, identity.training.no_decay)
    parameters = sum(p.numel() for _, p in groups.decay + groups.no_decay)
    flops = count_flops(model, identity.data.image_size)
    seconds, kept = time_steps(model, prepared.build_optimizer(model), plan.micro_batch, identity.data.image_size)
    state = optimizer_state_bytes(model, prepared)
    weights = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    held = len(data.train) + (len(data.validation) if data.validation else 0)
    pixels = held * 3 * identity.data.image_size**2
    total = plan.total_steps * seconds
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
            "nothing was trained",
        ]
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def optimizer_state_bytes(model: nn.Module, prepared: PreparedRun) -> int:
    """Bytes of optimizer state, measured after one step with zero gradients on a second optimizer."""
    optimizer = prepared.build_optimizer(model)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    tensors = [t for state in optimizer.state.values() for t in state.values() if isinstance(t, Tensor)]
    return sum(t.numel() * t.element_size() for t in tensors)


def time_steps(model: nn.Module, optimizer: Optimizer, batch: int, image_size: int) -> tuple[float, int]:
    """Median seconds of a step on noise, and bytes that autograd keeps between forward and backward."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    inputs = torch.rand(batch, 3, image_size, image_size, device=device)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        seen[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    seconds: list[float] = []
    for step in range(_TIMED_STEPS + 1):
        started = time.perf_counter()
        if step == 0:
            with torch.autograd.graph.saved_tensors_hooks(note, lambda kept: kept):
                loss = functional.cross_entropy(model(inputs), labels)
        else:
            loss = functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    return statistics.median(seconds[1:]), sum(size for pointer, size in seen.items() if pointer not in own)
