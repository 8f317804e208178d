"""Step time and state of every optimizer on the parameters of ResNet-50 and DeiT-S, beside torch's fused AdamW.

    python benchmarks/optimizers.py > benchmarks/optimizers.txt
    python benchmarks/optimizers.py --compiled --networks deit_small --optimizers lion nadam lamb \
        > benchmarks/optimizers_compiled.txt

Each optimizer alternates with AdamW, so that whatever else the machine does meets both, and the ratio is the median
over the rounds; its milliseconds are that ratio times the median of all of AdamW's steps. With one thread on a CPU all
times are those of the process, not of the clock, so that other processes count less. An optimizer that renews its
preconditioner every so many steps is measured in steps with and without that, whose average at its interval is printed.

Forward + backward alternates with AdamW too. It is measured at a small batch and multiplied: at 128 images DeiT-S would
need more memory than a laptop has, and the time of a convolution or matrix product grows in proportion.

What bounds SOAP is arithmetic: on ResNet-50 a step is 142 GFLOP of rotations, 48 of moments and 37 of renewed bases,
beside about 1,000 of forward + backward at 32 px.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from bocb_hf.optim import OPTIMIZERS
from bocb_hf.optim.build import build_optimizer
from bocb_hf.optim.compiled import compile_step
from bocb_hf.optim.param_groups import split_parameters
from bocb_hf.optim.resolve import resolve_row
from bocb_hf.optim.row import OptimizerRow
from bocb_hf.schema import Scalar

BATCH = 128
CLASSES = 100
# What renews its preconditioner every so many steps, by the name of that number in its groups and hyper-parameters.
RENEWS = {
    "soap": ("precondition_frequency", "interval"),
    "shampoo": ("interval", "interval"),
    "splus": ("interval", "interval"),
    "distributedshampoo": ("interval", "interval"),
}
# The algorithm of 2018 renews its roots in every step; here once more at an interval that people use.
FURTHER: dict[str, list[dict[str, Scalar]]] = {"shampoo": [{"interval": 20}]}
LONG_SECONDS = 5.0  # a round that is longer is the only one


def build(name: str) -> tuple[nn.Module, int]:
    """The network of the study at CIFAR-100, and the side of its images."""
    if name == "deit_small":
        return timm.create_model("deit_small_patch16_224", num_classes=CLASSES), 224
    model: Any = timm.create_model("resnet50", num_classes=CLASSES)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return model, 32


def timed(function: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    clock = time.process_time if device.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = clock()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - started


class Stepper:
    """An optimizer over the parameters of a network of its own, with the same gradient in every step."""

    def __init__(
        self, row: OptimizerRow, model: nn.Module, compiled: bool = False, options: Mapping[str, Scalar] | None = None
    ) -> None:
        # a rate this small leaves the weights where they are: only time is of interest
        resolved = resolve_row(row, "default", lr=1e-7, hyperparameters=options)
        # steps with and without a new preconditioner take turns, whatever the interval is
        in_group, in_row = RENEWS.get(row.id, ("", ""))
        self.interval = int(resolved.hyperparameters[in_row]) if in_row else 1
        self.row = row
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = build_optimizer(resolved, split_parameters(model, "norms_biases_embeddings"))
        if self.interval > 1:
            for group in self.optimizer.param_groups:
                group[in_group] = 2
        if compiled:
            compile_step(self.optimizer, row)
        generator = torch.Generator(device=self.parameters[0].device).manual_seed(0)
        self.gradients = [
            torch.randn(p.shape, generator=generator, device=p.device).mul_(1e-2) for p in self.parameters
        ]

    def step(self, device: torch.device) -> float:
        """Seconds of one step, a second or sampled gradient not counted."""
        for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
            parameter.grad = gradient.clone()  # some implementations change it

        def refill() -> float:
            # SAM clears the gradients before it asks for new ones
            for parameter, gradient in zip(self.parameters, self.gradients, strict=True):
                parameter.grad = gradient
            return 0.0

        return timed(lambda: self.optimizer.step(refill if "closure" in self.row.needs else None), device)

    def average_step(self, device: torch.device) -> float:
        """Seconds of a step on the average over an interval of the preconditioner."""
        if self.interval == 1:
            return self.step(device)
        plain, renewing = sorted(self.step(device) for _ in range(2))
        return plain + (renewing - plain) / self.interval

    def state_bytes(self) -> int:
        """Bytes of all tensors of the state."""

        def count(value: Any) -> int:
            if isinstance(value, Tensor):
                return value.numel() * value.element_size()
            return sum(count(item) for item in value) if isinstance(value, list | tuple) else 0

        return sum(count(value) for state in self.optimizer.state.values() for value in state.values())


def forward_backward(model: nn.Module, size: int, batch: int, repeats: int, device: torch.device) -> float:
    """Time for ``BATCH`` images in steps of AdamW, with which the passes over ``batch`` images alternate."""
    inputs = torch.randn(batch, 3, size, size, device=device)
    labels = torch.zeros(batch, dtype=torch.int64, device=device)
    adamw = Stepper(OPTIMIZERS.get("adamw"), model)

    def passes() -> None:
        model.zero_grad()
        functional.cross_entropy(model(inputs), labels).backward()

    passes()
    adamw.step(device)
    ratios: list[float] = []
    for _ in range(repeats):
        before = adamw.step(device)
        own = timed(passes, device)
        ratios.append(own / statistics.mean((before, adamw.step(device))))
    model.zero_grad()
    return statistics.median(ratios) * BATCH / batch


def compare(
    row: OptimizerRow,
    model: nn.Module,
    rounds: int,
    device: torch.device,
    compiled: bool,
    options: Mapping[str, Scalar] | None = None,
) -> tuple[list[float], list[float], int]:
    """Seconds of AdamW's steps, ratios of the optimizer's to them, and bytes of its state."""
    stepper, adamw = Stepper(row, model, compiled, options), Stepper(OPTIMIZERS.get("adamw"), model)
    for _ in range(4 if compiled else 0):
        stepper.step(device)  # all graphs are made by then
    warm = max(stepper.step(device) for _ in range(2))
    for _ in range(2):
        adamw.step(device)
    base: list[float] = []
    ratios: list[float] = []
    for _ in range(1 if warm > LONG_SECONDS else rounds):
        base.append(statistics.median(adamw.step(device) for _ in range(3)))
        ratios.append(stepper.average_step(device) / base[-1])
    return base, ratios, stepper.state_bytes()


def main() -> None:
    """Prints the table of each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["resnet50", "deit_small"], choices=["resnet50", "deit_small"])
    parser.add_argument("--optimizers", nargs="+", default=OPTIMIZERS.names(), help="ids (default: all)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8, help="images of a measured forward + backward")
    parser.add_argument("--compiled", action="store_true", help="torch.compile the steps (runtime.compile_optimizer)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    kind = torch.cuda.get_device_name() if device.type == "cuda" else f"{platform.machine()} CPU"
    versions = ", ".join(f"{n} {metadata.version(n)}" for n in ("torch", "timm", "pytorch_optimizer"))
    python = platform.python_version()
    print(f"{datetime.date.today()}, {kind}, {arguments.threads} thread(s), Python {python}, {versions}")
    print("steps compiled (AdamW fused)" if arguments.compiled else "steps as the rows build them")
    print(f"median of {arguments.rounds} rounds against torch's fused AdamW; one where a step takes over 5 s")
    for name in arguments.networks:
        model, size = build(name)
        model.to(device)
        whole = forward_backward(model, size, arguments.batch, arguments.rounds, device)  # in steps of AdamW
        print(f"{name} forward + backward {whole:.0f}", file=sys.stderr)
        found: dict[str, tuple[list[float], list[float], int]] = {}
        for optimizer in arguments.optimizers:
            row = OPTIMIZERS.get(optimizer)
            for options in ({}, *FURTHER.get(optimizer, [])):
                label = " ".join([optimizer, *(f"{key}={value}" for key, value in options.items())])
                found[label] = compare(row, model, arguments.rounds, device, arguments.compiled, options)
                print(f"{name} {label} {statistics.median(found[label][1]):.2f}", file=sys.stderr)
        adamw = statistics.median(seconds for base, _, _ in found.values() for seconds in base)
        count = sum(p.numel() for p in model.parameters())
        print(f"\n{name}, {count:,} parameters, {size} px; AdamW {1e3 * adamw:.1f} ms a step")
        print(f"forward + backward of {BATCH} images: {whole * adamw:.1f} s ({arguments.batch} images, multiplied)\n")
        table = ("optimizer", "× AdamW", "ms a step", "% of f+b", "state MB", "× AdamW")
        print("{:<19}{:>9}{:>11}{:>10}{:>10}{:>9}  rounds".format(*table))
        for optimizer, (_, ratios, state) in found.items():
            needs, ratio = OPTIMIZERS.get(optimizer.split()[0]).needs, statistics.median(ratios)
            extra = "; a second forward + backward" if "closure" in needs else ""
            extra += "; a tenth of a forward + backward more" if "hessian" in needs else ""
            print(
                f"{optimizer:<19}{ratio:>9.2f}{1e3 * ratio * adamw:>11.1f}{100 * ratio / whole:>10.2f}"
                f"{state / 1e6:>10.1f}{state / (8 * count):>9.2f}  {len(ratios)}{extra}"
            )


if __name__ == "__main__":
    sys.exit(main())
