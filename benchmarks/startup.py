"""Seconds from the start of Python to the first answer and to the first training step.

    python benchmarks/startup.py > benchmarks/startup.txt

Every round starts one process of each kind, one after another, so that whatever else the machine does meets all of
them: an empty script that imports torch, timm and accelerate; ``recipes/train.py --help``; and a run of the demo
setting, which decodes the images, evaluates the untrained network and ends after its first step. Differences are taken
within a round. Processor seconds say what a busy machine makes longer.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

RECIPE = str(Path(__file__).resolve().parent.parent / "recipes" / "train.py")
EMPTY = "import torch, timm, accelerate"
FIRST_STEP = """
import os
from bocb_hf.engine.loop import Trainer
from bocb_hf.commands.train import main

step = Trainer._step

def leave(*arguments, **more):
    step(*arguments, **more)
    os._exit(0)

Trainer._step = leave
raise SystemExit(main() or 'ended without a step')
"""
RUN = ("--config", "fashion_mnist_subset/demo", "optimizer.name=adamw")
KINDS: dict[str, list[str]] = {
    "import torch, timm, accelerate": ["-c", EMPTY],
    "recipes/train.py --help": [RECIPE, "--help"],
    "first step, tiny_resnet": ["-c", FIRST_STEP, *RUN, "backbone.name=tiny_resnet"],
    "first step, tiny_vit": ["-c", FIRST_STEP, *RUN, "backbone.name=tiny_vit"],
}


def start(arguments: list[str], folder: str) -> tuple[float, float]:
    """Wall and processor seconds of one process."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=folder)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    load = os.getloadavg()[0]
    versions = ", ".join(f"{n} {metadata.version(n)}" for n in ("torch", "timm", "accelerate", "datasets", "evaluate"))
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, one thread, load {load:.1f} before")
    print(f"Python {platform.python_version()}, {versions}")
    print(f"median of {arguments.rounds} rounds after one to warm up; range in brackets\n")
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds + 1):
            for kind, command in KINDS.items():
                seconds = start(command, folder)
                if number:
                    found[kind].append(seconds)
    base = found[next(iter(KINDS))]
    print("{:<34}{:>8}{:>17}{:>11}{:>12}{:>18}".format("", "seconds", "", "processor", "− imports", ""))
    for kind, measured in found.items():
        walls = sorted(wall for wall, _ in measured)
        extra = sorted(mine[0] - theirs[0] for mine, theirs in zip(measured, base, strict=True))
        print(f"{kind:<34}{statistics.median(walls):>8.2f}  ({walls[0]:>5.2f} to {walls[-1]:>5.2f})", end="")
        print(f"{statistics.median(cpu for _, cpu in measured):>10.2f}", end="")
        if kind.startswith("first"):
            print(f"{statistics.median(extra):>12.2f}  ({extra[0]:>5.2f} to {extra[-1]:>5.2f})", end="")
        print()


if __name__ == "__main__":
    sys.exit(main())
