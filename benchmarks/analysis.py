"""Time and memory of the whole analysis of a 20×20×3 and of a 100×60×5 table, and of what lies between.

    python benchmarks/analysis.py > benchmarks/analysis.txt

Each table is analysed in a process of its own, with 2,000 draws of every bootstrap on both scales, 10,000 test images
with their correctness bits, CNNs and modern backbones (so backbones are drawn as well), and 5 % of cells diverged or
not run in the rows that say so. Where rates were tuned, the trials of 3 rates keep their bits of 5,000 validation
images, and both readings are computed: of tuning and training, and given the tuned rates. Peak memory is the process's,
libraries and the table included; the first row shows what those alone take.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from bocb_hf.coupling.analysis import analyse
from bocb_hf.coupling.scores import ScoreTable
from bocb_hf.coupling.tuning import CellTuning, Tuning

IMAGES, VALIDATION = 10_000, 5000
# backbones, optimizers, seeds, share of cells that diverged, and of cells that were not run, and tuning seeds
Size = tuple[int, int, int, float, float, int]
SIZES: tuple[Size, ...] = (
    (2, 2, 2, 0.0, 0.0, 0),
    (20, 20, 3, 0.0, 0.0, 0),
    (20, 20, 3, 0.05, 0.0, 0),
    (20, 20, 3, 0.0, 0.05, 0),
    (20, 20, 3, 0.0, 0.0, 2),
    (20, 20, 3, 0.0, 0.05, 2),
    (50, 30, 3, 0.0, 0.0, 0),
    (50, 30, 5, 0.0, 0.0, 0),
    (100, 60, 5, 0.0, 0.0, 0),
    (100, 60, 5, 0.0, 0.05, 0),
    (100, 60, 5, 0.0, 0.0, 2),
)


def make_table(
    backbones: int, optimizers: int, seeds: int, diverged: float, missing: float = 0.0, tuning_seeds: int = 0
) -> ScoreTable:
    """Scores with their bits: additive effects, interaction, unequal spreads, images of unequal difficulty."""
    generator = np.random.default_rng(0)
    shape = (backbones, optimizers)
    mean = 75 + 4 * generator.normal(size=(backbones, 1)) + 2 * generator.normal(size=(1, optimizers))
    mean = mean + generator.normal(size=shape)
    spread = 0.1 * np.exp(generator.uniform(0, np.log(50), shape)) / 3
    values = np.clip(mean[..., None] + spread[..., None] * generator.normal(size=(*shape, seeds)), 1, 99)
    hard = np.sort(generator.random(IMAGES))
    packed = np.empty((*shape, seeds, (IMAGES + 7) // 8), np.uint8)
    for b in range(backbones):
        luck = hard + 0.15 * generator.normal(size=(optimizers, seeds, IMAGES))
        order = np.sort(luck, axis=2)
        k = np.round(values[b] / 100 * IMAGES).astype(np.int64)
        right = luck <= np.take_along_axis(order, k[..., None] - 1, axis=2)
        values[b] = 100 * right.sum(axis=2) / IMAGES
        packed[b] = np.packbits(right, axis=2)
    lost = generator.random(shape) < diverged
    absent = ~lost & (generator.random(shape) < missing)
    values[lost | absent], packed[lost | absent] = np.nan, 0
    half = backbones // 2
    names = tuple(f"o{i}" for i in range(optimizers))
    return ScoreTable(
        source="simulated",
        dataset="simulated",
        setting="simulated",
        revision="seed 0",
        metric="top-1",
        backbones=tuple(f"b{i}" for i in range(backbones)),
        families=("classical_cnn",) * half + ("modern",) * (backbones - half),
        clusters=tuple(f"b{i}" for i in range(backbones)),
        optimizers=("sgdm", *names[1:]),
        categories=("a", *("bcd"[i % 3] for i in range(optimizers - 1))),
        seeds=tuple(range(1, seeds + 1)),
        values=values,
        status=np.where(lost, "diverged", np.where(absent, "missing", "completed")),
        diverged=np.where(lost, seeds, 0),
        config_hashes=np.full(shape, ""),
        n_test=IMAGES,
        num_classes=100,
        packed=packed,
        tuning=make_tuning(mean, tuning_seeds, generator) if tuning_seeds else None,
    )


def make_tuning(mean: NDArray[np.float64], seeds: int, generator: np.random.Generator) -> Tuning:
    """Trials of three rates, of which the middle one is better than the others by up to a point in most cells."""
    cells: dict[tuple[int, int], CellTuning] = {}
    hard = np.sort(generator.random(VALIDATION)).astype(np.float32)
    for place in np.ndindex(*mean.shape):
        loss = np.array([generator.uniform(0, 1), 0.0, generator.uniform(0, 1)])
        level = mean[place] - loss[:, None] + 0.4 * generator.normal(size=(3, seeds))
        luck = hard + 0.15 * generator.standard_normal((3, seeds, VALIDATION), np.float32)
        k = np.clip(level / 100, 0.01, 0.99)[..., None]
        right = luck <= np.quantile(luck, 0.5, axis=2, keepdims=True) + (k - 0.5)
        top1 = 100 * right.mean(axis=2)
        cells[place[0], place[1]] = CellTuning(
            top1,
            np.array([1.0, 0.0, 1.0]),
            VALIDATION,
            "best",
            int(top1.mean(axis=1).argmax()),
            np.packbits(right, axis=2),
        )
    return Tuning(cells, {}, (mean.shape[0], mean.shape[1]))


def measure(size: Size, draws: int) -> dict[str, float]:
    """Seconds of one analysis, by the clock and of work whatever else the machine does; peak memory in MiB."""
    table = make_table(*size)
    started, worked = time.perf_counter(), time.process_time()
    found = analyse(table, draws)
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    assert not isinstance(found.points, str) and not isinstance(found.logit, str)
    return {"seconds": seconds, "worked": worked, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(tuple(json.loads(arguments.only)), arguments.draws)))
        return
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numpy", "scipy"))
    cores = len(os.sched_getaffinity(0))
    print(
        f"{datetime.date.today()}, {platform.machine()}, {cores} cores, Python {platform.python_version()}, {versions}"
    )
    print(f"{arguments.draws} draws of each bootstrap, points and logits, {IMAGES:,} test images\n")
    print(
        "backbones × optimizers × seeds   lost   not run   tuned with   cells    runs   CPU s   × smallest   wall s   "
        "peak MiB"
    )
    base = 0.0
    for size in SIZES:
        command = [sys.executable, __file__, "--only", json.dumps(size), "--draws", str(arguments.draws)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        base = base or found["worked"]
        b, o, s, lost, absent, tried = size
        tuned = f"{tried} seeds" if tried else "–"
        print(
            f"{f'{b} × {o} × {s}':<30}   {lost:>4.0%}   {absent:>7.0%}   {tuned:>10}   {b * o:>5}  {b * o * s:>6}   "
            f"{found['worked']:>5.1f}   {found['worked'] / base:>10.1f}   {found['seconds']:>6.1f}   "
            f"{found['memory']:>8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
