"""Images a second of our loop and of a bare PyTorch loop, in one process.

    python benchmarks/loop.py > benchmarks/loop.txt

Both train the same network on the same batches with the same optimizer, without augmentation. The bare loop picks its
batch from images that were loaded, normalised and put on the device before, then forward, loss, backward and step. Ours
is ``Trainer.run`` with all that it does by default: it gathers and normalises uint8 images, sets the learning rate,
seeds the forward pass, sums losses and hits, and at every tenth step measures gradient and update and checks for
divergence. Saves of the resume state fall outside. Each bare round follows one of ours, from within ``Trainer.run``, so
that whatever else the machine does meets both.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import sys
import tempfile
import time
from importlib import metadata
from itertools import cycle, islice
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.nn import functional

from bocb_hf.data.augment import normalize
from bocb_hf.data.source import Order
from bocb_hf.data.splits import Images
from bocb_hf.engine.interrupt import StopSignal
from bocb_hf.engine.loop import Trainer
from bocb_hf.engine.prepare import PreparedRun, prepare_run
from bocb_hf.runs.config import RunConfig


def configure(network: str, precision: str, batch: int, folder: str, size: int = 32) -> RunConfig:
    """A run without augmentation that saves nothing on the way."""
    return RunConfig.model_validate(
        {
            "setting": "demo",
            "backbone": {"name": network},
            "optimizer": {"name": "adamw"},
            "data": {"name": "fashion_mnist_subset", "image_size": size},
            "training": {"epochs": 10_000, "batch_size": batch, "precision": precision},
            "runtime": {"store": f"{folder}/store", "state_dir": f"{folder}/state", "save_every": 10**9},
        }
    )


class Seconds(NamedTuple):
    """On the wall, and of the processor, which does not count what others do on the machine."""

    wall: float
    processor: float

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.wall - other.wall, self.processor - other.processor)


class Pair(NamedTuple):
    """A round of so many steps."""

    ours: Seconds
    bare: Seconds
    steps: int


class BareLoop:
    """What a PyTorch tutorial does, with images that are loaded already."""

    def __init__(self, prepared: PreparedRun, device: torch.device, precision: str) -> None:
        data = prepared.identity.data
        self.device, self.amp = device, precision == "bf16"
        self.model = prepared.build_model().to(device).train()
        self.optimizer = prepared.build_optimizer(self.model)
        mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (data.mean, data.std))
        images = prepared.data.train
        assert isinstance(images, Images)
        self.inputs, self.labels = normalize(images.pixels.to(device), mean, std), images.labels.to(device)
        order = Order(len(images), prepared.identity.training.batch_size, prepared.config.seed)
        self.order = cycle(order.indices(0).to(device))

    def run(self, steps: int) -> Seconds:
        """Time of so many steps."""
        started = read_clocks(self.device)
        for indices in islice(self.order, steps):
            inputs, labels = self.inputs[indices], self.labels[indices]
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
                logits = self.model(inputs)
            functional.cross_entropy(logits.float(), labels).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        return read_clocks(self.device) - started


def read_clocks(device: torch.device) -> Seconds:
    """The time, when a GPU has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return Seconds(time.perf_counter(), time.process_time())


class Done(Exception):
    """Ends ``Trainer.run`` from within."""


def compare(network: str, precision: str, batch: int, rounds: int, seconds: float, size: int = 32) -> list[Pair]:
    """Our rounds and the bare ones that follow them, on inputs of so many pixels a side."""
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_run(configure(network, precision, batch, folder, size))
        accelerator = Accelerator(mixed_precision={"fp32": "no"}.get(precision, precision))
        model = prepared.build_model()
        trainer = Trainer(
            model=model,
            optimizer=prepared.build_optimizer(model),
            row=prepared.optimizer.row,
            identity=prepared.identity,
            seed=0,
            runtime=prepared.config.runtime,
            accelerator=accelerator,
            source=prepared.train_source(accelerator),
            validation=None,
            state_dir=prepared.state_dir,
            rule=prepared.divergence_rule(),
        )
        bare = BareLoop(prepared, accelerator.device, precision)
        bare.run(10)
        # a multiple of the logged steps, so that each round has its share of them
        every = prepared.config.runtime.log_every
        steps = every * max(1, round(seconds / bare.run(10).wall * 10 / every))
        found: list[Pair] = []
        started = read_clocks(accelerator.device)

        def on_step(done: int, total: int) -> None:
            nonlocal started
            if done % steps:
                return
            ours = read_clocks(accelerator.device) - started
            if done > steps:  # the first round warms up
                found.append(Pair(ours, bare.run(steps), steps))
            if len(found) == rounds:
                raise Done
            started = read_clocks(accelerator.device)

        try:
            trainer.run(StopSignal(), on_step)
        except Done:
            accelerator.free_memory()
            AcceleratorState._reset_state(reset_partial_state=False)  # the next one may have another precision
    return found


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["tiny_resnet", "tiny_convnext", "tiny_vit"])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a round, about")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    kind = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "timm", "accelerate"))
    print(f"{datetime.date.today()}, {kind}, {os.cpu_count()} cores, {arguments.threads} thread(s), ", end="")
    print(f"load {os.getloadavg()[0]:.1f} before; Python {platform.python_version()}, {versions}")
    print(f"32 px, batch {arguments.batch}, AdamW, median of {arguments.rounds} rounds; range of the ratio in brackets")
    print("ratio: of images/s, ours to bare; processor: the same of processor time, which others do not disturb")
    print("\n{:<16}{:<6}{:>14}{:>8}{:>8}{:>27}".format("", "", "bare, images/s", "ours", "ratio", "processor"))
    for precision in arguments.precisions:
        for network in arguments.networks:
            found = compare(network, precision, arguments.batch, arguments.rounds, arguments.seconds)
            bare, ours = (
                statistics.median(p.steps / getattr(p, loop).wall for p in found) for loop in ("bare", "ours")
            )
            print(f"{network:<16}{precision:<6}{bare * arguments.batch:>14,.0f}{ours * arguments.batch:>8,.0f}", end="")
            for clock in ("wall", "processor"):
                ratios = sorted(getattr(p.bare, clock) / getattr(p.ours, clock) for p in found)
                print(f"{statistics.median(ratios):>8.3f}  ({ratios[0]:.3f} to {ratios[-1]:.3f})", end="")
            print(flush=True)


if __name__ == "__main__":
    sys.exit(main())
